# SPDX-License-Identifier: MIT
"""What docstrings say of arguments and errors, as data.

First a sentence, then prose. A paragraph of arguments has one, or several, at
the beginning of each line, and continued lines are indented:

    size: bytes, to create; None: all
    name, create: as of others, and this is
        long
    Other arguments are SharedMemory's.

In a paragraph of errors each begins a sentence, maybe with its errno or an
aside. What is to be seen elsewhere, and audit events, come last:

    FileExistsError, OSError ENOSPC: when. queue.Full (late): when.
    Errors are put()'s, too. See mmap(2).

"Arguments", "Other arguments", "Errors" and "Other errors" that "are X's" are
read at X: all that are not described here. Of errors, "too" adds them all, and
some may be left out: "but for queue.Empty".
"""

import re
from typing import NamedTuple

_NAME = r"(?:[a-z]+\.)?[A-Z]\w+|struct\.error"
_HEAD = rf"(?:{_NAME})(?:, (?:{_NAME}))*(?: E[A-Z0-9]+)?(?: \([^)]*\))?: "
_ERROR = re.compile(
    rf"(?P<names>(?:{_NAME})(?:, (?:{_NAME}))*)"
    r"(?: (?P<errno>E[A-Z0-9]+))?(?: \((?P<aside>[^)]*)\))?: (?P<when>.*)"
)
_SENTENCES = re.compile(rf"(?<=\.) (?={_HEAD}|See |Audit events?: )")
_ITEM = re.compile(r"(?P<names>[a-z_]\w*(?:, [a-z_]\w*)*): (?P<text>.*)")
_REFERENCE = re.compile(
    r"(?:(?P<arguments>(?:Other a|A)rguments)"
    r"(?: and (?:the )?(?P<both>errors))?"
    r"|(?P<errors>(?:Other e|E)rrors)) are (?P<of>\w+(?:\.\w+)*)(?:\(\))?'s"
    r"(?P<too>, too)?"
    r"(?:, but for (?P<but>\w+(?:\.\w+)?(?:, \w+(?:\.\w+)?)*))?\.(?:\s|$)"
)


class Error(NamedTuple):
    names: tuple[str, ...]
    errno: str | None
    aside: str | None
    when: str


class Reference(NamedTuple):
    """To another callable, of which more is to be read."""

    of: str
    arguments: bool
    errors: bool
    others: bool  # of errors: only those that are not named here
    but: tuple[str, ...]


class Doc(NamedTuple):
    prose: list[str]  # paragraphs
    arguments: dict[str, str]
    errors: list[Error]
    notes: list[str]
    references: list[Reference]


def parse(text, names):
    """Of a docstring, without a signature, of what has arguments by these
    names. ValueError: a line of arguments is none."""
    doc = Doc([], {}, [], [], [])
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        item = _ITEM.match(paragraph)
        if item and {*item["names"].split(", ")} <= {*names}:
            _read_arguments(paragraph, names, doc)
        elif _ERROR.match(_joined(paragraph)):
            _read_errors(_take_references(_joined(paragraph), doc), doc)
        elif not paragraph.startswith(" ") and _REFERENCE.search(
            _joined(paragraph)
        ):
            rest = _take_references(_joined(paragraph), doc)
            doc.prose.extend([rest] if rest else [])
        else:
            doc.prose.append(paragraph)
    return doc


def _joined(paragraph):
    return " ".join(paragraph.split())


def _take_references(text, doc):
    """Of one line; what is left of it."""
    for found in _REFERENCE.finditer(text):
        said = found["errors"] or found["both"] or ""
        doc.references.append(
            Reference(
                found["of"],
                found["arguments"] is not None,
                bool(said),
                said.startswith("Other"),
                tuple(found["but"].split(", ")) if found["but"] else (),
            )
        )
    return _REFERENCE.sub("", text).strip()


def _read_arguments(paragraph, names, doc):
    item = ()
    for line in paragraph.split("\n"):
        found = _ITEM.fullmatch(line)
        if found and {*found["names"].split(", ")} <= {*names}:
            item = found["names"].split(", ")
            doc.arguments.update(dict.fromkeys(item, found["text"]))
        elif line.startswith("    "):
            for name in item:
                doc.arguments[name] += f" {line.strip()}"
        elif _take_references(line, doc):
            raise ValueError(f"{line!r}: not an argument")


def _read_errors(text, doc):
    for sentence in _SENTENCES.split(text):
        found = _ERROR.fullmatch(sentence)
        if found is None:
            doc.notes.append(sentence)
        else:
            names = tuple(found["names"].split(", "))
            doc.errors.append(
                Error(names, found["errno"], found["aside"], found["when"])
            )

# SPDX-License-Identifier: MIT
"""Docstrings as autodoc shows them: signatures without types, and what they
say of arguments, of what is returned and of errors as fields, with types."""

import dataclasses
import re

import callables
from docutils import nodes
from sphinx import addnodes

MANUAL = "https://man7.org/linux/man-pages/man{1}/{0}.{1}.html"
# The rest of a sentence that first says what is done.
RETURNED = re.compile(r"(?:[;,]| and) return (?:, [\w ]+, )?(.+?)\.(?: |$)")
# A call, but for a page of a manual, or an argument with its value.
CODE = re.compile(
    r"(?<![\w.`])([A-Za-z_][\w.]*\((?![1-8]\)>? ?<)[^()`\s]*\)"
    r"|\w+=[\w.\"]+\w)(?![\w`])"
)
DASH = " \N{EN DASH} "
ISSUE = "https://github.com/python/cpython/issues"


def type_signature(app, what, name, obj, options, text, returns):
    if what == "class" and dataclasses.is_dataclass(obj):
        return "", None  # it is returned, and made by nobody else
    if what in ("class", "method", "function"):
        found = callables.signature(obj, name)
        if found is not None:
            return found.shown, found.returns
    return text, returns


def type_attribute(app, what, name, obj, options, lines):
    if what in ("attribute", "property"):
        of = callables.find(name.rpartition(".")[0])
        if dataclasses.is_dataclass(of):
            lines[:] = callables.field(name).split("\n")
        lines[:] = _linked("\n".join(lines)).split("\n")
        kind = callables.attribute(name)
        if kind is not None:
            lines += ["", f":type: {kind}", ""]


def move_type(app, domain, kind, content):
    """That of an attribute goes behind its name."""
    if kind not in ("attribute", "property"):
        return
    for field in list(content.findall(nodes.field)):
        if field[0].astext() == "type":
            told = nodes.Text(f": {field[1].astext()}")
            content.parent[0] += addnodes.desc_annotation("", "", told)
            field.parent.remove(field)


def draw_dashes(app, doctree):
    """Sphinx puts two hyphens behind a name."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(DASH))


def typeset(app, what, name, obj, options, lines):
    if what == "module":
        lines[:] = _prose("\n".join(lines).split("\n\n"))
    if what in ("class", "method", "function") and lines:
        if what == "class" and dataclasses.is_dataclass(obj):
            return
        entry = callables.entry(name)
        told = [*entry.doc.prose, " ".join(entry.doc.notes)]
        lines[:] = [*_prose(told), "", *_fields(name, entry), ""]


def _prose(paragraphs):
    lines, goes_on = [], False  # a block of code
    for paragraph in paragraphs:
        if not paragraph.startswith("    "):
            lines += [*_linked(paragraph).split("\n"), ""]
            goes_on = False
            continue
        if not goes_on:
            lines += [".. code-block:: python", ""]
        lines += [*paragraph.split("\n"), ""]
        goes_on = True
    return lines


def _fields(name, entry):
    signature = entry.signature
    for argument, text in callables.arguments(name).items():
        yield f":param {argument}: {_linked(text)}"
        if argument in signature.types:
            yield f":type {argument}: {signature.types[argument]}"
    returned = _returned(entry)
    if returned and signature.returns:
        kind = re.sub(r"~[\w.]*\.", "", signature.returns)
        yield f":returns: (*{kind}*){DASH}{_linked(returned)}"
    for error in callables.errors(name):
        names = ", ".join(map(_path, error.names))
        told = f"``{error.errno}``: " if error.errno else ""
        aside = f"({error.aside}) " if error.aside else ""
        yield f":raises {names}: {told}{aside}{_linked(error.when)}"


def _returned(entry):
    """What the first sentence says of it, after something else."""
    first = " ".join(entry.doc.prose[:1]).replace("\n", " ")
    found = RETURNED.search(first)
    return found and found[1]


def _path(name):
    """Of an exception, where its documentation is."""
    kind = callables.exception(name)
    if kind is not None and kind.__module__ == "threading":
        return f"threading.{name}"
    return name


def _linked(text):
    """Pages of manuals and issues are linked, calls are code."""
    text = re.sub(
        r"\b([a-z]\w+)\(([1-8])\)",
        lambda m: f"`{m[0]} <{MANUAL.format(*m.groups())}>`__",
        text,
    )
    text = re.sub(r"\bgh-(\d+)", rf"`gh-\1 <{ISSUE}/\1>`__", text)
    return CODE.sub(r"``\1``", text)


def setup(app):
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-signature", type_signature)
    app.connect("autodoc-process-docstring", typeset)
    app.connect("autodoc-process-docstring", type_attribute)
    app.connect("object-description-transform", move_type)
    app.connect("doctree-read", draw_dashes)
    return {"parallel_read_safe": True}

# SPDX-License-Identifier: MIT
"""Docstrings as autodoc shows them: signatures without types, and what they
say of arguments, of what is returned and of errors as fields, with types."""

import dataclasses
import re

import callables

MANUAL = "https://man7.org/linux/man-pages/man{1}/{0}.{1}.html"
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
        key = ".".join(name.split(".")[-2:])
        kind = callables.attributes().get(key)
        if kind is not None:
            lines += ["", f":type: {kind}", ""]


def typeset(app, what, name, obj, options, lines):
    if what in ("class", "method", "function") and lines:
        entry = callables.entry(name)
        if what == "class" and dataclasses.is_dataclass(obj):
            return
        lines[:] = [*_prose(entry), "", *_fields(name, entry), ""]


def _prose(entry):
    lines = []
    for paragraph in [*entry.doc.prose, " ".join(entry.doc.notes)]:
        if paragraph.startswith("    "):
            lines += [".. code-block:: python", "", *paragraph.split("\n"), ""]
        else:
            lines += [*_linked(paragraph).split("\n"), ""]
    return lines


def _fields(name, entry):
    signature = entry.signature
    for argument, text in callables.arguments(name).items():
        yield f":param {argument}: {_linked(text)}"
        if argument in signature.types:
            yield f":type {argument}: {signature.types[argument]}"
    errors = callables.errors(name)
    if signature.returns and (signature.names or errors):
        returned = _returned(entry)
        if returned:
            yield f":returns: {_linked(returned)}"
        yield f":rtype: {signature.returns}"
    for error in errors:
        names = ", ".join(map(_path, error.names))
        told = f"``{error.errno}``: " if error.errno else ""
        aside = f"({error.aside}) " if error.aside else ""
        yield f":raises {names}: {told}{aside}{_linked(error.when)}"


def _returned(entry):
    """What the first sentence says of it, after something else."""
    first = " ".join(entry.doc.prose[:1]).replace("\n", " ")
    found = re.search(r"(?:[;,]| and) return (?:, [\w ]+, )?(.+?)\.(?: |$)", first)
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
    return re.sub(
        r"(?<![\w.`])([A-Za-z_][\w.]*\((?![1-8]\)>? ?<)[^()`\s]*\)|\w+=[\w.\"]+\w)(?![\w`])",
        r"``\1``",
        text,
    )


def setup(app):
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-signature", type_signature)
    app.connect("autodoc-process-docstring", typeset)
    app.connect("autodoc-process-docstring", type_attribute)
    return {"parallel_read_safe": True}

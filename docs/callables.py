# SPDX-License-Identifier: MIT
"""What can be called in shmemext: how, with which types, and what its
docstring says of arguments and errors. Types of what is written in C are the
stub's, others the source's; of overloads those of the last one that is for
all callers."""

import ast
import builtins
import copy
import dataclasses
import inspect
import pickle
import queue
import re
import struct
import threading
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import docstrings

import shmemext
from shmemext import arrays, channels, handoff, managers

PACKAGE = Path(shmemext.__file__).parent
STUB = PACKAGE / "_shmemext.pyi"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# As they are called by who uses them.
SHOWN = {
    "ArrayLike": "numpy.typing.ArrayLike",
    "Buffer": "collections.abc.Buffer",
    "Callable": "collections.abc.Callable",
    "DTypeLike": "numpy.typing.DTypeLike",
    "Iterable": "collections.abc.Iterable",
    "Iterator": "collections.abc.Iterator",
    "PathLike": "os.PathLike",
    "Sequence": "collections.abc.Sequence",
    "SupportsFloat": "float",
    "SupportsIndex": "int",
    "_Array": "numpy.ndarray",
    "_Repair": "contextlib.AbstractContextManager[bool]",
    "timedelta": "datetime.timedelta",
}
QUALIFIED = re.compile(r"(?<![\w.])(?:[a-z]\w*\.)+\w+")


class Signature(NamedTuple):
    shown: str  # without types
    names: list[str]
    types: dict[str, str]
    returns: str | None


class Entry(NamedTuple):
    name: str  # with the modules and the class
    obj: object
    signature: Signature
    doc: docstrings.Doc


# Sources


@cache
def functions(path):
    """Those of a file, by their qualified names, each with its overloads."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, FUNCTIONS):
            found.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.ClassDef):
            own = {}
            for item in node.body:
                if isinstance(item, FUNCTIONS):
                    own.setdefault(item.name, []).append(item)
            # what is there for the stub alone stands for who derives from it
            for base in map(ast.unparse, node.bases):
                start = f"{base}."
                for name, those in list(found.items()):
                    if base[0] == "_" and name.startswith(start):
                        own.setdefault(name.removeprefix(start), those)
            found |= {f"{node.name}.{name}": own[name] for name in own}
    return found


def attribute(name):
    """The type of one by that name, as the stub or the source has it."""
    of, _, member = name.rpartition(".")
    if dataclasses.is_dataclass(find(of)):
        return _fields(of.rpartition(".")[2])[member][0]
    for kind in getattr(find(of), "__mro__", ()):
        found = _attributes().get(f"{kind.__name__}.{member}")
        if found is not None:
            return found
    return None


def field(name):
    """What is said below one of a dataclass."""
    of, _, member = name.rpartition(".")
    return _fields(of.rpartition(".")[2])[member][1]


@cache
def _fields(kind):
    """The types and texts of those of a dataclass."""
    found = {}
    for path in PACKAGE.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name == kind:
                for item, after in pairwise([*node.body, None]):
                    if isinstance(item, ast.AnnAssign):
                        is_text = isinstance(after, ast.Expr)
                        found[item.target.id] = (
                            shown(item.annotation, path),
                            inspect.cleandoc(after.value.value)
                            if is_text
                            else "",
                        )
    return found


@cache
def _attributes():
    found = {}
    for node in ast.parse(STUB.read_text()).body:
        for item in getattr(node, "body", ()):
            if isinstance(item, ast.AnnAssign):
                name = ast.unparse(item.target)
                found[f"{node.name}.{name}"] = shown(item.annotation, STUB)
    for name, (function, *_) in functions(STUB).items():
        if "property" in map(ast.unparse, function.decorator_list):
            found[name] = shown(function.returns, STUB)
    return found


@cache
def aliases(path):
    """What private names of types stand for, those of TypeVars too."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            targets = getattr(node, "targets", None) or [node.target]
            name, value = ast.unparse(targets[0]), node.value
            if isinstance(value, ast.Call):
                if ast.unparse(value.func) != "TypeVar":
                    continue
                bounds = [k.value for k in value.keywords if k.arg == "bound"]
                found[name] = bounds[0] if bounds else ast.Name("Any")
            elif name.lstrip("_")[:1].isupper() and isinstance(
                value, ast.Subscript | ast.BinOp
            ):
                found[name] = value
    return found


class _Show(ast.NodeTransformer):
    def __init__(self, names):
        self.names = names

    def visit_Name(self, node):
        if node.id in SHOWN:
            return ast.parse(SHOWN[node.id], mode="eval").body
        if node.id in self.names:
            return self.visit(copy.deepcopy(self.names[node.id]))
        return ast.Name(node.id)

    def visit_Constant(self, node):  # a name that is not imported then
        if isinstance(node.value, str):
            return self.visit(ast.parse(node.value, mode="eval").body)
        return node

    def visit_Attribute(self, node):
        name = ast.unparse(node).replace("np.", "numpy.")
        return ast.parse(name, mode="eval").body

    def visit_Subscript(self, node):
        called = ast.unparse(node.value)
        if called == "NDArray":
            return ast.parse("numpy.ndarray", mode="eval").body
        if called == "Literal":
            is_bool = ast.unparse(node.slice) in ("True", "False")
            return ast.Name("bool") if is_bool else node
        return ast.Subscript(self.visit(node.value), self.visit(node.slice))


def shown(annotation, path):
    names = aliases(PACKAGE / "_array_makers.py") | aliases(path)
    text = ast.unparse(_Show(names).visit(copy.deepcopy(annotation)))
    return QUALIFIED.sub(r"~\g<0>", text)  # of which the last part is shown


# How it is called


def signature(obj, name):
    """None: that is written nowhere, or says nothing."""
    found = _nodes(obj, name)
    if found is None:
        return None
    path, nodes = found
    whole = nodes[-1]  # after its overloads, but in a stub
    if path == STUB:
        whole = nodes[0]
    overloads = nodes if path == STUB else nodes[:-1]
    best = [node for node in overloads if _is_for_all(node)][-1:]
    typed = best[0] if best else whole
    bound = path == STUB or "." in obj.__qualname__
    bound = bound and not _is_static(whole)
    returns = typed.returns and shown(typed.returns, path)
    if typed.name in ("__init__", "__new__") or returns == "None":
        returns = None
    if isinstance(typed, ast.AsyncFunctionDef):
        returns = f"~collections.abc.Awaitable[{returns}]"
    bare = _without_types(whole.args, bound)
    _show_defaults(bare, obj)
    types = {
        one.arg: shown(one.annotation, path)
        for one in _each(typed.args)
        if one.annotation and one.arg in {a.arg for a in _each(bare)}
    }
    names = [one.arg for one in _each(bare)]
    return Signature(f"({ast.unparse(bare)})", names, types, returns)


def _nodes(obj, name):
    if isinstance(obj, type):
        for kind in obj.__mro__:
            for constructor in "__init__", "__new__":
                key = f"{kind.__name__}.{constructor}"
                if key in functions(STUB):
                    return STUB, functions(STUB)[key]
        return None
    code = getattr(inspect.unwrap(obj), "__code__", None)
    if code is not None:
        path = Path(code.co_filename)
        return path, functions(path)[obj.__qualname__]
    *_, of, member = name.split(".")
    for kind in getattr(getattr(shmemext, of, None), "__mro__", ()):
        if f"{kind.__name__}.{member}" in functions(STUB):
            return STUB, functions(STUB)[f"{kind.__name__}.{member}"]
    return None


def _each(arguments):
    """But *args and **kwargs."""
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


def _is_static(node):
    return "staticmethod" in map(ast.unparse, node.decorator_list)


def _is_for_all(node):
    """And not for callers with one type, or one value, of something."""
    typed = [one.arg for one in _each(node.args) if one.annotation]
    return all(node.args.kw_defaults) and "self" not in typed


def _without_types(arguments, bound):
    bare = ast.parse(f"def f({ast.unparse(arguments)}): pass").body[0].args
    for one in _each(bare):
        one.annotation = None
    first = bare.posonlyargs or bare.args
    if bound and first:
        first.pop(0)
    return bare


def _show_defaults(bare, obj):
    """Numbers for names, and permission bits as such."""
    real = inspect.signature(obj).parameters
    named = [*bare.posonlyargs, *bare.args][-len(bare.defaults) :]
    for ones, defaults in (
        (named, bare.defaults),
        (bare.kwonlyargs, bare.kw_defaults),
    ):
        for at, (one, default) in enumerate(zip(ones, defaults, strict=False)):
            if isinstance(default, ast.Attribute):
                defaults[at] = ast.Constant(real[one.arg].default)
            elif one.arg == "mode" and default.value is not None:
                defaults[at] = ast.Name(oct(default.value))


# What is there


def public():
    """The names of all that users call."""
    top = {*shmemext.__all__, *shmemext._LATER}
    names = {f"shmemext.{name}" for name in top}
    names |= {f"shmemext.arrays.{name}" for name in arrays.__all__}
    names |= {f"shmemext.handoff.{name}" for name in handoff.__all__}
    names |= {f"shmemext.managers.{name}" for name in managers.__all__}
    names |= {
        f"shmemext.channels.{name}" for name in {*channels.__all__} - top
    }
    return sorted({one for name in names for one in _with_methods(name)})


def _with_methods(name):
    obj = find(name)
    if not obj.__module__.startswith("shmemext"):
        return  # the standard library's, by another name
    if not isinstance(obj, type):
        yield name
    elif not issubclass(obj, BaseException) and not dataclasses.is_dataclass(
        obj
    ):
        if _nodes(obj, name) is not None:
            yield name
        for kind in obj.__mro__:
            if not kind.__module__.startswith("shmemext"):
                continue
            for member, value in vars(kind).items():
                value = getattr(value, "__func__", value)
                if member[0] != "_" and callable(value):
                    yield f"{name}.{member}"


def find(name):
    obj = shmemext
    for part in name.split(".")[1:]:
        obj = getattr(obj, part)
    return obj


@cache
def entry(name):
    obj = find(name)
    found = signature(obj, name)
    if found is None:
        found = Signature("()", [], {}, None)
    doc = inspect.getdoc(obj) or ""
    if isinstance(obj, type) and doc.startswith(f"{obj.__name__}("):
        doc = doc.partition("\n\n")[2]
    return Entry(name, obj, found, docstrings.parse(doc, found.names))


def referred(of, name):
    """What "X's" means where that is said: a class, a method beside it, or a
    function of the same module."""
    beside = name.rpartition(".")[0]
    if of[0].isupper():
        return f"shmemext.{of}"
    return f"{beside}.{of}"


def arguments(name):
    """All that are described, here or where that is said, in order."""
    one = entry(name)
    found = dict(one.doc.arguments)
    for reference in one.doc.references:
        if reference.arguments:
            theirs = arguments(referred(reference.of, name))
            found = theirs | found
    return {arg: found[arg] for arg in one.signature.names if arg in found}


def errors(name):
    """All, of here first."""
    one = entry(name)
    found = list(one.doc.errors)
    own = {error for each in found for error in each.names}
    for reference in one.doc.references:
        if reference.errors:
            left_out = {*reference.but, *(own if reference.others else ())}
            for error in errors(referred(reference.of, name)):
                names = tuple(n for n in error.names if n not in left_out)
                if names:
                    found.append(error._replace(names=names))
    return found


def exception(name):
    """The class of that name; None: there is none."""
    module, _, last = name.rpartition(".")
    modules = {"queue": queue, "struct": struct, "pickle": pickle}
    places = [modules.get(module)] if module else []
    if not module:
        places = [builtins, shmemext, threading]
    elif name == "queue.ShutDown":  # from Python 3.13 on
        places = [channels]
    for place in places:
        found = getattr(place, last, None)
        if isinstance(found, type) and issubclass(found, BaseException):
            return found
    return None

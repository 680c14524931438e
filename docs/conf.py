# SPDX-License-Identifier: MIT
"""How Sphinx makes a site of these pages: `make docs`."""

import ast
import doctest
import inspect
import os
import sys
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

import shmemext

sys.path.insert(0, str(Path(__file__).parent))
import drawings
from links import REPOSITORY, SITE

project = "shmemext"
author = "The shmemext developers"
copyright = author
version = release = shmemext.__version__

extensions = [
    "drawings",  # here, as are the next three
    "inventories",
    "links",
    "parsers",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
]
html_theme = "furo"
pygments_dark_style = "github-dark"  # the theme's has modules as links
html_title = f"shmemext {version}"
html_show_sphinx = False
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", f"https://{SITE}/")
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
    "light_css_variables": drawings.LIGHT | {"plot-edge": "0"},
    "dark_css_variables": drawings.DARK | {"plot-edge": "0.5rem"},
}
smartquotes = False

# What is typed is copied, what is answered is not.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"

myst_heading_anchors = 4  # what a forge makes of headings, as in the links

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_docstring_signature = False  # they have types, from the stub
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

doctest_default_flags = doctest.DONT_ACCEPT_TRUE_FOR_1

nitpicky = True
# Private names have no page. All others must resolve, those of Python and of
# numpy by docs/inventories.
nitpick_ignore_regex = [(r"py:.*", r"(.*\.)?_\w+|(np\.)?\w+")]

# What is imported when it is asked for is asked for, so that automodule finds
# it.
PUBLIC = sorted({*shmemext.__all__, *shmemext._LATER})
for public in PUBLIC:
    getattr(shmemext, public)
shmemext.__all__ = PUBLIC


def stubs():
    """The types of what is written in C: "Class.name" to (arguments, what it
    returns or is)."""
    classes = {}
    stub = Path(shmemext.__file__).with_name("_shmemext.pyi")
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.ClassDef):
            own = {}
            for item in node.body:
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                    # of overloads, the first says what people need to know
                    own.setdefault(item.name, signature(item))
                elif isinstance(item, ast.AnnAssign):
                    own[ast.unparse(item.target)] = (
                        "",
                        ast.unparse(item.annotation),
                    )
            # what is there for the stub alone stands for who derives from it
            inherited = [
                b for b in map(ast.unparse, node.bases) if b[0] == "_"
            ]
            for base in inherited:
                own = classes.get(base, {}) | own
            classes[node.name] = own
    return {
        f"{name}.{member}": types
        for name, members in classes.items()
        for member, types in members.items()
    }


def signature(function):
    arguments = function.args
    decorators = map(ast.unparse, function.decorator_list)
    if "staticmethod" not in decorators:
        (arguments.posonlyargs or arguments.args).pop(0)
    returns = ast.unparse(function.returns) if function.returns else None
    if isinstance(function, ast.AsyncFunctionDef):
        returns = f"Awaitable[{returns}]"
    return f"({ast.unparse(arguments)})", returns


TYPES = stubs()


def key_of(name):
    return ".".join(name.split(".")[-2:])


def type_signature(app, what, name, obj, options, text, returns):
    if what == "class" and isinstance(obj, type):
        for constructor in "__init__", "__new__":
            if f"{obj.__name__}.{constructor}" in TYPES:
                return TYPES[f"{obj.__name__}.{constructor}"][0], None
        return text, None
    if what == "method" and not inspect.isfunction(obj):
        return TYPES.get(key_of(name), (text, returns))
    return text, returns


def type_attribute(app, what, name, obj, options, lines):
    if what in ("attribute", "property") and key_of(name) in TYPES:
        lines += ["", f":type: ``{TYPES[key_of(name)][1]}``", ""]


def drop_signature(app, what, name, obj, options, lines):
    """Of a class in Python, whose docstring begins with one: it is shown as
    those of the others are."""
    if what == "class" and lines and lines[0].startswith(f"{obj.__name__}("):
        del lines[: lines.index("") + 1]


def run_examples(app, doctree):
    """A `pycon` block is a doctest."""
    for node in doctree.findall(nodes.literal_block):
        if node.get("language") == "pycon":
            node["testnodetype"] = "doctest"
            node["groups"] = ["default"]
            node["options"] = {}


def check_that_all_is_there(app, env):
    """Every public name has an entry; a warning is an error here."""
    objects = env.get_domain("py").objects
    managers = [f"managers.{name}" for name in shmemext.managers.__all__]
    for name in [*PUBLIC, *managers]:
        if f"shmemext.{name}" not in objects:
            logging.getLogger(__name__).warning(
                "shmemext.%s is not in the reference", name
            )


def setup(app):
    app.connect("autodoc-process-signature", type_signature)
    app.connect("autodoc-process-docstring", type_attribute)
    app.connect("autodoc-process-docstring", drop_signature)
    app.connect("doctree-read", run_examples)
    app.connect("env-check-consistency", check_that_all_is_there)

# SPDX-License-Identifier: MIT
"""How Sphinx makes a site of these pages: `make docs`."""

import doctest
import sys
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

import shmemext

project = "shmemext"
author = "The shmemext developers"
copyright = author
version = release = shmemext.__version__

sys.path.insert(0, str(Path(__file__).parent))
extensions = [
    "myst_parser",
    "parsers",  # here
    "signatures",  # here
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
]
html_theme = "furo"
html_title = f"shmemext {version}"
html_show_sphinx = False
smartquotes = False

myst_heading_anchors = 4  # what a forge makes of headings, as in the links

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_docstring_signature = False  # they are the stub's: signatures.py
autodoc_typehints = "none"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

doctest_default_flags = doctest.DONT_ACCEPT_TRUE_FOR_1

nitpicky = True
# The standard library's names have no page here, nor have private ones; ours
# must resolve.
nitpick_ignore_regex = [(r"py:.*", r"(?!shmemext\b).*|.*\._\w+")]

# What is imported when it is asked for is asked for, so that automodule finds
# it.
PUBLIC = sorted({*shmemext.__all__, *shmemext._LATER})
for public in PUBLIC:
    getattr(shmemext, public)
shmemext.__all__ = PUBLIC


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
    app.connect("doctree-read", run_examples)
    app.connect("env-check-consistency", check_that_all_is_there)

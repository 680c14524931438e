# SPDX-License-Identifier: MIT
"""How Sphinx makes a site of these pages: `make docs`."""

import doctest
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
    "drawings",  # here, as are the next four
    "inventories",
    "links",
    "parsers",
    "signatures",
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
smartquotes_action = "D"  # dashes, as between a parameter and what it is

# What is typed is copied, what is answered is not.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"

myst_heading_anchors = 4  # what a forge makes of headings, as in the links

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_docstring_signature = False  # they are the stub's: signatures.py
autodoc_typehints = "none"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

doctest_default_flags = doctest.DONT_ACCEPT_TRUE_FOR_1

nitpicky = True
# Private names have no page. All others must resolve, those of Python and of
# numpy by docs/inventories.
nitpick_ignore_regex = [(r"py:.*", r"(.*\.)?_\w+")]

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

# SPDX-License-Identifier: MIT
"""Links of the pages: to sources they lead to the repository, and when the
site is made, each of them leads somewhere. That needs no network: `make
docs-links` asks the other hosts."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import inventories
from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging

ROOT = Path(__file__).parent.parent
REPOSITORY = "https://github.com/shmemext/shmemext"
SITE = "shmemext.readthedocs.io"
# Who may be linked to.
HOSTS = {
    SITE,
    "docs.python.org",
    "github.com",
    "json-schema.org",
    "man7.org",
    "numpy.org",
}
INDICES = {"genindex", "py-modindex", "search"}
LINKS = {"a": "href", "link": "href", "img": "src", "script": "src"}


def lead_to_repository(app, doctree):
    """A file outside of docs/ is no page, and is not to be downloaded."""
    folder = Path(app.srcdir, app.env.docname).parent
    for node in list(doctree.findall(is_link_to_file)):
        path = (folder / node["reftarget"]).resolve()
        fragment = ""
        if isinstance(node, addnodes.pending_xref):
            path = Path(app.srcdir, f"{node['reftarget']}.md").resolve()
            fragment = f"#{node['reftargetid']}" * bool(node["reftargetid"])
        if path.is_file() and not path.is_relative_to(app.srcdir):
            address = f"{REPOSITORY}/blob/main/{path.relative_to(ROOT)}"
            link = nodes.reference(refuri=address + fragment, internal=False)
            link += node.children
            node.replace_self(link)


def is_link_to_file(node):
    return isinstance(node, addnodes.download_reference) or (
        isinstance(node, addnodes.pending_xref)
        and node.get("refdomain") == "doc"
        and node["reftarget"].startswith(("../", "/"))
    )


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.ids = {""}
        self.links = []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes.get("id"), attributes.get("name")}
        target = attributes.get(LINKS.get(tag))
        if target is not None:
            self.links.append(target)


class Site:
    def __init__(self, app):
        self.folder = Path(app.outdir)
        # not whatever a build before this one has left there
        made = {f"{name}.html" for name in {*app.env.found_docs, *INDICES}}
        self.pages = {
            name: Page(self.folder / name)
            for name in sorted(made)
            if (self.folder / name).exists()
        }
        self.base = app.config.html_baseurl

    def complaints(self):
        for name, page in self.pages.items():
            for target in page.links:
                complaint = self.look_at(urljoin(f"/{name}", target))
                if complaint:
                    yield f"{name}: {target}: {complaint}"
        linked = {link for page in self.pages.values() for link in page.links}
        for address, line in inventories.addresses().items():
            if address not in linked:
                yield f"docs/inventories/{line}: no page refers to it"

    def look_at(self, address):
        """What is wrong with it, or None."""
        if address.startswith(self.base):
            address = "/" + address.removeprefix(self.base)
        link = urlsplit(address)
        if not link.scheme:
            return self.look_inside(unquote(link.path[1:]), link.fragment)
        if address.startswith(REPOSITORY):
            return look_into_checkout(link.path)
        if link.scheme != "https":
            return "not https"
        if link.hostname not in HOSTS:
            return "whose host is not in docs/links.py"
        return None

    def look_inside(self, path, fragment):
        if path.endswith(".html"):
            if path not in self.pages:
                return "no such page"
            if fragment not in self.pages[path].ids:
                return "no such place in it"
        elif not (self.folder / path).is_file() and path:
            return "no such file"
        return None


def look_into_checkout(path):
    """/owner/name/blob/main/path"""
    _, _, _, *rest = path.split("/")
    if len(rest) > 2 and rest[1] == "main":
        file = ROOT.joinpath(*rest[2:])
        return None if file.exists() else "no such file in the checkout"
    return None


def check(app, error):
    if error is None and app.builder.name == "html":
        for complaint in Site(app).complaints():
            logging.getLogger(__name__).warning("%s", complaint)


def setup(app):
    # before the files to download are collected
    app.connect("doctree-read", lead_to_repository, priority=100)
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

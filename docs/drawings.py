# SPDX-License-Identifier: MIT
"""Drawings are laid into the page: so they follow its theme, light or dark.

Where docs/img is shown by something else, a forge for instance, the <style> in
each file is what follows the reader's system. It is STYLE in all of them."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SVG)

# What a class is filled with, on a light page and on a dark one. "ink" is
# text and strokes.
COLOURS = {
    "ink": ("#1b1f24", "#e3e6ea"),
    "paper": ("#ffffff", "#131416"),
    "mark": ("#cfe3f7", "#1d4a75"),
    "soft": ("#eceff3", "#2b3036"),
    "warn": ("#fbd9d3", "#6b2c25"),
    "good": ("#d3efd9", "#1f5233"),
}
LIGHT, DARK = (
    {f"drawing-{name}": both[side] for name, both in COLOURS.items()}
    for side in (0, 1)
)


def filled(side):
    """The rules of the classes that are filled."""
    for name, colours in list(COLOURS.items())[1:]:
        selector = ".paper, .box" if name == "paper" else f".{name}"
        yield f"{selector} {{ fill: {colours[side]} }}"


INK = COLOURS["ink"]
STYLE = "\n".join(
    [
        f".drawing {{ color: {INK[0]}; fill: currentColor; "
        "stroke-width: 1.5 }",
        ".box, .mark, .soft, .warn, .good, .line { stroke: currentColor }",
        *filled(0),
        ".line { fill: none }",
        "@media (prefers-color-scheme: dark) {",
        f"  .drawing {{ color: {INK[1]} }}",
        *(f"  {rule}" for rule in filled(1)),
        "}",
    ]
)


class LayInto(SphinxPostTransform):
    """Before images are collected, to be copied."""

    default_priority = 100
    formats = ("html",)

    def run(self, **options):
        for image in list(self.document.findall(nodes.image)):
            if image["uri"].endswith(".svg"):
                self.lay(image)

    def lay(self, image):
        path = Path(self.app.srcdir, image["uri"])
        for complaint in complaints(path):
            logging.getLogger(__name__).warning(
                "%s: %s", path.name, complaint, location=image
            )
        paragraph = image.parent
        if len(paragraph) > 1:
            logging.getLogger(__name__).warning(
                "%s is to be a paragraph of its own",
                path.name,
                location=image,
            )
        html = f'<div class="drawing-frame">{for_page(path, image)}</div>'
        paragraph.replace_self(nodes.raw("", html, format="html"))


def complaints(path):
    root = ElementTree.parse(path).getroot()
    style = root.findtext(f"{{{SVG}}}style", "")
    lines = [line.removeprefix("    ") for line in style.splitlines()]
    if "\n".join(lines).strip() != STYLE:
        yield "its <style> is not docs/drawings.py's"
    for element in root.iter():
        tag = element.tag.removeprefix(f"{{{SVG}}}")
        for attribute in ("fill", "stroke", "style"):
            if attribute in element.attrib:
                yield f"<{tag}> has {attribute}=, where a class would do"
        name = element.get("id")
        if name is not None and not name.startswith(f"{path.stem}-"):
            yield f'id="{name}" does not begin with the name of the file'


def for_page(path, image):
    """Without what the page has: style, background; its title is a label."""
    root = ElementTree.parse(path).getroot()
    for child in list(root):
        name = child.tag.removeprefix(f"{{{SVG}}}")
        if name in ("title", "style") or child.get("class") == "paper":
            root.remove(child)
    root.set("aria-label", image.get("alt", ""))
    return ElementTree.tostring(root, encoding="unicode")


def setup(app):
    app.add_post_transform(LayInto)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

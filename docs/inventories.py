# SPDX-License-Identifier: MIT
"""Names of Python's and numpy's documentation link there, without a network.

docs/inventories has a file for each. Its first line is where the pages are,
the others are a name, what we refer to it as, and its page, with a fragment if
that is not the name. A name that no page refers to is an error, as is one that
is missing."""

import zlib
from pathlib import Path

FOLDER = Path(__file__).parent / "inventories"


def lines(path):
    """Where it is, and of each name: itself, its role, its place there."""
    address, *entries = path.read_text().splitlines()
    return address, [place(*entry.split()) for entry in entries]


def place(name, role, page):
    anchor = f"module-{name}" if role == "py:module" else name
    return name, role, page if "#" in page else f"{page}#{anchor}"


def inventory(path):
    """What intersphinx would fetch: of names, roles, and where they are."""
    entries = "".join(
        f"{name} {role} 1 {there} -\n" for name, role, there in lines(path)[1]
    )
    head = (
        "# Sphinx inventory version 2\n"
        f"# Project: {path.stem}\n"
        "# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    return head.encode() + zlib.compress(entries.encode())


def addresses():
    """Of all names: where they are to the files and lines that say so."""
    return {
        f"{address}{there}": f"{path.name}: {name}"
        for path in sorted(FOLDER.glob("*.txt"))
        for address, entries in [lines(path)]
        for name, _, there in entries
    }


def write(app, config):
    """Before intersphinx looks at its own settings."""
    app.doctreedir.mkdir(parents=True, exist_ok=True)
    for path in sorted(FOLDER.glob("*.txt")):
        made = Path(app.doctreedir, f"{path.stem}.inv")
        made.write_bytes(inventory(path))
        address, _ = lines(path)
        config.intersphinx_mapping[path.stem] = (address, str(made))


def setup(app):
    app.setup_extension("sphinx.ext.intersphinx")
    app.connect("config-inited", write, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

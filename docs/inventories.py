# SPDX-License-Identifier: MIT
"""Names of Python's and numpy's documentation link there, without a network.

docs/inventories has a file for each. Its first line is where the pages are,
the others are a name, what it is, and its page: what we refer to, no more. A
name that no page refers to is an error, as is one that is missing."""

import zlib
from pathlib import Path

from sphinx.util.inventory import InventoryFile

FOLDER = Path(__file__).parent / "inventories"


def lines(path):
    address, *entries = path.read_text().splitlines()
    return address, [entry.split() for entry in entries]


def inventory(path):
    """What intersphinx would fetch: of names, roles, and where they are."""
    entries = "".join(
        f"{name} {role} 1 {page}#{anchor(name, role)} -\n"
        for name, role, page in lines(path)[1]
    )
    head = (
        "# Sphinx inventory version 2\n"
        f"# Project: {path.stem}\n"
        "# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    return head.encode() + zlib.compress(entries.encode())


def anchor(name, role):
    return f"module-{name}" if role == "py:module" else name


def addresses():
    """Of all names: where they are to the files and lines that say so."""
    return {
        f"{address}{page}#{anchor(name, role)}": f"{path.name}: {name}"
        for path in sorted(FOLDER.glob("*.txt"))
        for address, entries in [lines(path)]
        for name, role, page in entries
    }


def write(app, config):
    """Before intersphinx looks at its own settings."""
    app.doctreedir.mkdir(parents=True, exist_ok=True)
    for path in sorted(FOLDER.glob("*.txt")):
        made = Path(app.doctreedir, f"{path.stem}.inv")
        made.write_bytes(inventory(path))
        address, _ = lines(path)
        # a mistake in a line is one here
        InventoryFile.loads(made.read_bytes(), uri=address)
        config.intersphinx_mapping[path.stem] = (address, str(made))


def setup(app):
    app.setup_extension("sphinx.ext.intersphinx")
    app.connect("config-inited", write, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

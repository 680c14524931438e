# SPDX-License-Identifier: MIT
"""Object files that are compiled again only when what they are made of has
changed.

    build/objects/cpython-311-x86_64-linux-gnu-1f0c3a7b/csrc/core/error.o
                                                        csrc/core/error.json

The folder is named for the interpreter, and for the compiler with all its
arguments: what is compiled otherwise, for a sanitizer or with other warnings,
is beside it and not mixed up with it. The .json has the time and length of
each file that the compiler read, as the compiler itself lists them.
"""

import hashlib
import json
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

TICK = 20_000_000  # nanoseconds, by which the time of a file may be late


class NotCompiled(Exception):
    """Says which file. Why was printed by the compiler."""


class Objects:
    """What `command`, with a file's name after it, makes under `root`. The
    text of its version is a part of it. Some files have options of their own,
    which come last."""

    def __init__(self, command, version, root, tag, own=None):
        self.command = command
        self.own = own or {}
        how = "\0".join([*command, version, repr(self.own)]).encode()
        digest = hashlib.blake2b(how, digest_size=4).hexdigest()
        self.folder = Path(root, f"{tag}-{digest}")

    def compile(self, sources, jobs=None, again=False, say=lambda line: None):
        """The objects, in the order of the sources, or NotCompiled."""
        look = {}  # a header is looked at once
        stale = [
            source
            for source in sources
            if again or not self.is_current(source, look)
        ]
        jobs = jobs or len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(partial(self.compile_one, say=say), stale))
        return [str(self.path(source, ".o")) for source in sources]

    def path(self, source, suffix):
        return self.folder / Path(source).with_suffix(suffix)

    def is_current(self, source, look):
        try:
            read = json.loads(self.path(source, ".json").read_text())
        except (OSError, ValueError):
            return False
        for file, then in read.items():
            if file not in look:
                look[file] = stamp(file)
            if look[file] != then:
                return False
        return self.path(source, ".o").exists()

    def compile_one(self, source, say):
        made, listing = self.path(source, ".o"), self.path(source, ".d")
        record = self.path(source, ".json")
        made.parent.mkdir(parents=True, exist_ok=True)
        record.unlink(missing_ok=True)
        begin = time.time_ns() - TICK
        options = [*self.own.get(source, ()), "-MMD", "-MF", str(listing)]
        command = [*self.command, *options, "-c", source, "-o", str(made)]
        say(" ".join(command))
        if subprocess.run(command).returncode != 0:
            raise NotCompiled(f"{source} does not compile")
        read = {file: stamp(file) for file in names(listing.read_text())}
        # What was written meanwhile may not be what the compiler read.
        if all(at and at[0] < begin for at in read.values()):
            record.write_text(json.dumps(read))


def stamp(file):
    """When it was written and how long it is. Unequal rather than newer: a
    file that is moved or taken out of an archive brings its old time."""
    try:
        found = os.stat(file)  # noqa: PTH116 (hot)
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size]


def names(rule):
    """The prerequisites of a rule as compilers write it for make."""
    words = re.findall(r"(?:\\[^\n]|[^\s\\])+", rule.partition(": ")[2])
    return [re.sub(r"\\(.)", r"\1", w).replace("$$", "$") for w in words]

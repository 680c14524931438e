# SPDX-License-Identifier: MIT
"""What is released is the same, to the last byte, whoever makes it, where and
when: it bears the date of its sources, see reproducible-builds.org."""

import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def date():
    """In seconds: what SOURCE_DATE_EPOCH says, or when the commit was made
    that is checked out, or what the sdist bears that this is. Or None."""
    said = os.environ.get("SOURCE_DATE_EPOCH")
    if said:
        return int(said)
    try:
        if (ROOT / ".git").exists():
            done = subprocess.run(
                ["git", "log", "-1", "--format=%ct"],
                cwd=ROOT,
                capture_output=True,
            )
            return int(done.stdout)
        return int((ROOT / "PKG-INFO").stat().st_mtime)
    except (OSError, ValueError):  # no git, no commit, no sdist
        return None


def pack(folder, path):
    """An sdist, whose files are nobody's and of one date."""
    seconds = date()

    def without_traces(member):
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.mode & 0o100 else 0o644
        if seconds is not None:
            member.mtime = seconds
        return member

    content = io.BytesIO()
    with tarfile.open(mode="w", fileobj=content) as tar:
        tar.add(folder, filter=without_traces)
    path.write_bytes(gzip.compress(content.getvalue(), mtime=seconds))

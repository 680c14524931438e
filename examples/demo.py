"""Runs the three programs of the README: A and B at the same time, then one
that hands a segment to its child."""

import subprocess
import sys
from pathlib import Path

here = Path(__file__).parent


def python(name, **options):
    return subprocess.Popen(
        [sys.executable, str(here / name)], text=True, **options
    )


with python(
    "application_a.py", stdin=subprocess.PIPE, stdout=subprocess.PIPE
) as a:
    print(a.stdout.readline(), end="", flush=True)
    b = python("application_b.py").wait()
    a.communicate("\n")
process = python("process.py").wait()
sys.exit(a.returncode or b or process)

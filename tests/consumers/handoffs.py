# SPDX-License-Identifier: MIT
"""What goes by reference, of what packages make, and through what packages
send: `make consumers`.

docs/handoff.md says the same: a row that changes here changes there.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import python

# What is sent through a pipe: what is needed, how it is made, how it is
# compared with what has arrived, and whether it goes by reference.
OBJECTS = {
    "pandas, of numbers": (
        ["pandas"],
        """
import numpy, pandas
numbers = numpy.arange(300_000, dtype="f8").reshape(-1, 3)
sent = pandas.DataFrame(numbers, columns=list("abc"))
same = lambda one, other: one.equals(other)
""",
        True,
    ),
    "pandas, of several dtypes": (
        ["pandas"],
        """
import numpy, pandas
sent = pandas.DataFrame({
    "a": numpy.arange(100_000, dtype="i8"),
    "b": numpy.arange(100_000, dtype="f4"),
    "c": pandas.Categorical.from_codes(
        numpy.arange(100_000) % 3, ["x", "y", "z"]
    ),
})
same = lambda one, other: one.equals(other)
""",
        True,
    ),
    "pandas, over Arrow": (
        ["pandas", "pyarrow"],
        """
import pandas
text = pandas.Series([f"text {n}" for n in range(50_000)])
sent = text.astype("string[pyarrow]")
same = lambda one, other: one.equals(other)
""",
        True,
    ),
    "pyarrow.Table": (
        ["pyarrow"],
        """
import pyarrow
sent = pyarrow.table({
    "a": pyarrow.array(range(100_000)),
    "b": pyarrow.array([f"text {n}" for n in range(100_000)]),
})
same = lambda one, other: one.equals(other)
""",
        True,
    ),
    "polars.DataFrame": (
        ["polars"],
        """
import polars
sent = polars.DataFrame({"a": range(100_000), "b": [1.5] * 100_000})
same = lambda one, other: one.equals(other)
""",
        False,
    ),
    "torch.Tensor.numpy()": (
        ["torch", "numpy"],
        """
import torch
sent = torch.arange(100_000).numpy()
def same(one, other):
    return torch.equal(torch.from_numpy(one), torch.from_numpy(other))
""",
        True,
    ),
    "PIL.Image": (
        ["PIL"],
        """
from PIL import Image
sent = Image.new("RGB", (300, 300), (1, 2, 3))
same = lambda one, other: one.tobytes() == other.tobytes()
""",
        False,
    ),
    "bytes": (
        [],
        """
sent = bytes(100_000)
same = lambda one, other: one == other
""",
        False,
    ),
    "array.array": (
        [],
        """
import array
sent = array.array("d", range(100_000))
same = lambda one, other: one == other
""",
        False,
    ),
}

SEND = """
import pickle, threading
from multiprocessing import Pipe
import shmemext.handoff

shmemext.handoff.enable()
reader, writer = Pipe(duplex=False)
thread = threading.Thread(target=writer.send, args=(sent,))
thread.start()
message = reader.recv_bytes()
thread.join()
received = pickle.loads(message)
assert same(sent, received)
assert type(sent) is type(received)
print(len(message) < 10_000)
"""


def need(modules):
    if absent := [m for m in modules if not importlib.util.find_spec(m)]:
        pytest.skip(f"not installed: {', '.join(absent)}")


@pytest.mark.parametrize("thing", OBJECTS)
def test_what_goes_by_reference(thing):
    modules, make, goes = OBJECTS[thing]
    need(modules)
    done = python(make + SEND)
    assert done.stdout.split() == [str(goes)]


# What packages send through: `work` is what a worker does with an array.
SENDERS = {
    "concurrent.futures": (
        [],
        """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(1) as executor:
    back = executor.submit(work, array).result()
""",
        True,
    ),
    "asyncio": (
        [],
        """
import asyncio
from concurrent.futures import ProcessPoolExecutor
async def run():
    with ProcessPoolExecutor(1) as executor:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(executor, work, array)
back = asyncio.run(run())
""",
        True,
    ),
    "joblib, multiprocessing": (
        ["joblib"],
        """
from joblib import Parallel, delayed
parallel = Parallel(2, backend="multiprocessing", max_nbytes=None)
back = parallel(delayed(work)(array) for _ in range(2))[0]
""",
        False,
    ),
    "joblib, loky": (
        ["joblib"],
        """
from joblib import Parallel, delayed
back = Parallel(2)(delayed(work)(array) for _ in range(2))[0]
""",
        False,
    ),
    "loky": (
        ["loky"],
        """
from loky import get_reusable_executor
executor = get_reusable_executor(max_workers=1)
back = executor.submit(work, array).result()
executor.shutdown()
""",
        False,
    ),
    "multiprocess, which is dill's": (
        ["multiprocess"],
        """
import multiprocess
with multiprocess.Pool(1) as pool:
    back = pool.map(work, [array])[0]
""",
        False,
    ),
    "billiard": (
        ["billiard"],
        """
import billiard
with billiard.Pool(1) as pool:
    back = pool.map(work, [array])[0]
""",
        False,
    ),
    "cloudpickle in ForkingPickler's place": (
        ["cloudpickle"],
        """
import cloudpickle
from multiprocessing import get_context
from multiprocessing.reduction import ForkingPickler
ForkingPickler.dumps = cloudpickle.dumps
with get_context("fork").Pool(1) as pool:
    back = pool.map(lambda array: work(array), [array])[0]
""",
        False,
    ),
    "torch.multiprocessing": (
        ["torch"],
        """
import torch.multiprocessing
with torch.multiprocessing.get_context("fork").Pool(1) as pool:
    back = pool.map(work, [array])[0]
""",
        True,
    ),
}

WORKER = """
import numpy
from shmemext import handoff

handoff.enable()

def work(array):
    return way_of(array), array[::-1].copy()

def way_of(array):
    from handoff_children import lies_in_pool
    return lies_in_pool(array)
"""

PROGRAM = """
from worker import *

if __name__ == "__main__":
    array = numpy.arange(100_000)
{send}
    there, back = back
    assert (back[::-1] == array).all()
    told = handoff.stats()
    assert told["in_flight"] == 0, told
    print(there, way_of(back))
"""


@pytest.mark.parametrize("sender", SENDERS)
def test_what_packages_send_arrives(sender, tmp_path):
    modules, send, goes = SENDERS[sender]
    need(["numpy", *modules])
    (tmp_path / "worker.py").write_text(WORKER)
    send = "\n".join(f"    {line}" for line in send.splitlines())
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(send=send))
    here = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", program],
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                filter(None, [here, os.environ.get("PYTHONPATH")])
            ),
        },
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(goes)] * 2, done.stderr

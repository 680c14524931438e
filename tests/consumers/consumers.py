# SPDX-License-Identifier: MIT
"""Packages that take memory without copying it: `make consumers`.

Each makes an object of its own over a segment's memory; the segment is closed
and unlinked; the object has to go on reading what was there. Some keep no
buffer, only the object that gave it. Every case is a process, which may die.

Packages whose threads are not the system's are here too: all of them wait when
one sleeps in the system.

Not among the tests of `make test`: these need the packages of the group
`consumers` in pyproject.toml, and a compiler of C++.
"""

import importlib.util
import subprocess
import sysconfig
from pathlib import Path

import pytest
from conftest import python

HERE = Path(__file__).parent

# What is needed, and how it is done: `keep(source)` makes an object over the
# memory of source, `read(kept)` returns the bytes that it sees.
CONSUMERS = {
    "torch.frombuffer": (
        ["torch"],
        """
import torch
keep = lambda source: torch.frombuffer(source, dtype=torch.uint8)
read = lambda kept: bytes(kept.tolist())
""",
    ),
    "torch.asarray": (
        ["torch"],
        """
import torch
keep = lambda source: torch.asarray(source, dtype=torch.uint8)
read = lambda kept: bytes(kept.tolist())
""",
    ),
    "pygame.image.frombuffer": (
        ["pygame"],
        """
import pygame
keep = lambda source: pygame.image.frombuffer(source, (SIDE, SIDE), "RGBA")
read = lambda kept: kept.get_buffer().raw
""",
    ),
    "QImage": (
        ["PySide6"],
        """
from PySide6.QtGui import QImage
form = QImage.Format.Format_RGBA8888
keep = lambda source: QImage(source, SIDE, SIDE, 4 * SIDE, form)
read = lambda kept: bytes(kept.constBits())
""",
    ),
    "zmq send(copy=False)": (
        ["zmq"],
        """
import zmq
context = zmq.Context()
sender, receiver = context.socket(zmq.PUSH), context.socket(zmq.PULL)
sender.copy_threshold = 0
sender.bind("inproc://here")
receiver.connect("inproc://here")
keep = lambda source: sender.send(source, copy=False)
read = lambda kept: receiver.recv()
""",
    ),
    "pyarrow.py_buffer": (
        ["pyarrow"],
        """
import pyarrow
keep = pyarrow.py_buffer
read = lambda kept: kept.to_pybytes()
""",
    ),
    "pyarrow.foreign_buffer": (
        ["pyarrow", "numpy"],
        """
import numpy, pyarrow
def keep(source):
    address = numpy.frombuffer(source, "u1").ctypes.data
    return pyarrow.foreign_buffer(address, SIZE, base=source)
read = lambda kept: kept.to_pybytes()
""",
    ),
    "polars.from_arrow": (
        ["polars", "pyarrow", "numpy"],
        """
import numpy, polars, pyarrow
def keep(source):
    address = numpy.frombuffer(source, "u1").ctypes.data
    buffer = pyarrow.foreign_buffer(address, SIZE, base=source)
    return polars.from_arrow(
        pyarrow.Array.from_buffers(pyarrow.uint8(), SIZE, [None, buffer])
    )
read = lambda kept: bytes(kept.to_list())
""",
    ),
    "numpy.asarray": (
        ["numpy"],
        """
import numpy
keep = lambda source: numpy.asarray(source).view("u1")
read = lambda kept: kept.tobytes()
""",
    ),
    "__array_interface__": (
        ["numpy"],
        """
import numpy
class Holder:
    def __init__(self, source):
        self.source = source
        view = numpy.frombuffer(source, "u1")
        self.__array_interface__ = dict(view.__array_interface__)
keep = lambda source: numpy.asarray(Holder(source))
read = lambda kept: kept.tobytes()
""",
    ),
    "cv2": (
        ["cv2", "numpy"],
        """
import cv2, numpy
def keep(source):
    image = numpy.frombuffer(source, "u1").reshape(SIDE, SIDE, 4)
    return cv2.split(cv2.flip(image, -1)), cv2.Mat(image)
read = lambda kept: kept[1].tobytes()
""",
    ),
    "PIL.Image.frombuffer": (
        ["PIL"],
        """
from PIL import Image
def keep(source):
    return Image.frombuffer(
        "RGBA", (SIDE, SIDE), source, "raw", "RGBA", 0, 1
    )
read = lambda kept: kept.tobytes()
""",
    ),
    "skimage.util.view_as_blocks": (
        ["skimage", "numpy"],
        """
import numpy
from skimage.util import view_as_blocks
def keep(source):
    image = numpy.frombuffer(source, "u1").reshape(SIDE, 4 * SIDE)
    return view_as_blocks(image, image.shape)
read = lambda kept: kept.tobytes()
""",
    ),
    "pybind11's py::buffer": (
        ["pybind11"],
        """
from holder import Holder
keep = Holder
read = lambda kept: kept.read()
""",
    ),
}

# The memory is there as long as what was taken of the segment: its buf, a
# slice of that, an array over it, the segment itself. Of a bytearray, it shows
# that the consumer does what the case says.
SOURCES = {
    "buf": "shm.buf",
    "slice": "shm.buf[:]",
    "array": "__import__('numpy').ndarray(SIZE, 'u1', buffer=shm.buf)",
    "object": "shm",
    "bytearray": "bytearray(shm.buf)",
}

PROGRAM = """
import gc, mmap, sys
from shmemext import SharedMemory

SIDE = 128
SIZE = 4 * SIDE * SIDE
MINE = bytes(range(256)) * (SIZE // 256)

def close(shm):
    shm.close()

def leave(shm):
    with shm:
        pass

def die(shm):
    del shm
    gc.collect()

for end in close, leave, die:
    shm = SharedMemory(create=True, size=SIZE)
    shm.buf[:] = MINE
    source = {source}
    kept = keep(source)
    shm.unlink()
    owned = [shm]
    del source, shm
    end(owned.pop())
    # whoever maps next gets the place, if it is free
    others = [mmap.mmap(-1, SIZE) for _ in range(8)]
    for other in others:
        other[:] = bytes(b ^ 255 for b in MINE[:256]) * (SIZE // 256)
    assert read(kept) == MINE, end.__name__
    print(end.__name__, flush=True)
    del kept
"""


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The folder with the module of holder.cpp."""
    where = tmp_path_factory.mktemp("compiled")
    pybind11 = pytest.importorskip("pybind11")
    include = pybind11.get_include()
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    subprocess.run(
        [
            *["c++", "-std=c++17", "-O1", "-shared", "-fPIC"],
            *[f"-I{include}", f"-I{sysconfig.get_path('include')}"],
            *[HERE / "holder.cpp", "-o", where / f"holder{suffix}"],
        ],
        check=True,
    )
    return where


def missing(modules):
    return [name for name in modules if not importlib.util.find_spec(name)]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_memory_stays_as_long_as_its_consumer(consumer, source, request):
    modules, code = CONSUMERS[consumer]
    if absent := missing(modules):
        pytest.skip(f"not installed: {', '.join(absent)}")
    env = {"QT_QPA_PLATFORM": "offscreen", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}
    if "pybind11" in modules:
        env["PYTHONPATH"] = str(request.getfixturevalue("compiled"))
    program = code + PROGRAM.replace("{source}", SOURCES[source])
    done = python(program, env=env, check=False)
    assert (done.returncode, done.stdout.split()) == (
        0,
        ["close", "leave", "die"],
    ), done.stderr


# --- threads that are not the system's

GREEN = {
    "gevent": """
from gevent import monkey
monkey.patch_all()
from gevent import spawn
""",
    "eventlet": """
import eventlet
eventlet.monkey_patch()
from eventlet import spawn
""",
}

MEET = """
import os, time
from shmemext import SharedMemory

name = f"shmemext-test-green-{os.getpid()}"
made = []

def create():
    for _ in range(5):
        time.sleep(0.01)
    made.append(SharedMemory(name, create=True, size=100))

spawn(create)
with SharedMemory(name, timeout=60) as shm:
    assert made
made[0].unlink()
made[0].close()
try:
    SharedMemory(name, timeout=0.05)
except FileNotFoundError:
    print("met")
"""


@pytest.mark.parametrize("package", GREEN)
def test_other_green_threads_run_while_one_waits(package):
    """Among them the one that creates what is waited for."""
    if absent := missing([package]):
        pytest.skip(f"not installed: {', '.join(absent)}")
    done = python(GREEN[package] + MEET)
    assert done.stdout == "met\n", done.stderr

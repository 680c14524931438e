# SPDX-License-Identifier: MIT
"""Two containers that share /dev/shm, each with process numbers of its own:
what docs/containers.md says of them."""

import subprocess
import sys

import pytest
from test_full import namespace

BOTH = """
import os, sys, time
from shmemext import Channel, Lock, OwnerDied, SharedMemory
from shmemext import collect, segments

both = {"create": True, "exist_ok": True, "lifetime": "users"}
shm = SharedMemory("both", size=4096, **both)
jobs = Channel("jobs", **both)
lock = Lock(shm)
def names():
    return [one.name for one in segments() if one.name == "own"]
"""
KILLED = """
own = SharedMemory("own", create=True, size=100)
jobs.put(b"job")
with lock, jobs.receive():
    print(os.getpid(), flush=True)
    time.sleep(600)
"""
OTHER = """
collect()
print(os.getpid(), lock.acquire(timeout=0.1), jobs.peers, names(), flush=True)
input()  # the other container is killed meanwhile
try:
    lock.acquire()
except OwnerDied:
    print("told", end=" ")
with jobs.receive(timeout=60) as job:
    print(bytes(job), job.deliveries, end=" ")
while names():
    collect()
print("swept")
"""
# sh stays, and is PID 1, so that each has a reaper
CONTAINER = [
    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("sh", "-c", '"$@"; exit', "sh"),
]


@pytest.fixture
def containers():
    """Starts programs in containers of their own, all with one /dev/shm."""
    if namespace() is None:
        pytest.skip("no permission to mount a /dev/shm (unshare)")
    machine = subprocess.Popen(
        [*namespace(), "mount -t tmpfs tmpfs /dev/shm && echo && read _"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    machine.stdout.readline()
    enter = ["nsenter", f"--target={machine.pid}", "--mount"]
    if "U" in namespace()[1]:
        enter += ["--user", "--preserve-credentials"]
    started = []

    def start(code):
        process = subprocess.Popen(
            [*enter, *CONTAINER, sys.executable, "-c", BOTH + code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    machine.communicate(b"\n")


def test_container_that_is_killed(containers):
    """Its lock is told, its message comes back, its names go, and none of
    that while it lives."""
    killed = containers(KILLED)
    number = killed.stdout.readline()
    other = containers(OTHER)
    assert other.stdout.readline() == f"{number.strip()} False 1 ['own']\n"
    killed.kill()
    assert other.communicate("\n", timeout=300)[0] == "told b'job' 2 swept\n"

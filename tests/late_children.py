# SPDX-License-Identifier: MIT
"""What children do that have not imported shmemext, or import it late."""

import importlib
import multiprocessing
import os
import signal
import time


def say(*words):
    """In one piece, whoever else does."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


def sleep_on():
    say(os.getpid())
    time.sleep(600)


def attach_late(module, name, seconds):
    """As if the module of the target took so long to import."""
    say(os.getpid())
    time.sleep(seconds)
    kind = importlib.import_module(module).SharedMemory
    try:
        kind(name).close()
    except FileNotFoundError:
        say("gone")
    else:
        say("attached")
    time.sleep(600)


def create_late(module, name):
    importlib.import_module(module).SharedMemory(name, create=True, size=1)


def hand_on(method, depth):
    """A chain: each starts the next one and is killed."""
    if depth == 0:
        sleep_on()
    multiprocessing.get_context(method).Process(
        target=hand_on, args=(method, depth - 1)
    ).start()
    os.kill(os.getpid(), signal.SIGKILL)


def leave_a_daemon():
    """That runs another program, which is no member."""
    os.system("sleep 600 >/dev/null 2>&1 & echo $!")
    os.kill(os.getpid(), signal.SIGKILL)


def shut_everything():
    """What the child holds open, a daemon closes before it imports."""
    say(os.getpid())
    time.sleep(600)

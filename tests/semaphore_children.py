# SPDX-License-Identifier: MIT
"""What the tests of semaphores, events and atomic numbers run in other
processes: importable there by name."""

import time

kept = []  # until the process ends


def take_and_stay(semaphore, count, connection):
    """Has so many, until it is killed."""
    for _ in range(count):
        semaphore.acquire()
    connection.send("taken")
    time.sleep(600)


def take_and_end(semaphore, count):
    """A worker that ends normally with them."""
    for _ in range(count):
        semaphore.acquire()
    kept.append(semaphore)


def release_error(semaphore, connection):
    try:
        semaphore.release()
    except ValueError as error:
        connection.send(str(error))
    else:
        connection.send(None)


def signal(semaphore, count):
    for _ in range(count):
        semaphore.release()


def wait_and_report(event, connection):
    connection.send("here")
    connection.send(event.wait(60))


def wait_for_good(event, connection):
    connection.send("here")
    event.wait()


def set_event(event):
    event.set()


def add(atomic, count):
    for _ in range(count):
        atomic.add(1)


def wait_for_change(atomic, value, connection):
    connection.send("here")
    connection.send((atomic.wait(value, 60), atomic.load()))


def work(semaphore, inside, most, rounds):
    """Never more inside than there are permits."""
    for _ in range(rounds):
        with semaphore:
            now = inside.add(1) + 1
            seen = most.load()
            while now > seen:
                found = most.compare_exchange(seen, now)
                if found == seen:
                    break
                seen = found
            inside.add(-1)

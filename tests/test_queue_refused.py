# SPDX-License-Identifier: MIT
"""What is written over a queue by who may write there: an error, or another
object, and never the end of who looks."""

import pytest
from conftest import python

# A word of what controls a queue, its first page, is changed each time; the
# pickles behind it are left alone, since what is unpickled may do anything.
HOSTILE = """
import collections, errno, random, sys
from shmemext import Queue, SharedMemory

rng = random.Random(int(sys.argv[2]))
LIKELY = [0, 1, 8, 4096, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1]
CALLS = [
    lambda: queue.put(b"x", timeout=0.05),
    lambda: queue.get(timeout=0.05),
    lambda: queue.get(False),
    lambda: queue.put(bytes(1000), False),
    lambda: queue.qsize(),
    lambda: queue.empty(),
    lambda: queue.full(),
    lambda: queue.task_done(),
    lambda: repr(queue),
    lambda: queue.peers,
    lambda: queue.shutdown(),
    lambda: queue.close(),
]
seen = collections.Counter()
for _ in range(200):
    queue = Queue(name=sys.argv[1], create=True, size=1 << 16)
    with SharedMemory(sys.argv[1]) as memory:
        for _ in range(rng.randrange(5)):
            queue.put(bytes(rng.randrange(2000)))
        words = memory.buf[:4096].cast("Q")
        at = rng.randrange(64 if rng.random() < 0.7 else len(words))
        words[at] = rng.choice([
            *LIKELY,
            rng.getrandbits(64),
            words[at] ^ 1 << rng.randrange(64),
            (words[at] + rng.choice([-1, 1, 8, 4096])) % (1 << 64),
        ])
        for call in CALLS:
            try:
                call()
            except OSError as error:
                assert error.errno == errno.EBADMSG, error
                seen["damaged"] += 1
            except Exception:
                pass
        words.release()
        memory.unlink()
print(seen["damaged"])
"""


@pytest.mark.parametrize("seed", range(2))
def test_hostile_words_are_damage(name, seed):
    assert int(python(HOSTILE, name, seed).stdout) > 0

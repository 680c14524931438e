"""Moves money between two accounts in a file, a hundred times, while
audit.py looks at them. With "die" as a second argument it is killed in the
middle of the last move, when the money is in neither.

python transfer.py PATH [die]
"""

import os
import signal
import sys

from shmemext import Lock, MappedFile

path, *how = sys.argv[1:]
try:
    file = MappedFile(path, create=True, size=80)
except FileExistsError:
    file = MappedFile(path, size=80)

lock = Lock(file)  # the first 64 bytes
accounts = file.buf[64:80].cast("q")  # the other two times 8
with lock:
    if accounts[0] + accounts[1] == 0:
        accounts[0] = 1000
for move in range(1, 101):
    with lock:
        accounts[0] -= 1
        if how == ["die"] and move == 100:
            os.kill(os.getpid(), signal.SIGKILL)
        accounts[1] += 1
print(*accounts)

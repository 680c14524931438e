"""Adds up the accounts of transfer.py, and puts them right where that was
killed in the middle.

python audit.py PATH
"""

import sys

from shmemext import Lock, MappedFile, OwnerDied

file = MappedFile(sys.argv[1])
lock = Lock(file)
accounts = file.buf[64:80].cast("q")
try:
    with lock:
        print(*accounts, "sum:", sum(accounts))
except OwnerDied:
    with lock.repair():  # we have the lock, and know that somebody died
        print(*accounts, "sum:", sum(accounts), "in the middle of a move")
        accounts[1] = 1000 - accounts[0]

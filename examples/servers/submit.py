"""Another program than Celery's worker: has a task done, and gets an array."""

from tasks import double

from shmemext import Atomic, SharedMemory, arrays

table = arrays.create("celery-table", (1000, 1000))
table[:] = 7
begun = Atomic(SharedMemory("celery-begun", create=True, size=64))

name = double.delay("celery-table").get(timeout=60)
doubled = arrays.open(name)
arrays.unlink(name)  # it is ours: nobody else needs the name

print(doubled.shape, doubled[999, 999], "begun", begun.load(), "times")

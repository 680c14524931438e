/* SPDX-License-Identifier: MIT */
#include "core/error.h"

#include <string.h> /* strerror */

const char *
shx_error_text(shx_err err)
{
    switch (err) {
    case SHX_OK:
        return "success";
    case SHX_EMPTY:
        return "cannot mmap an empty file";
    case SHX_NOT_MEMORY:
        return "the name is not that of a shared memory segment";
    case SHX_RESERVED:
        return "names that begin with '.shmemext-' are reserved for the "
               "library's own directories: choose another name";
    case SHX_INTERRUPTED:
        return "interrupted";
    case SHX_GONE:
        return "the segment's name is gone or now names another segment: "
               "ask for the descriptor before unlink()";
    case SHX_SQUATTED:
        return "a '.shmemext-' directory in the way is not a directory of "
               "this user alone: remove it, or create with track=False";
    case SHX_NEGATIVE:
        return "__len__() should return >= 0";
    case SHX_CORRUPT:
        return "the segment does not hold a ShareableList, or its item was "
               "overwritten with something else";
    case SHX_TOO_LONG:
        return "bytes/str item exceeds available storage";
    case SHX_TOO_SMALL:
        return "the memory is smaller than asked";
    case SHX_NOT_SEALED:
        return "the descriptor is not of memory that can be sealed against "
               "shrinking (see memfd_create(2), MFD_ALLOW_SEALING): pass one "
               "of an AnonymousMemory";
    case SHX_HELD:
        return "a pipe, a device or the system has pages of the memory";
    case SHX_CROWDED:
        return "this process has nearly as many mappings as the system "
               "allows: let go of segments that nobody uses, or raise the "
               "limit with sysctl vm.max_map_count";
    case SHX_REPLACED:
        return "the name now names another segment: it was not removed";
    case SHX_NO_ORPHANS:
        return "the orphan would come back to this process, which is PID 1, "
               "a child subreaper, or the program that PID 1 runs, or would "
               "be of another pid namespace";
    case SHX_NO_LOCKS:
        return "the system, or a sandbox, lacks locks of open files "
               "(F_OFD_SETLK of fcntl(2), Linux 3.15), by which families, "
               "lifetime='users' and locks live: create with track=True, as "
               "the standard library does, or track=False, and lock by "
               "multiprocessing's";
    case SHX_NO_RANDOM:
        return "there are no random numbers: the system, or a sandbox, lacks "
               "getrandom(2), and /dev/urandom is missing: mount /dev, or "
               "create under a name of your own with track=False";
    case SHX_NO_MEMFD:
        return "the system, or a sandbox, lacks memory without a name "
               "(memfd_create(2), Linux 3.17): SharedMemory and MappedFile "
               "do without";
    case SHX_NO_SEALS:
        return "the system, or a sandbox, lacks seals (F_ADD_SEALS of "
               "fcntl(2), Linux 3.17), without which a peer could cut the "
               "memory short: SharedMemory and MappedFile do without";
    case SHX_NO_READERS:
        return "the system cannot make memory read-only for others alone "
               "(F_SEAL_FUTURE_WRITE of fcntl(2), Linux 5.1): seal() makes "
               "it so for everybody";
    case SHX_NO_REMAP:
        return "the system, or a sandbox, cannot map memory a second time "
               "(mremap(2) from a size of 0), as it has to be where "
               "readonly_handle() forbids every other way: grow() first";
    case SHX_NO_POPULATE:
        return "the system cannot populate a mapping (MADV_POPULATE_WRITE of "
               "madvise(2), Linux 5.14): touch a byte of each page";
    case SHX_NO_PROC:
        return "/proc is not mounted, and in /proc/self/fd alone is an open "
               "file opened anew, or named: mount -t proc proc /proc";
    case SHX_NO_RESERVE:
        return "the system, or a sandbox, lacks fallocate(2), and a seal "
               "forbids zeros to be written in its place: grow() first, or "
               "create with reserve=False";
    case SHX_NO_LEASES:
        return "the system, or a sandbox, lacks leases (F_SETLEASE of "
               "fcntl(2)), which say whether anybody has a file open";
    case SHX_OWNER_DIED:
        return "the process that held it died";
    case SHX_NOT_OWNER:
        return "another process holds it, or nobody";
    case SHX_SLICE_OVER:
        return "a slice of a sleep is over";
    case SHX_IN_USE:
        return "the bytes are in use: a synchronizer wants zeros, which no "
               "one else writes to";
    case SHX_FOREIGN:
        return "a synchronizer of another kind is there";
    case SHX_BROKEN:
        return "the barrier is broken";
    case SHX_TOO_MANY:
        return "semaphore or lock released too many times";
    case SHX_NOT_LOCAL:
        return "this file system's locks may be those of one kernel alone, "
               "so nobody could say whether a holder lives: use /dev/shm, "
               "anonymous memory, or a file on ext4, xfs, btrfs, f2fs, tmpfs "
               "or overlay";
    case SHX_NO_DONTFORK:
        return "the system, or a sandbox, lacks MADV_DONTFORK of madvise(2) "
               "(Linux 2.6.16), so a forked child would seem to hold what its "
               "parent does: multiprocessing's locks do without";
    case SHX_FORKED:
        return "this process was forked while its parent waited, and has not "
               "come itself: call wait() again, if it is to be one of the "
               "parties";
    case SHX_DAMAGED:
        return "it is damaged: somebody has written where only its own "
               "functions do. Nothing in it is to be trusted: unlink() it, "
               "and create another one";
    case SHX_SHUT_DOWN:
        return "it was shut down";
    case SHX_SECOND_WRITER:
        return "it has a writer, which lives: there is one at a time";
    case SHX_SPENT:
        return "it was received before, or what it stands for is gone: such a "
               "message is good for one receiver, while others that have it "
               "live";
    default:
        return strerror(err);
    }
}

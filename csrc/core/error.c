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
    default:
        return strerror(err);
    }
}

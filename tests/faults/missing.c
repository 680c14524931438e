/* SPDX-License-Identifier: MIT */
/* Preloaded: a system that lacks some calls, or refuses them, to whoever makes
 * them: an old kernel, a sandbox, another file system.
 *
 *   MISSING="O_TMPFILE=95,fallocate=38"     what, and with which errno
 *
 * How each is passed on, and where that works, is in words.h.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <stdlib.h> /* getenv, atoi */
#include <string.h>
#include <sys/syscall.h> /* SYS_statx, SYS_renameat2, SYS_futex */

#include "words.h"

/* The errno that a call is to have, or 0. */
static int
missing(const char *name)
{
    const char *at = getenv("MISSING");
    size_t length = strlen(name);
    for (; at != NULL && *at != '\0'; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, length) == 0 && at[length] == '=') {
            return atoi(at + length + 1);
        }
    }
    return 0;
}

static int
refuses(const char *name)
{
    int code = missing(name);
    if (code != 0) {
        errno = code;
    }
    return code != 0;
}

static int
refuses_open(const char *path, long flags)
{
    const long tmpfile = 020000000; /* less O_DIRECTORY: that differs */
    return ((flags & tmpfile) && refuses("O_TMPFILE")) ||
           (strncmp(path, "/proc/self/fd/", 14) == 0 && refuses("procfd")) ||
           (strcmp(path, "/proc/self/pagemap") == 0 && refuses("pagemap"));
}

static int
refuses_link(long flags)
{
    return refuses("linkat") ||
           refuses(flags & 0x1000  ? "linkat_empty" /* AT_EMPTY_PATH */
                   : flags & 0x400 ? "linkat_proc"  /* AT_SYMLINK_FOLLOW */
                                   : "linkat_name");
}

static int
refuses_fallocate(long mode)
{
    return refuses("fallocate") ||
           (mode == 1 && refuses("fallocate_keep")) /* FALLOC_FL_KEEP_SIZE */
           || ((mode & 2) && refuses("fallocate_punch"));
}

/* By the numbers of fcntl.h: F_SETLEASE, F_ADD_SEALS; and of the locks of open
 * files, F_OFD_GETLK to F_OFD_SETLKW. */
static int
refuses_fcntl(long command, long argument)
{
    return (command >= 36 && command <= 38 && refuses("ofd")) ||
           (command == 1024 && refuses("lease")) ||
           (command == 1033 && (refuses("seals") ||
                                ((argument & 16) && refuses("future_write"))));
}

/* By the numbers of madvise.h: MADV_POPULATE_READ and _WRITE,
 * MADV_WIPEONFORK, MADV_DONTFORK. */
static int
refuses_advice(long advice)
{
    return ((advice == 22 || advice == 23) && refuses("populate")) ||
           (advice == 18 && refuses("wipeonfork")) ||
           (advice == 10 && refuses("dontfork"));
}

/* What is called by its number, for old C libraries have no name for it. */
static int
refuses_number(long number)
{
    return (number == SYS_statx && refuses("statx")) ||
           (number == SYS_renameat2 && refuses("renameat2")) ||
           (number == SYS_futex && refuses("futex")) ||
           (number == 449 && refuses("waitv")) ||
           (number == 436 && refuses("close_range"));
}

#define CALL(name, refused, result)                                           \
    long name(WORDS)                                                          \
    {                                                                         \
        static words *real;                                                   \
        if (refused) {                                                        \
            return result;                                                    \
        }                                                                     \
        FIND(real, #name)                                                     \
        return real(PASSED);                                                  \
    }

CALL(open, refuses_open((const char *)a, (int)b), -1)
CALL(open64, refuses_open((const char *)a, (int)b), -1)
CALL(openat, refuses_open((const char *)b, (int)c), -1)
CALL(openat64, refuses_open((const char *)b, (int)c), -1)
CALL(linkat, refuses_link((int)e), -1)
CALL(fallocate, refuses_fallocate((int)b), -1)
CALL(fallocate64, refuses_fallocate((int)b), -1)
CALL(fcntl, refuses_fcntl((int)b, c), -1)
CALL(fcntl64, refuses_fcntl((int)b, c), -1)
CALL(madvise, refuses_advice((int)c), -1)
CALL(memfd_create,
     refuses("memfd") || (((int)b & 8) && refuses("memfd_noexec")), -1)
CALL(getrandom, refuses("getrandom"), -1)
CALL(inotify_init1, refuses("inotify"), -1)
CALL(process_vm_readv, refuses("process_vm_readv"), -1)
CALL(clone, refuses("clone"), -1)
CALL(syscall, refuses_number(a), -1)
CALL(mremap, refuses("mremap"), -1)

/* SPDX-License-Identifier: MIT */
/* A preloaded library that makes one system call of our extension fail.
 *
 *   failing_arm("_shmemext", k, errno)
 *                        the k-th call that code of a file so named makes from
 *                        now on, in this thread, does not happen
 *   failing_disarm()     how many calls there were
 *   failing_name()       the one that failed, "" if none did
 *   failing_arm_others("_shmemext", k, errno)
 *                        the k-th call of other threads does not happen
 *   failing_others()     the one that failed, "" if none did
 *   failing_hold(name)   the next call of that name, in this thread, stops: of
 *                        pthread_mutex_lock when it has the lock, of others
 *                        before anything happens
 *   failing_holds()      has it stopped?
 *   failing_let_go()     it goes on
 *
 * Who calls is told by the return address, so Python's own calls are neither
 * counted nor failed. close() and munmap() are counted and never fail, nor
 * does a write() to an eventfd: there is nothing that a program could do about
 * it.
 *
 * How a call is passed on, and where that works, is in words.h.
 */
#define _GNU_SOURCE

#include <dlfcn.h> /* dladdr, dlsym */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>      /* strstr, strcmp */
#include <sys/syscall.h> /* SYS_statx, SYS_futex */

#include "words.h"

int usleep(unsigned microseconds);

enum { FUTEX_WAITV = 449 }; /* of Linux 5.16 */

static __thread const char *caller;
static __thread int seen;
static __thread int failing;
static __thread int error;
static __thread const char *failed = "";
static __thread const char *stops_in;
static atomic_int holds;
static __thread int arms_others;
static _Atomic(const char *) others_file;
static _Atomic(const char *) others_failed;
static atomic_int others_left;
static int others_error;

void
failing_arm_others(const char *file, int k, int code)
{
    arms_others = 1;
    others_error = code;
    atomic_store(&others_left, k);
    atomic_store(&others_failed, "");
    atomic_store(&others_file, file);
}

const char *
failing_others(void)
{
    atomic_store(&others_file, NULL);
    return atomic_load(&others_failed);
}

void
failing_arm(const char *file, int k, int code)
{
    failed = "";
    seen = 0;
    failing = k;
    error = code;
    caller = file;
}

int
failing_disarm(void)
{
    caller = NULL;
    return seen;
}

const char *
failing_name(void)
{
    return failed;
}

void
failing_hold(const char *name)
{
    atomic_store(&holds, 0);
    caller = "_shmemext";
    stops_in = name;
}

int
failing_holds(void)
{
    return atomic_load(&holds);
}

void
failing_let_go(void)
{
    atomic_store(&holds, 0);
}

/* Does this call stop? For as long as it is held. */
static void
stop_in(const void *from, const char *name)
{
    Dl_info info;
    if (stops_in != NULL && strcmp(stops_in, name) == 0 &&
        dladdr(from, &info) != 0 && strstr(info.dli_fname, caller) != NULL) {
        stops_in = NULL;
        atomic_store(&holds, 1);
        while (atomic_load(&holds)) {
            usleep(1000);
        }
    }
}

/* Does this call of another thread fail? */
static int
others_fail(const void *from, const char *name)
{
    Dl_info info;
    const char *file = atomic_load(&others_file);
    if (arms_others || file == NULL || dladdr(from, &info) == 0 ||
        strstr(info.dli_fname, file) == NULL ||
        atomic_fetch_sub(&others_left, 1) != 1) {
        return 0;
    }
    atomic_store(&others_failed, name);
    errno = others_error;
    return 1;
}

/* Does this call fail? */
static int
fails(const void *from, const char *name, int may_fail)
{
    Dl_info info;
    if (may_fail && others_fail(from, name)) {
        return 1;
    }
    if (caller == NULL || dladdr(from, &info) == 0 ||
        strstr(info.dli_fname, caller) == NULL) {
        return 0;
    }
    if (++seen != failing || !may_fail) {
        return 0;
    }
    failed = name;
    errno = error;
    return 1;
}

#define CALL(name, told, result, may_fail)                                    \
    long name(WORDS)                                                          \
    {                                                                         \
        static words *real;                                                   \
        stop_in(__builtin_return_address(0), told);                           \
        if (fails(__builtin_return_address(0), told, may_fail)) {             \
            return result;                                                    \
        }                                                                     \
        FIND(real, #name)                                                     \
        return real(PASSED);                                                  \
    }

#define MINUS_ONE(name) CALL(name, #name, -1, 1)
#define NOTHING(name) CALL(name, #name, 0, 1)       /* returns a pointer */
#define THE_ERROR(name) CALL(name, #name, error, 1) /* returns an errno */
#define NEVER(name) CALL(name, #name, 0, 0)

/* What takes a length or an offset has a second name, for those of 64 bits
 * where words have 32: it is told by the first. */
#define BOTH(name) MINUS_ONE(name) CALL(name##64, #name, -1, 1)

/* statx() is made by its number, and goes by the name of the call that it
 * stands for; and so is a sleep on a word, or on several. Others that are made so have
 * another way, and a wake-up that is lost is made up for. */
long
syscall(WORDS)
{
    static words *real;
    if (a == SYS_futex && c == 9 /* FUTEX_WAIT_BITSET */) {
        stop_in(__builtin_return_address(0), "futex");
        if (fails(__builtin_return_address(0), "futex", 1)) {
            return -1;
        }
    }
    if (a == FUTEX_WAITV) {
        stop_in(__builtin_return_address(0), "futex_waitv");
        if (fails(__builtin_return_address(0), "futex_waitv", 1)) {
            return -1;
        }
    }
    if (a == SYS_statx) {
        const char *name = *(const char *)c == '\0' ? "fstat"
                           : (d & 0x100) ? "lstat" /* no link is followed */
                                         : "stat";
        stop_in(__builtin_return_address(0), name);
        if (fails(__builtin_return_address(0), name, 1)) {
            return -1;
        }
    }
    FIND(real, "syscall")
    return real(PASSED);
}

NEVER(close)
NEVER(munmap)

/* What rings a bell cannot fail either: there is room in it. */
long
write(WORDS)
{
    enum { RINGS = 8 };
    static words *real;
    if (fails(__builtin_return_address(0), "write", c != RINGS)) {
        return -1;
    }
    FIND(real, "write")
    return real(PASSED);
}

BOTH(open)
MINUS_ONE(__open_2)
CALL(__open64_2, "__open_2", -1, 1)
MINUS_ONE(access)
MINUS_ONE(shm_open)
BOTH(openat)
BOTH(fstat)
BOTH(lstat)
BOTH(stat)
BOTH(fstatat)
BOTH(fstatfs)
BOTH(fstatvfs)
BOTH(statvfs)
MINUS_ONE(chmod)
MINUS_ONE(fchmod)
MINUS_ONE(fchmodat)
BOTH(fallocate)
MINUS_ONE(fsync)
MINUS_ONE(fdatasync)
BOTH(ftruncate)
BOTH(mmap)
MINUS_ONE(mremap)
MINUS_ONE(msync)
MINUS_ONE(madvise)
MINUS_ONE(process_vm_readv)
MINUS_ONE(link)
MINUS_ONE(linkat)
MINUS_ONE(unlink)
MINUS_ONE(unlinkat)
MINUS_ONE(symlinkat)
MINUS_ONE(readlink)
MINUS_ONE(readlinkat)
MINUS_ONE(rename)
MINUS_ONE(renameat)
MINUS_ONE(mkdir)
MINUS_ONE(mkdirat)
MINUS_ONE(rmdir)
MINUS_ONE(flock)
BOTH(fcntl)
MINUS_ONE(read)
BOTH(pread)
BOTH(pwrite)
MINUS_ONE(dup)
MINUS_ONE(dup2)
MINUS_ONE(dup3)
MINUS_ONE(pipe)
MINUS_ONE(pipe2)
MINUS_ONE(socketpair)
MINUS_ONE(poll)
MINUS_ONE(ppoll)
MINUS_ONE(inotify_init1)
MINUS_ONE(inotify_add_watch)
MINUS_ONE(inotify_rm_watch)
MINUS_ONE(waitpid)
MINUS_ONE(prctl)
MINUS_ONE(memfd_create)
MINUS_ONE(eventfd)
MINUS_ONE(clone)
MINUS_ONE(fork)
MINUS_ONE(execve)
MINUS_ONE(kill)
MINUS_ONE(setsid)
MINUS_ONE(getrandom)
MINUS_ONE(nanosleep)

NOTHING(getcwd)
NOTHING(realpath)
NOTHING(opendir)
NOTHING(fdopendir)
NOTHING(readdir)
CALL(readdir64, "readdir", 0, 1)

/* A sanitizer's own, where there is one. */
#ifndef NO_MALLOC
NOTHING(malloc)
NOTHING(calloc)
NOTHING(realloc)
NOTHING(reallocarray)
#endif

THE_ERROR(posix_spawn)
THE_ERROR(posix_spawnp)
THE_ERROR(posix_spawnattr_init)
THE_ERROR(posix_spawnattr_setflags)
THE_ERROR(pthread_attr_init)
THE_ERROR(pthread_create)

int
pthread_mutex_lock(void *mutex)
{
    static int (*real)(void *);
    if (real == NULL) {
        real = (int (*)(void *))dlsym(RTLD_NEXT, "pthread_mutex_lock");
    }
    int result = real(mutex);
    stop_in(__builtin_return_address(0), "pthread_mutex_lock");
    return result;
}

/* SPDX-License-Identifier: MIT */
/* A preloaded library that has one file answer slowly.
 *
 *   slow_hold(path, seconds)  from now on, opening that file, or asking about
 *                             it, waits for slow_let_go(), so long at most
 *   slow_count()              how many wait at this moment
 *   slow_let_go()             how many waited in vain
 *
 * A descriptor, and its link in /proc, is the file that it is of. Each call is
 * passed on with seven longs: see failing.c. */
#define _GNU_SOURCE

#include <dlfcn.h> /* dlsym, RTLD_NEXT */
#include <stdatomic.h>
#include <stdio.h>       /* snprintf */
#include <string.h>      /* strcmp */
#include <sys/syscall.h> /* SYS_statx */

extern int usleep(unsigned);
extern long readlink(const char *, char *, unsigned long);

static const char link_to[] = "/proc/self/fd/";
static _Atomic(const char *) held;
static atomic_int waiting, in_vain, patience;

void
slow_hold(const char *path, int seconds)
{
    in_vain = 0;
    patience = seconds * 1000;
    held = path;
}

int
slow_count(void)
{
    return waiting;
}

int
slow_let_go(void)
{
    held = NULL;
    return in_vain;
}

static void
answer(const char *path)
{
    char target[512];
    if (held == NULL) {
        return;
    }
    if (strncmp(path, link_to, sizeof link_to - 1) == 0) {
        long length = readlink(path, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = '\0';
        path = target;
    }
    const char *mine = held;
    if (mine == NULL || strcmp(path, mine) != 0) {
        return;
    }
    waiting++;
    for (int left = patience; held != NULL && left >= 0; left--) {
        in_vain += left == 0;
        (void)usleep(1000);
    }
    waiting--;
}

static void
answer_of(long fd)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%s%ld", link_to, fd);
    answer(path);
}

typedef long seven(long, long, long, long, long, long, long);

#define CALL(name, wait)                                                      \
    long name(long a, long b, long c, long d, long e, long f, long g)         \
    {                                                                         \
        static seven *real;                                                   \
        wait;                                                                 \
        if (real == NULL) {                                                   \
            real = (seven *)dlsym(RTLD_NEXT, #name);                          \
        }                                                                     \
        return real(a, b, c, d, e, f, g);                                     \
    }

#define BY_PATH(name) CALL(name, answer((const char *)a))
#define BY_DESCRIPTOR(name) CALL(name, answer_of(a))

/* statx() is made by its number. */
long
syscall(long number, long at, const char *path, long flags, long e, long f,
        long g)
{
    static long (*real)(long, long, const char *, long, long, long, long);
    if (number == SYS_statx && *path == '\0') {
        answer_of(at);
    }
    else if (number == SYS_statx) {
        answer(path);
    }
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    }
    return real(number, at, path, flags, e, f, g);
}

BY_PATH(open)
BY_PATH(open64)
BY_PATH(__open_2)
BY_PATH(__open64_2)
BY_PATH(stat)
BY_PATH(stat64)
BY_PATH(lstat)
BY_PATH(lstat64)
BY_DESCRIPTOR(fstat)
BY_DESCRIPTOR(fstat64)

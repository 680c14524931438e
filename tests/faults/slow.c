/* SPDX-License-Identifier: MIT */
/* A preloaded library that has one file answer slowly.
 *
 *   slow_hold(path, seconds)  from now on, opening that file, or asking about
 *                             it, waits for slow_let_go(), so long at most
 *   slow_count()              how many wait at this moment
 *   slow_let_go()             how many waited in vain
 *
 * A descriptor, and its link in /proc, is the file that it is of. How each
 * call is passed on, and where that works, is in words.h. */
#define _GNU_SOURCE

#include <stdatomic.h>
#include <stdio.h>       /* snprintf */
#include <string.h>      /* strcmp */
#include <sys/syscall.h> /* SYS_statx */

#include "words.h"

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

#define CALL(name, wait)                                                      \
    long name(WORDS)                                                          \
    {                                                                         \
        static words *real;                                                   \
        wait;                                                                 \
        FIND(real, #name)                                                     \
        return real(PASSED);                                                  \
    }

#define BY_PATH(name) CALL(name, answer((const char *)a))
#define BY_DESCRIPTOR(name) CALL(name, answer_of(a))

/* statx() is made by its number. */
long
syscall(WORDS)
{
    static words *real;
    const char *path = (const char *)c;
    if (a == SYS_statx && *path == '\0') {
        answer_of(b);
    }
    else if (a == SYS_statx) {
        answer(path);
    }
    FIND(real, "syscall")
    return real(PASSED);
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

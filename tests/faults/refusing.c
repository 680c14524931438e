/* SPDX-License-Identifier: MIT */
/* Preloaded: clone() makes no child that does not say SIGCHLD at its end, as
 * under qemu and some seccomp filters. REFUSAL is the errno. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

int
clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
    (void)function, (void)stack, (void)flags, (void)argument;
    errno = atoi(getenv("REFUSAL"));
    return -1;
}

/* SPDX-License-Identifier: MIT */
/* Preloaded: the first child that clone() makes, beside its parent, is killed
 * before it has done anything. */
#define _GNU_SOURCE
#include <dlfcn.h> /* dlsym, RTLD_NEXT */
#include <sched.h> /* CLONE_VFORK */
#include <stddef.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/types.h> /* pid_t */
#include <unistd.h>    /* getpid */

typedef int cloner(int (*)(void *), void *, int, void *, ...);

static int died;

static int
die(void *argument)
{
    (void)argument;
    return kill(getpid(), SIGKILL);
}

int
clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
    cloner *real = (cloner *)dlsym(RTLD_NEXT, "clone");
    va_list more;
    va_start(more, argument);
    pid_t *parent = NULL;
    void *tls = NULL;
    pid_t *child = NULL;
    if ((flags & CLONE_CHILD_CLEARTID) != 0) {
        parent = va_arg(more, pid_t *);
        tls = va_arg(more, void *);
        child = va_arg(more, pid_t *);
    }
    va_end(more);
    if ((flags & CLONE_VFORK) != 0 && !died) {
        died = 1;
        function = die;
    }
    return real(function, stack, flags, argument, parent, tls, child);
}

/* SPDX-License-Identifier: MIT */
/* Linux: threads of our own, and what they wait for: descriptors. */
#define _GNU_SOURCE

#include <errno.h>
#include <poll.h>
#include <signal.h> /* pthread_sigmask */
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h> /* write */

#include "core/os/os.h"

/* What it needs is little, and programs limit their address space. */
enum { STACK = 256 * 1024 };

/* The program's signals are for its own threads: what interrupts these tells
 * who waits in them. */
shx_err
shx_os_start_thread(void *(*run)(void *context), void *context,
                    shx_thread *out)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    int err = pthread_attr_init(&attributes);
    if (err != 0) {
        return err;
    }
    (void)pthread_attr_setstacksize(&attributes, STACK);
    (void)sigfillset(&all);
    err = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (err == 0) {
        err = pthread_create(&out->system, &attributes, run, context);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    (void)pthread_attr_destroy(&attributes);
    return err;
}

void
shx_os_join_thread(const shx_thread *thread)
{
    (void)pthread_join(thread->system, NULL);
}

shx_err
shx_os_poll(const int *fds, size_t count, bool waits, bool *any)
{
    struct pollfd *all = calloc(count != 0 ? count : 1, sizeof *all);
    if (all == NULL) {
        return ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        all[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    }
    int found = poll(all, (nfds_t)count, waits ? -1 : 0);
    shx_err err = found < 0 ? errno : 0;
    free(all);
    if (err == 0) {
        *any = found > 0;
    }
    return err;
}

shx_err
shx_os_hang_bell(int *fd)
{
    int made = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (made < 0) {
        return errno;
    }
    *fd = made;
    return 0;
}

void
shx_os_ring_bell(int fd)
{
    const uint64_t once = 1;
    ssize_t written = write(fd, &once, sizeof once);
    (void)written; /* there is room for 2^64 - 2 of them */
}

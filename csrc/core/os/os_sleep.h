/* SPDX-License-Identifier: MIT */
/* The part of os.h that sleeps and wakes: time, words of shared memory,
 * threads of our own, descriptors. */
#ifndef SHX_OS_SLEEP_H
#define SHX_OS_SLEEP_H

#include <pthread.h> /* pthread_t */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h> /* struct timespec */

#include "core/error.h"

/* Time, see os_linux_watch.c. */
void shx_os_now(struct timespec *now);

/* Another number every few milliseconds, for a few nanoseconds. */
uint64_t shx_os_tick(void);

/* Sleeps as long. EINTR is returned. */
shx_err shx_os_pause(const struct timespec *length);

/* Words that sleepers in any process look at, see os_linux_wait.c. Sleeps
 * while it is `seen`, at most until then by shx_os_now(). 0: woken, or for no
 * reason. EAGAIN: it is not. ETIMEDOUT. EFAULT: its page is lost. EINTR is
 * returned. */
typedef _Atomic uint32_t shx_word;
shx_err shx_os_wait(const shx_word *word, uint32_t seen,
                    const struct timespec *until);

/* A word, what it was when it was looked at: a place to sleep at. */
typedef struct {
    const shx_word *word;
    uint32_t seen;
} shx_berth;

/* The same at several of them, until one of these changes: SHX_BERTHS at most.
 * ENOTSUP: this system sleeps at one word only. */
enum { SHX_BERTHS = 128 };
shx_err shx_os_wait_any(const shx_berth *berths, size_t count,
                        const struct timespec *until);

/* For who looks at a word again and again: a moment, some 25 ns. */
void shx_os_relax(void);

/* Wakes as many of its sleepers, at most: how many it were. */
unsigned shx_os_wake(const shx_word *word, unsigned count);

/* Has one that sleeps on a word sleep on another, unwoken: has there been one?
 * EAGAIN: the first is not `seen`. */
shx_err shx_os_requeue(const shx_word *from, uint32_t seen,
                       const shx_word *onto, bool *moved);

/* A thread that takes no signals, see os_linux_thread.c. A forked child has
 * none. It is to end by itself; then it is joined, once. */
typedef struct {
    pthread_t system;
} shx_thread;
shx_err shx_os_start_thread(void *(*run)(void *context), void *context,
                            shx_thread *out);
void shx_os_join_thread(const shx_thread *thread);

/* Can any of the descriptors be read, or would that fail at once? Looks, or
 * waits for that. EINTR is returned. */
shx_err shx_os_poll(const int *fds, size_t count, bool waits, bool *any);

/* A descriptor of this process alone that can be read when it was rung. */
shx_err shx_os_hang_bell(int *fd);
void shx_os_ring_bell(int fd);

#endif

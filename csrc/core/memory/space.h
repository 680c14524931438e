/* SPDX-License-Identifier: MIT */
/* Space is the pages behind a file's bytes. Reserved space exists: a touch of
 * it cannot fail for want of room. Without it a file has a length, and pages
 * come at the first touch, or SIGBUS does.
 *
 *   0              size                  wanted
 *   |   reserved   |   being reserved   |       the length does not change
 *   |   reserved                        |       until all of it is there
 *
 * A file grows in that order, so whoever looks at its length sees the old or
 * the new one, and a process that is killed half way leaves the old.
 */
#ifndef SHX_SPACE_H
#define SHX_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

/* Asked between the pieces of a long reservation, and whenever a signal cut
 * one short. Anything but 0 stops with SHX_INTERRUPTED. */
typedef int (*shx_poll)(void *context);

typedef struct {
    bool reserve;
    bool durable;  /* what is told to be there survives a power failure */
    shx_poll poll; /* may be NULL */
    void *context;
} shx_space;

/* Shall it go on? 0: yes. */
int shx_space_ask(const shx_space *space);

/* Gives an empty file that nobody else knows its length. ENOSPC: there is no
 * room, and part of the space may be taken. */
shx_err shx_space_fill(const shx_space *space, int fd, uint64_t size);

/* Makes the file longer, from `size` to `wanted`: whoever calls this holds
 * shx_os_lock(). On error the file is as it was; only where it was durable,
 * and the disk failed to say that it is done, it may be longer. */
shx_err shx_space_grow(const shx_space *space, int fd, uint64_t size,
                       uint64_t wanted);

#endif

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
 * the new one, and a process that is killed half way leaves the old; what it
 * had reserved, the next one uses or gives back.
 *
 * Where the system reserves nothing beyond the end of a file, the length goes
 * up with what is there, and one process at a time does that:
 *
 *   0              size                  wanted
 *   |   reserved   | ##### >            |       zeros, from the end on
 *
 * Whoever looks meanwhile sees a length in between, and a process that is
 * killed leaves one, with all of its bytes. Nothing is ever written where
 * somebody else may have: zeros are appended, wherever the end is by then.
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

/* Makes the file longer, if it is not by then. Any number of processes may do
 * so at once, each to its own length: it never gets shorter. `fd` is nobody
 * else's. On error the file is as it was; only where it was durable, and the
 * disk failed to say that it is done, it may be longer.
 *
 * What lies beyond the end belongs to all who lengthen the file: they share a
 * lock, and never wait for each other. The last of them gives back what
 * others had reserved there and did not come to use, because they failed or
 * were killed. It has the lock alone, so that nobody gets that space while it
 * is given back; the next one waits for that moment, and for nothing else.
 *
 * Where nothing can be reserved beyond the end, who lengthens the file has the
 * lock alone, and the others wait for him, as long as he gets on with it. He
 * does not ask whether to stop. He is not waited for when he is stopped in
 * the middle. The file may be longer after an error then, and where somebody
 * else has locked all of it, for nobody is alone. */
shx_err shx_space_grow(const shx_space *space, int fd, uint64_t wanted);

#endif

/* SPDX-License-Identifier: MIT */
/* What the two files of awaited.h share: helpers, who sleep for another one.
 *
 * A helper sleeps once, rings, and ends. It is started anew for the next sleep
 * then, with what the words are by that time.
 */
#ifndef SHX_AWAITED_HELPER_H
#define SHX_AWAITED_HELPER_H

#include "core/os/os.h"

typedef struct {
    shx_berth berths[SHX_BERTHS]; /* the first is `stop` */
    size_t count;
    bool reads; /* it waits for descriptors instead */
    int *fds;   /* the last is a bell to stop it by */
    size_t fd_count;
    shx_word *bell; /* of who waits */
    shx_word stop;
    _Atomic bool rang;
    _Atomic bool useless; /* the system does not let it sleep so */
    bool runs;
    uint32_t process; /* whose thread, and bell, these are */
    shx_thread thread;
} shx_helper;

/* For so many descriptors. It is useless if there is no room for that, or no
 * descriptor left. */
void shx_helper_take(shx_helper *self, const int *fds, size_t count);

/* Sleeps from now on, unless it does; its berths are set before, from the
 * second one on. False: it cannot. */
bool shx_helper_start(shx_helper *self, shx_word *bell);

/* May its berths be set? */
bool shx_helper_is_idle(shx_helper *self);

/* Ends it, and lets go of what it has. */
void shx_helper_end(shx_helper *self);

#endif

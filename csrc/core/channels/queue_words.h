/* SPDX-License-Identifier: MIT */
/* What the files of the queue share. */
#ifndef SHX_QUEUE_WORDS_H
#define SHX_QUEUE_WORDS_H

#include "core/channels/queue.h"
#include "core/channels/ring_words.h"

/* queue_pages.c: both under `put`. */

/* Pages for a record of so many bytes that is put at the tail, and for what is
 * at the end of the data if it does not fit there. Of a long one only those at
 * its ends: the rest is made present by shx_queue_fill(). ENOSPC. EAGAIN,
 * ESTALE: there is no room. */
shx_err shx_queue_back(shx_ring *ring, uint64_t tail, uint64_t span);

/* Moves the head over what is free, and gives back idle pages. */
shx_err shx_queue_trim(shx_ring *ring);

/* Without the lock: the bytes of a long record that is reserved. ENOSPC. */
shx_err shx_queue_fill(const shx_ring *ring, const shx_ring_record *record);

/* Are there so many that are free, or may be, that it is worth a look? */
static inline bool
shx_queue_is_fat(const shx_ring *ring)
{
    uint64_t floor =
        atomic_load_explicit(&ring->in->floor, memory_order_relaxed);
    uint64_t next =
        atomic_load_explicit(&ring->out->next, memory_order_relaxed);
    return next - floor >= SHX_QUEUE_IDLE + SHX_QUEUE_GRAIN;
}

static inline shx_cell *
shx_queue_done(const shx_ring *ring)
{
    unsigned char *page = (unsigned char *)ring->about;
    return (shx_cell *)(void *)(page + SHX_QUEUE_DONE);
}

static inline shx_slot *
shx_queue_owed(const shx_ring *ring)
{
    unsigned char *page = (unsigned char *)ring->about;
    return (shx_slot *)(void *)(page + SHX_QUEUE_OWED);
}

/* In the own words of the cell `about`. */
static inline shx_word *
shx_queue_most(const shx_ring *ring)
{
    return &ring->about->own[2];
}

/* queue_tally.c: one task more that is owed by us. */
void shx_queue_owe(shx_ring *ring, const shx_member *me);

/* All tasks may be done. */
void shx_queue_tell(shx_ring *ring);

#endif

/* SPDX-License-Identifier: MIT */
/* Waiting for several things at a time, of any kinds: those that sleep at a
 * word, and descriptors. Nothing is taken.
 *
 *   thing, thing ...       127 words -------+
 *   thing, thing ...       127 words  <--- helper --- rings ---+--->  sleeper
 *   descriptors                       <--- helper --- rings ---+
 *
 * The sleeper sleeps at the words of the first, and at one of its own, its
 * bell. What the system does not let it sleep at beside these, helpers do:
 * threads, which are there from the first sleep to the end. Whoever of them is
 * woken rings; the sleeper looks at everything then. Where the system sleeps
 * at one word only, or has no thread or descriptor left, it looks every
 * 2 ms.
 *
 *   look at all     something is there: done
 *   mark each       in its word, and look at it again
 *   sleep           woken: from the start. A slice is over: look after the
 *                   dead, then from the start
 *
 * Who is woken may have been woken in another's place, and takes nothing. So
 * when nobody of it sleeps any more it looks once more, and passes on what it
 * was woken for; what is gone by then it waits for again. It may also be one
 * of those few who look after the dead of a cell: another one is woken for
 * that.
 *
 * fork   A child of another thread has nothing of all this. One that is forked
 *        while its parent asks for signals, and goes on, has helpers of its
 *        own, and is to say in `me` who it is.
 */
#ifndef SHX_AWAITED_H
#define SHX_AWAITED_H

#include "core/sync/cell.h"
#include "core/sync/patience.h"

typedef struct shx_awaited shx_awaited;

/* What differs between the kinds. */
typedef struct {
    uint32_t mark; /* in its word: somebody sleeps there */

    /* EAGAIN: it is not there. EBUSY: nobody can say at this moment. What else
     * there is, whoever takes it will be told: then it is there. */
    shx_err (*look)(shx_awaited *one);

    /* Looks after what the dead have left, which may wait for a lock for so
     * long. SHX_INTERRUPTED, or anything else: the next one may. NULL: to look
     * is all there is to do. */
    shx_err (*recover)(shx_awaited *one, const shx_patience *brief);

    /* It is there, and is not taken. `unwoken`: nobody was woken for it. */
    void (*pass_on)(shx_awaited *one, bool unwoken);
} shx_awaited_kind;

struct shx_awaited {
    const shx_awaited_kind *kind;
    shx_cell *cell;
    void *what;      /* the rest is its kind's */
    const void *who; /* who waits */
    uint64_t since;  /* what had been before */
    shx_member me;
    bool is_there; /* as it was when the wait ended */
};

/* Descriptors that are waited for beside. */
typedef struct {
    const int *numbers;
    size_t count;
    bool any; /* can be read */
} shx_readable;

/* Waits until something is there. ETIMEDOUT, or EAGAIN without `waits`:
 * nothing is. SHX_INTERRUPTED; EFAULT: a page is lost; ENOMEM; EINVAL: more
 * descriptors than one may have. */
shx_err shx_await_any(shx_awaited *const *things, size_t count,
                      shx_readable *readable, shx_patience *patience,
                      bool waits);

#endif

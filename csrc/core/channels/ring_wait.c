/* SPDX-License-Identifier: MIT */
/* How one waits for a message, or for room: on the words of `messages` and of
 * `room`, see waited.h. Who has put or given something changes the word only
 * if somebody waits, and wakes one. */
#include "core/channels/ring_words.h"

#include <errno.h>
#include <limits.h> /* UINT_MAX */

shx_err
shx_ring_lock(const shx_site *site, const shx_member *me,
              const shx_ring_wait *wait)
{
    enum { SPINS = 30 };
    for (int i = 0; i < SPINS; i++) {
        if (shx_lock_take(site, me)) {
            return 0;
        }
        shx_os_relax();
    }
    if (wait == NULL) {
        return EBUSY;
    }
    /* How long it has waited for a message is nothing to those here. */
    shx_patience patience = shx_patience_anew(&wait->patience);
    return shx_lock_acquire(site, me, SHX_TORN_TELLS, &patience);
}

/* The mark stays while somebody sleeps. It goes when nobody was woken, and
 * nothing has changed since: who fell asleep just then is woken, too. That is
 * counted: who is about to sleep would take a mark that another one has set
 * since for the one that it has looked after, and a message may have come
 * between that nobody was told of. */
void
shx_ring_wake(shx_cell *side, unsigned count)
{
    uint32_t word = atomic_fetch_add(&side->word, SHX_ONCE) + SHX_ONCE;
    if (shx_os_wake(&side->word, count) == 0 && (word & SHX_WAITED) != 0 &&
        atomic_compare_exchange_strong(
            &side->word, &word, (word & ~(uint32_t)SHX_WAITED) + SHX_ONCE)) {
        (void)shx_os_wake(&side->word, UINT_MAX);
    }
}

static shx_cell *
cell_of(const shx_ring *ring, shx_ring_side side)
{
    return side == SHX_FOR_MESSAGES ? ring->messages : ring->room;
}

/* What may have changed, at a glance. */
static uint64_t
glance(const shx_ring *ring, shx_ring_side side)
{
    return side == SHX_FOR_MESSAGES
               ? atomic_load_explicit(&ring->in->tail, memory_order_relaxed)
               : atomic_load_explicit(&ring->out->next, memory_order_relaxed);
}

/* What was given as one record may be room for many, and what was committed
 * may have been before many, of whom one was woken. */
static bool
leaves_something(const shx_ring *ring, shx_ring_side side)
{
    uint64_t tail =
        atomic_load_explicit(&ring->in->tail, memory_order_relaxed);
    if (side == SHX_FOR_MESSAGES) {
        return atomic_load(&ring->out->next) != tail ||
               atomic_load(shx_ring_returned(ring)) != 0;
    }
    uint64_t head =
        atomic_load_explicit(&ring->in->head, memory_order_relaxed);
    return tail - head < ring->capacity;
}

/* Who had to look for itself passes that on: nor are others woken. So does who
 * was woken, and leaves something; it has only looked, perhaps, or learnt that
 * it is over, or given up. */
static void
pass_on(const shx_ring *ring, shx_ring_side side, shx_err err, bool unwoken)
{
    if (err != 0 || unwoken || leaves_something(ring, side)) {
        (void)shx_os_wake(&cell_of(ring, side)->word, 1);
    }
}

/* Who never waits does that now and then. */
bool
shx_ring_is_due(const shx_ring *ring)
{
    return atomic_load_explicit(&ring->looked, memory_order_relaxed) !=
           shx_os_tick();
}

/* What was dropped is no room until `next` is beyond it: which a taker would
 * see to, if there is one. */
static shx_err
try_once(shx_ring *ring, const shx_member *me, shx_ring_attempt attempt,
         void *what, const shx_ring_wait *wait)
{
    shx_err err = attempt(ring, me, what, wait);
    if (err == ESTALE) {
        err = shx_ring_skip(ring, me, wait);
        err = err == 0 ? attempt(ring, me, what, wait) : err;
    }
    return err == ESTALE ? EAGAIN : err; /* it has just happened again */
}

/* Where the lock is held by one who has stopped the dead are left to another
 * time: what comes meanwhile may be had without it. */
static shx_err
recover(shx_ring *ring, const shx_member *me, const shx_ring_wait *wait)
{
    const int64_t brief_time = 16000000;
    const shx_ring_wait brief = {
        .patience = shx_patience_for(brief_time, wait->patience.poll,
                                     wait->patience.context)};
    shx_err err = shx_ring_recover(ring, me, &brief);
    return err == ETIMEDOUT ? EAGAIN : err;
}

/* Nothing is to be had, and nothing to be waited for: EAGAIN. */
static shx_err
try_again(shx_ring *ring, const shx_member *me, shx_ring_attempt attempt,
          void *what, const shx_ring_wait *wait)
{
    if (!shx_ring_is_due(ring)) {
        return EAGAIN;
    }
    if (wait == NULL) {
        return EBUSY;
    }
    shx_err err = recover(ring, me, wait);
    return err == 0 ? try_once(ring, me, attempt, what, wait) : err;
}

static uint64_t
now(void)
{
    struct timespec time;
    shx_os_now(&time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Looks for a moment. False: nothing has changed since, nor is anything being
 * written, or read, of which nothing tells when it is done. */
static bool
look(const shx_ring *ring, shx_ring_side side, uint64_t seen)
{
    enum { LOOKS = 32 };
    for (int i = 0; i < LOOKS; i++) {
        shx_os_relax();
        if (glance(ring, side) != seen) {
            return true;
        }
    }
    return side == SHX_FOR_ROOM || glance(ring, SHX_FOR_ROOM) != seen;
}

/* Is it to look before it sleeps? After so many that were in vain ever more
 * rarely. */
static bool
is_keen(unsigned vain)
{
    return (vain & (vain - 1)) == 0;
}

/* Looks, and tries, for as long as a sleep would take: where the other side is
 * at work on another processor it answers sooner. What was seen was seen
 * before the last attempt. EAGAIN: in vain. */
static shx_err
linger(shx_ring *ring, const shx_member *me, shx_ring_side side,
       shx_ring_attempt attempt, void *what, const shx_ring_wait *wait,
       uint64_t seen)
{
    enum { MUCH = 20000, RARELY = 512 };
    shx_err err = EAGAIN;
    unsigned vain = atomic_load_explicit(&ring->vain, memory_order_relaxed);
    if (is_keen(vain)) {
        uint64_t ends = now() + MUCH;
        do {
            if (look(ring, side, seen)) {
                seen = glance(ring, side);
                err = try_once(ring, me, attempt, what, wait);
            }
        } while (err == EAGAIN && now() < ends);
    }
    vain = err != EAGAIN ? 0 : vain < 2 * RARELY - 1 ? vain + 1 : RARELY;
    atomic_store_explicit(&ring->vain, vain, memory_order_relaxed);
    return err;
}

shx_err
shx_ring_insist(shx_ring *ring, const shx_member *me, shx_ring_side side,
                shx_ring_attempt attempt, void *what, shx_ring_wait *wait)
{
    shx_cell *cell = cell_of(ring, side);
    bool blocks = wait != NULL && wait->blocks;
    bool keen = blocks, unwoken = false;
    unsigned rounds = 0, naps = wait != NULL ? wait->patience.naps : 0;
    for (;;) {
        uint32_t seen = atomic_load(&cell->word);
        uint64_t glimpse = keen ? glance(ring, side) : 0;
        shx_err err = try_once(ring, me, attempt, what, wait);
        if (err == EAGAIN && keen) {
            err = linger(ring, me, side, attempt, what, wait, glimpse);
            keen = false;
        }
        bool slept = wait != NULL && wait->patience.naps != naps;
        if (err != EAGAIN && (unwoken || slept)) {
            pass_on(ring, side, err, unwoken);
        }
        if (err != EAGAIN) {
            return err;
        }
        if (!blocks) {
            return try_again(ring, me, attempt, what, wait);
        }
        err = shx_patience_spin(&wait->patience, &rounds);
        if (err == 0) {
            err = shx_wait_on(cell, seen, &wait->patience);
        }
        unwoken = err == SHX_SLICE_OVER;
        if (unwoken) {
            err = recover(ring, me, wait);
        }
        if (err != 0 && err != EAGAIN) {
            shx_patience_quit(&wait->patience, &cell->word, &cell->watch);
            return err;
        }
    }
}

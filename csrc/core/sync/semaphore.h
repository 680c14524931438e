/* SPDX-License-Identifier: MIT */
/* A semaphore counts units. They belong to nobody: any process may give back
 * what another has taken, and those of a process that dies are lost. A bounded
 * semaphore (bounded_semaphore.h) loses none.
 *
 *   31 WAITED | 30 .. 0 used, modulo 2^31        units = value - used
 *
 *   value    the cell's parameter; so zeros are a semaphore with all its units
 *   WAITED   somebody may sleep on the word: who gives units back wakes as
 * many
 *
 * Who gives units back takes WAITED off the word; who has slept takes its unit
 * with WAITED, since others may sleep too, and where units are left wakes the
 * next. So while there are units, whoever sleeps has somebody awake who will
 * see to that; if that one dies, the sleep's slice ends.
 * tests/models/semaphore.pml is this.
 */
#ifndef SHX_SEMAPHORE_H
#define SHX_SEMAPHORE_H

#include "core/sync/cell.h"
#include "core/sync/patience.h"

#define SHX_SEMAPHORE_WAITED (UINT32_C(1) << 31)
#define SHX_SEMAPHORE_MOST (SHX_SEMAPHORE_WAITED - 1)

/* How many there are, by a word of it. */
static inline uint32_t
shx_semaphore_units(const shx_site *at, uint32_t word)
{
    return (at->parameter - word) & SHX_SEMAPHORE_MOST;
}

static inline uint32_t
shx_semaphore_count(const shx_site *at)
{
    return shx_semaphore_units(at, atomic_load(&at->cell->word));
}

/* Takes a unit if there is one. Also false if others are at it all the time.
 */
static inline bool
shx_semaphore_take(const shx_site *at)
{
    enum { TRIES = 100 };
    uint32_t word =
        atomic_load_explicit(&at->cell->word, memory_order_relaxed);
    for (int tries = 0; tries < TRIES; tries++) {
        if (shx_semaphore_units(at, word) == 0) {
            return false;
        }
        uint32_t next =
            (word & SHX_SEMAPHORE_WAITED) | ((word + 1) & SHX_SEMAPHORE_MOST);
        if (atomic_compare_exchange_weak_explicit(&at->cell->word, &word, next,
                                                  memory_order_acquire,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* Waits for one. ETIMEDOUT, SHX_INTERRUPTED; EFAULT: the page is lost. */
shx_err shx_semaphore_acquire(const shx_site *at, shx_patience *patience);

/* Gives so many back, all or none. SHX_TOO_MANY: there would be more than it
 * can count. */
shx_err shx_semaphore_release(const shx_site *at, uint32_t units);

/* Waits until there is one, or something else has happened, for a slice at
 * most: takes nothing. The results are those of a nap. */
shx_err shx_semaphore_watch(const shx_site *at, shx_patience *patience);

#endif

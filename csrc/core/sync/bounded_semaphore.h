/* SPDX-License-Identifier: MIT */
/* A bounded semaphore has as many slots as permits. A permit is a slot of the
 * process that has taken it: it alone gives it back, and when it dies the
 * permit comes back too.
 *
 *   word     times that permits came back << 1 | WAITED
 *   slots    as many as the parameter says, see slots.h
 *
 *   WAITED   somebody may sleep on the word: who gives a permit back wakes one
 *
 * Who sleeps puts WAITED there, looks at the slots once more, and sleeps on
 * what the word was; who gives back frees the slot, and then looks at the
 * word. One of the two sees what the other did. As in semaphore.h, who has
 * slept leaves WAITED, and wakes the next where more permits are free.
 *
 * When a slice of a sleep is over, the permits of the dead are free again; and
 * before anybody is told that none is.
 * tests/models/bounded_semaphore.pml is this.
 */
#ifndef SHX_BOUNDED_SEMAPHORE_H
#define SHX_BOUNDED_SEMAPHORE_H

#include "core/sync/patience.h"
#include "core/sync/slots.h"

/* What it may have: the slots are looked at one by one. */
enum { SHX_PERMITS = 4096 };

/* Bytes of a cell with so many permits: a multiple of its alignment. */
static inline size_t
shx_permits_size(uint32_t permits)
{
    size_t bytes = sizeof(shx_cell) + permits * sizeof(shx_slot);
    return (bytes + SHX_CELL_ALIGNMENT - 1) / SHX_CELL_ALIGNMENT *
           SHX_CELL_ALIGNMENT;
}

enum { SHX_PERMITS_WAITED = 1 };

/* The rest of the next. */
bool shx_permits_take_any(const shx_site *at, const shx_member *me,
                          shx_word *hint);

/* Takes a permit if one is free, from *hint on, where one was the last time:
 * it is the object's, and any value will do. */
static inline bool
shx_permits_take(const shx_site *at, const shx_member *me, shx_word *hint)
{
    uint32_t place = atomic_load_explicit(hint, memory_order_relaxed);
    uint64_t none = 0;
    return (place < at->parameter &&
            atomic_compare_exchange_strong(&at->cell->slots[place], &none,
                                           shx_slot_of(me, 0))) ||
           shx_permits_take_any(at, me, hint);
}

/* The same, and frees those of the dead before it says no. */
bool shx_permits_try(const shx_site *at, const shx_member *me, shx_word *hint);

/* Waits for one. ETIMEDOUT, SHX_INTERRUPTED; EFAULT: the page is lost. */
shx_err shx_permits_acquire(const shx_site *at, const shx_member *me,
                            shx_word *hint, shx_patience *patience);

/* The rest of the next: it is another slot, several, or somebody may sleep. */
shx_err shx_permits_release_any(const shx_site *at, const shx_member *me,
                                const shx_word *hint, uint32_t count);
void shx_permits_tell(const shx_site *at, uint32_t count);

/* Gives so many back. SHX_NOT_OWNER: this process has not as many, and keeps
 * those that it has, unless two threads give them back at once. */
static inline shx_err
shx_permits_release(const shx_site *at, const shx_member *me,
                    const shx_word *hint, uint32_t count)
{
    uint32_t place = atomic_load_explicit(hint, memory_order_relaxed);
    uint64_t ours = shx_slot_of(me, 0);
    if (count != 1 || place >= at->parameter ||
        !atomic_compare_exchange_strong(&at->cell->slots[place], &ours, 0)) {
        return shx_permits_release_any(at, me, hint, count);
    }
    if ((atomic_load(&at->cell->word) & SHX_PERMITS_WAITED) != 0) {
        shx_permits_tell(at, 1);
    }
    return 0;
}

/* How many are free, as it is written there. */
uint32_t shx_permits_count(const shx_site *at);

/* Frees those of the dead, and wakes who sleeps. */
void shx_permits_reap(const shx_site *at);

/* Waits until one may be free, or something else has happened, for a slice at
 * most: takes nothing. The results are those of a nap. */
shx_err shx_permits_watch(const shx_site *at, shx_patience *patience);

#endif

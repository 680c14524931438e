/* SPDX-License-Identifier: MIT */
/* A barrier is broken, reset, left and looked at. */
#include <limits.h> /* UINT_MAX */

#include "core/sync/barrier_words.h"
#include "core/sync/lock.h"

size_t
shx_barrier_size(uint32_t parties)
{
    if (parties == 0 || parties > SHX_BARRIER_PARTIES) {
        return 0;
    }
    size_t each = sizeof(shx_slot) + sizeof(shx_word);
    size_t size = sizeof(shx_cell) + parties * each;
    return (size + SHX_CELL_ALIGNMENT - 1) / SHX_CELL_ALIGNMENT *
           SHX_CELL_ALIGNMENT;
}

void
shx_barrier_call(const shx_site *at)
{
    shx_word *gate = own(at, GATE);
    uint32_t seen = atomic_load(gate);
    if ((seen & WAITED) != 0 &&
        atomic_compare_exchange_strong(gate, &seen, seen + WAITED)) {
        (void)shx_os_wake(gate, UINT_MAX);
    }
}

void
shx_barrier_break(const shx_site *at, uint32_t seen, uint32_t what)
{
    shx_word *state = own(at, STATE);
    uint32_t now = atomic_load(state);
    if ((now & BROKEN) == 0 && generation_of(now) == generation_of(seen) &&
        atomic_compare_exchange_strong(state, &now, now | what)) {
        (void)shx_os_wake(state, UINT_MAX);
        shx_barrier_call(at);
    }
}

void
shx_barrier_abort(const shx_site *at)
{
    shx_word *state = own(at, STATE);
    for (int tries = 0; tries < TRIES; tries++) {
        uint32_t seen = atomic_load(state);
        if ((seen & BROKEN) != 0) {
            return;
        }
        shx_barrier_break(at, seen, BROKEN);
    }
}

/* What a reset makes of a slot; the same: it stays. Who has passed, or is out
 * already, will give it back. */
static uint64_t
emptied(const shx_site *at, uint32_t state, uint64_t slot)
{
    uint32_t flags = flags_of(slot);
    if (flags == IDLE) {
        return 0;
    }
    if (flags == CLAIMED || flags == in_of(state)) {
        return (slot & ~(uint64_t)FLAGS) | OUT;
    }
    return shx_party_is_dead(at->party, shx_slot_token(slot)) ? 0 : slot;
}

static void
empty(const shx_site *at, uint32_t state)
{
    for (unsigned i = 0; i < at->parameter; i++) {
        uint64_t slot = atomic_load(slot_of(at, i));
        for (int tries = 0; slot != 0 && tries < TRIES; tries++) {
            uint64_t next = emptied(at, state, slot);
            if (next == slot ||
                atomic_compare_exchange_strong(slot_of(at, i), &slot, next)) {
                break;
            }
        }
    }
}

/* Others who reset it wait for the lock: a slot that is found in one state is
 * in that until it is emptied. */
shx_err
shx_barrier_reset(const shx_site *at, const shx_member *me,
                  shx_patience *patience)
{
    const shx_site lock = {at->cell, at->party, SHX_IGNORES_DEATH};
    shx_word *state = own(at, STATE);
    shx_err err = shx_lock_acquire(&lock, me, SHX_TORN_REPAIRS, patience);
    if (err != 0) {
        return err;
    }
    uint32_t seen = atomic_fetch_or(state, BROKEN | RESETS);
    (void)shx_os_wake(state, UINT_MAX);
    shx_barrier_call(at);
    empty(at, seen);
    atomic_store(state, (generation_of(seen) + 2) * GENERATION);
    (void)shx_os_wake(state, UINT_MAX);
    shx_barrier_call(at);
    return shx_lock_release(&lock, me);
}

void
shx_barrier_leave(const shx_site *at, const shx_member *me)
{
    uint64_t idle = shx_slot_of(me, IDLE);
    for (unsigned i = 0; i < at->parameter; i++) {
        uint64_t slot = atomic_load(slot_of(at, i));
        uint32_t state = atomic_load(own(at, STATE));
        if (slot == idle &&
            atomic_compare_exchange_strong(slot_of(at, i), &slot, 0)) {
            shx_barrier_call(at);
        }
        else if (slot == shx_slot_of(me, CLAIMED) ||
                 slot == shx_slot_of(me, in_of(state))) {
            shx_barrier_break(at, state, BROKEN);
        }
    }
}

bool
shx_barrier_is_broken(const shx_site *at)
{
    return (atomic_load(own(at, STATE)) & (BROKEN | RESETS)) == BROKEN;
}

unsigned
shx_barrier_waiting(const shx_site *at)
{
    uint32_t state = atomic_load(own(at, STATE));
    unsigned count = 0;
    for (unsigned i = 0; (state & BROKEN) == 0 && i < at->parameter; i++) {
        count += flags_of(atomic_load(slot_of(at, i))) == in_of(state);
    }
    return count;
}

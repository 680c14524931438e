/* SPDX-License-Identifier: MIT */
#include "core/sync/rwlock.h"

#include <errno.h>
#include <limits.h> /* UINT_MAX */

#include "core/sync/rwlock_slots.h"

/* The slot is left already, in the one order. */
static void
tell_gate(const shx_site *at)
{
    shx_word *gate = &at->cell->own[GATE];
    uint32_t seen = atomic_load(gate);
    while ((seen & WATCHED) != 0) {
        if (atomic_compare_exchange_weak(gate, &seen, (seen + 2) & ~WATCHED)) {
            (void)shx_os_wake(gate, UINT_MAX);
            return;
        }
    }
}

typedef enum { NOT_OURS, FEWER, LEFT } leaving;

/* Once less by this slot. */
static leaving
leave(const shx_site *at, const shx_member *me, unsigned slot)
{
    uint64_t value = atomic_load(&at->cell->slots[slot]);
    uint64_t less;
    do {
        if ((value & ~DEPTH) != shx_slot_of(me, 0)) {
            return NOT_OURS;
        }
        less = (value & DEPTH) != 0 ? value - AGAIN : 0;
    } while (
        !atomic_compare_exchange_weak(&at->cell->slots[slot], &value, less));
    if (less != 0) {
        return FEWER;
    }
    tell_gate(at);
    return LEFT;
}

/* Readers */

/* A slot first, then the word. EAGAIN: there is a writer. ENOSPC: no slot is
 * free. */
static shx_err
enter(const shx_site *at, shx_rwlock_memory *memory, const shx_member *me,
      bool slept)
{
    unsigned slot = atomic_load_explicit(&memory->hint, memory_order_relaxed);
    if (!shx_slots_claim(at->cell->slots, count_of(at), shx_slot_of(me, 0),
                         &slot)) {
        return ENOSPC;
    }
    uint32_t word = atomic_load(&at->cell->word);
    bool free_one = (word & SHX_TOKEN) == 0;
    if (!free_one || (word & SHX_LOCK_TORN) != 0 ||
        ((word & SHX_LOCK_HUNGRY) != 0 && !slept)) {
        (void)leave(at, me, slot);
        return free_one && (word & SHX_LOCK_TORN) != 0 ? SHX_OWNER_DIED
                                                       : EAGAIN;
    }
    atomic_store_explicit(&memory->hint, slot, memory_order_relaxed);
    atomic_store_explicit(&memory->holds[slot], self(me),
                          memory_order_release);
    if ((word & SHX_LOCK_HUNGRY) != 0) {
        shx_lock_calm(at);
    }
    return 0;
}

/* Once more, where it reads already. Another thread may leave that slot
 * meanwhile: it forgets first who has it, so whoever sees that it is still
 * remembered after counting up has counted what nobody else got. EAGAIN: it
 * does not read. */
static shx_err
enter_again(const shx_site *at, shx_rwlock_memory *memory,
            const shx_member *me)
{
    int slot = find_own(at, memory, me);
    if (slot < 0) {
        return is_writing(at, me) ? EDEADLK : EAGAIN;
    }
    uint64_t value = atomic_load(&at->cell->slots[slot]);
    do {
        if ((value & ~DEPTH) != shx_slot_of(me, 0)) {
            return EAGAIN;
        }
        if ((value & DEPTH) == DEPTH) {
            return EDEADLK;
        }
    } while (!atomic_compare_exchange_weak(&at->cell->slots[slot], &value,
                                           value + AGAIN));
    if (atomic_load(&memory->holds[slot]) == self(me)) {
        return 0;
    }
    (void)leave(at, me, (unsigned)slot);
    return EAGAIN;
}

/* All are taken. Those of the dead are freed, then a slice is waited for. */
static shx_err
wait_for_slot(const shx_site *at, shx_patience *patience)
{
    uint32_t gate = watch_gate(at);
    unsigned count = count_of(at);
    if (shx_slots_reap(at->cell->slots, count, at->party) != 0 ||
        shx_slots_count(at->cell->slots, count) != count) {
        return 0;
    }
    shx_err err = shx_nap(patience, &at->cell->own[GATE], gate, NULL);
    return err == SHX_SLICE_OVER ? 0 : err;
}

shx_err
shx_rwlock_read(const shx_site *at, shx_rwlock_memory *memory,
                const shx_member *me, shx_patience *patience)
{
    unsigned rounds = 0;
    for (;;) {
        shx_err err = enter(at, memory, me, patience->naps != 0);
        if (err == 0 && patience->naps != 0) {
            /* It may be that nobody woke us, nor those who sleep longer. */
            (void)shx_os_wake(&at->cell->word, 1);
        }
        if (err == 0 || err == SHX_OWNER_DIED) {
            return err;
        }
        shx_err again = enter_again(at, memory, me);
        if (again != EAGAIN) {
            return again;
        }
        err = err == ENOSPC ? wait_for_slot(at, patience)
                            : shx_lock_await(at, me, patience);
        if (err == 0) {
            err = shx_patience_spin(patience, &rounds);
        }
        if (err != 0) {
            return err;
        }
    }
}

bool
shx_rwlock_take_read(const shx_site *at, shx_rwlock_memory *memory,
                     const shx_member *me)
{
    return enter(at, memory, me, false) == 0;
}

shx_err
shx_rwlock_try_read(const shx_site *at, shx_rwlock_memory *memory,
                    const shx_member *me)
{
    shx_err err = enter(at, memory, me, true);
    if (err == ENOSPC &&
        shx_slots_reap(at->cell->slots, count_of(at), at->party) != 0) {
        err = enter(at, memory, me, true);
    }
    /* Is it the dead who write? */
    if (err == EAGAIN) {
        err = shx_lock_try(at, me, SHX_TORN_TELLS);
        if (err == 0) {
            (void)shx_lock_release_to_all(at, me);
            err = enter(at, memory, me, true);
        }
    }
    return err == ENOSPC ? EAGAIN : err;
}

/* False: it is not ours any more. Nobody remembers it before it is left; where
 * its thread has counted it up meanwhile, it is that one's again. */
static bool
leave_remembered(const shx_site *at, shx_rwlock_memory *memory,
                 const shx_member *me, unsigned slot, uint64_t has)
{
    uint64_t value = atomic_load(&at->cell->slots[slot]);
    if ((value & ~DEPTH) != shx_slot_of(me, 0)) {
        return false;
    }
    bool forgotten = (value & DEPTH) == 0;
    if (forgotten) {
        atomic_store_explicit(&memory->holds[slot], 0, memory_order_release);
    }
    leaving now = leave(at, me, slot);
    if (forgotten && now == FEWER) {
        uint64_t nobody = 0;
        (void)atomic_compare_exchange_strong(&memory->holds[slot], &nobody,
                                             has);
    }
    return now != NOT_OURS;
}

shx_err
shx_rwlock_release_read(const shx_site *at, shx_rwlock_memory *memory,
                        const shx_member *me)
{
    unsigned count = count_of(at);
    unsigned hint = atomic_load_explicit(&memory->hint, memory_order_relaxed);
    uint64_t who = self(me);
    for (int any = 0; any < 2; any++) {
        for (unsigned i = 0, slot = hint; i < count; i++) {
            uint64_t has = atomic_load(&memory->holds[slot]);
            if ((has == who || (any != 0 && has >> 32 == me->token)) &&
                leave_remembered(at, memory, me, slot, has)) {
                return 0;
            }
            slot = slot + 1 == count ? 0 : slot + 1;
        }
    }
    return SHX_NOT_OWNER;
}

shx_err
shx_rwlock_watch_read(const shx_site *at, shx_patience *patience)
{
    uint32_t word = atomic_load(&at->cell->word);
    shx_patience_lengthen(patience);
    return (word & SHX_TOKEN) != 0 ? shx_lock_watch(at, patience)
                                   : wait_for_slot(at, patience);
}

shx_rwlock_state
shx_rwlock_look(const shx_site *at)
{
    shx_rwlock_state state = {0};
    shx_member me = {0};
    bool known = shx_party_me(at->party, &me) == 0;
    for (unsigned i = 0; i < count_of(at); i++) {
        uint64_t value = atomic_load(&at->cell->slots[i]);
        if (value == 0) {
            continue;
        }
        unsigned times = (unsigned)((value & DEPTH) / AGAIN) + 1;
        bool ours = known && (value & ~DEPTH) == shx_slot_of(&me, 0);
        bool dead =
            !ours && shx_party_is_dead(at->party, shx_slot_token(value));
        state.readers += times;
        state.ours += ours ? times : 0;
        state.dead += dead ? times : 0;
    }
    return state;
}

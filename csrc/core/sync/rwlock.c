/* SPDX-License-Identifier: MIT */
#include "core/sync/rwlock.h"

#include <errno.h>
#include <limits.h> /* UINT_MAX */

#include "core/sync/thread.h"

enum { SPINS = 30, GATE = 0 };

/* Of the gate. */
#define WATCHED UINT32_C(1)
/* Of a slot: once more. */
#define AGAIN (UINT64_C(1) << SHX_TOKEN_BITS)
#define DEPTH (UINT64_C(7) << SHX_TOKEN_BITS)

static unsigned
count_of(const shx_site *at)
{
    return shx_rwlock_readers(at->parameter);
}

/* This thread, of this process: what a forked child remembers of its parent is
 * not its own. */
static uint64_t
self(const shx_member *me)
{
    return (uint64_t)me->token << 32 | shx_this_thread();
}

static bool
is_taken(const shx_site *at, unsigned slot)
{
    return atomic_load_explicit(&at->cell->slots[slot],
                                memory_order_acquire) != 0;
}

/* Who sleeps on the gate sees this; whoever leaves a slot after that changes
 * it. */
static uint32_t
watch_gate(const shx_site *at)
{
    return atomic_fetch_or(&at->cell->own[GATE], WATCHED) | WATCHED;
}

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

/* Once less by this slot, if it is still ours. */
static bool
leave(const shx_site *at, const shx_member *me, unsigned slot)
{
    uint64_t value = atomic_load(&at->cell->slots[slot]);
    uint64_t less;
    do {
        if ((value & ~DEPTH) != shx_slot_of(me, 0)) {
            return false;
        }
        less = (value & DEPTH) != 0 ? value - AGAIN : 0;
    } while (
        !atomic_compare_exchange_weak(&at->cell->slots[slot], &value, less));
    if (less == 0) {
        tell_gate(at);
    }
    return true;
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

/* A slot that this thread reads by: -1, there is none. */
static int
find_own(const shx_site *at, shx_rwlock_memory *memory, const shx_member *me)
{
    uint64_t who = self(me);
    for (unsigned i = 0; i < count_of(at); i++) {
        if (atomic_load(&memory->holds[i]) == who &&
            (atomic_load(&at->cell->slots[i]) & ~DEPTH) ==
                shx_slot_of(me, 0)) {
            return (int)i;
        }
    }
    return -1;
}

/* Does this thread write by this object? */
static bool
is_writing(const shx_site *at, shx_rwlock_memory *memory, const shx_member *me)
{
    return shx_lock_is_ours(at, me) &&
           atomic_load_explicit(&memory->writer, memory_order_relaxed) ==
               self(me);
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
        return is_writing(at, memory, me) ? EDEADLK : EAGAIN;
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

static bool
leave_remembered(const shx_site *at, shx_rwlock_memory *memory,
                 const shx_member *me, unsigned slot)
{
    uint64_t value = atomic_load(&at->cell->slots[slot]);
    if ((value & ~DEPTH) != shx_slot_of(me, 0)) {
        return false;
    }
    if ((value & DEPTH) == 0) {
        atomic_store(&memory->holds[slot], 0);
    }
    return leave(at, me, slot);
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
                leave_remembered(at, memory, me, slot)) {
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
    return (word & SHX_TOKEN) != 0 ? shx_lock_watch(at, patience)
                                   : wait_for_slot(at, patience);
}

/* Writers */

bool
shx_rwlock_is_drained(const shx_site *at)
{
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < count_of(at); i++) {
        if (is_taken(at, i)) {
            return false;
        }
    }
    return true;
}

/* Waits, with the word, until each slot was free once: new readers see the
 * word. EINTR: let go of it for a moment, and ask whether to go on; a signal
 * may also have come just before a sleep, which does not end it then. */
static shx_err
drain(const shx_site *at, shx_patience *patience)
{
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0, looks = 0; i < count_of(at);) {
        if (!is_taken(at, i)) {
            i++;
            continue;
        }
        if (looks++ < SPINS) {
            shx_os_relax();
            continue;
        }
        uint32_t gate = watch_gate(at);
        if (!is_taken(at, i)) {
            continue;
        }
        shx_err err = shx_nap(patience, &at->cell->own[GATE], gate, NULL);
        if (err == SHX_SLICE_OVER) {
            err = shx_slots_reap(at->cell->slots, count_of(at), at->party) == 0
                      ? EINTR
                      : 0;
        }
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

static bool
is_torn(const shx_site *at)
{
    uint32_t word = atomic_load(&at->cell->word);
    return (word & SHX_LOCK_TORN) != 0;
}

/* It was had, but not to the end. */
static shx_err
give_up(const shx_site *at, const shx_member *me, shx_err err)
{
    (void)(is_torn(at) ? shx_lock_release_torn(at, me)
                       : shx_lock_release_to_all(at, me));
    return err;
}

/* With the word. */
static shx_err
wait_for_readers(const shx_site *at, shx_rwlock_memory *memory,
                 const shx_member *me, shx_patience *patience)
{
    if (shx_rwlock_is_drained(at)) {
        return 0;
    }
    if (find_own(at, memory, me) >= 0) {
        return EDEADLK;
    }
    patience->holding = true;
    shx_err err = drain(at, patience);
    patience->holding = false;
    return err;
}

static void
sign(shx_rwlock_memory *memory, const shx_member *me)
{
    atomic_store_explicit(&memory->writer, self(me), memory_order_relaxed);
}

static bool
is_held(shx_err err, shx_torn torn)
{
    return err == 0 || (err == SHX_OWNER_DIED && torn == SHX_TORN_REPAIRS);
}

shx_err
shx_rwlock_write(const shx_site *at, shx_rwlock_memory *memory,
                 const shx_member *me, shx_torn torn, shx_patience *patience)
{
    if (is_writing(at, memory, me) ||
        (!shx_lock_is_free(at) && find_own(at, memory, me) >= 0)) {
        return EDEADLK;
    }
    for (;;) {
        shx_err err = shx_lock_acquire(at, me, torn, patience);
        if (!is_held(err, torn)) {
            return err;
        }
        shx_err drained = wait_for_readers(at, memory, me, patience);
        if (drained == 0) {
            sign(memory, me);
            return err;
        }
        if (drained != EINTR) {
            return give_up(at, me, drained);
        }
        shx_lock_pause(at, me);
        err = shx_patience_ask(patience);
        if (err != 0) {
            shx_lock_wake_all(at);
            return err;
        }
    }
}

bool
shx_rwlock_take_write(const shx_site *at, shx_rwlock_memory *memory,
                      const shx_member *me)
{
    if (!shx_lock_take(at, me)) {
        return false;
    }
    if (!shx_rwlock_is_drained(at)) {
        (void)give_up(at, me, 0);
        return false;
    }
    sign(memory, me);
    return true;
}

shx_err
shx_rwlock_try_write(const shx_site *at, shx_rwlock_memory *memory,
                     const shx_member *me, shx_torn torn)
{
    shx_err err = shx_lock_try(at, me, torn);
    if (!is_held(err, torn)) {
        return err;
    }
    if (!shx_rwlock_is_drained(at)) {
        (void)shx_slots_reap(at->cell->slots, count_of(at), at->party);
        if (!shx_rwlock_is_drained(at)) {
            return give_up(at, me, EAGAIN);
        }
    }
    sign(memory, me);
    return err;
}

shx_err
shx_rwlock_watch_drain(const shx_site *at, shx_patience *patience)
{
    uint32_t gate = watch_gate(at);
    if (shx_rwlock_is_drained(at)) {
        return 0;
    }
    shx_err err = shx_nap(patience, &at->cell->own[GATE], gate, NULL);
    if (err == SHX_SLICE_OVER || err == ETIMEDOUT) {
        (void)shx_slots_reap(at->cell->slots, count_of(at), at->party);
    }
    return err;
}

shx_err
shx_rwlock_release_write(const shx_site *at, const shx_member *me)
{
    return shx_lock_release_to_all(at, me);
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

/* SPDX-License-Identifier: MIT */
/* The writers of an RWLock. */
#include <errno.h>

#include "core/sync/rwlock_slots.h"

/* A look costs next to nothing, and a reader may be about to go. */
enum { SPINS = 30 };
/* So many slices are about a second. */
enum { ASK = 16 };

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
 * word. EINTR: a signal came. Let go of the word for a moment, and ask whether
 * to go on; and now and then in any case, for a signal may come just before a
 * sleep, which it does not end then. It is no more often than that since to
 * ask may take a moment, and readers would get in. */
static shx_err
drain(const shx_site *at, shx_patience *patience)
{
    atomic_thread_fence(memory_order_seq_cst);
    unsigned looks = 0, slices = 0;
    for (unsigned i = 0; i < count_of(at);) {
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
            (void)shx_slots_reap(at->cell->slots, count_of(at), at->party);
            err = ++slices % ASK == 0 ? EINTR : 0;
        }
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

/* It was had, but not to the end. */
static shx_err
give_up(const shx_site *at, const shx_member *me, shx_err err)
{
    (void)shx_lock_release_to_all(at, me);
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

static bool
is_held(shx_err err, shx_torn torn)
{
    return err == 0 || (err == SHX_OWNER_DIED && torn == SHX_TORN_REPAIRS);
}

shx_err
shx_rwlock_write(const shx_site *at, shx_rwlock_memory *memory,
                 const shx_member *me, shx_torn torn, shx_patience *patience)
{
    if (is_writing(at, me) ||
        (!shx_lock_is_free(at) && find_own(at, memory, me) >= 0)) {
        return EDEADLK;
    }
    for (;;) {
        shx_err err = shx_lock_acquire(at, me, torn, patience);
        if (!is_held(err, torn)) {
            return err;
        }
        sign(at, 0); /* it may say who died */
        shx_err drained = wait_for_readers(at, memory, me, patience);
        if (drained == 0) {
            sign(at, shx_this_thread());
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

/* By one order for all, without a fence: this is for speed. */
bool
shx_rwlock_take_write(const shx_site *at, const shx_member *me)
{
    uint32_t none = 0;
    if (!atomic_compare_exchange_strong(&at->cell->word, &none, me->token)) {
        return false;
    }
    atomic_store_explicit(
        &at->cell->pid,
        atomic_load_explicit(&at->party->pid, memory_order_relaxed),
        memory_order_relaxed);
    uint64_t taken = 0;
    for (unsigned i = 0, count = count_of(at); i < count; i++) {
        taken |= atomic_load(&at->cell->slots[i]);
    }
    if (taken != 0) {
        (void)give_up(at, me, 0);
        return false;
    }
    sign(at, shx_this_thread());
    return true;
}

shx_err
shx_rwlock_try_write(const shx_site *at, const shx_member *me, shx_torn torn)
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
    sign(at, shx_this_thread());
    return err;
}

shx_err
shx_rwlock_watch_drain(const shx_site *at, shx_patience *patience)
{
    uint32_t gate = watch_gate(at);
    if (shx_rwlock_is_drained(at)) {
        return 0;
    }
    shx_patience_lengthen(patience);
    shx_err err = shx_nap(patience, &at->cell->own[GATE], gate, NULL);
    if (err == SHX_SLICE_OVER || err == ETIMEDOUT) {
        (void)shx_slots_reap(at->cell->slots, count_of(at), at->party);
    }
    return err;
}

shx_err
shx_rwlock_claim_write(const shx_site *at, const shx_member *me)
{
    shx_err err = shx_lock_try(at, me, SHX_TORN_TELLS);
    if (err == 0) {
        sign(at, 0);
    }
    return err;
}

shx_err
shx_rwlock_release_write(const shx_site *at, const shx_member *me)
{
    if (!shx_lock_is_ours(at, me)) {
        return SHX_NOT_OWNER;
    }
    sign(at, 0);
    return shx_lock_release_to_all(at, me);
}

shx_err
shx_rwlock_release_write_torn(const shx_site *at, const shx_member *me)
{
    if (!shx_lock_is_ours(at, me)) {
        return SHX_NOT_OWNER;
    }
    sign(at, 0);
    return shx_lock_release_torn(at, me);
}

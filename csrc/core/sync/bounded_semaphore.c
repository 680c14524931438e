/* SPDX-License-Identifier: MIT */
#include "core/sync/bounded_semaphore.h"

enum { WAITED = SHX_PERMITS_WAITED, STEP = 2 };

bool
shx_permits_take_any(const shx_site *at, const shx_member *me, shx_word *hint)
{
    if (at->parameter == 0) {
        return false;
    }
    unsigned place = atomic_load_explicit(hint, memory_order_relaxed);
    if (!shx_slots_claim(at->cell->slots, at->parameter, shx_slot_of(me, 0),
                         &place)) {
        return false;
    }
    atomic_store_explicit(hint, place, memory_order_relaxed);
    return true;
}

uint32_t
shx_permits_count(const shx_site *at)
{
    return at->parameter - shx_slots_count(at->cell->slots, at->parameter);
}

void
shx_permits_tell(const shx_site *at, uint32_t count)
{
    shx_word *gate = &at->cell->word;
    uint32_t seen = atomic_load(gate);
    while ((seen & WAITED) != 0) {
        if (atomic_compare_exchange_weak(gate, &seen,
                                         (seen + STEP) & ~(uint32_t)WAITED)) {
            (void)shx_os_wake(gate, count);
            return;
        }
    }
}

void
shx_permits_reap(const shx_site *at)
{
    unsigned freed = shx_slots_reap(at->cell->slots, at->parameter, at->party);
    if (freed != 0) {
        shx_permits_tell(at, freed);
    }
}

bool
shx_permits_try(const shx_site *at, const shx_member *me, shx_word *hint)
{
    if (shx_permits_take_any(at, me, hint)) {
        return true;
    }
    shx_permits_reap(at);
    return shx_permits_take_any(at, me, hint);
}

/* Says that somebody sleeps from now on, who sees this in the word. What is
 * looked at afterwards is not older: the fence. */
static uint32_t
announce(const shx_site *at)
{
    uint32_t seen = atomic_fetch_or(&at->cell->word, WAITED) | WAITED;
    atomic_thread_fence(memory_order_seq_cst);
    return seen;
}

/* Others may sleep as well, and it was this one that was woken. */
static void
pass_on(const shx_site *at)
{
    (void)announce(at);
    if (shx_permits_count(at) != 0) {
        (void)shx_os_wake(&at->cell->word, 1);
    }
}

shx_err
shx_permits_acquire(const shx_site *at, const shx_member *me, shx_word *hint,
                    shx_patience *patience)
{
    bool taken = shx_permits_take_any(at, me, hint);
    while (!taken) {
        uint32_t seen = announce(at);
        taken = shx_permits_take_any(at, me, hint);
        if (taken) {
            break;
        }
        shx_err err =
            shx_nap(patience, &at->cell->word, seen, &at->cell->watch);
        if (err == SHX_SLICE_OVER) {
            shx_permits_reap(at);
        }
        else if (err != 0) {
            return err;
        }
        taken = shx_permits_take_any(at, me, hint);
    }
    if (patience->naps != 0) {
        pass_on(at);
    }
    return 0;
}

static uint32_t
count_ours(const shx_site *at, uint64_t ours)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < at->parameter; i++) {
        found += atomic_load_explicit(&at->cell->slots[i],
                                      memory_order_relaxed) == ours;
    }
    return found;
}

shx_err
shx_permits_release_any(const shx_site *at, const shx_member *me,
                        const shx_word *hint, uint32_t count)
{
    uint64_t ours = shx_slot_of(me, 0);
    unsigned place = atomic_load_explicit(hint, memory_order_relaxed);
    uint32_t dropped = 0;
    if (at->parameter == 0 || (count > 1 && count_ours(at, ours) < count)) {
        return SHX_NOT_OWNER;
    }
    while (dropped < count &&
           shx_slots_drop(at->cell->slots, at->parameter, ours, place)) {
        dropped++;
    }
    if (dropped != 0) {
        shx_permits_tell(at, dropped);
    }
    return dropped == count ? 0 : SHX_NOT_OWNER;
}

/* It may have been woken in the place of one who would have taken a permit. */
shx_err
shx_permits_watch(const shx_site *at, shx_patience *patience)
{
    uint32_t seen = announce(at);
    if (shx_permits_count(at) != 0) {
        return 0;
    }
    shx_patience_lengthen(patience);
    shx_err err = shx_nap(patience, &at->cell->word, seen, &at->cell->watch);
    if (err == SHX_SLICE_OVER) {
        shx_permits_reap(at);
    }
    pass_on(at);
    return err;
}

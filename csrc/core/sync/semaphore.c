/* SPDX-License-Identifier: MIT */
#include "core/sync/semaphore.h"

static const uint32_t waited = SHX_SEMAPHORE_WAITED;

static uint32_t
load(const shx_site *at)
{
    return atomic_load_explicit(&at->cell->word, memory_order_relaxed);
}

static bool
change(const shx_site *at, uint32_t word, uint32_t next)
{
    return atomic_compare_exchange_strong_explicit(&at->cell->word, &word,
                                                   next, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/* For who has slept. False: the word has changed. */
static bool
take(const shx_site *at, uint32_t word)
{
    uint32_t next = waited | ((word + 1) & SHX_SEMAPHORE_MOST);
    if (!change(at, word, next)) {
        return false;
    }
    if (shx_semaphore_units(at, next) != 0) {
        (void)shx_os_wake(&at->cell->word, 1);
    }
    return true;
}

static shx_err
wait_for(const shx_site *at, shx_patience *patience)
{
    unsigned rounds = 0;
    for (;;) {
        uint32_t word = load(at);
        shx_err err = shx_patience_spin(patience, &rounds);
        if (err != 0) {
            return err;
        }
        if (shx_semaphore_units(at, word) != 0) {
            if (patience->naps != 0 ? take(at, word)
                                    : shx_semaphore_take(at)) {
                return 0;
            }
            continue;
        }
        if ((word & waited) == 0 && !change(at, word, word | waited)) {
            continue;
        }
        err = shx_nap(patience, &at->cell->word, word | waited,
                      &at->cell->watch);
        if (err != 0 && err != SHX_SLICE_OVER) {
            return err;
        }
    }
}

shx_err
shx_semaphore_acquire(const shx_site *at, shx_patience *patience)
{
    return shx_semaphore_take(at) ? 0 : wait_for(at, patience);
}

shx_err
shx_semaphore_release(const shx_site *at, uint32_t units)
{
    uint32_t word = load(at), next;
    do {
        if (units > SHX_SEMAPHORE_MOST - shx_semaphore_units(at, word)) {
            return SHX_TOO_MANY;
        }
        next = (word - units) & SHX_SEMAPHORE_MOST;
    } while (!atomic_compare_exchange_weak_explicit(&at->cell->word, &word,
                                                    next, memory_order_release,
                                                    memory_order_relaxed));
    if ((word & waited) != 0) {
        (void)shx_os_wake(&at->cell->word, units);
    }
    return 0;
}

/* It may have been woken in the place of one who would have taken a unit. */
shx_err
shx_semaphore_watch(const shx_site *at, shx_patience *patience)
{
    uint32_t word = load(at);
    if (shx_semaphore_units(at, word) != 0 ||
        ((word & waited) == 0 && !change(at, word, word | waited))) {
        return 0;
    }
    shx_patience_lengthen(patience);
    shx_err err =
        shx_nap(patience, &at->cell->word, word | waited, &at->cell->watch);
    atomic_fetch_or(&at->cell->word, waited);
    (void)shx_os_wake(&at->cell->word, 1);
    return err;
}

/* SPDX-License-Identifier: MIT */
#include "core/sync/event.h"

#include <errno.h>
#include <limits.h> /* UINT_MAX */

enum { SET = 1, WAITED = 2, FLAGS = SET | WAITED, ONCE = 4, SHIFT = 2 };

static void
wake_all(const shx_word *word)
{
    (void)shx_os_wake(word, UINT_MAX);
}

void
shx_event_set(const shx_site *at)
{
    shx_word *word = &at->cell->word;
    uint32_t seen = atomic_load(word), next;
    do {
        if ((seen & SET) != 0) {
            return;
        }
        next = ((seen & ~(uint32_t)FLAGS) + ONCE) | SET;
    } while (!atomic_compare_exchange_weak(word, &seen, next));
    if ((seen & WAITED) != 0) {
        wake_all(word);
    }
}

void
shx_event_clear(const shx_site *at)
{
    atomic_fetch_and(&at->cell->word, ~(uint32_t)SET);
}

uint32_t
shx_event_times(const shx_site *at)
{
    return atomic_load(&at->cell->word) >> SHIFT;
}

shx_err
shx_event_wait(const shx_site *at, uint32_t times, shx_patience *patience)
{
    shx_word *word = &at->cell->word;
    uint32_t seen = atomic_load(word);
    unsigned rounds = 0;
    bool unwoken = false;
    while ((seen & SET) == 0 && seen >> SHIFT == times) {
        shx_err err = shx_patience_spin(patience, &rounds);
        if (err != 0) {
            return err;
        }
        if ((seen & WAITED) == 0 &&
            !atomic_compare_exchange_weak(word, &seen, seen | WAITED)) {
            continue;
        }
        err = shx_nap(patience, word, seen | WAITED, &at->cell->watch);
        if (err != 0 && err != SHX_SLICE_OVER) {
            return err;
        }
        unwoken = err == SHX_SLICE_OVER;
        seen = atomic_load(word);
    }
    if (unwoken) { /* nor are those whose slices are longer */
        wake_all(word);
    }
    return 0;
}

static shx_err
look(shx_awaited *one)
{
    uint32_t seen = atomic_load(&one->cell->word);
    return (seen & SET) != 0 || seen >> SHIFT != one->since ? 0 : EAGAIN;
}

/* Who sets it wakes all. */
static void
pass_on(shx_awaited *one, bool unwoken)
{
    if (unwoken) {
        wake_all(&one->cell->word);
    }
}

static const shx_awaited_kind kind = {
    .mark = WAITED,
    .look = look,
    .pass_on = pass_on,
};

void
shx_event_await(const shx_site *at, shx_awaited *out)
{
    *out = (shx_awaited){
        .kind = &kind, .cell = at->cell, .since = shx_event_times(at)};
}

/* SPDX-License-Identifier: MIT */
/* Frames in. Readers sleep on the word of `watchers`, see waited.h: the writer
 * looks at it when it has published, and only if somebody waits changes it and
 * wakes all. */
#include "core/channels/broadcast_words.h"

#include <errno.h>
#include <limits.h> /* UINT_MAX */

/* The mark goes: nobody sleeps on the word that was, and who has not slept yet
 * will see that it is another. */
void
shx_broadcast_wake(shx_broadcast *cast)
{
    shx_word *word = &cast->watchers->word;
    uint32_t seen = atomic_load(word);
    while (!atomic_compare_exchange_weak(
        word, &seen, (seen + SHX_ONCE) & ~(uint32_t)SHX_WAITED)) {
    }
    (void)shx_os_wake(word, UINT_MAX);
}

static shx_err
claim(shx_broadcast *cast, const shx_member *me, uint64_t hold, unsigned *slot)
{
    unsigned readers = cast->shape.readers;
    *slot = atomic_load_explicit(&cast->hint, memory_order_relaxed);
    if (!shx_slots_claim(cast->slots, readers, hold, slot)) {
        /* Another one may have freed those of the dead meanwhile. */
        (void)shx_broadcast_reap(cast, me, shx_party_is_dead);
        if (!shx_slots_claim(cast->slots, readers, hold, slot)) {
            return SHX_TOO_MANY;
        }
    }
    atomic_store_explicit(&cast->hint, *slot, memory_order_relaxed);
    return 0;
}

static bool
move_hold(shx_broadcast *cast, unsigned slot, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(&cast->slots[slot], &from, to);
}

/* The entry of the newest frame, if it is newer than that. EAGAIN. A later one
 * may be there by now: that will do as well. */
static shx_err
look_for(const shx_broadcast *cast, uint64_t seen, uint64_t *at,
         uint64_t *entry)
{
    uint64_t newest = atomic_load(&cast->front->newest);
    if (newest <= seen) {
        return EAGAIN;
    }
    *at = newest % cast->shape.depth;
    *entry = atomic_load(&cast->entries[*at]);
    return shx_is_entry(cast, *entry, *at) && shx_seq_of(*entry) >= newest
               ? 0
               : SHX_DAMAGED;
}

/* Holds the newest frame: `*held` is what its slot says, if it has got one. A
 * writer that is too quick, or who writes there what is not so, is left for
 * later: EAGAIN. */
static shx_err
hold_newest(shx_broadcast *cast, const shx_member *me, uint64_t seen,
            uint64_t *held, shx_frame *out)
{
    enum { TRIES = 100 };
    uint64_t at, entry;
    for (int tries = 0; tries < TRIES; tries++) {
        shx_err err = look_for(cast, seen, &at, &entry);
        if (err != 0) {
            return err;
        }
        uint64_t hold = shx_hold_of(me, shx_block_of(entry), 0);
        /* A slot that is not as it was has been pinned: another thread forks.
         */
        if (*held == 0 || !move_hold(cast, out->slot, *held, hold)) {
            *held = 0;
            err = claim(cast, me, hold, &out->slot);
        }
        if (err != 0) {
            return err;
        }
        *held = hold;
        if (atomic_load(&cast->entries[at]) == entry) {
            out->seq = shx_seq_of(entry);
            out->block = shx_block_of(entry);
            out->token = me->token;
            return 0;
        }
    }
    return EAGAIN;
}

/* Another thread of this reader may have had it, or a newer one. */
static bool
note(shx_reader *reader, uint64_t seen, uint64_t seq)
{
    while (!atomic_compare_exchange_strong(&reader->seen, &seen, seq)) {
        if (seen >= seq) {
            return false;
        }
    }
    if (seen != 0) {
        atomic_fetch_add_explicit(&reader->missed, seq - seen - 1,
                                  memory_order_relaxed);
    }
    return true;
}

static shx_err
take(shx_broadcast *cast, const shx_member *me, shx_reader *reader,
     shx_frame *out)
{
    uint64_t held = 0, seen = atomic_load(&reader->seen);
    shx_err err = hold_newest(cast, me, seen, &held, out);
    if (err == 0) {
        out->length = atomic_load_explicit(&cast->lengths[out->block],
                                           memory_order_relaxed);
        if (out->length > cast->shape.size) {
            err = SHX_DAMAGED;
        }
        else if (!note(reader, seen, out->seq)) {
            err = EAGAIN;
        }
    }
    if (err != 0 && held != 0) {
        (void)move_hold(cast, out->slot, held, 0);
    }
    return err;
}

/* Between two looks that found nothing. `*unwoken`: its slice is over; if it
 * finds something then, nor were others woken for that. 0: look again. */
static shx_err
wait_on(shx_broadcast *cast, uint32_t seen, shx_patience *patience,
        unsigned *rounds, bool *unwoken)
{
    shx_err err = shx_patience_spin(patience, rounds);
    if (err == 0) {
        err = shx_wait_on(cast->watchers, seen, patience);
    }
    *unwoken = err == SHX_SLICE_OVER;
    if (err == EAGAIN || err == SHX_SLICE_OVER) {
        return 0;
    }
    shx_patience_quit(patience, &cast->watchers->word, &cast->watchers->watch);
    return err;
}

shx_err
shx_broadcast_receive(shx_broadcast *cast, const shx_member *me,
                      shx_reader *reader, shx_frame *out,
                      shx_patience *patience)
{
    bool unwoken = false;
    unsigned rounds = 0;
    for (;;) {
        uint32_t seen = atomic_load(&cast->watchers->word);
        shx_err err = take(cast, me, reader, out);
        if (err != EAGAIN && unwoken) {
            shx_broadcast_wake(cast);
        }
        if (err != EAGAIN || patience == NULL) {
            return err;
        }
        err = wait_on(cast, seen, patience, &rounds, &unwoken);
        if (err != 0) {
            return err;
        }
    }
}

/* Than what this reader had last. */
static bool
has_newer(const shx_broadcast *cast, const shx_reader *reader)
{
    return atomic_load(&cast->front->newest) > atomic_load(&reader->seen);
}

shx_err
shx_broadcast_await(shx_broadcast *cast, const shx_reader *reader,
                    shx_patience *patience)
{
    bool unwoken = false;
    unsigned rounds = 0;
    for (;;) {
        uint32_t seen = atomic_load(&cast->watchers->word);
        if (has_newer(cast, reader)) {
            if (unwoken) {
                shx_broadcast_wake(cast);
            }
            return 0;
        }
        if (patience == NULL) {
            return EAGAIN;
        }
        shx_err err = wait_on(cast, seen, patience, &rounds, &unwoken);
        if (err != 0) {
            return err;
        }
    }
}

static shx_err
look(shx_awaited *one)
{
    const shx_broadcast *cast = one->what;
    const shx_reader *reader = one->who;
    return has_newer(cast, reader) ? 0 : EAGAIN;
}

/* The writer wakes all. */
static void
pass_on(shx_awaited *one, bool unwoken)
{
    if (unwoken) {
        shx_broadcast_wake(one->what);
    }
}

static const shx_awaited_kind kind = {
    .mark = SHX_WAITED,
    .look = look,
    .pass_on = pass_on,
};

void
shx_broadcast_await_beside(shx_broadcast *cast, const shx_reader *reader,
                           shx_awaited *out)
{
    *out = (shx_awaited){
        .kind = &kind, .cell = cast->watchers, .what = cast, .who = reader};
}

/* A child's is one that was claimed for it. If there is none its parent's is
 * pinned, or it was made by raw clone(2). */
void
shx_broadcast_give(shx_broadcast *cast, const shx_member *me,
                   const shx_frame *frame)
{
    uint32_t flag = frame->token == me->token ? 0 : SHX_HEIR;
    unsigned hint = flag == 0 ? frame->slot : cast->shape.readers;
    (void)shx_slots_drop(cast->slots, shx_broadcast_slots(cast),
                         shx_hold_of(me, frame->block, flag), hint);
}

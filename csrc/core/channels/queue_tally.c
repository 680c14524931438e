/* SPDX-License-Identifier: MIT */
/* Which tasks are not done, and who owes them. */
#include "core/channels/queue_words.h"

#include <errno.h>
#include <limits.h> /* UINT_MAX */

enum { DEBTORS = SHX_QUEUE_DEBTORS };

static const uint64_t one = UINT64_C(1) << SHX_TOKEN_BITS;

static uint32_t
debtor_of(uint64_t word)
{
    return (uint32_t)word & SHX_TOKEN;
}

/* What nobody has a place for: whose it is cannot be said, so it is never
 * taken off. In the own words of the cell `done`. */
static shx_word *
unnamed(const shx_ring *ring)
{
    return &shx_queue_done(ring)->own[0];
}

/* Frees the places of the dead. */
static unsigned
forgive(shx_ring *ring)
{
    shx_slot *owed = shx_queue_owed(ring);
    unsigned freed = 0;
    for (int i = 0; i < DEBTORS; i++) {
        uint64_t word = atomic_load(&owed[i]);
        if (word != 0 && shx_party_is_dead(ring->put.party, debtor_of(word))) {
            freed += atomic_compare_exchange_strong(&owed[i], &word, 0);
        }
    }
    return freed;
}

/* From where our token says on, so that few look at many: one more, where we
 * have a place, or at the first that is free. What a thread of ours does
 * meanwhile makes two of it, at worst. */
static bool
add(shx_ring *ring, const shx_member *me)
{
    shx_slot *owed = shx_queue_owed(ring);
    for (unsigned i = 0; i < DEBTORS; i++) {
        shx_slot *place = &owed[(me->token + i) % DEBTORS];
        uint64_t word = atomic_load(place);
        while (word == 0 || debtor_of(word) == me->token) {
            uint64_t more = word == 0 ? one | me->token : word + one;
            if (atomic_compare_exchange_strong(place, &word, more)) {
                return true;
            }
        }
    }
    return false;
}

void
shx_queue_owe(shx_ring *ring, const shx_member *me)
{
    if (!add(ring, me) && !(forgive(ring) != 0 && add(ring, me))) {
        atomic_fetch_add(unnamed(ring), 1);
    }
}

/* One less there, of that debtor. 0: of anybody. */
static bool
subtract(shx_slot *place, uint32_t of)
{
    uint64_t word = atomic_load(place);
    while (word != 0 && (of == 0 || debtor_of(word) == of)) {
        uint64_t less = word >= 2 * one ? word - one : 0;
        if (atomic_compare_exchange_strong(place, &word, less)) {
            return true;
        }
    }
    return false;
}

static bool
subtract_any(shx_ring *ring, const shx_member *me, uint32_t of)
{
    shx_slot *owed = shx_queue_owed(ring);
    for (unsigned i = 0; i < DEBTORS; i++) {
        if (subtract(&owed[(me->token + i) % DEBTORS], of)) {
            return true;
        }
    }
    return false;
}

static bool
subtract_unnamed(shx_ring *ring)
{
    uint32_t count = atomic_load(unnamed(ring));
    while (count != 0) {
        if (atomic_compare_exchange_strong(unnamed(ring), &count, count - 1)) {
            return true;
        }
    }
    return false;
}

void
shx_queue_tell(shx_ring *ring)
{
    if (shx_is_waited(shx_queue_done(ring)) &&
        atomic_load(&ring->out->next) == atomic_load(&ring->in->tail)) {
        shx_ring_wake(shx_queue_done(ring), UINT_MAX);
    }
}

bool
shx_queue_settle(shx_ring *ring, const shx_member *me, bool by_us)
{
    bool settled = by_us ? subtract_any(ring, me, me->token)
                         : subtract_unnamed(ring) || subtract_any(ring, me, 0);
    if (settled) {
        shx_queue_tell(ring);
    }
    return settled;
}

/* What it owes is counted before the record is free; what is done is counted
 * no more, and then those are told who wait for that. */
void
shx_queue_give(shx_ring *ring, const shx_member *me,
               const shx_ring_record *record, bool done)
{
    if (record->token != me->token) {
        return; /* of who has forked us */
    }
    if (!done) {
        shx_queue_owe(ring, me);
    }
    shx_ring_give(ring, me, record, 1);
    if (done) {
        shx_queue_tell(ring);
    }
    shx_queue_tidy(ring, me);
}

static bool
is_done(const shx_ring *ring, uint64_t at, uint64_t word)
{
    const shx_ring_record record = {.at = at};
    const shx_letter *letter = shx_ring_bytes(ring, &record);
    return shx_span_of(word) > SHX_UNIT && atomic_load(&letter->done) != 0;
}

static bool
is_anything_owed(shx_ring *ring)
{
    shx_slot *owed = shx_queue_owed(ring);
    if (atomic_load(unnamed(ring)) != 0) {
        return true;
    }
    for (int i = 0; i < DEBTORS; i++) {
        if (atomic_load(&owed[i]) != 0) {
            return true;
        }
    }
    return false;
}

/* EAGAIN: there are tasks that are not done. See queue.h for the order. */
static shx_err
look(shx_ring *ring, const shx_member *me, const shx_ring_wait *wait)
{
    uint64_t count, tail = atomic_load(&ring->in->tail);
    if (atomic_load(&ring->out->next) != tail) { /* or is it all dropped? */
        shx_err err = shx_ring_skip(ring, me, wait);
        if (err != 0 || atomic_load(&ring->out->next) != tail) {
            return err != 0 ? err : EAGAIN;
        }
    }
    shx_queue_tidy(ring, me);
    shx_err err = shx_ring_count(ring, me, is_done, wait, &count);
    if (err != 0) {
        return err;
    }
    return count != 0 || is_anything_owed(ring) ||
                   atomic_load(&ring->in->tail) != tail
               ? EAGAIN
               : 0;
}

static shx_err
recover(shx_ring *ring, const shx_member *me, const shx_ring_wait *wait)
{
    (void)forgive(ring);
    return shx_ring_recover(ring, me, wait);
}

/* What others put and take while it looks makes it look again. */
shx_err
shx_queue_join(shx_ring *ring, const shx_member *me, shx_ring_wait *wait)
{
    shx_cell *cell = shx_queue_done(ring);
    for (;;) {
        uint32_t seen = atomic_load(&cell->word);
        shx_err err = look(ring, me, wait);
        if (err == EAGAIN && wait->blocks) {
            err = shx_wait_on(cell, seen, &wait->patience);
            if (err == SHX_SLICE_OVER) {
                err = recover(ring, me, wait);
            }
            if (err == 0 || err == EAGAIN) {
                continue;
            }
            shx_patience_quit(&wait->patience, &cell->word, &cell->watch);
        }
        return err;
    }
}

/* SPDX-License-Identifier: MIT */
/* Messages out. */
#include "core/channels/ring_words.h"

#include <errno.h>

typedef struct {
    shx_ring_record *out;
    size_t most;
    size_t count;
} catch;

/* What its header says of the message is looked at once. */
static shx_err
note(shx_ring *ring, uint64_t at, uint64_t word, uint32_t token,
     shx_ring_record *out)
{
    uint64_t length = atomic_load_explicit(&shx_ring_header(ring, at)->length,
                                           memory_order_relaxed);
    uint64_t units = shx_units_of(word);
    if (length >= units * SHX_UNIT || shx_units_for(length) != units) {
        return SHX_DAMAGED;
    }
    *out = (shx_ring_record){
        .at = at, .word = word, .length = length, .token = token};
    return 0;
}

/* One that came back, from [head, next). Under `put`, which keeps these where
 * they are, and others out. */
static shx_err
take_returned(shx_ring *ring, const shx_member *me, catch *all)
{
    /* First: what comes back after that may lie beyond this `next`. */
    uint32_t times = atomic_load(shx_ring_returned(ring));
    uint64_t at = atomic_load(&ring->in->head);
    uint64_t next = atomic_load(&ring->out->next);
    if (!shx_ring_is_range(ring, at, next)) {
        return SHX_DAMAGED;
    }
    while (at != next) {
        uint64_t word;
        shx_err err = shx_ring_read(ring, at, next, &word);
        if (err != 0) {
            return err;
        }
        unsigned before = shx_deliveries_of(word);
        uint64_t mine = shx_record_word(
            SHX_TAKEN, before < SHX_MOST_DELIVERIES ? before + 1 : before,
            me->token, shx_units_of(word));
        if (shx_state_of_record(word) == SHX_RETURNED &&
            shx_ring_change(ring, at, word, mine)) {
            atomic_fetch_add(&ring->counts->redelivered, 1);
            all->count = 1;
            return note(ring, at, mine, me->token, all->out);
        }
        at += shx_span_of(word);
    }
    /* Unless another one came back meanwhile. */
    (void)atomic_compare_exchange_strong(shx_ring_returned(ring), &times, 0);
    return EAGAIN;
}

static shx_err
try_returned(shx_ring *ring, const shx_member *me, catch *all,
             const shx_ring_wait *wait)
{
    if (atomic_load(shx_ring_returned(ring)) == 0) {
        return EAGAIN;
    }
    shx_err err = shx_ring_lock(&ring->put, me, wait);
    if (err == 0) {
        err = take_returned(ring, me, all);
        shx_ring_unlock(&ring->put, me);
    }
    return err;
}

/* The record at *next, which is moved over it. EAGAIN: nothing, or it is being
 * written. Under `take`. TAKEN: who took it died before it said so. */
static shx_err
take_next(shx_ring *ring, const shx_member *me, uint64_t *next, uint64_t tail,
          shx_ring_record *out)
{
    while (*next != tail) {
        uint64_t word, at = *next;
        shx_err err = shx_ring_read(ring, at, tail, &word);
        if (err != 0) {
            return err;
        }
        shx_record_state state = shx_state_of_record(word);
        if (state == SHX_BUSY) {
            return EAGAIN;
        }
        bool free = shx_is_free_record(word);
        uint64_t mine = shx_record_as(word, SHX_TAKEN, me->token);
        err = free ? 0 : note(ring, at, mine, me->token, out);
        if (err != 0) {
            return err;
        }
        *next = at + shx_span_of(word);
        if (!free) {
            atomic_store_explicit(&shx_ring_header(ring, at)->word, mine,
                                  memory_order_relaxed);
            return 0;
        }
    }
    return EAGAIN;
}

/* All stores before that of `next` are seen by who sees that. */
static shx_err
take_many(shx_ring *ring, const shx_member *me, catch *all)
{
    uint64_t begun =
        atomic_load_explicit(&ring->out->next, memory_order_relaxed);
    uint64_t next = begun, tail = atomic_load(&ring->in->tail);
    shx_err err = shx_ring_is_range(ring, next, tail) ? 0 : SHX_DAMAGED;
    while (err == 0 && all->count < all->most) {
        err = take_next(ring, me, &next, tail, &all->out[all->count]);
        all->count += err == 0;
    }
    if (next != begun) {
        atomic_store(&ring->out->next, next);
    }
    return all->count != 0 ? 0 : err;
}

/* Under `take`. */
static shx_err
skip_free(shx_ring *ring)
{
    uint64_t next =
        atomic_load_explicit(&ring->out->next, memory_order_relaxed);
    uint64_t tail = atomic_load(&ring->in->tail);
    shx_err err = shx_ring_is_range(ring, next, tail) ? 0 : SHX_DAMAGED;
    while (err == 0 && next != tail) {
        uint64_t word;
        err = shx_ring_read(ring, next, tail, &word);
        if (err != 0 || !shx_is_free_record(word)) {
            break;
        }
        next += shx_span_of(word);
    }
    atomic_store(&ring->out->next, next);
    return err;
}

shx_err
shx_ring_skip(shx_ring *ring, const shx_member *me, const shx_ring_wait *wait)
{
    shx_err err = shx_ring_lock(&ring->take, me, wait);
    if (err == 0) {
        err = skip_free(ring);
        shx_ring_unlock(&ring->take, me);
    }
    return err;
}

static shx_err
take(shx_ring *ring, const shx_member *me, void *what,
     const shx_ring_wait *wait)
{
    catch *all = what;
    /* Nothing is put after that. */
    bool last = shx_ring_is_shut_down(ring);
    shx_err err = try_returned(ring, me, all, wait);
    if (err != EAGAIN) {
        return err;
    }
    if (atomic_load(&ring->out->next) != atomic_load(&ring->in->tail)) {
        err = shx_ring_lock(&ring->take, me, wait);
        if (err == 0) {
            err = take_many(ring, me, all);
            shx_ring_unlock(&ring->take, me);
        }
    }
    return err == EAGAIN && last ? shx_ring_is_over(ring, me, wait) : err;
}

shx_err
shx_ring_take(shx_ring *ring, const shx_member *me, shx_ring_record *out,
              size_t most, size_t *count, shx_ring_wait *wait)
{
    catch all = {.out = out, .most = most, .count = 0};
    shx_err err =
        shx_ring_insist(ring, me, SHX_FOR_MESSAGES, take, &all, wait);
    if (err == 0) {
        *count = all.count;
    }
    return err;
}

unsigned
shx_ring_deliveries(const shx_ring_record *record)
{
    return shx_deliveries_of(record->word);
}

/* It is TAKEN, or KEPT by now: nobody else changes it. */
static bool
let_go(shx_ring *ring, const shx_member *me, const shx_ring_record *record,
       shx_record_state state)
{
    uint64_t next = shx_record_as(record->word, state, 0);
    uint64_t kept = shx_record_as(record->word, SHX_KEPT, me->token);
    return record->token == me->token &&
           (shx_ring_change(ring, record->at, record->word, next) ||
            shx_ring_change(ring, record->at, kept, next));
}

/* All who wait for the end are told, too. */
void
shx_ring_give(shx_ring *ring, const shx_member *me,
              const shx_ring_record *records, size_t count)
{
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        any |= let_go(ring, me, &records[i], SHX_FREE);
    }
    if (any) {
        shx_ring_notify(ring->room, 1);
        if (shx_ring_is_shut_down(ring)) {
            shx_ring_tell(ring, 1);
        }
    }
}

void
shx_ring_return(shx_ring *ring, const shx_member *me,
                const shx_ring_record *record)
{
    if (let_go(ring, me, record, SHX_RETURNED)) {
        atomic_fetch_add(shx_ring_returned(ring), 1);
        shx_ring_notify(ring->messages, 1);
    }
}

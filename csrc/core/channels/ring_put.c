/* SPDX-License-Identifier: MIT */
/* Messages in. */
#include "core/channels/ring_words.h"

#include <errno.h>
#include <string.h> /* memcpy */

/* What is copied while others wait for that; longer ones are reserved. */
enum { SMALL = 1024 };

/* Moves `head` over what is free, until there are so many bytes; a few more
 * records, since they are at hand. Under `put`. */
static shx_err
reclaim(shx_ring *ring, uint64_t tail, uint64_t need, uint64_t *room)
{
    enum { MORE = 16 };
    uint64_t head =
        atomic_load_explicit(&ring->in->head, memory_order_relaxed);
    uint64_t next = atomic_load(&ring->out->next);
    shx_err err = 0;
    if (!shx_ring_is_range(ring, head, next) ||
        !shx_ring_is_range(ring, head, tail)) {
        return SHX_DAMAGED;
    }
    for (int more = 0; head != next && more < MORE;
         more += ring->capacity - (tail - head) >= need) {
        uint64_t word;
        err = shx_ring_read(ring, head, next, &word);
        if (err != 0 || !shx_is_free_record(word)) {
            break;
        }
        head += shx_span_of(word);
    }
    atomic_store(&ring->in->head, head);
    *room = ring->capacity - (tail - head);
    return err;
}

/* ESTALE: what is at `next` is free, and would be room if that were beyond
 * it. Under `put`: nothing is written there meanwhile. */
static shx_err
find_none(shx_ring *ring, uint64_t tail)
{
    uint64_t word, next = atomic_load(&ring->out->next);
    if (next == tail) {
        return EAGAIN;
    }
    if (!shx_ring_is_range(ring, next, tail)) {
        return SHX_DAMAGED;
    }
    shx_err err = shx_ring_read(ring, next, tail, &word);
    return err != 0 ? err : shx_is_free_record(word) ? ESTALE : EAGAIN;
}

/* Finds a place, in one piece, for so many bytes from *tail on; which is moved
 * over the rest of the data if they do not fit there. EAGAIN, ESTALE. Under
 * `put`. */
static shx_err
make_room(shx_ring *ring, uint64_t span, uint64_t *tail)
{
    uint64_t head =
        atomic_load_explicit(&ring->in->head, memory_order_relaxed);
    uint64_t rest = shx_ring_rest(ring, *tail);
    uint64_t need = span <= rest ? span : rest + span;
    if (!shx_ring_is_range(ring, head, *tail)) {
        return SHX_DAMAGED;
    }
    uint64_t room = ring->capacity - (*tail - head);
    if (room < need) {
        shx_err err = reclaim(ring, *tail, need, &room);
        if (err != 0) {
            return err;
        }
    }
    if (room < need) {
        return find_none(ring, *tail);
    }
    if (span > rest) {
        uint64_t pad = shx_record_word(SHX_PAD, 0, 0, rest / SHX_UNIT);
        atomic_store_explicit(&shx_ring_header(ring, *tail)->word, pad,
                              memory_order_relaxed);
        *tail += rest;
    }
    return 0;
}

shx_err
shx_ring_begin(shx_ring *ring, const shx_member *me, shx_record_state state,
               uint64_t length, uint64_t *tail, shx_ring_record *out)
{
    uint64_t units = shx_units_for(length);
    shx_err err = make_room(ring, units * SHX_UNIT, tail);
    if (err != 0) {
        return err;
    }
    uint32_t token = state == SHX_BUSY ? me->token : 0;
    *out = (shx_ring_record){.at = *tail,
                             .word = shx_record_word(state, 0, token, units),
                             .length = length,
                             .token = token};
    shx_record_header *header = shx_ring_header(ring, *tail);
    atomic_store_explicit(&header->length, length, memory_order_relaxed);
    atomic_store_explicit(&header->word, out->word, memory_order_relaxed);
    *tail += units * SHX_UNIT;
    return 0;
}

shx_err
shx_ring_enter(shx_ring *ring, const shx_member *me, const shx_ring_wait *wait,
               uint64_t *tail)
{
    if (shx_ring_is_shut_down(ring)) {
        return SHX_SHUT_DOWN;
    }
    shx_err err = shx_ring_lock(&ring->put, me, wait);
    if (err != 0) {
        return err;
    }
    if (shx_ring_is_shut_down(ring)) {
        shx_ring_unlock(&ring->put, me);
        return SHX_SHUT_DOWN;
    }
    *tail = atomic_load_explicit(&ring->in->tail, memory_order_relaxed);
    return 0;
}

void
shx_ring_leave(shx_ring *ring, const shx_member *me, uint64_t tail)
{
    atomic_store(&ring->in->tail, tail);
    shx_ring_unlock(&ring->put, me);
}

typedef struct {
    const shx_piece *pieces;
    size_t count;
    size_t done;
} batch;

/* Small ones, under one lock and with one publication. */
static shx_err
put_small(shx_ring *ring, const shx_member *me, void *what,
          const shx_ring_wait *wait)
{
    enum { MOST = 1024 };
    batch *all = what;
    uint64_t tail;
    unsigned done = 0;
    shx_err err = shx_ring_enter(ring, me, wait, &tail);
    if (err != 0) {
        return err;
    }
    while (all->done + done < all->count && done < MOST) {
        const shx_piece *piece = &all->pieces[all->done + done];
        shx_ring_record record;
        if (piece->length > SMALL) {
            break;
        }
        err =
            shx_ring_begin(ring, me, SHX_READY, piece->length, &tail, &record);
        if (err != 0) {
            break;
        }
        if (piece->length != 0) {
            memcpy(shx_ring_bytes(ring, &record), piece->data, piece->length);
        }
        done++;
    }
    if (done == 0) {
        shx_ring_unlock(&ring->put, me);
        return err;
    }
    shx_ring_leave(ring, me, tail);
    shx_ring_notify(ring->messages, done);
    all->done += done;
    return 0;
}

typedef struct {
    uint64_t length;
    shx_ring_record *out;
} reservation;

static shx_err
reserve(shx_ring *ring, const shx_member *me, void *what,
        const shx_ring_wait *wait)
{
    reservation *asked = what;
    uint64_t tail;
    shx_err err = shx_ring_enter(ring, me, wait, &tail);
    if (err != 0) {
        return err;
    }
    err = shx_ring_begin(ring, me, SHX_BUSY, asked->length, &tail, asked->out);
    if (err == 0) {
        shx_ring_leave(ring, me, tail);
    }
    else {
        shx_ring_unlock(&ring->put, me);
    }
    return err;
}

shx_err
shx_ring_reserve(shx_ring *ring, const shx_member *me, size_t length,
                 shx_ring_record *out, shx_ring_wait *wait)
{
    reservation asked = {.length = length, .out = out};
    return shx_ring_insist(ring, me, SHX_FOR_ROOM, reserve, &asked, wait);
}

void
shx_ring_commit(shx_ring *ring, const shx_member *me,
                const shx_ring_record *record, bool keep)
{
    shx_record_state state = keep ? SHX_READY : SHX_FREE;
    if (record->token == me->token &&
        shx_ring_change(ring, record->at, record->word,
                        shx_record_as(record->word, state, 0))) {
        shx_ring_tell(ring, 1);
        if (!keep) {
            shx_ring_notify(ring->room, 1);
        }
    }
}

static shx_err
put_large(shx_ring *ring, const shx_member *me, const shx_piece *piece,
          shx_ring_wait *wait)
{
    shx_ring_record record;
    shx_err err = shx_ring_reserve(ring, me, piece->length, &record, wait);
    if (err == 0) {
        memcpy(shx_ring_bytes(ring, &record), piece->data, piece->length);
        shx_ring_commit(ring, me, &record, true);
    }
    return err;
}

shx_err
shx_ring_put(shx_ring *ring, const shx_member *me, const shx_piece *pieces,
             size_t count, size_t *done, shx_ring_wait *wait)
{
    batch all = {.pieces = pieces, .count = count, .done = 0};
    shx_err err = 0;
    while (err == 0 && all.done < count) {
        const shx_piece *piece = &pieces[all.done];
        if (piece->length <= SMALL) {
            err =
                shx_ring_insist(ring, me, SHX_FOR_ROOM, put_small, &all, wait);
        }
        else {
            err = put_large(ring, me, piece, wait);
            all.done += err == 0;
        }
    }
    *done = all.done;
    return err;
}

static shx_err
look_for_room(shx_ring *ring, const shx_member *me, void *what,
              const shx_ring_wait *wait)
{
    const uint64_t *length = what;
    uint64_t tail;
    shx_err err = shx_ring_enter(ring, me, wait, &tail);
    if (err == 0) {
        err = make_room(ring, shx_units_for(*length) * SHX_UNIT, &tail);
        shx_ring_unlock(&ring->put, me);
    }
    return err;
}

shx_err
shx_ring_await_room(shx_ring *ring, const shx_member *me, size_t length,
                    shx_ring_wait *wait)
{
    uint64_t asked = length;
    shx_err err =
        shx_ring_insist(ring, me, SHX_FOR_ROOM, look_for_room, &asked, wait);
    if (err == 0) {
        shx_ring_notify(ring->room, 1); /* it takes none */
    }
    return err;
}

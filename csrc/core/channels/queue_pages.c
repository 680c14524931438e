/* SPDX-License-Identifier: MIT */
/* The pages of a queue: which are there, and where they come from and go. */
#include "core/channels/queue_words.h"

#include <errno.h>

enum { GRAIN = SHX_QUEUE_GRAIN, LONG = 1 << 20, MUCH = 1 << 21 };

/* Between `floor` and `head` lies, for the next time round, what may be used
 * again as it is: where it is, records lie beyond `floor` + capacity, and
 * `backed` may be behind the tail. Their grains are there all the same, up to
 * the end of the one that the tail is in. */

static uint64_t
down(uint64_t position)
{
    return position & ~(uint64_t)(GRAIN - 1);
}

static uint64_t
up(uint64_t position)
{
    return down(position + GRAIN - 1);
}

static uint64_t
least(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

typedef struct {
    uint64_t floor, head, backed;
} pages;

static shx_err
read_pages(const shx_ring *ring, uint64_t tail, pages *out)
{
    uint64_t floor =
        atomic_load_explicit(&ring->in->floor, memory_order_relaxed);
    uint64_t head =
        atomic_load_explicit(&ring->in->head, memory_order_relaxed);
    uint64_t backed =
        atomic_load_explicit(&ring->in->backed, memory_order_relaxed);
    if ((int64_t)(backed - floor) < 0) {
        backed = floor;
    }
    *out = (pages){.floor = floor, .head = head, .backed = backed};
    return shx_ring_is_range(ring, head, tail) && floor % GRAIN == 0 &&
                   backed % GRAIN == 0 && (int64_t)(head - floor) >= 0 &&
                   head - floor <= 2 * ring->capacity &&
                   backed - floor <= ring->capacity
               ? 0
               : SHX_DAMAGED;
}

static shx_err
make_present(void *bytes, size_t size)
{
    shx_err err;
    do {
        err = shx_os_populate(bytes, size, true);
    } while (err == EINTR);
    if (err == SHX_NO_POPULATE) {
        err = shx_os_overwrite(bytes, size);
        err = err == ENOENT ? 0 : err; /* then a touch has to do */
    }
    return err == EFAULT ? ENOSPC : err;
}

static unsigned char *
byte_at(const shx_ring *ring, uint64_t position)
{
    return ring->data + (position & (ring->capacity - 1));
}

/* Whole grains, of which none is in two parts of the data. */
static shx_err
fill(const shx_ring *ring, uint64_t from, uint64_t to)
{
    shx_err err = 0;
    while (err == 0 && from != to) {
        uint64_t size = least(to - from, shx_ring_rest(ring, from));
        err = make_present(byte_at(ring, from), (size_t)size);
        from += size;
    }
    return err;
}

static void
discard(const shx_ring *ring, uint64_t from, uint64_t to)
{
    while (from != to) {
        uint64_t size = least(to - from, shx_ring_rest(ring, from));
        shx_os_discard(byte_at(ring, from), (size_t)size);
        from += size;
    }
}

/* Of what is to be written at once, where words are: there, and `at` the
 * beginning of a record behind what is too short. */
static shx_err
fill_ends(const shx_ring *ring, uint64_t from, uint64_t at, uint64_t to)
{
    const uint64_t places[] = {from, down(at), to - GRAIN};
    shx_err err = 0;
    for (int i = 0; i < 3 && err == 0; i++) {
        uint64_t place = places[i];
        if (place >= from && place < to) {
            err = fill(ring, place, place + GRAIN);
        }
    }
    return err;
}

/* Moves *head over what is free, until it is there or nothing is. */
static shx_err
advance(shx_ring *ring, uint64_t to, uint64_t *head)
{
    uint64_t next = atomic_load(&ring->out->next);
    shx_err err = shx_ring_is_range(ring, *head, next) ? 0 : SHX_DAMAGED;
    while (err == 0 && *head != next && (int64_t)(to - *head) > 0) {
        uint64_t word;
        err = shx_ring_read(ring, *head, next, &word);
        if (err != 0 || !shx_is_free_record(word)) {
            break;
        }
        *head += shx_span_of(word);
    }
    atomic_store(&ring->in->head, *head);
    return err;
}

/* ESTALE: what is at `next` is free, and would be room if that were beyond
 * it. */
static shx_err
find_none(const shx_ring *ring, uint64_t tail)
{
    uint64_t word, next = atomic_load(&ring->out->next);
    if (next == tail) {
        return EAGAIN;
    }
    shx_err err = shx_ring_is_range(ring, next, tail)
                      ? shx_ring_read(ring, next, tail, &word)
                      : SHX_DAMAGED;
    return err != 0 ? err : shx_is_free_record(word) ? ESTALE : EAGAIN;
}

/* So that it moves no further before the record is there: what lies beyond
 * would have to be present. */
static shx_err
make_room(shx_ring *ring, uint64_t tail, uint64_t to, uint64_t *head)
{
    shx_err err = 0;
    if (to > *head + ring->capacity) {
        err = advance(ring, to - ring->capacity, head);
    }
    return err == 0 && to > *head + ring->capacity ? find_none(ring, tail)
                                                   : err;
}

static shx_err
extend(shx_ring *ring, uint64_t tail, uint64_t at, uint64_t to)
{
    pages now;
    shx_err err = read_pages(ring, tail, &now);
    err = err == 0 ? make_room(ring, tail, to, &now.head) : err;
    if (err != 0) {
        return err;
    }
    if (to > now.floor + ring->capacity && down(now.head) != now.floor) {
        now.floor = down(now.head);
        atomic_store(&ring->in->floor, now.floor);
        now.backed = now.backed < now.floor ? now.floor : now.backed;
    }
    uint64_t until = least(up(to), now.floor + ring->capacity);
    if (now.backed < tail) {
        now.backed = up(tail);
    }
    if (until <= now.backed) {
        return 0;
    }
    err = until - now.backed > LONG ? fill_ends(ring, now.backed, at, until)
                                    : fill(ring, now.backed, until);
    if (err == 0) {
        atomic_store(&ring->in->backed, until);
    }
    else {
        discard(ring, now.backed, until); /* what little there was */
    }
    return err;
}

/* Nothing is made present beyond `floor` + capacity, and nothing has to be. */
shx_err
shx_queue_back(shx_ring *ring, uint64_t tail, uint64_t span)
{
    uint64_t rest = shx_ring_rest(ring, tail);
    uint64_t at = span <= rest ? tail : tail + rest;
    uint64_t backed =
        atomic_load_explicit(&ring->in->backed, memory_order_relaxed);
    return at + span <= backed ? 0 : extend(ring, tail, at, at + span);
}

shx_err
shx_queue_fill(const shx_ring *ring, const shx_ring_record *record)
{
    uint64_t span = shx_span_of(record->word);
    return span <= GRAIN
               ? 0
               : make_present(byte_at(ring, record->at), (size_t)span);
}

/* From `floor` to there: not what records lie in by now. */
static void
give_up(shx_ring *ring, const pages *now, uint64_t tail, uint64_t to)
{
    uint64_t from = now->floor;
    uint64_t used = up(tail) < ring->capacity ? 0 : up(tail) - ring->capacity;
    /* First: who dies in between leaves pages, and lacks none. */
    atomic_store(&ring->in->floor, to);
    if (now->backed < to) {
        atomic_store(&ring->in->backed, to);
    }
    from = from < used ? used : from;
    if (from < to) {
        discard(ring, to - least(to - from, ring->capacity), to);
    }
}

shx_err
shx_queue_trim(shx_ring *ring)
{
    pages now;
    uint64_t tail =
        atomic_load_explicit(&ring->in->tail, memory_order_relaxed);
    shx_err err = read_pages(ring, tail, &now);
    err = err == 0 ? advance(ring, now.head + MUCH, &now.head) : err;
    if (err == 0 && down(now.head) - now.floor >= SHX_QUEUE_IDLE) {
        give_up(ring, &now, tail, down(now.head));
    }
    return err;
}

void
shx_queue_tidy(shx_ring *ring, const shx_member *me)
{
    if (shx_queue_is_fat(ring) && shx_ring_lock(&ring->put, me, NULL) == 0) {
        (void)shx_queue_trim(ring); /* who is in need of it is told */
        shx_ring_unlock(&ring->put, me);
    }
}

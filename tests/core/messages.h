/* SPDX-License-Identifier: MIT */
/* What the programs on rings have in common: a ring, and messages of which
 * every byte is known. */
#ifndef MESSAGES_H
#define MESSAGES_H

#include "core/sync/event.h"
#include "core/channels/ring_words.h"

#include "sync.h"

enum { LONGEST = 6000, TOLD = 8 };

/* What a message says of itself, if it has so many bytes. */
typedef struct {
    uint32_t writer, number;
} label;

_Static_assert(sizeof(label) == TOLD, "it is the first bytes");

/* In memory that is zeros. */
static inline void
make_ring(const memory *in, size_t offset, uint64_t size, shx_ring *out)
{
    shx_cell *cell = (shx_cell *)(void *)(in->bytes + offset);
    CHECK(offset + shx_ring_size(size) <= in->size);
    atomic_store(&cell->head, shx_ring_head_of(size));
    CHECK(shx_ring_open(cell, in->size - offset, in->party, out) == 0);
}

static inline shx_ring_wait
waits(int64_t timeout)
{
    return (shx_ring_wait){.patience = shx_patience_for(timeout, NULL, NULL),
                           .blocks = true};
}

/* It waits for locks, and for nothing else. */
static inline shx_ring_wait
waits_for_locks(void)
{
    return (shx_ring_wait){.patience =
                               shx_patience_for(2 * SECOND, NULL, NULL)};
}

/* For a message or the end, beside what never comes. */
static inline shx_err
await_with(shx_ring *ring, const shx_member *me, shx_patience *patience,
           bool waits)
{
    static shx_cell nothing;
    shx_site at = {.cell = &nothing};
    shx_awaited one, other;
    shx_awaited *const things[] = {&other, &one};
    shx_readable none = {NULL, 0, false};
    shx_ring_await(ring, me, &one);
    shx_event_await(&at, &other);
    return shx_await_any(things, 2, &none, patience, waits);
}

static inline shx_err
await_beside(shx_ring *ring, const shx_member *me, int64_t timeout)
{
    shx_patience patience = shx_patience_for(timeout, NULL, NULL);
    return await_with(ring, me, &patience, timeout != 0);
}

static inline unsigned char
byte_of(label of, size_t length, size_t at)
{
    return (unsigned char)(of.writer * 31 + of.number * 7 + length + at);
}

static inline void
write_message(void *into, size_t length, label of)
{
    unsigned char *bytes = into;
    label said = length < TOLD ? (label){0, 0} : of;
    for (size_t i = 0; i < length; i++) {
        bytes[i] = byte_of(said, length, i);
    }
    if (length >= TOLD) {
        memcpy(bytes, &said, sizeof said);
    }
}

/* Is every byte as it was written? *of: who wrote it, if it says that. */
static inline bool
read_message(const void *from, size_t length, label *of)
{
    const unsigned char *bytes = from;
    unsigned differ = 0;
    *of = (label){0, 0};
    if (length >= TOLD) {
        memcpy(of, bytes, sizeof *of);
    }
    for (size_t i = length >= TOLD ? TOLD : 0; i < length; i++) {
        differ |= bytes[i] ^ byte_of(*of, length, i);
    }
    return differ == 0;
}

/* By whoever this process is. */

static inline shx_err
put_message(shx_ring *ring, size_t length, label of, int64_t timeout)
{
    unsigned char bytes[LONGEST];
    size_t done;
    const shx_piece piece = {bytes, length};
    shx_ring_wait wait = waits(timeout);
    shx_member me = me_in(ring->put.party);
    write_message(bytes, length, of);
    return shx_ring_put(ring, &me, &piece, 1, &done, &wait);
}

static inline shx_err
take_message(shx_ring *ring, shx_ring_record *out, int64_t timeout)
{
    size_t count = 0;
    shx_ring_wait wait = waits(timeout);
    shx_member me = me_in(ring->put.party);
    shx_err err = shx_ring_take(ring, &me, out, 1, &count, &wait);
    CHECK(err != 0 || count == 1);
    return err;
}

static inline shx_err
take_without_waiting(shx_ring *ring, shx_ring_record *out)
{
    size_t count;
    shx_member me = me_in(ring->put.party);
    return shx_ring_take(ring, &me, out, 1, &count, NULL);
}

static inline shx_err
reserve_message(shx_ring *ring, size_t length, shx_ring_record *out,
                int64_t timeout)
{
    shx_ring_wait wait = waits(timeout);
    shx_member me = me_in(ring->put.party);
    return shx_ring_reserve(ring, &me, length, out, &wait);
}

static inline void
commit_message(shx_ring *ring, const shx_ring_record *record, bool keep)
{
    shx_member me = me_in(ring->put.party);
    shx_ring_commit(ring, &me, record, keep);
}

static inline void
give_message(shx_ring *ring, const shx_ring_record *record)
{
    shx_member me = me_in(ring->put.party);
    shx_ring_give(ring, &me, record, 1);
}

static inline void
return_message(shx_ring *ring, const shx_ring_record *record)
{
    shx_member me = me_in(ring->put.party);
    shx_ring_return(ring, &me, record);
}

static inline shx_err
shut_down(shx_ring *ring, int64_t timeout)
{
    shx_patience patience = shx_patience_for(timeout, NULL, NULL);
    shx_member me = me_in(ring->put.party);
    return shx_ring_shut_down(ring, &me, &patience);
}

static inline label
label_of(const shx_ring *ring, const shx_ring_record *record)
{
    label found;
    CHECK(read_message(shx_ring_bytes(ring, record), record->length, &found));
    return found;
}

static inline shx_record_state
state_in(const shx_ring *ring, const shx_ring_record *record)
{
    return shx_state_of_record(
        atomic_load(&shx_ring_header(ring, record->at)->word));
}

#endif

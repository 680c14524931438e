/* SPDX-License-Identifier: MIT */
#include "core/channels/ring.h"

#include <errno.h>
#include <limits.h> /* UINT_MAX */

#include "core/channels/ring_words.h"

static const uint64_t longest_record =
    ((UINT64_C(1) << SHX_UNITS_BITS) - 1) * SHX_UNIT;

enum { LEAST = 12, MOST = 61 }; /* exponents */

/* The exponent of the least power of two that is as large; 0: none is. */
static unsigned
exponent_for(uint64_t size)
{
    for (unsigned exponent = LEAST; exponent <= MOST; exponent++) {
        if (UINT64_C(1) << exponent >= size) {
            return exponent;
        }
    }
    return 0;
}

size_t
shx_ring_size(uint64_t size)
{
    unsigned exponent = exponent_for(size);
    uint64_t bytes = (UINT64_C(1) << exponent) + SHX_RING_PAGE;
    return exponent == 0 || bytes > SIZE_MAX / 2 ? 0 : (size_t)bytes;
}

uint64_t
shx_ring_head_of(uint64_t size)
{
    return shx_cell_head_of(SHX_CELL_CHANNEL, exponent_for(size));
}

static shx_cell *
cell_at(void *memory, size_t offset)
{
    return (shx_cell *)(void *)((unsigned char *)memory + offset);
}

static shx_site
lock_at(void *memory, size_t offset, shx_party *party)
{
    return (shx_site){.cell = cell_at(memory, offset),
                      .party = party,
                      .parameter = SHX_IGNORES_DEATH};
}

static void
place(void *memory, shx_party *party, shx_ring *ring)
{
    ring->about = cell_at(memory, SHX_RING_ABOUT);
    ring->put = lock_at(memory, SHX_RING_PUT, party);
    ring->in = (void *)cell_at(memory, SHX_RING_IN);
    ring->take = lock_at(memory, SHX_RING_TAKE, party);
    ring->out = (void *)cell_at(memory, SHX_RING_OUT);
    ring->messages = cell_at(memory, SHX_RING_MESSAGES);
    ring->room = cell_at(memory, SHX_RING_ROOM);
    ring->counts = (void *)cell_at(memory, SHX_RING_COUNTS);
    ring->data = (unsigned char *)memory + SHX_RING_PAGE;
    atomic_store(&ring->vain, 0);
    atomic_store(&ring->looked, 0);
}

shx_err
shx_ring_open(void *memory, size_t size, shx_party *party, shx_ring *out)
{
    return shx_ring_open_as(SHX_CELL_CHANNEL, memory, size, party, out);
}

shx_err
shx_ring_open_as(shx_cell_kind kind, void *memory, size_t size,
                 shx_party *party, shx_ring *out)
{
    if (size < SHX_RING_PAGE + SHX_RING_LEAST) {
        return SHX_TOO_SMALL;
    }
    const shx_cell_head head = shx_cell_read(memory);
    if (head.kind != kind || head.version != SHX_CELL_VERSION ||
        head.parameter < LEAST || head.parameter > MOST) {
        return SHX_FOREIGN;
    }
    uint64_t capacity = UINT64_C(1) << head.parameter;
    if (capacity > size - SHX_RING_PAGE) {
        return SHX_TOO_SMALL;
    }
    place(memory, party, out);
    out->capacity = capacity;
    out->most = 0;
    return 0;
}

/* Half of it, so that one always fits when all others are gone, wherever the
 * end of the data is. */
uint64_t
shx_ring_longest(const shx_ring *ring)
{
    uint64_t half = ring->capacity / 2;
    return (half < longest_record ? half : longest_record) - SHX_UNIT;
}

uint64_t
shx_ring_size_for(uint64_t length)
{
    return length > longest_record - SHX_UNIT
               ? 0
               : UINT64_C(1) << exponent_for((length + SHX_UNIT) * 2);
}

bool
shx_ring_is_shut_down(const shx_ring *ring)
{
    return atomic_load(shx_ring_shut(ring)) != 0;
}

/* Under `put`: what is in by then is in, and nothing after it. */
shx_err
shx_ring_shut_down(shx_ring *ring, const shx_member *me,
                   shx_patience *patience)
{
    const shx_ring_wait wait = {.patience = *patience};
    shx_err err = shx_ring_lock(&ring->put, me, &wait);
    if (err != 0) {
        return err;
    }
    atomic_store(shx_ring_shut(ring), 1);
    shx_ring_unlock(&ring->put, me);
    shx_ring_notify(ring->messages, UINT_MAX);
    shx_ring_notify(ring->room, UINT_MAX);
    return 0;
}

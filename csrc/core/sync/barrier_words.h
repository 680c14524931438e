/* SPDX-License-Identifier: MIT */
/* What the two files of a barrier share: its words, and how it breaks. */
#ifndef SHX_BARRIER_WORDS_H
#define SHX_BARRIER_WORDS_H

#include "core/sync/barrier.h"
#include "core/sync/slots.h"

enum { STATE, GATE, LEAD }; /* which word of the cell's own */

#define BROKEN UINT32_C(1)
#define DIED UINT32_C(2)
#define RESETS UINT32_C(4)
#define GENERATION UINT32_C(8)
#define WAITED UINT32_C(1)

#define FLAGS (~SHX_TOKEN)
#define IDLE UINT32_C(0)
#define CLAIMED (UINT32_C(1) << SHX_TOKEN_BITS)
#define IN (UINT32_C(2) << SHX_TOKEN_BITS)
#define OUT (UINT32_C(4) << SHX_TOKEN_BITS)

/* Against memory that never rests. */
enum { TRIES = 1000 };

static inline shx_word *
own(const shx_site *at, int which)
{
    return &at->cell->own[which];
}

static inline shx_slot *
slot_of(const shx_site *at, unsigned place)
{
    return &at->cell->slots[place];
}

/* The flags of who is in the generation of that state. */
static inline uint32_t
in_of(uint32_t state)
{
    return IN | (state & GENERATION) / GENERATION << SHX_TOKEN_BITS;
}

static inline uint32_t
flags_of(uint64_t slot)
{
    return (uint32_t)slot & FLAGS;
}

static inline uint32_t
generation_of(uint32_t state)
{
    return state / GENERATION;
}

/* Whoever gives up a slot, or breaks it, calls those who wait for one. */
void shx_barrier_call(const shx_site *at);

/* `what` is BROKEN, or BROKEN | DIED. Only the generation of `seen`. */
void shx_barrier_break(const shx_site *at, uint32_t seen, uint32_t what);

#endif

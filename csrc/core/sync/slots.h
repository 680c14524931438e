/* SPDX-License-Identifier: MIT */
/* Slots are owner words of which any will do: a reader's, a permit's.
 *
 *   63 nonce 32 | 31 30 29 flags | 28 token 0      0: free
 *
 * The nonce is the owner's too, so that a token that is drawn again does not
 * own what a dead one had. One compare-exchange takes a slot, one gives it
 * back: whoever dies has it or has it not. The lower half can be slept on.
 */
#ifndef SHX_SLOTS_H
#define SHX_SLOTS_H

#include "core/sync/cell.h"

/* The value of a slot that is this member's. */
static inline uint64_t
shx_slot_of(const shx_member *who, uint32_t flags)
{
    return (uint64_t)who->nonce << 32 | flags | who->token;
}

static inline uint32_t
shx_slot_token(uint64_t value)
{
    return (uint32_t)value & SHX_TOKEN;
}

/* The half that sleepers look at: where it lies, the machine says. */
static inline const shx_word *
shx_slot_word(const shx_slot *slot)
{
    const uint16_t one = 1;
    const shx_word *halves = (const shx_word *)(const void *)slot;
    return *(const unsigned char *)&one == 1 ? halves : halves + 1;
}

/* Takes a free one, from *hint on, where it was found the last time. False:
 * none is free. */
bool shx_slots_claim(shx_slot *slots, unsigned count, uint64_t value,
                     unsigned *hint);

/* Gives one back that has this value. False: none has. */
bool shx_slots_drop(shx_slot *slots, unsigned count, uint64_t value,
                    unsigned hint);

/* Frees those of the dead: how many. */
unsigned shx_slots_reap(shx_slot *slots, unsigned count, shx_party *party);

/* How many are taken. */
unsigned shx_slots_count(const shx_slot *slots, unsigned count);

#endif

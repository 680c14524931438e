/* SPDX-License-Identifier: MIT */
/* What the files of a broadcast share: words, and what they say. */
#ifndef SHX_BROADCAST_WORDS_H
#define SHX_BROADCAST_WORDS_H

#include "core/channels/broadcast.h"
#include "core/channels/waited.h"

enum { SHX_BLOCK_BITS = 16 };

#define SHX_PINNED (UINT32_C(1) << 31)
#define SHX_HEIR (UINT32_C(1) << 30)
#define SHX_LAST_SEQ ((UINT64_C(1) << (64 - SHX_BLOCK_BITS)) - 1)

static inline uint64_t
shx_entry_of(uint64_t seq, unsigned block)
{
    return seq << SHX_BLOCK_BITS | block;
}

static inline uint64_t
shx_seq_of(uint64_t entry)
{
    return entry >> SHX_BLOCK_BITS;
}

static inline unsigned
shx_block_of(uint64_t entry)
{
    return (unsigned)entry & ((1u << SHX_BLOCK_BITS) - 1);
}

/* Is it one that may be at that place? */
static inline bool
shx_is_entry(const shx_broadcast *cast, uint64_t entry, uint64_t at)
{
    return entry != 0 && shx_block_of(entry) < cast->blocks &&
           shx_seq_of(entry) % cast->shape.depth == at;
}

/* The slot of who holds that block. */
static inline uint64_t
shx_hold_of(const shx_member *who, unsigned block, uint32_t flags)
{
    return (uint64_t)block << 48 | (uint64_t)(who->nonce & 0xffff) << 32 |
           flags | who->token;
}

static inline unsigned
shx_held_block(uint64_t slot)
{
    return (unsigned)(slot >> 48);
}

/* It says that this one holds something: as its heir, too. */
static inline bool
shx_is_hold_of(uint64_t slot, const shx_member *who)
{
    return ((slot ^ shx_hold_of(who, 0, 0)) &
            (UINT64_C(0xffff) << 32 | SHX_PINNED | SHX_TOKEN)) == 0;
}

static inline unsigned
shx_broadcast_slots(const shx_broadcast *cast)
{
    return cast->shape.readers + cast->shape.heirs;
}

/* broadcast_read.c: all who sleep are to look. */
void shx_broadcast_wake(shx_broadcast *cast);

/* broadcast.c */

/* Frees what the dead hold: how much it was. By what says who is dead, with
 * the mutex of the parties or without it. */
typedef bool (*shx_death_proof)(shx_party *party, uint32_t token);
unsigned shx_broadcast_reap(shx_broadcast *cast, const shx_member *me,
                            shx_death_proof is_dead);

/* What the parent holds the child holds too. */
void shx_broadcast_bequeath(shx_bequest *bequest, const shx_member *me,
                            const shx_member *child);

#endif

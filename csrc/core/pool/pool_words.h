/* SPDX-License-Identifier: MIT */
/* What the files of a pool share: words, what they say, and what the owner
 * knows. All functions here that end in _locked want the mutex of the pools.
 */
#ifndef SHX_POOL_WORDS_H
#define SHX_POOL_WORDS_H

#include "core/pool/pool.h"
#include "core/pool/pool_space.h"

/* The word of a block. */
#define SHX_POOL_SEND (UINT64_C(1) << 32)
#define SHX_POOL_PINNED (UINT64_C(1) << 31)
#define SHX_POOL_FREED (UINT64_C(1) << 30)
#define SHX_POOL_IN_FLIGHT (SHX_POOL_FREED - 1)

/* The owner's slot, when it has gone. */
#define SHX_POOL_RETIRED (UINT64_C(1) << 31)

enum {
    SHX_NO_PLACE = SHX_POOL_PLACES,
    SHX_PLACE_WORDS = SHX_POOL_PLACES / 64
};

static inline bool
shx_pool_is_freed(uint64_t word)
{
    return (word & SHX_POOL_FREED) != 0;
}

/* Is there a reference to it, or is it there for good? */
static inline bool
shx_pool_is_out(uint64_t word)
{
    return (word & (SHX_POOL_PINNED | SHX_POOL_IN_FLIGHT)) != 0;
}

/* Is that part of an extent? None of the numbers is to be believed. */
static inline bool
shx_is_within(uint64_t offset, uint64_t length, uint64_t from, uint64_t size)
{
    return offset >= from && offset - from <= size &&
           length <= size - (offset - from);
}

static inline _Atomic uint64_t *
shx_pool_holders(shx_pool_block *block, unsigned place)
{
    return &block->holders[place / 64];
}

static inline uint64_t
shx_pool_bit(unsigned place)
{
    return UINT64_C(1) << place % 64;
}

/* pool.c */
void shx_pools_lock(void);
void shx_pools_unlock(void);

/* Does nobody hold it, but for one with the bit of that place? */
bool shx_pool_is_unheld(const shx_pool_block *block, unsigned but);

/* If nobody holds it, as before, and no reference is out: nobody can claim it
 * from now on. */
bool shx_pool_try_free(shx_pool_block *block, unsigned but);

/* pool_hold.c */

/* What this process held as another one than it is now it holds as its heir,
 * or not any more. */
void shx_pool_become_locked(shx_pool *pool, const shx_member *me);

/* The place whose bits we set. SHX_TOO_MANY. And back, if nothing is held. */
shx_err shx_pool_enter_locked(shx_pool *pool);
void shx_pool_leave_locked(shx_pool *pool);

/* Our bit of a block. */
void shx_pool_set_locked(shx_pool *pool, unsigned block);
void shx_pool_clear_locked(shx_pool *pool, unsigned block);

/* One local hold more, whose bit is set; and one less. */
void shx_pool_count_locked(shx_pool *pool, unsigned block, uint64_t offset,
                           uint64_t size);
void shx_pool_release_locked(shx_pool *pool, unsigned block);

/* Frees the places of the dead, and clears their bits: of how many. By what
 * says who is dead, with the mutex of the parties or without it. */
typedef bool (*shx_pool_proof)(shx_party *party, uint32_t token);
unsigned shx_pool_reap_locked(shx_pool *pool, shx_pool_proof is_dead);

/* What the parent holds the child holds too. */
void shx_pool_bequeath(shx_bequest *bequest, const shx_member *me,
                       const shx_member *child);

/* pool_take.c: what the owner knows of its blocks. */
typedef struct {
    uint64_t offset;
    uint64_t size;
    uint64_t generation;
    bool backed; /* its pages exist */
} shx_pool_own_block;

typedef struct shx_pool_estate {
    shx_member who;
    shx_pool_space space;
    unsigned blocks;
    unsigned in_use; /* of `numbers` those before that; the rest are free */
    unsigned cursor; /* which is looked at next */
    unsigned enough; /* in use: with more all are looked at */
    uint16_t *numbers;
    shx_pool_own_block block[];
} shx_pool_estate;

/* This process takes no more of it. If it was the owner there is none now. */
void shx_pool_disown_locked(shx_pool *pool);

#endif

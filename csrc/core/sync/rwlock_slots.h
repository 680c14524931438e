/* SPDX-License-Identifier: MIT */
/* What rwlock.c and rwlock_write.c share: who has which slot, and the gate. */
#ifndef SHX_RWLOCK_SLOTS_H
#define SHX_RWLOCK_SLOTS_H

#include "core/sync/rwlock.h"
#include "core/sync/thread.h"

/* Of the cell's own words. */
enum { GATE, THREAD };

/* Of the gate. */
#define WATCHED UINT32_C(1)
/* Of a slot: once more. */
#define AGAIN (UINT64_C(1) << SHX_TOKEN_BITS)
#define DEPTH (UINT64_C(7) << SHX_TOKEN_BITS)

static inline unsigned
count_of(const shx_site *at)
{
    return shx_rwlock_readers(at->parameter);
}

/* This thread, of this process: what a forked child remembers of its parent is
 * not its own. */
static inline uint64_t
self(const shx_member *me)
{
    return (uint64_t)me->token << 32 | shx_this_thread();
}

static inline bool
is_taken(const shx_site *at, unsigned slot)
{
    return atomic_load(&at->cell->slots[slot]) != 0;
}

/* Who sleeps on the gate sees this; whoever leaves a slot after that changes
 * it. */
static inline uint32_t
watch_gate(const shx_site *at)
{
    return atomic_fetch_or(&at->cell->own[GATE], WATCHED) | WATCHED;
}

/* A slot that this thread reads by: -1, there is none. */
static inline int
find_own(const shx_site *at, shx_rwlock_memory *memory, const shx_member *me)
{
    uint64_t who = self(me);
    for (unsigned i = 0; i < count_of(at); i++) {
        if (atomic_load(&memory->holds[i]) == who &&
            (atomic_load(&at->cell->slots[i]) & ~DEPTH) ==
                shx_slot_of(me, 0)) {
            return (int)i;
        }
    }
    return -1;
}

/* Which thread of the process writes, or 0: the owner's to write. */
static inline void
sign(const shx_site *at, uint32_t thread)
{
    atomic_store_explicit(&at->cell->own[THREAD], thread,
                          memory_order_relaxed);
}

static inline bool
is_writing(const shx_site *at, const shx_member *me)
{
    return shx_lock_is_ours(at, me) &&
           atomic_load_explicit(&at->cell->own[THREAD],
                                memory_order_relaxed) == shx_this_thread();
}

#endif

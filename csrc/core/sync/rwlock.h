/* SPDX-License-Identifier: MIT */
/* A lock that readers share among themselves, and a writer with nobody.
 *
 *   word      the writer's, as of every lock (lock.h)
 *   own[0]    the gate: a count | WATCHED. Who leaves a slot counts it up and
 *             wakes all who sleep on it, if it is watched
 *   own[1]    which thread writes: its owner's, as own[0] of an RLock
 *   slots     one a reader (slots.h); the flags are how often more its thread
 *             reads, up to seven times
 *
 *   reader            takes a slot, then looks at the word:
 *     free              reads
 *     a writer's        leaves the slot, and sleeps on the word
 *   writer            takes the word, then looks at the slots:
 *     none is taken     writes
 *     some are          sleeps on the gate
 *
 * Each writes before it looks, in one order for all, so at least one of two
 * sees the other. A writer comes first: once it has the word no reader gets
 * in, and it waits for those who are in. When it leaves, all are woken;
 * readers who slept get in before it has the word again.
 *
 * A reader takes its slot by one compare-exchange and leaves it by one. So a
 * dead one has a slot or has none, and that is all that it leaves: when a
 * slice is over, who waits for a slot frees those of all the dead at once. A
 * writer that dies leaves the word, which tells readers and writers alike
 * until it is repaired. It may have died before it wrote: nobody knows.
 *
 * tests/models/rwlock.pml is this, with a death between any two steps.
 *
 * The same thread may read again. It gets in past a writer that waits for it,
 * by counting up its own slot: else each would wait for the other. Who reads
 * and wants to write, or writes and wants any of both, would wait for itself:
 * EDEADLK. Both are seen for one object of the process: it remembers which
 * thread has which slot by it. A slot is left by the object it was taken with.
 */
#ifndef SHX_RWLOCK_H
#define SHX_RWLOCK_H

#include "core/sync/lock.h"
#include "core/sync/slots.h"

enum { SHX_RWLOCK_READERS = 4096 }; /* at most */

static inline unsigned
shx_rwlock_readers(uint32_t parameter)
{
    return parameter & ~SHX_IGNORES_DEATH;
}

/* What an object of this process remembers: all zeros at first, and one hold
 * for each slot. Who: a token | a thread. */
typedef struct {
    _Atomic uint32_t hint;    /* where a slot was free the last time */
    _Atomic uint64_t holds[]; /* who reads by each slot; 0: nobody */
} shx_rwlock_memory;

static inline size_t
shx_rwlock_memory_size(uint32_t parameter)
{
    return sizeof(shx_rwlock_memory) +
           shx_rwlock_readers(parameter) * sizeof(uint64_t);
}

/* Waits, to read. SHX_OWNER_DIED: a writer died, and it is not ours. EDEADLK.
 * The rest is as for a lock, here and below. */
shx_err shx_rwlock_read(const shx_site *at, shx_rwlock_memory *memory,
                        const shx_member *me, shx_patience *patience);

/* Takes a slot if there is no writer, and nobody died: for nothing else. */
bool shx_rwlock_take_read(const shx_site *at, shx_rwlock_memory *memory,
                          const shx_member *me);

/* Does not wait. EAGAIN: a writer has it, or no slot is free. */
shx_err shx_rwlock_try_read(const shx_site *at, shx_rwlock_memory *memory,
                            const shx_member *me);

/* What this thread took, or else any other. SHX_NOT_OWNER: nobody reads by
 * this object. */
shx_err shx_rwlock_release_read(const shx_site *at, shx_rwlock_memory *memory,
                                const shx_member *me);

/* Waits for a slice at most, as shx_lock_watch(). */
shx_err shx_rwlock_watch_read(const shx_site *at, shx_patience *patience);

/* Waits, to write. EDEADLK. */
shx_err shx_rwlock_write(const shx_site *at, shx_rwlock_memory *memory,
                         const shx_member *me, shx_torn torn,
                         shx_patience *patience);

/* Takes it if nobody has it or waits: as shx_lock_take(). */
bool shx_rwlock_take_write(const shx_site *at, const shx_member *me);

/* Does not wait. */
shx_err shx_rwlock_try_write(const shx_site *at, const shx_member *me,
                             shx_torn torn);

/* In two steps, for who may be cancelled in between: the word first, EAGAIN;
 * then this waits for the readers for a slice at most. Whether they are gone,
 * shx_rwlock_is_drained() says. */
shx_err shx_rwlock_claim_write(const shx_site *at, const shx_member *me);
shx_err shx_rwlock_watch_drain(const shx_site *at, shx_patience *patience);
bool shx_rwlock_is_drained(const shx_site *at);

shx_err shx_rwlock_release_write(const shx_site *at, const shx_member *me);
shx_err shx_rwlock_release_write_torn(const shx_site *at,
                                      const shx_member *me);

/* For people: how many read, and how many of them have died. */
typedef struct {
    unsigned readers;
    unsigned dead;
    unsigned ours;
} shx_rwlock_state;

shx_rwlock_state shx_rwlock_look(const shx_site *at);

#endif

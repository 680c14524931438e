/* SPDX-License-Identifier: MIT */
/* The synchronizers of more than one owner, as the programs here use them:
 * one of each, in a memory, by whoever this process is. */
#ifndef GROUPS_H
#define GROUPS_H

#include "core/sync/barrier.h"
#include "core/sync/condition.h"
#include "core/sync/rlock.h"
#include "core/sync/rwlock.h"

#include "sync.h"

enum { READERS = 12, WAITERS = 12, GROUPS_SIZE = 1536 };

static shx_site rwlock, barrier;
static shx_condition condition;
static shx_rwlock_memory *reading; /* what this process remembers */

/* In the first GROUPS_SIZE bytes from there on. */
static inline void
make_groups(const memory *within, size_t offset, uint32_t parties)
{
    size_t size = 64 + READERS * sizeof(shx_slot);
    size_t condition_at = offset + 256, barrier_at = offset + 768;
    rwlock = make_site(within, offset, size, SHX_CELL_RWLOCK, READERS);
    condition.at = make_site(within, condition_at, shx_condition_size(WAITERS),
                             SHX_CELL_CONDITION, WAITERS);
    condition.lock = condition.at;
    condition.lock.cell = (shx_cell *)(void *)(within->bytes + condition_at +
                                               SHX_CONDITION_LOCK);
    condition.lock.parameter = 0;
    condition.recursive = true;
    barrier = make_site(within, barrier_at, shx_barrier_size(parties),
                        SHX_CELL_BARRIER, parties);
    CHECK(condition_at + shx_condition_size(WAITERS) <= barrier_at);
    CHECK(shx_barrier_size(parties) <= GROUPS_SIZE - 768);
    free(reading);
    reading = calloc(1, shx_rwlock_memory_size(READERS));
    CHECK(reading != NULL);
}

static inline shx_err
begin_reading(int64_t timeout)
{
    shx_patience patience = shx_patience_for(timeout, NULL, NULL);
    shx_member me = me_in(rwlock.party);
    return shx_rwlock_read(&rwlock, reading, &me, &patience);
}

static inline shx_err
end_reading(void)
{
    shx_member me = me_in(rwlock.party);
    return shx_rwlock_release_read(&rwlock, reading, &me);
}

static inline shx_err
begin_writing(shx_torn torn, int64_t timeout)
{
    shx_patience patience = shx_patience_for(timeout, NULL, NULL);
    shx_member me = me_in(rwlock.party);
    return shx_rwlock_write(&rwlock, reading, &me, torn, &patience);
}

static inline shx_err
end_writing(void)
{
    shx_member me = me_in(rwlock.party);
    return shx_rwlock_release_write(&rwlock, &me);
}

static inline shx_waiter
waiter_here(void)
{
    shx_waiter me;
    CHECK(shx_condition_me(&condition, &me) == 0);
    return me;
}

/* Whether somebody has died with it or not. */
static inline shx_err
enter_condition(int64_t timeout)
{
    shx_waiter me = waiter_here();
    shx_patience patience = shx_patience_for(timeout, NULL, NULL);
    shx_err err = shx_rlock_acquire(&condition.lock, &me.there,
                                    SHX_TORN_REPAIRS, &patience);
    if (err == SHX_OWNER_DIED) {
        shx_lock_mend(&condition.lock);
    }
    return err;
}

static inline shx_err
leave_condition(void)
{
    shx_waiter me = waiter_here();
    return shx_rlock_release(&condition.lock, &me.there);
}

static inline shx_err
wait_for_condition(int64_t timeout)
{
    shx_waiter me = waiter_here();
    shx_patience patience = shx_patience_for(timeout, NULL, NULL);
    shx_err err = shx_condition_wait(&condition, &me, &patience);
    if (err == SHX_OWNER_DIED) {
        shx_lock_mend(&condition.lock);
    }
    return err;
}

/* Arrives, and leads if nobody else does. */
static inline shx_arrival
pass_barrier(int64_t timeout)
{
    shx_arrival arrival;
    shx_visit visit = {.me = me_in(barrier.party), .place = SHX_NO_PLACE};
    shx_patience patience = shx_patience_for(timeout, NULL, NULL);
    CHECK(shx_barrier_wait(&barrier, &visit, &patience, &arrival) == 0);
    return arrival == SHX_BARRIER_LEADS ? shx_barrier_trip(&barrier, &visit)
                                        : arrival;
}

static inline shx_err
reset_barrier(int64_t timeout)
{
    shx_patience patience = shx_patience_for(timeout, NULL, NULL);
    shx_member me = me_in(barrier.party);
    return shx_barrier_reset(&barrier, &me, &patience);
}

#endif

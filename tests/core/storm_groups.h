/* SPDX-License-Identifier: MIT */
/* Workers of storm_sync.c, on what more than one owner has. */
#ifndef STORM_GROUPS_H
#define STORM_GROUPS_H

#include "groups.h"
#include "storm.h"

static inline void
must_read(int self, const shx_member *me)
{
    uint64_t a = atomic_load(&notes->a);
    enter(self, me);
    must(a == atomic_load(&notes->b), "torn, and read");
    work(any(200));
    must(a == atomic_load(&notes->a), "written while it was read");
    leave(self);
}

static inline void
use_rwlock(int self)
{
    shx_torn torn = SHX_TORN_TELLS;
    shx_member me = me_in(in.party);
    for (;;) {
        bool writes = any(5) == 0 || torn == SHX_TORN_REPAIRS;
        shx_patience patience = some_patience();
        shx_err err =
            writes ? shx_rwlock_write(&rwlock, reading, &me, torn, &patience)
                   : shx_rwlock_read(&rwlock, reading, &me, &patience);
        has_waited(&patience);
        must(err == 0 || err == ETIMEDOUT || err == SHX_OWNER_DIED,
             "acquired with an error");
        atomic_fetch_add(&notes->timeouts, err == ETIMEDOUT);
        if (err == SHX_OWNER_DIED && torn == SHX_TORN_TELLS) {
            atomic_fetch_add(&notes->told, 1);
            torn = SHX_TORN_REPAIRS;
        }
        else if (err != ETIMEDOUT && writes) {
            write_both(&rwlock, self, &me, err);
            must(end_writing() == 0, "not released");
            torn = SHX_TORN_TELLS;
        }
        else if (err == 0) {
            must_read(self, &me);
            must(end_reading() == 0, "not left");
        }
    }
}

static inline void
must_have(shx_err err)
{
    must(err == 0 || err == SHX_OWNER_DIED, "the condition's lock is not had");
    atomic_fetch_add(&notes->told, err == SHX_OWNER_DIED);
}

/* Some make what others take, at most four at a time; all wait on one
 * condition, and all are notified. */
static inline void
use_condition(int self)
{
    bool makes = self % 2 == 0;
    for (;;) {
        must_have(enter_condition(-1));
        uint64_t began = now();
        while (makes ? atomic_load(&notes->given) >= 4
                     : atomic_load(&notes->given) == 0) {
            shx_err err =
                wait_for_condition(any(4) != 0 ? -1 : (int64_t)any(5 * MS));
            atomic_fetch_add(&notes->timeouts, err == ETIMEDOUT);
            must_have(err == ETIMEDOUT ? 0 : err);
        }
        has_waited(&(shx_patience){.began = began});
        atomic_fetch_add(&notes->given, makes ? 1 : UINT64_MAX);
        atomic_fetch_add(&notes->operations, 1);
        shx_condition_notify(&condition, UINT64_MAX);
        must(leave_condition() == 0, "not released");
    }
}

/* Who makes is outside of the storm, and notifies one for each item: none may
 * be lost to the dead, but to who had the lock already; and that is told. */
static inline void
take_items(int self)
{
    (void)self;
    for (;;) {
        must_have(enter_condition(-1));
        while (atomic_load(&notes->given) == 0) {
            must_have(wait_for_condition(-1));
        }
        atomic_fetch_sub(&notes->given, 1);
        atomic_fetch_add(&notes->operations, 1);
        must(leave_condition() == 0, "not released");
    }
}

static inline void
make_items(void)
{
    static uint64_t told;
    must_have(enter_condition(SECOND));
    uint64_t again =
        told == atomic_load(&notes->told) ? 0 : atomic_load(&notes->given);
    told = atomic_load(&notes->told);
    for (uint64_t i = 0; i < 3 + again; i++) {
        atomic_fetch_add(&notes->given, i < 3);
        shx_condition_notify(&condition, 1);
    }
    must(leave_condition() == 0, "not released");
    if (any(4) != 0) {
        return;
    }
    for (uint64_t began = now(); atomic_load(&notes->given) != 0;) {
        if (now() - began > SECOND || told != atomic_load(&notes->told)) {
            must(now() - began <= SECOND, "nobody takes what is there");
            break;
        }
        sleep_for(MS / 10);
    }
}

static inline void
use_barrier(int self)
{
    (void)self;
    for (;;) {
        uint64_t began = now();
        shx_arrival arrival = pass_barrier(-1);
        has_waited(&(shx_patience){.began = began});
        if (arrival == SHX_BARRIER_PASSED) {
            atomic_fetch_add(&notes->operations, 1);
        }
        else {
            atomic_fetch_add(&notes->told, 1);
            sleep_for(MS / 5);
        }
    }
}

static inline void
mend_barrier(void)
{
    if (shx_barrier_is_broken(&barrier)) {
        must(reset_barrier(SECOND) == 0, "not reset");
    }
}

#endif

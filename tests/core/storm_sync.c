/* SPDX-License-Identifier: MIT */
/* Workers use one synchronizer, see storm.h. No two are where one may be, and
 * who finds what the dead have left half written was told so. */
#define _GNU_SOURCE

#include "core/sync/bounded_semaphore.h"
#include "core/sync/event.h"
#include "core/sync/semaphore.h"

#include "storm_groups.h"

static shx_site site;

typedef shx_err (*acquirer)(const shx_site *at, const shx_member *me,
                            shx_torn torn, shx_patience *patience);

/* Until it is had: who is told that the holder died repairs. */
static shx_err
have(acquirer acquire_it, const shx_member *me)
{
    shx_torn torn = SHX_TORN_TELLS;
    for (;;) {
        shx_patience patience = some_patience();
        shx_err err = acquire_it(&site, me, torn, &patience);
        has_waited(&patience);
        must(err == 0 || err == ETIMEDOUT || err == SHX_OWNER_DIED,
             "acquired with an error");
        if (err == 0 || (err == SHX_OWNER_DIED && torn == SHX_TORN_REPAIRS)) {
            return err;
        }
        atomic_fetch_add(&notes->timeouts, err == ETIMEDOUT);
        if (err == SHX_OWNER_DIED) {
            atomic_fetch_add(&notes->told, 1);
            torn = SHX_TORN_REPAIRS;
        }
    }
}

static void
use_lock(int self)
{
    shx_member me = me_in(in.party);
    for (;;) {
        write_both(&site, self, &me, have(shx_lock_acquire, &me));
        must(shx_lock_release(&site, &me) == 0, "not released");
        work(any(8) == 0 ? any(2000) : 0);
    }
}

static void
use_rlock(int self)
{
    shx_member me = me_in(in.party);
    for (;;) {
        shx_err err = have(shx_rlock_acquire, &me);
        shx_patience patience = shx_patience_for(0, NULL, NULL);
        shx_err again =
            shx_rlock_acquire(&site, &me, SHX_TORN_REPAIRS, &patience);
        must(again == 0 || again == SHX_OWNER_DIED, "not had again");
        must(shx_rlock_depth(&site, &me) == 2, "not had twice");
        write_both(&site, self, &me, err);
        must(shx_rlock_release(&site, &me) == 0, "not released");
        must(shx_rlock_release(&site, &me) == 0, "not released at last");
    }
}

/* Deaths are ignored: what is guarded is not looked at. */
static void
use_ignoring(int self)
{
    shx_member me = me_in(in.party);
    for (;;) {
        must(have(shx_lock_acquire, &me) == 0, "told, and should not be");
        enter(self, &me);
        must(others_inside(self) == 0, "two had it");
        work(any(200));
        leave(self);
        must(shx_lock_release(&site, &me) == 0, "not released");
    }
}

static void
use_permits(int self)
{
    shx_word hint = (uint32_t)self;
    shx_member me = me_in(in.party);
    for (;;) {
        shx_patience patience = some_patience();
        shx_err err = shx_permits_acquire(&site, &me, &hint, &patience);
        has_waited(&patience);
        must(err == 0 || err == ETIMEDOUT, "permitted with an error");
        atomic_fetch_add(&notes->timeouts, err == ETIMEDOUT);
        if (err == 0) {
            enter(self, &me);
            must(others_inside(self) < PERMITS, "more than there are permits");
            work(any(2000));
            leave(self);
            must(shx_permits_release(&site, &me, &hint, 1) == 0, "not ours");
        }
    }
}

/* The units come from outside of the storm, one by one. */
static void
use_units(int self)
{
    (void)self;
    for (;;) {
        shx_patience patience = some_patience();
        shx_err err = shx_semaphore_acquire(&site, &patience);
        has_waited(&patience);
        must(err == 0 || err == ETIMEDOUT, "acquired with an error");
        atomic_fetch_add(err == 0 ? &notes->operations : &notes->timeouts, 1);
    }
}

static void
give_units(void)
{
    enum { UNITS = 20 };
    for (uint32_t i = any(UNITS); i > 0; i--) {
        atomic_fetch_add(&notes->given, 1);
        CHECK(shx_semaphore_release(&site, 1) == 0);
    }
    must(atomic_load(&notes->operations) <= atomic_load(&notes->given),
         "more units than were given");
}

/* Two set and clear, and each of the others sees some of that. */
static void
use_event(int self)
{
    for (;;) {
        if (self < 2) {
            shx_event_set(&site);
            work(any(3000));
            shx_event_clear(&site);
            sleep_for(any(50) == 0 ? any(MS) : 0);
            continue;
        }
        shx_patience patience = shx_patience_for(-1, NULL, NULL);
        shx_err err = shx_event_wait(&site, shx_event_times(&site), &patience);
        has_waited(&patience);
        must(err == 0, "waited with an error");
        atomic_fetch_add(&notes->operations, 1);
    }
}

static const storm storms[] = {
    {"lock", SHX_CELL_LOCK, 0, use_lock, NULL},
    {"ignoring", SHX_CELL_LOCK, SHX_IGNORES_DEATH, use_ignoring, NULL},
    {"rlock", SHX_CELL_RLOCK, 0, use_rlock, NULL},
    {"semaphore", SHX_CELL_SEMAPHORE, 0, use_units, give_units},
    {"bounded", SHX_CELL_BOUNDED_SEMAPHORE, PERMITS, use_permits, NULL},
    {"event", SHX_CELL_EVENT, 0, use_event, NULL},
    {"rwlock", 0, 0, use_rwlock, NULL},
    {"condition", 0, 0, use_condition, NULL},
    {"items", 0, 0, take_items, make_items},
    {"barrier", 0, 0, use_barrier, mend_barrier},
};

static void
prepare(const storm *of)
{
    if (of->kind == 0) {
        make_groups(&in, 0, WORKERS);
    }
    else {
        site = make_site(&in, 0, 1024, (shx_cell_kind)of->kind,
                         of->parameter);
    }
}

int
main(int argc, char **argv)
{
    size_t count = sizeof storms / sizeof *storms;
    return run_storms(argc, argv, storms, count, &(frame){.prepare = prepare});
}

/* SPDX-License-Identifier: MIT */
/* What is not a lock of one owner: killed after every instruction, see
 * crash.h. */
#define _GNU_SOURCE

#include "core/sync/bounded_semaphore.h"
#include "core/sync/event.h"
#include "core/sync/semaphore.h"

#include "crash.h"
#include "groups.h"

static shx_site semaphore, bounded, event;

static void
begin_anew(void)
{
    (void)memset(in.bytes, 0, in.size);
    (void)memset(notes, 0, sizeof *notes);
    semaphore = make_site(&in, 0, 64, SHX_CELL_SEMAPHORE, 0);
    event = make_site(&in, 64, 64, SHX_CELL_EVENT, 0);
    bounded = make_site(&in, 128, shx_permits_size(1),
                        SHX_CELL_BOUNDED_SEMAPHORE, 1);
    make_groups(&in, 1024, 2);
}

static void
do_nothing(void)
{
}

/* Permits and units. */

static shx_err
acquire_permit(int64_t timeout)
{
    shx_word hint = 0;
    shx_patience patience = shx_patience_for(timeout, NULL, NULL);
    shx_member me = me_in(in.party);
    return shx_permits_acquire(&bounded, &me, &hint, &patience);
}

static shx_err
release_permit(void)
{
    shx_word hint = 0;
    shx_member me = me_in(in.party);
    return shx_permits_release(&bounded, &me, &hint, 1);
}

static void
have_permit(void)
{
    CHECK(acquire_permit(0) == 0);
}

static void
return_permit(void)
{
    (void)release_permit();
}

static void
use_permit(void)
{
    (void)acquire_permit(SECOND);
    (void)release_permit();
}

static void
wait_for_permit(int number)
{
    done(number, acquire_permit(-1));
    CHECK(release_permit() == 0);
}

static void
check_permit(void)
{
    CHECK(acquire_permit(2 * SECOND) == 0);
    took();
    CHECK(release_permit() == 0 && shx_permits_count(&bounded) == 1);
}

static void
check_all_done(void)
{
    for (int i = 0; i < SLEEPERS; i++) {
        SOON(atomic_load(&notes->done[i]));
        CHECK(atomic_load(&notes->got[i]) == 0);
    }
    took();
}

static void
check_permit_sleepers(void)
{
    check_all_done();
    check_permit();
}

static void
give_units(void)
{
    (void)shx_semaphore_release(&semaphore, SLEEPERS);
}

static void
wait_for_unit(int number)
{
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    done(number, shx_semaphore_acquire(&semaphore, &patience));
}

/* All of them were given, or none. */
static void
check_units(void)
{
    if (shx_semaphore_count(&semaphore) == 0 &&
        !atomic_load(&notes->done[0]) && !atomic_load(&notes->done[1])) {
        give_units();
    }
    check_all_done();
    CHECK(shx_semaphore_count(&semaphore) == 0);
}

/* Events. */

static void
set_event(void)
{
    shx_event_set(&event);
}

static void
wait_for_event(int number)
{
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    done(number, shx_event_wait(&event, shx_event_times(&event), &patience));
}

static void
check_event(void)
{
    if (!shx_event_is_set(&event)) {
        set_event();
    }
    check_all_done();
}

/* Readers and writers. */

static void
have_read(void)
{
    CHECK(begin_reading(0) == 0);
}

static void
leave_read(void)
{
    (void)end_reading();
}

static void
read_it(void)
{
    (void)begin_reading(SECOND);
    (void)begin_reading(SECOND);
    (void)end_reading();
    (void)end_reading();
}

static void
have_written(void)
{
    CHECK(begin_writing(SHX_TORN_TELLS, 0) == 0);
}

static void
leave_written(void)
{
    write_both();
    (void)end_writing();
}

static void
write_it(void)
{
    (void)begin_writing(SHX_TORN_TELLS, SECOND);
    write_both();
    (void)end_writing();
}

static void
wait_to_write(int number)
{
    shx_err err = begin_writing(SHX_TORN_TELLS, -1);
    done(number, err);
    if (err == 0) {
        (void)end_writing();
    }
}

static void
wait_to_read(int number)
{
    shx_err err = begin_reading(-1);
    done(number, err);
    if (err == 0) {
        (void)end_reading();
    }
}

static void
check_both(void)
{
    shx_err err = begin_reading(2 * SECOND);
    took();
    check_told(err);
    if (err == SHX_OWNER_DIED) {
        CHECK(begin_writing(SHX_TORN_REPAIRS, SECOND) == SHX_OWNER_DIED);
        shx_lock_mend(&rwlock);
        CHECK(end_writing() == 0);
        CHECK(begin_reading(SECOND) == 0);
    }
    CHECK(end_reading() == 0);
    CHECK(begin_writing(SHX_TORN_TELLS, SECOND) == 0 && end_writing() == 0);
}

static void
check_both_sleepers(void)
{
    for (int i = 0; i < SLEEPERS; i++) {
        SOON(atomic_load(&notes->done[i]));
        check_told(atomic_load(&notes->got[i]));
    }
    took();
    check_both();
}

/* Conditions: two wait, and the victim notifies one, or waits as the third.
 */

static void
have_condition(void)
{
    CHECK(enter_condition(SECOND) == 0);
}

static void
notify_one(void)
{
    shx_condition_notify(&condition, 1);
    (void)leave_condition();
}

static void
wait_a_moment(void)
{
    (void)wait_for_condition(3 * MS);
    (void)leave_condition();
}

static void
wait_to_be_notified(int number)
{
    shx_err err = enter_condition(-1);
    CHECK(err == 0 || err == SHX_OWNER_DIED);
    err = wait_for_condition(-1);
    done(number, err);
    CHECK(leave_condition() == 0);
}

/* Who is told that the lock's holder died has not received anything. */
static int
count_notified(void)
{
    int found = 0;
    for (int i = 0; i < SLEEPERS; i++) {
        found +=
            atomic_load(&notes->done[i]) && atomic_load(&notes->got[i]) == 0;
    }
    return found;
}

static void
notify_all_left(void)
{
    shx_err err = enter_condition(2 * SECOND);
    CHECK(err == 0 || err == SHX_OWNER_DIED);
    seen.told += err == SHX_OWNER_DIED;
    shx_condition_notify(&condition, UINT64_MAX);
    CHECK(leave_condition() == 0);
    for (int i = 0; i < SLEEPERS; i++) {
        SOON(atomic_load(&notes->done[i]));
        CHECK(atomic_load(&notes->got[i]) == 0 ||
              atomic_load(&notes->got[i]) == SHX_OWNER_DIED);
    }
    took();
}

static void
check_notified(void)
{
    shx_err err = enter_condition(2 * SECOND);
    CHECK(err == 0 || err == SHX_OWNER_DIED);
    CHECK(leave_condition() == 0);
    sleep_for(MS);
    CHECK(count_notified() < 2); /* one was notified, or none */
    notify_all_left();
}

/* A notification is received by one that lives. */
static void
check_not_lost(void)
{
    shx_err err = enter_condition(2 * SECOND);
    CHECK(err == 0 || err == SHX_OWNER_DIED);
    CHECK(count_notified() == 0);
    shx_condition_notify(&condition, 1);
    CHECK(leave_condition() == 0);
    SOON(count_notified() == 1);
    notify_all_left();
}

/* Barriers: of two, the victim is one. */

static void
arrive(void)
{
    (void)pass_barrier(-1);
}

static void
wait_at_barrier(int number)
{
    if (number != 0) {
        (void)pause(); /* there is only one more */
    }
    done(0, (shx_err)pass_barrier(-1));
}

/* Whether it has passed or not, it is counted on, and is dead: that is told
 * now, or when the next one arrives; a reset makes all anew. */
static void
check_barrier(void)
{
    if (!atomic_load(&notes->done[0]) &&
        pass_barrier(5 * MS) == SHX_BARRIER_BROKEN) {
        seen.told++;
    }
    SOON(atomic_load(&notes->done[0]));
    took();
    CHECK(reset_barrier(2 * SECOND) == 0);
    CHECK(!shx_barrier_is_broken(&barrier));
    CHECK(shx_barrier_waiting(&barrier) == 0);
    (void)memset(notes, 0, sizeof *notes);
    pid_t other = spawn(wait_at_barrier, 0);
    CHECK(pass_barrier(SECOND) == SHX_BARRIER_PASSED);
    check_ended(other);
    CHECK(atomic_load(&notes->got[0]) == SHX_BARRIER_PASSED);
}

static void
reset_it(void)
{
    (void)reset_barrier(SECOND);
}

static void
break_it(void)
{
    shx_barrier_abort(&barrier);
}

static const row rows[] = {
    {"permit", do_nothing, use_permit, check_permit, NULL, USUAL},
    {"permit: release, two asleep", have_permit, return_permit,
     check_permit_sleepers, wait_for_permit, USUAL},
    {"semaphore: release of two", do_nothing, give_units, check_units,
     wait_for_unit, USUAL},
    {"event: set", do_nothing, set_event, check_event, wait_for_event, LAST},
    {"rwlock: read twice", do_nothing, read_it, check_both, NULL, USUAL},
    {"rwlock: write", do_nothing, write_it, check_both, NULL, USUAL},
    {"rwlock: end of read", have_read, leave_read, check_both_sleepers,
     wait_to_write, USUAL},
    {"rwlock: end of write", have_written, leave_written, check_both_sleepers,
     wait_to_read, USUAL},
    {"condition: notify(1)", have_condition, notify_one, check_notified,
     wait_to_be_notified, LAST},
    {"condition: wait", have_condition, wait_a_moment, check_not_lost,
     wait_to_be_notified, LAST},
    {"barrier: arrive", do_nothing, arrive, check_barrier, wait_at_barrier,
     LAST},
    {"barrier: reset", do_nothing, reset_it, check_barrier, wait_at_barrier,
     LAST},
    {"barrier: abort", do_nothing, break_it, check_barrier, wait_at_barrier,
     LAST},
};

int
main(int argc, char **argv)
{
    return run_rows(argc, argv, rows, sizeof rows / sizeof *rows);
}

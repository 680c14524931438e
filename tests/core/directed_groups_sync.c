/* SPDX-License-Identifier: MIT */
/* Deaths at the very place where they would hurt: of readers and writers, of
 * those who wait for a condition, and at a barrier. */
#define _GNU_SOURCE

#include "groups.h"

enum { MOST = WAITERS + 1, PARTIES = 3, PAGE = 4096 };

static memory in;

static struct {
    _Atomic bool done[MOST];
    _Atomic shx_err got[MOST];
    _Atomic int arrivals[PARTIES];
} * notes;

static void
begin_anew(void)
{
    (void)memset(in.bytes, 0, in.size);
    (void)memset(notes, 0, sizeof *notes);
    make_groups(&in, 0, PARTIES);
}

static void
done(int number, shx_err got)
{
    atomic_store(&notes->got[number], got);
    atomic_store(&notes->done[number], true);
}

static bool
is_done(int number)
{
    return atomic_load(&notes->done[number]);
}

static void
stay(void)
{
    for (;;) {
        (void)pause();
    }
}

static pid_t
start(void (*run)(int), int number)
{
    pid_t pid = spawn(run, number);
    wait_until_it_is(pid, 'S');
    return pid;
}

static void
stop(pid_t pid)
{
    CHECK(kill(pid, SIGSTOP) == 0);
    wait_until_it_is(pid, 'T');
}

/* Readers and writers. */

static void
read_and_stay(int number)
{
    CHECK(begin_reading(SECOND) == 0);
    done(number, 0);
    stay();
}

static void
write_and_stay(int number)
{
    CHECK(begin_writing(SHX_TORN_TELLS, SECOND) == 0);
    done(number, 0);
    stay();
}

static void
test_directed_readers_killed_at_once(void)
{
    pid_t readers[READERS];
    begin_anew();
    for (int i = 0; i < READERS; i++) {
        readers[i] = spawn(read_and_stay, i);
    }
    for (int i = 0; i < READERS; i++) {
        SOON(is_done(i));
    }
    CHECK(begin_writing(SHX_TORN_TELLS, 10 * MS) == ETIMEDOUT);
    CHECK(begin_reading(10 * MS) == ETIMEDOUT); /* there is no slot */
    for (int i = 0; i < READERS; i++) {
        CHECK(kill(readers[i], SIGKILL) == 0);
    }
    CHECK(begin_writing(SHX_TORN_TELLS, SECOND) == 0);
    CHECK(end_writing() == 0);
    CHECK(begin_reading(0) == 0 && end_reading() == 0);
    for (int i = 0; i < READERS; i++) {
        CHECK(waitpid(readers[i], NULL, 0) == readers[i]);
    }
}

static void
test_directed_writer_killed(void)
{
    begin_anew();
    pid_t writer = start(write_and_stay, 0);
    SOON(is_done(0));
    CHECK(begin_reading(10 * MS) == ETIMEDOUT);
    kill_and_wait(writer);
    CHECK(begin_reading(SECOND) == SHX_OWNER_DIED);
    CHECK(begin_writing(SHX_TORN_TELLS, SECOND) == SHX_OWNER_DIED);
    CHECK(begin_writing(SHX_TORN_REPAIRS, SECOND) == SHX_OWNER_DIED);
    shx_lock_mend(&rwlock);
    CHECK(end_writing() == 0);
    CHECK(begin_reading(0) == 0 && end_reading() == 0);
}

static void
try_to_read(int number)
{
    done(number, begin_reading(10 * MS));
}

static void
test_directed_writer_waits_for_readers(void)
{
    begin_anew();
    pid_t reader = start(read_and_stay, 0);
    pid_t writer = start(write_and_stay, 1);
    CHECK(!is_done(1));
    check_ended(spawn(try_to_read, 2)); /* a writer comes first */
    CHECK(atomic_load(&notes->got[2]) == ETIMEDOUT);
    kill_and_wait(reader);
    SOON(is_done(1));
    kill_and_wait(writer);
}

/* Conditions. */

static void
wait_for_it(int number)
{
    CHECK(enter_condition(SECOND) == 0);
    shx_err err = wait_for_condition(-1);
    done(number, err);
    CHECK(leave_condition() == 0);
}

static void
notify(uint64_t count)
{
    CHECK(enter_condition(SECOND) == 0);
    shx_condition_notify(&condition, count);
    CHECK(leave_condition() == 0);
}

static void
test_directed_first_waiter_dead(void)
{
    begin_anew();
    pid_t first = start(wait_for_it, 0), second = start(wait_for_it, 1);
    kill_and_wait(first);
    notify(1);
    SOON(is_done(1));
    check_ended(second);
}

static void
test_directed_waiter_dead_when_notified(void)
{
    begin_anew();
    pid_t first = start(wait_for_it, 0), second = start(wait_for_it, 1);
    stop(first);
    notify(1);
    sleep_for(20 * MS);
    CHECK(!is_done(1)); /* who is stopped is alive, and has it */
    kill_and_wait(first);
    SOON(is_done(1));
    check_ended(second);
}

static void
test_directed_notifications_are_counted(void)
{
    enum { THREE = 3 };
    pid_t waiters[THREE];
    begin_anew();
    for (int i = 0; i < THREE; i++) {
        waiters[i] = start(wait_for_it, i);
    }
    notify(1);
    SOON(is_done(0));
    check_ended(waiters[0]);
    sleep_for(150 * MS); /* longer than any slice */
    CHECK(is_done(0) && !is_done(1) && !is_done(2));
    notify(5);
    SOON(is_done(1) && is_done(2));
    check_ended(waiters[1]);
    check_ended(waiters[2]);
    CHECK(enter_condition(0) == 0);
    CHECK(wait_for_condition(MS) == ETIMEDOUT); /* none is left over */
    CHECK(leave_condition() == 0);
}

/* Who is late is told so, and not left out; the dead have no slot. */
static void
test_directed_too_many_waiters(void)
{
    pid_t waiters[WAITERS];
    begin_anew();
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = start(wait_for_it, i);
    }
    CHECK(shx_condition_count(&condition) == WAITERS);
    CHECK(enter_condition(SECOND) == 0);
    CHECK(wait_for_condition(0) == SHX_TOO_MANY);
    kill_and_wait(waiters[3]);
    CHECK(wait_for_condition(MS) == ETIMEDOUT);
    CHECK(leave_condition() == 0);
    notify(UINT64_MAX);
    for (int i = 0; i < WAITERS; i++) {
        if (i != 3) {
            check_ended(waiters[i]);
        }
    }
}

/* Barriers. */

static void
pass_again_and_again(int number)
{
    shx_arrival arrival;
    do {
        arrival = pass_barrier(-1);
        atomic_fetch_add(&notes->arrivals[number], 1);
        if (number == 0 && atomic_load(&notes->arrivals[0]) == 2) {
            stay();
        }
    } while (arrival == SHX_BARRIER_PASSED);
    done(number, (shx_err)arrival);
}

static void
test_directed_party_dead_before_it_arrives(void)
{
    pid_t parties[PARTIES];
    begin_anew();
    for (int i = 0; i < PARTIES; i++) {
        parties[i] = spawn(pass_again_and_again, i);
    }
    SOON(atomic_load(&notes->arrivals[0]) == 2);
    SOON(shx_barrier_waiting(&barrier) == 2);
    sleep_for(100 * MS);
    CHECK(!is_done(1) && !is_done(2)); /* they wait for who lives */
    kill_and_wait(parties[0]);
    SOON(is_done(1) && is_done(2));
    CHECK(atomic_load(&notes->got[1]) == SHX_BARRIER_BROKEN);
    check_ended(parties[1]);
    check_ended(parties[2]);
    CHECK(reset_barrier(SECOND) == 0);
    CHECK(!shx_barrier_is_broken(&barrier));
}

static void
pass_and_end(int number)
{
    shx_member me = me_in(in.party);
    done(number, (shx_err)pass_barrier(SECOND));
    shx_barrier_leave(&barrier, &me); /* as whoever ends well does */
}

/* Who has passed, and ends, is not dead: others come in its place. */
static void
test_directed_parties_that_end(void)
{
    for (int rounds = 0; rounds < 5; rounds++) {
        pid_t parties[PARTIES];
        if (rounds == 0) {
            begin_anew();
        }
        for (int i = 0; i < PARTIES; i++) {
            parties[i] = spawn(pass_and_end, i);
        }
        for (int i = 0; i < PARTIES; i++) {
            check_ended(parties[i]);
            CHECK(atomic_load(&notes->got[i]) == SHX_BARRIER_PASSED);
        }
    }
    CHECK(pass_barrier(MS) == SHX_BARRIER_BROKEN); /* nobody else comes */
}

int
main(void)
{
    in = make_memory(PAGE);
    notes = make_notes(sizeof *notes);
    test_directed_readers_killed_at_once();
    test_directed_writer_killed();
    test_directed_writer_waits_for_readers();
    test_directed_first_waiter_dead();
    test_directed_waiter_dead_when_notified();
    test_directed_notifications_are_counted();
    test_directed_too_many_waiters();
    test_directed_party_dead_before_it_arrives();
    test_directed_parties_that_end();
    return 0;
}

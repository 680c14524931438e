/* SPDX-License-Identifier: MIT */
/* Who sleeps often and who seldom: whatever wakes them, somebody looks soon
 * whether the owner lives. */
#define _GNU_SOURCE

#include <pthread.h>
#include <sys/time.h> /* setitimer */

#include "core/sync/barrier.h"
#include "core/sync/condition.h"
#include "core/sync/event.h"
#include "core/sync/rwlock.h"

#include "sync.h"

enum {
    PAGE = 4096,
    READERS = 32,
    BUDGET = 16,
    CROWD = 24,
    THREADS = 64,
    WAITERS = 8,
    ROUNDS = 4
};

static memory in;
static shx_site lock, rwlock, event, barrier;
static shx_condition condition;

static struct {
    _Atomic int done;
    _Atomic int quit;
    _Atomic bool notified;
} * notes;

static void
begin_anew(void)
{
    (void)memset(in.bytes, 0, in.size);
    (void)memset(notes, 0, sizeof *notes);
    lock = make_lock(&in, 0, 0);
    event = make_site(&in, 64, 64, SHX_CELL_EVENT, 0);
    rwlock = make_site(&in, 128, 384, SHX_CELL_RWLOCK, READERS);
    barrier = make_site(&in, 512, shx_barrier_size(CROWD + 1),
                        SHX_CELL_BARRIER, CROWD + 1);
    condition.at = make_site(&in, 1024, shx_condition_size(WAITERS),
                             SHX_CELL_CONDITION, WAITERS);
    condition.lock = make_lock(&in, 1024 + SHX_CONDITION_LOCK, 0);
}

static shx_rwlock_memory *
make_memory_of_readers(void)
{
    shx_rwlock_memory *made = calloc(1, shx_rwlock_memory_size(READERS));
    CHECK(made != NULL);
    return made;
}

static void
hold(int number)
{
    CHECK(number == 0 && acquire(&lock, 0) == 0);
    (void)pause();
}

static void
read_for_ever(int number)
{
    shx_member me = me_in(in.party);
    CHECK(number == 0 &&
          shx_rwlock_try_read(&rwlock, make_memory_of_readers(), &me) == 0);
    (void)pause();
}

/* Signals that come again and again, and ask for nothing. */

static void
ignore(int signal)
{
    (void)signal;
}

static int
go_on(void *context)
{
    return context != NULL;
}

static shx_patience
be_disturbed(void)
{
    /* Later: its slices are the longest by then. */
    const struct itimerval often = {{0, 10000}, {0, 150000}};
    const struct sigaction action = {.sa_handler = ignore};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    return shx_patience_for(-1, go_on, NULL);
}

static void
acquire_disturbed(int number)
{
    shx_patience patience = be_disturbed();
    shx_member me = me_in(in.party);
    CHECK(number == 0 && shx_lock_acquire(&lock, &me, SHX_TORN_TELLS,
                                          &patience) == SHX_OWNER_DIED);
    notes->done++;
}

static void
write_disturbed(int number)
{
    shx_patience patience = be_disturbed();
    shx_member me = me_in(in.party);
    CHECK(number == 0 &&
          shx_rwlock_write(&rwlock, make_memory_of_readers(), &me,
                           SHX_TORN_TELLS, &patience) == 0);
    notes->done++;
}

static void
check_finds_the_dead(void (*owner)(int), void (*sleeper)(int))
{
    begin_anew();
    pid_t owns = spawn(owner, 0);
    wait_until_it_is(owns, 'S');
    pid_t sleeps = spawn(sleeper, 0);
    sleep_for(250 * MS);
    CHECK(notes->done == 0);
    kill_and_wait(owns);
    SOON(notes->done == 1);
    check_ended(sleeps);
}

static void
test_signals_put_no_look_off(void)
{
    check_finds_the_dead(hold, acquire_disturbed);
    check_finds_the_dead(read_for_ever, write_disturbed);
}

/* One who is woken again and again does not use up what is for sixteen. */
static void
test_wake_ups_leave_the_budget(void)
{
    begin_anew();
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    shx_word *watch = &lock.cell->watch;
    while (shx_nap(&patience, &lock.cell->word, 0, watch) != SHX_SLICE_OVER ||
           now() - patience.began < (uint64_t)(130 * MS)) {
    }
    for (int i = 0; i < 100; i++) { /* 1: it is not that */
        CHECK(shx_nap(&patience, &lock.cell->word, 1, watch) == 0);
    }
    uint64_t began = now();
    CHECK(shx_nap(&patience, &lock.cell->word, 0, watch) == SHX_SLICE_OVER);
    CHECK(now() - began < (uint64_t)(400 * MS));
}

/* Who waits in pieces sleeps for all of each: a task costs no more than a
 * thread. */
static void
test_pieces_are_whole(void)
{
    shx_err (*const watches[])(const shx_site *, shx_patience *) = {
        shx_lock_watch, shx_rwlock_watch_read, shx_rwlock_watch_drain};
    begin_anew();
    pid_t owns = spawn(hold, 0), reads = spawn(read_for_ever, 0);
    wait_until_it_is(owns, 'S');
    wait_until_it_is(reads, 'S');
    for (int i = 0; i < 3; i++) {
        const shx_site *at = i == 2 ? &rwlock : &lock;
        shx_patience patience = shx_patience_for(50 * MS, NULL, NULL);
        CHECK(watches[i](at, &patience) == SHX_SLICE_OVER);
        CHECK(now() - patience.began >= (uint64_t)(50 * MS));
    }
    kill_and_wait(owns);
    kill_and_wait(reads);
}

/* Threads of one process, which go at once. */

static void *
acquire_for_ever(void *argument)
{
    (void)acquire(&lock, -1);
    return argument;
}

static void
hold_among_many(int number)
{
    pthread_t thread;
    CHECK(number == 0 && acquire(&lock, 0) == 0);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&thread, NULL, acquire_for_ever, NULL) == 0);
    }
    (void)pause();
}

static void
acquire_of_dead(int number)
{
    CHECK(number == 0 && acquire(&lock, -1) == SHX_OWNER_DIED);
    notes->done++;
}

static uint64_t
time_to_find(void)
{
    begin_anew();
    pid_t owns = spawn(hold_among_many, 0);
    SOON(!shx_lock_is_free(&lock));
    pid_t sleeps = spawn(acquire_of_dead, 0);
    for (uint64_t begun = now(); now() - begun < (uint64_t)(600 * MS);) {
        /* who waits in two processes, each a few in 64 ms */
        CHECK((atomic_load(&lock.cell->watch) & 0xff) <= BUDGET / 2);
        sleep_for(MS);
    }
    uint64_t began = now();
    kill_and_wait(owns);
    SOON(notes->done == 1);
    uint64_t length = now() - began;
    check_ended(sleeps);
    return length;
}

/* Nearly each time: others use the machine, too. */
static void
test_threads_of_the_dead_looked_for_nobody(void)
{
    int late = 0;
    for (int i = 0; i < ROUNDS; i++) {
        late += time_to_find() > (uint64_t)(150 * MS);
    }
    CHECK(late <= 1);
}

/* Those who looked go, since their time is over. */

static void
acquire_for_some_time(int number)
{
    bool quits = number < BUDGET;
    shx_err err = acquire(&lock, quits ? 300 * MS : -1);
    CHECK(err == (quits ? ETIMEDOUT : SHX_OWNER_DIED));
    if (quits) {
        notes->quit++;
    }
    else {
        notes->done++;
    }
}

static void
test_who_quits_has_another_look(void)
{
    int late = 0;
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pids[BUDGET + 4];
        begin_anew();
        pid_t owns = spawn(hold, 0);
        SOON(!shx_lock_is_free(&lock));
        for (int i = 0; i < BUDGET + 4; i++) {
            pids[i] = spawn(acquire_for_some_time, i);
        }
        SOON(notes->quit == BUDGET);
        uint64_t began = now();
        kill_and_wait(owns);
        while (notes->done == 0) {
            sleep_for(MS);
        }
        late += now() - began > (uint64_t)(150 * MS);
        for (int i = 0; i < BUDGET + 4; i++) {
            check_ended(pids[i]);
        }
    }
    CHECK(late <= 1);
}

/* Who lets others go dies before it has woken anybody. */

static void
wait_for_event(int number)
{
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    CHECK(number >= 0 && shx_event_wait(&event, 0, &patience) == 0);
    notes->done++;
}

static void
set_event(void)
{
    atomic_store(&event.cell->word, 5); /* once, and nobody waits */
}

static void
read_once(int number)
{
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    shx_member me = me_in(in.party);
    CHECK(number >= 0 && shx_rwlock_read(&rwlock, make_memory_of_readers(),
                                         &me, &patience) == 0);
    notes->done++;
}

static void
end_writing(void)
{
    atomic_store(&rwlock.cell->word, 0);
}

static shx_arrival
arrive(void)
{
    shx_arrival arrival;
    shx_visit visit = {.me = me_in(in.party), .place = SHX_NO_PLACE};
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    CHECK(shx_barrier_wait(&barrier, &visit, &patience, &arrival) == 0);
    return arrival;
}

static void
wait_for_barrier(int number)
{
    CHECK(number >= 0 && arrive() == SHX_BARRIER_PASSED);
    notes->done++;
}

static void
trip(void)
{
    CHECK(arrive() == SHX_BARRIER_LEADS);
    atomic_store(&barrier.cell->own[0], 8); /* the next generation */
}

static void
check_all_are_let_go(void (*sleeper)(int), void (*let_go)(void))
{
    int late = 0;
    shx_member me = me_in(in.party);
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pids[CROWD];
        begin_anew();
        CHECK(shx_rwlock_take_write(&rwlock, &me));
        for (int i = 0; i < CROWD; i++) {
            pids[i] = spawn(sleeper, i);
        }
        sleep_for(300 * MS);
        CHECK(notes->done == 0);
        uint64_t began = now();
        let_go();
        while (notes->done != CROWD) {
            sleep_for(MS);
        }
        late += now() - began > (uint64_t)(150 * MS);
        for (int i = 0; i < CROWD; i++) {
            check_ended(pids[i]);
        }
    }
    CHECK(late <= 1);
}

static void
test_those_whom_nobody_wakes_wake_all(void)
{
    check_all_are_let_go(wait_for_event, set_event);
    check_all_are_let_go(wait_for_barrier, trip);
    check_all_are_let_go(read_once, end_writing);
}

/* Who has notified dies with the lock. */

static void
wait_for_condition(int number)
{
    shx_waiter me;
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    CHECK(shx_condition_me(&condition, &me) == 0 && number >= 0);
    CHECK(acquire(&condition.lock, -1) == 0);
    CHECK(shx_condition_wait(&condition, &me, &patience) == SHX_OWNER_DIED);
    notes->done++;
    (void)pause();
}

static void
notify_and_hold(int number)
{
    CHECK(number == 0 && acquire(&condition.lock, SECOND) == 0);
    shx_condition_notify(&condition, 1);
    notes->notified = true;
    (void)pause();
}

/* The first of them falls asleep for long, since all others look by what is
 * written there; then the others, for less. */
static void
test_notified_by_the_dead(void)
{
    int late = 0;
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pids[WAITERS];
        begin_anew();
        pids[0] = spawn(wait_for_condition, 0);
        for (uint64_t begun = now(); now() - begun < (uint64_t)(200 * MS);) {
            uint32_t window = (uint32_t)(now() / (uint64_t)(64 * MS));
            atomic_store(&condition.at.cell->watch, window << 8 | BUDGET);
            sleep_for(MS / 2);
        }
        for (int i = 1; i < WAITERS; i++) {
            pids[i] = spawn(wait_for_condition, i);
        }
        sleep_for(150 * MS);
        pid_t notifies = spawn(notify_and_hold, 0);
        SOON(notes->notified);
        uint64_t began = now();
        kill_and_wait(notifies);
        SOON(notes->done == 1);
        late += now() - began > (uint64_t)(150 * MS);
        for (int i = 0; i < WAITERS; i++) {
            kill_and_wait(pids[i]);
        }
    }
    CHECK(late <= 1);
}

int
main(void)
{
    in = make_memory(PAGE);
    notes = make_notes(sizeof *notes);
    test_signals_put_no_look_off();
    test_wake_ups_leave_the_budget();
    test_pieces_are_whole();
    test_threads_of_the_dead_looked_for_nobody();
    test_who_quits_has_another_look();
    test_those_whom_nobody_wakes_wake_all();
    test_notified_by_the_dead();
    return 0;
}

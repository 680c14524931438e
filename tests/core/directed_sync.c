/* SPDX-License-Identifier: MIT */
/* Deaths and wake-ups at the very place where they would hurt, which a storm
 * seldom comes to. */
#define _GNU_SOURCE

#include <pthread.h>
#include <sys/resource.h> /* getrusage */

#include "core/sync/bounded_semaphore.h"
#include "core/sync/event.h"
#include "core/sync/rlock.h"
#include "core/sync/semaphore.h"

#include "sync.h"

enum { MOST = 8, PAGE = 4096, PERMITS = 2 };

static memory in;
static shx_site lock, rlock, semaphore, bounded, event;

static struct {
    _Atomic bool done[MOST];
    _Atomic shx_err got[MOST];
} * notes;

static void
begin_anew(void)
{
    (void)memset(in.bytes, 0, in.size);
    (void)memset(notes, 0, sizeof *notes);
    lock = make_lock(&in, 0, 0);
    rlock = make_site(&in, 64, 64, SHX_CELL_RLOCK, 0);
    semaphore = make_site(&in, 128, 64, SHX_CELL_SEMAPHORE, 0);
    event = make_site(&in, 192, 64, SHX_CELL_EVENT, 0);
    bounded = make_site(&in, 256, shx_permits_size(PERMITS),
                        SHX_CELL_BOUNDED_SEMAPHORE, PERMITS);
}

static void
done(int number, shx_err got)
{
    atomic_store(&notes->got[number], got);
    atomic_store(&notes->done[number], true);
}

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

/* Sleepers. */

static void
wait_for_lock(int number)
{
    shx_err err = acquire(&lock, -1);
    done(number, err);
    if (err == 0) {
        CHECK(release(&lock) == 0);
    }
}

static void
wait_for_unit(int number)
{
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    done(number, shx_semaphore_acquire(&semaphore, &patience));
}

static void
wait_for_permit(int number)
{
    shx_err err = acquire_permit(-1);
    done(number, err);
    CHECK(err == 0 && release_permit() == 0);
}

static void
wait_for_event(int number)
{
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    done(number, shx_event_wait(&event, shx_event_times(&event), &patience));
}

static bool
all_done(int count)
{
    for (int i = 0; i < count; i++) {
        if (!atomic_load(&notes->done[i])) {
            return false;
        }
    }
    return true;
}

/* What wakes them. */

static void
release_lock(void)
{
    CHECK(release(&lock) == 0);
}

static void
tear_lock(void)
{
    shx_member me = me_in(in.party);
    CHECK(shx_lock_release_torn(&lock, &me) == 0);
}

static void
give_units(void)
{
    CHECK(shx_semaphore_release(&semaphore, MOST) == 0);
}

static void
give_units_one_by_one(void)
{
    for (int i = 0; i < MOST; i++) {
        CHECK(shx_semaphore_release(&semaphore, 1) == 0);
    }
}

static void
set_event(void)
{
    shx_event_set(&event);
    shx_event_clear(&event);
}

static void
return_permit(void)
{
    CHECK(release_permit() == 0);
}

/* How long it takes until all that slept are done. Their slices have become
 * the longest by then: what is quicker than a slice, somebody was woken for.
 */
static uint64_t
time_to_wake(void (*sleeper)(int), int sleepers, void (*wake)(void))
{
    pid_t pids[MOST];
    begin_anew();
    CHECK(acquire(&lock, 0) == 0);
    CHECK(acquire_permit(0) == 0 && acquire_permit(0) == 0);
    for (int i = 0; i < sleepers; i++) {
        pids[i] = spawn(sleeper, i);
        sleep_for(8 * MS); /* or their slices would end together */
    }
    sleep_for(70 * MS); /* 62 until the longest begins: much of it is left */
    uint64_t began = now();
    wake();
    SOON(all_done(sleepers));
    uint64_t length = now() - began;
    for (int i = 0; i < sleepers; i++) {
        check_ended(pids[i]);
    }
    return length;
}

/* Once in five times at least: others use the machine, too. */
static void
check_wakes(void (*sleeper)(int), int sleepers, void (*wake)(void))
{
    for (int tries = 0;
         time_to_wake(sleeper, sleepers, wake) > (uint64_t)(16 * MS);) {
        CHECK(++tries < 5);
    }
}

static void
test_directed_wake_ups(void)
{
    check_wakes(wait_for_lock, 1, release_lock);
    check_wakes(wait_for_lock, MOST, release_lock); /* from one to the next */
    check_wakes(wait_for_lock, MOST, tear_lock);    /* everybody is told */
    check_wakes(wait_for_unit, 1, give_units);
    check_wakes(wait_for_unit, MOST, give_units);
    check_wakes(wait_for_unit, MOST, give_units_one_by_one);
    check_wakes(wait_for_permit, 1, return_permit);
    check_wakes(wait_for_permit, MOST, return_permit);
    check_wakes(wait_for_event, MOST, set_event);
}

/* Who was woken is stopped, and killed: another one gets it. */
static void
test_directed_death_of_who_was_woken(void)
{
    begin_anew();
    CHECK(acquire(&lock, 0) == 0);
    pid_t woken = spawn(wait_for_lock, 0);
    wait_until_it_is(woken, 'S');
    CHECK(kill(woken, SIGSTOP) == 0);
    wait_until_it_is(woken, 'T');
    pid_t other = spawn(wait_for_lock, 1);
    wait_until_it_is(other, 'S');
    CHECK(release(&lock) == 0);
    kill_and_wait(woken);
    check_ended(other);
    CHECK(atomic_load(&notes->got[1]) == 0);
    CHECK(acquire(&lock, 0) == 0 && release(&lock) == 0);
}

/* Who is late sees that it was set, though it is clear again. */
static void
test_directed_event_that_is_clear_again(void)
{
    begin_anew();
    pid_t late = spawn(wait_for_event, 0);
    wait_until_it_is(late, 'S');
    CHECK(kill(late, SIGSTOP) == 0);
    wait_until_it_is(late, 'T');
    set_event();
    CHECK(kill(late, SIGCONT) == 0);
    SOON(all_done(1));
    check_ended(late);
    CHECK(!shx_event_is_set(&event));
}

static void
repair_and_die(int number)
{
    (void)number;
    CHECK(acquire_torn(&lock, SECOND) == SHX_OWNER_DIED);
}

static void
hold_and_die(int number)
{
    (void)number;
    CHECK(acquire(&lock, SECOND) == 0);
}

/* Who repairs may die, too, and whoever waits meanwhile is told. */
static void
test_directed_death_of_who_repairs(void)
{
    begin_anew();
    check_ended(spawn(hold_and_die, 0));
    for (int i = 0; i < 3; i++) {
        check_ended(spawn(repair_and_die, 0));
    }
    CHECK(acquire_torn(&lock, SECOND) == SHX_OWNER_DIED);
    pid_t waiter = spawn(wait_for_lock, 0);
    wait_until_it_is(waiter, 'S');
    CHECK(!atomic_load(&notes->done[0])); /* it is being repaired */
    tear_lock();
    check_ended(waiter);
    CHECK(atomic_load(&notes->got[0]) == SHX_OWNER_DIED);
    CHECK(acquire(&lock, SECOND) == SHX_OWNER_DIED);
    CHECK(acquire_torn(&lock, SECOND) == SHX_OWNER_DIED);
    CHECK(release_mended(&lock) == 0);
    CHECK(acquire(&lock, 0) == 0);
}

static void
hold_permits_and_die(int number)
{
    (void)number;
    CHECK(acquire_permit(SECOND) == 0 && acquire_permit(SECOND) == 0);
}

static void
test_directed_death_with_permits(void)
{
    begin_anew();
    check_ended(spawn(hold_permits_and_die, 0));
    CHECK(shx_permits_count(&bounded) == 0);
    CHECK(acquire_permit(SECOND) == 0 && acquire_permit(0) == 0);
    CHECK(acquire_permit(0) == ETIMEDOUT);
    CHECK(release_permit() == 0 && release_permit() == 0);
    CHECK(release_permit() == SHX_NOT_OWNER);
}

/* A token was drawn again that a dead one had: what that had is not ours. */
static void
test_directed_token_drawn_again(void)
{
    begin_anew();
    shx_word hint = 0;
    shx_member me = me_in(in.party);
    const shx_member dead = {.token = me.token, .nonce = me.nonce + 1};
    CHECK(shx_permits_take(&bounded, &dead, &hint));
    CHECK(release_permit() == SHX_NOT_OWNER);
    shx_patience patience = shx_patience_for(0, NULL, NULL);
    CHECK(shx_rlock_acquire(&rlock, &dead, SHX_TORN_TELLS, &patience) == 0);
    CHECK(shx_rlock_depth(&rlock, &dead) == 1);
    CHECK(shx_rlock_depth(&rlock, &me) == 0);
    CHECK(shx_rlock_release(&rlock, &me) == SHX_NOT_OWNER);
}

/* A cell is made of zeros, or it is somebody's. */
static void
test_directed_cells_in_use(void)
{
    begin_anew();
    shx_cell *cell = (shx_cell *)(void *)(in.bytes + 1024);
    in.bytes[1024 + 127] = 1;
    CHECK(shx_cell_make(cell, 128, SHX_CELL_LOCK, 0) == SHX_IN_USE);
    CHECK(atomic_load(&cell->head) == 0);
    CHECK(shx_cell_make(cell, 64, SHX_CELL_LOCK, 0) == 0);
    CHECK(shx_cell_make(cell, 64, SHX_CELL_LOCK, 0) == 0);
    CHECK(shx_cell_make(cell, 64, SHX_CELL_RLOCK, 0) == SHX_FOREIGN);
    CHECK(shx_cell_make(cell, 64, SHX_CELL_LOCK, 1) == SHX_FOREIGN);
}

/* Whoever comes first makes it, and it is at once good for all who want the
 * same. */
enum { RACERS = 32, RACES = 20 };
static _Atomic int *racing; /* how many are ready, agree, and do not */

static void
make_the_same(int number)
{
    shx_cell *cell = (shx_cell *)(void *)(in.bytes + 1024);
    shx_cell_kind kind = number % 4 == 0 ? SHX_CELL_RLOCK : SHX_CELL_LOCK;
    atomic_fetch_add(&racing[0], 1);
    while (atomic_load(&racing[0]) < RACERS) {
        sleep_for(0);
    }
    shx_err err = shx_cell_make(cell, 64, kind, 0);
    CHECK(err == 0 || err == SHX_FOREIGN);
    if (err == 0) {
        shx_site at = {.cell = cell, .party = in.party};
        CHECK(acquire(&at, SECOND) == 0 && release(&at) == 0);
    }
    atomic_fetch_add(&racing[err == 0 ? 1 : 2], 1);
}

static void
test_directed_race_of_starters(void)
{
    racing = (_Atomic int *)(void *)notes;
    for (int races = 0; races < RACES; races++) {
        pid_t racers[RACERS];
        begin_anew();
        for (int i = 0; i < RACERS; i++) {
            racers[i] = spawn(make_the_same, i);
        }
        for (int i = 0; i < RACERS; i++) {
            check_ended(racers[i]);
        }
        CHECK(racing[1] == RACERS / 4 || racing[1] == RACERS - RACERS / 4);
        CHECK(racing[1] + racing[2] == RACERS);
    }
}

/* Of many that sleep only some look often: the others would use up a core. A
 * thread that sleeps gives the processor up once. */
enum { CROWD = 60 };

static void *
sleep_in_a_crowd(void *argument)
{
    shx_member me = me_in(in.party);
    shx_patience patience = shx_patience_for(SECOND, NULL, NULL);
    CHECK(shx_lock_acquire(&lock, &me, SHX_TORN_TELLS, &patience) ==
          ETIMEDOUT);
    return argument;
}

static void
sleep_together(int number)
{
    (void)number;
    pthread_t threads[CROWD];
    struct rusage used;
    for (int i = 0; i < CROWD; i++) {
        CHECK(pthread_create(&threads[i], NULL, sleep_in_a_crowd, NULL) == 0);
    }
    for (int i = 0; i < CROWD; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(getrusage(RUSAGE_SELF, &used) == 0);
    /* Each of them: 5 times until its slice is the longest, and 2 or 3. The
     * budget: 16, and again after each slice. Without one it were 20 each. */
    CHECK(used.ru_nvcsw < CROWD * 14);
}

static void
test_directed_budget_of_sleepers(void)
{
    begin_anew();
    CHECK(acquire(&lock, 0) == 0);
    check_ended(spawn(sleep_together, 0));
}

int
main(void)
{
    in = make_memory(PAGE);
    notes = make_notes(sizeof *notes);
    test_directed_cells_in_use();
    test_directed_race_of_starters();
    test_directed_token_drawn_again();
    test_directed_death_of_who_was_woken();
    test_directed_event_that_is_clear_again();
    test_directed_death_of_who_repairs();
    test_directed_death_with_permits();
    test_directed_budget_of_sleepers();
    test_directed_wake_ups();
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Somebody writes random words over all synchronizers while others use them,
 * with timeouts:
 *
 *   hostile_sync CALLS
 *
 * Nobody crashes, and nothing is written beside the cells, which is for the
 * sanitizers to see too. No call takes much longer than its timeout. What a
 * call says is worth nothing: it is not looked at. */
#define _GNU_SOURCE

#include "core/sync/bounded_semaphore.h"
#include "core/sync/event.h"
#include "core/sync/semaphore.h"

#include "groups.h"

/* The cells fill the page in the middle; no call may touch the others. */
enum {
    PAGE = 4096,
    CELL = 256,
    GROUPS_AT = 2048,
    PARTIES = 2,
    USERS = 3,
    PERMITS = 24,
    CANARY = 0xaa
};

static memory in;
static unsigned char *outside[2];

static uint64_t
next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 8;
}

/* Words that may mean something more often than not. */
static void
write_anything(int number)
{
    uint64_t seed = (uint64_t)number + 1;
    shx_word *words = (shx_word *)(void *)(in.bytes + PAGE);
    uint32_t me = me_in(in.party).token;
    for (;;) {
        uint64_t drawn = next(&seed);
        const uint32_t values[] = {0,
                                   UINT32_MAX,
                                   UINT32_C(1) << (drawn >> 32) % 32,
                                   (uint32_t)(drawn >> 16) & SHX_TOKEN,
                                   me,
                                   me | SHX_LOCK_WAITED,
                                   (uint32_t)(drawn >> 16)};
        size_t which = (drawn >> 40) % (sizeof values / sizeof *values);
        atomic_store(&words[drawn % (PAGE / sizeof *words)], values[which]);
        if (drawn >> 40 == 0) {
            sleep_for(MS); /* or nobody else has the time */
        }
    }
}

static shx_site
cell_of(shx_cell_kind kind, uint32_t parameter)
{
    return (shx_site){
        .cell = (shx_cell *)(void *)(in.bytes + PAGE + CELL * (kind - 1)),
        .party = in.party,
        .parameter = parameter};
}

typedef void (*use)(uint64_t drawn, const shx_member *me,
                    shx_patience *patience);

static void
use_lock(uint64_t drawn, const shx_member *me, shx_patience *patience)
{
    shx_site at =
        cell_of(SHX_CELL_LOCK, drawn % 2 == 0 ? 0 : SHX_IGNORES_DEATH);
    shx_torn torn = drawn % 4 < 2 ? SHX_TORN_TELLS : SHX_TORN_REPAIRS;
    (void)shx_lock_acquire(&at, me, torn, patience);
    (void)shx_lock_try(&at, me, torn);
    (void)shx_lock_look(&at);
    (void)(drawn % 8 == 0 ? shx_lock_release_torn(&at, me)
                          : shx_lock_release(&at, me));
}

static void
watch_lock(uint64_t drawn, const shx_member *me, shx_patience *patience)
{
    shx_site at = cell_of(SHX_CELL_LOCK, (uint32_t)drawn);
    (void)me;
    (void)shx_lock_watch(&at, patience);
}

static void
use_rlock(uint64_t drawn, const shx_member *me, shx_patience *patience)
{
    uint32_t depth;
    shx_site at = cell_of(SHX_CELL_RLOCK, 0);
    (void)shx_rlock_acquire(&at, me, SHX_TORN_REPAIRS, patience);
    (void)shx_rlock_try(&at, me, SHX_TORN_TELLS);
    (void)(drawn % 2 == 0 ? shx_rlock_release(&at, me)
                          : shx_rlock_release_all(&at, me, &depth));
}

static void
use_semaphore(uint64_t drawn, const shx_member *me, shx_patience *patience)
{
    shx_site at = cell_of(SHX_CELL_SEMAPHORE, 3);
    (void)me;
    (void)shx_semaphore_acquire(&at, patience);
    (void)shx_semaphore_release(&at, drawn % 4);
}

static void
use_permits(uint64_t drawn, const shx_member *me, shx_patience *patience)
{
    shx_word hint = (uint32_t)drawn; /* any value will do */
    shx_site at = cell_of(SHX_CELL_BOUNDED_SEMAPHORE, PERMITS);
    (void)shx_permits_acquire(&at, me, &hint, patience);
    (void)shx_permits_count(&at);
    (void)shx_permits_release(&at, me, &hint, drawn % 4);
}

static void
use_event(uint64_t drawn, const shx_member *me, shx_patience *patience)
{
    shx_site at = cell_of(SHX_CELL_EVENT, 0);
    (void)me;
    (void)shx_event_wait(&at, shx_event_times(&at), patience);
    (void)(drawn % 2 == 0 ? shx_event_set(&at) : shx_event_clear(&at));
}

static void
make_cells(uint64_t drawn, const shx_member *me, shx_patience *patience)
{
    (void)me;
    (void)patience;
    for (unsigned i = 0; i < 5; i++) {
        shx_site at = cell_of(1 + i, 0);
        (void)shx_cell_read(at.cell);
        (void)shx_cell_make(at.cell, CELL, 1 + drawn % 8, (uint32_t)drawn);
    }
}

static void
read_and_write(uint64_t drawn, const shx_member *me, shx_patience *patience)
{
    if (drawn % 2 == 0) {
        (void)shx_rwlock_read(&rwlock, reading, me, patience);
        (void)shx_rwlock_watch_read(&rwlock, patience);
        (void)shx_rwlock_release_read(&rwlock, reading, me);
    }
    else {
        (void)shx_rwlock_write(&rwlock, reading, me, SHX_TORN_REPAIRS,
                               patience);
        (void)shx_rwlock_release_write(&rwlock, me);
    }
    (void)shx_rwlock_look(&rwlock);
}

/* Who waits comes back with the lock, whatever it takes: so nobody has it for
 * long here, and whoever wrote its word is dead or alive by the next slice. */
static void
notify(uint64_t drawn, const shx_member *me, shx_patience *patience)
{
    (void)me;
    (void)patience;
    shx_condition_notify(&condition, drawn % 4);
    (void)shx_condition_count(&condition);
}

static void
sleep_in_condition(uint64_t drawn, const shx_member *me,
                   shx_patience *patience)
{
    unsigned slot;
    bool notified;
    shx_waiter waiter = {*me, *me};
    if (shx_condition_enter(&condition, &waiter, &slot) == 0) {
        (void)shx_condition_sleep(&condition, &waiter, slot, patience);
        (void)shx_condition_leave(&condition, &waiter, slot, drawn % 3,
                                  &notified);
        shx_condition_abandon(&condition, &waiter, slot);
    }
}

static void
arrive(uint64_t drawn, const shx_member *me, shx_patience *patience)
{
    shx_arrival arrival;
    shx_visit visit = {.me = *me, .place = SHX_NO_PLACE};
    if (shx_barrier_wait(&barrier, &visit, patience, &arrival) == 0 &&
        arrival == SHX_BARRIER_LEADS) {
        (void)shx_barrier_trip(&barrier, &visit);
    }
    if (drawn % 8 == 0) { /* the wait's patience has no end when it is over */
        shx_patience other = shx_patience_for(MS, NULL, NULL);
        (void)shx_barrier_reset(&barrier, me, &other);
    }
    (void)shx_barrier_waiting(&barrier);
    shx_barrier_leave(&barrier, me);
}

static const use uses[] = {use_lock,           watch_lock,     use_rlock,
                           use_semaphore,      use_permits,    use_event,
                           make_cells,         read_and_write, notify,
                           sleep_in_condition, arrive};

static int calls;

/* A user that the words keep busy, or asleep, would show it here. */
static void
use_all(int number)
{
    uint64_t seed = UINT64_C(77) << number;
    shx_member me = me_in(in.party);
    for (int i = 0; i < calls; i++) {
        uint64_t drawn = next(&seed);
        int64_t timeout = (int64_t)(drawn % (2 * MS));
        shx_patience patience = shx_patience_for(timeout, NULL, NULL);
        uint64_t began = now();
        uses[(drawn >> 32) % (sizeof uses / sizeof *uses)](drawn >> 36, &me,
                                                           &patience);
        CHECK(now() - began < (uint64_t)(timeout + SECOND));
    }
}

static void
fill_outside(void)
{
    outside[0] = (unsigned char *)in.bytes;
    outside[1] = outside[0] + 2 * PAGE;
    (void)memset(outside[0], CANARY, PAGE);
    (void)memset(outside[1], CANARY, PAGE);
}

static void
check_outside(void)
{
    for (int i = 0; i < PAGE; i++) {
        CHECK(outside[0][i] == CANARY && outside[1][i] == CANARY);
    }
}

int
main(int argc, char **argv)
{
    pid_t users[USERS];
    CHECK(argc == 2 && (calls = atoi(argv[1])) > 0);
    in = make_memory(3 * PAGE);
    make_groups(&in, PAGE + GROUPS_AT, PARTIES);
    fill_outside();
    pid_t hostile = spawn(write_anything, 0);
    for (int i = 0; i < USERS; i++) {
        users[i] = spawn(use_all, i);
    }
    for (int i = 0; i < USERS; i++) {
        check_ended(users[i]);
    }
    kill_and_wait(hostile);
    check_outside();
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Threads of one process, for ThreadSanitizer: what each synchronizer guards
 * are plain words. */
#define _GNU_SOURCE

#include <pthread.h>

#include "core/sync/bounded_semaphore.h"
#include "core/sync/event.h"
#include "core/sync/semaphore.h"

#include "groups.h"

enum { THREADS = 4, ROUNDS = 3000, PAGE = 4096 };

static memory in;
static shx_site lock, rlock, semaphore, bounded, events[2];
static long guarded[4];
static long written, items, arrivals[THREADS];
static long passed_on; /* from one event to the other */

static shx_patience
for_ever(void)
{
    return shx_patience_for(-1, NULL, NULL);
}

static void
use_lock(const shx_member *me)
{
    shx_patience patience = for_ever();
    CHECK(shx_lock_acquire(&lock, me, SHX_TORN_TELLS, &patience) == 0);
    guarded[0]++;
    CHECK(shx_lock_release(&lock, me) == 0);
}

static void
use_rlock(const shx_member *me)
{
    shx_patience patience = for_ever();
    CHECK(shx_rlock_acquire(&rlock, me, SHX_TORN_TELLS, &patience) == 0);
    CHECK(shx_rlock_acquire(&rlock, me, SHX_TORN_TELLS, &patience) == 0);
    guarded[1]++;
    CHECK(shx_rlock_release(&rlock, me) == 0);
    CHECK(shx_rlock_release(&rlock, me) == 0);
}

static void
use_semaphore(void)
{
    shx_patience patience = for_ever();
    CHECK(shx_semaphore_acquire(&semaphore, &patience) == 0);
    guarded[2]++;
    CHECK(shx_semaphore_release(&semaphore, 1) == 0);
}

static void
use_permit(const shx_member *me)
{
    shx_word hint = 0;
    shx_patience patience = for_ever();
    CHECK(shx_permits_acquire(&bounded, me, &hint, &patience) == 0);
    guarded[3]++;
    CHECK(shx_permits_release(&bounded, me, &hint, 1) == 0);
}

/* Two of them write a word in turn. */
static void
pass_on(int self)
{
    shx_patience patience = for_ever();
    uint32_t times = shx_event_times(&events[self]);
    CHECK(shx_event_wait(&events[self], times, &patience) == 0);
    shx_event_clear(&events[self]);
    passed_on++;
    shx_event_set(&events[1 - self]);
}

static void
read_or_write(int round)
{
    if (round % 4 == 0) {
        CHECK(begin_writing(SHX_TORN_TELLS, -1) == 0);
        written++;
        CHECK(end_writing() == 0);
    }
    else {
        CHECK(begin_reading(-1) == 0);
        CHECK(written >= 0);
        CHECK(end_reading() == 0);
    }
}

/* Some make what others take. */
static void
make_or_take(bool makes)
{
    CHECK(enter_condition(-1) == 0);
    while (makes ? items > 3 : items == 0) {
        CHECK(wait_for_condition(-1) == 0);
    }
    items += makes ? 1 : -1;
    shx_condition_notify(&condition, WAITERS);
    CHECK(leave_condition() == 0);
}

static void
arrive(int self)
{
    arrivals[self]++;
    CHECK(pass_barrier(-1) == SHX_BARRIER_PASSED);
    for (int i = 0; i < THREADS; i++) {
        CHECK(arrivals[i] == arrivals[self]);
    }
    CHECK(pass_barrier(-1) == SHX_BARRIER_PASSED);
}

static void *
use_all(void *argument)
{
    int self = *(int *)argument;
    shx_member me = me_in(in.party);
    for (int i = 0; i < ROUNDS; i++) {
        use_lock(&me);
        use_rlock(&me);
        use_semaphore();
        use_permit(&me);
        read_or_write(i);
        make_or_take(self % 2 == 0);
        if (i % 16 == 0) {
            arrive(self);
        }
        if (self < 2) {
            pass_on(self);
        }
    }
    return NULL;
}

int
main(void)
{
    pthread_t threads[THREADS];
    int selves[THREADS];
    in = make_memory(PAGE);
    lock = make_lock(&in, 0, 0);
    rlock = make_site(&in, 64, 64, SHX_CELL_RLOCK, 0);
    semaphore = make_site(&in, 128, 64, SHX_CELL_SEMAPHORE, 1);
    events[0] = make_site(&in, 192, 64, SHX_CELL_EVENT, 0);
    events[1] = make_site(&in, 256, 64, SHX_CELL_EVENT, 0);
    bounded = make_site(&in, 512, shx_permits_size(1),
                        SHX_CELL_BOUNDED_SEMAPHORE, 1);
    make_groups(&in, 1024, THREADS);
    shx_event_set(&events[0]);
    for (int i = 0; i < THREADS; i++) {
        selves[i] = i;
        CHECK(pthread_create(&threads[i], NULL, use_all, &selves[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(guarded[i] == (long)THREADS * ROUNDS);
    }
    CHECK(passed_on == 2L * ROUNDS && items == 0);
    CHECK(written == (long)THREADS * ROUNDS / 4);
    return 0;
}

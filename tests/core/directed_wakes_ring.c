/* SPDX-License-Identifier: MIT */
/* Who is woken, and by what; who was woken in another's place tells that one.
 */
#define _GNU_SOURCE

#include "directed_ring.h"

/* How long until all who wait are told. They have slept so long that their
 * slices are the longest: what is quicker, they were woken for. */
static void (*what_wakes)(void);
static void (*what_prepares)(void);

static uint64_t
time_to_wake(void (*sleeper)(int), int sleepers)
{
    pid_t pids[MOST];
    begin_anew();
    what_prepares();
    for (int i = 0; i < sleepers; i++) {
        pids[i] = spawn(sleeper, i);
        sleep_for(8 * MS);
    }
    sleep_for(70 * MS);
    uint64_t began = now();
    what_wakes();
    SOON(all_done(sleepers));
    uint64_t length = now() - began;
    for (int i = 0; i < sleepers; i++) {
        check_ended(pids[i]);
        CHECK(atomic_load(&notes->got[i]) == 0 ||
              atomic_load(&notes->got[i]) == SHX_SHUT_DOWN);
    }
    return length;
}

static void
check_wakes(void prepare(void), void (*sleeper)(int), int sleepers,
            void wake(void))
{
    what_prepares = prepare;
    what_wakes = wake;
    for (int tries = 0;
         time_to_wake(sleeper, sleepers) > (uint64_t)(16 * MS);) {
        CHECK(++tries < 5);
    }
}

static void
nothing(void)
{
}

static void
take_one(int number)
{
    shx_ring_record record;
    shx_err err = take_message(&ring, &record, -1);
    done(number, err);
    if (err == 0) {
        give_message(&ring, &record);
    }
}

static void
put_one(int number)
{
    done(number, put_message(&ring, 40, (label){2, (uint32_t)number}, -1));
}

static void
put_eight(void)
{
    for (uint32_t i = 0; i < MOST; i++) {
        put(i);
    }
}

static void
put_eight_together(void)
{
    shx_piece pieces[MOST];
    size_t done;
    shx_ring_wait wait = waits(SECOND);
    shx_member me = me_in(in.party);
    for (int i = 0; i < MOST; i++) {
        pieces[i] = (shx_piece){NULL, 0};
    }
    CHECK(shx_ring_put(&ring, &me, pieces, MOST, &done, &wait) == 0);
    CHECK(done == MOST);
}

static shx_ring_record held[SIZE / 64];

static void
fill(void)
{
    for (uint32_t i = 0; i < SIZE / 64; i++) {
        put(i);
        held[i] = take(i, 0);
    }
}

static void
give_eight(void)
{
    for (int i = 0; i < MOST; i++) {
        give_message(&ring, &held[i]);
    }
}

static void
give_eight_together(void)
{
    shx_member me = me_in(in.party);
    shx_ring_give(&ring, &me, held, MOST);
}

static void
fill_with_two(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        put_longest(i);
        held[i] = take(i, 0);
    }
}

static void
give_the_first(void)
{
    give_message(&ring, &held[0]);
}

static void
shut_it_down(void)
{
    CHECK(shut_down(&ring, SECOND) == 0);
}

static void
take_the_last(void)
{
    put(1);
    held[0] = take(1, 0);
    shut_it_down();
}

static void
reserve_one(void)
{
    CHECK(reserve_message(&ring, 40, &held[0], SECOND) == 0);
}

static void
commit_it(void)
{
    commit_message(&ring, &held[0], true);
}

static void
hold_one(void)
{
    put(1);
    held[0] = take(1, 0);
}

static void
return_it(void)
{
    return_message(&ring, &held[0]);
}

static void
reserve_all(void)
{
    for (int i = 0; i < 2; i++) {
        CHECK(reserve_message(&ring, shx_ring_longest(&ring), &held[i],
                              SECOND) == 0);
    }
}

static void
drop_it(void)
{
    commit_message(&ring, &held[0], false);
}

static void
reserve_and_shut_down(void)
{
    reserve_one();
    shut_it_down();
}

/* Asleep on one side's word, as if others had been woken in its place. */
static shx_cell *overlooked_on;

static void
be_overlooked(int number)
{
    enum { WAITED = 1 };
    shx_word *word = &overlooked_on->word;
    uint32_t seen = atomic_fetch_or(word, WAITED) | WAITED;
    uint64_t ends = now() + SECOND;
    const struct timespec end = {(time_t)(ends / SECOND),
                                 (long)(ends % SECOND)};
    done(number, shx_os_wait(word, seen, &end));
}

static void
check_passed_on(shx_cell *side, shx_err await(void))
{
    overlooked_on = side;
    pid_t other = spawn(be_overlooked, 0);
    wait_until_it_is(other, 'S');
    CHECK(await() == 0);
    check_ended(other);
    CHECK(atomic_load(&notes->got[0]) != ETIMEDOUT);
}

static shx_err
await_message(void)
{
    shx_ring_wait wait = waits(SECOND);
    shx_member me = me_in(in.party);
    return shx_ring_await_message(&ring, &me, &wait);
}

static shx_err
await_room(void)
{
    shx_ring_wait wait = waits(SECOND);
    shx_member me = me_in(in.party);
    return shx_ring_await_room(&ring, &me, 40, &wait);
}

/* Who only looks leaves it to another one. */
static void
test_directed_wake_up_of_who_takes_nothing(void)
{
    begin_anew();
    put(1);
    check_passed_on(ring.messages, await_message);
    begin_anew();
    check_passed_on(ring.room, await_room);
}

/* Whoever is woken may be killed then, and tells nobody: so all of them are.
 */
static void
check_all_told(void prepare(void), void wake(void))
{
    pid_t pids[3];
    begin_anew();
    prepare();
    overlooked_on = ring.messages;
    for (int i = 0; i < 3; i++) {
        pids[i] = spawn(be_overlooked, i);
        wait_until_it_is(pids[i], 'S');
    }
    wake();
    for (int i = 0; i < 3; i++) {
        check_ended(pids[i]);
        CHECK(atomic_load(&notes->got[i]) != ETIMEDOUT);
    }
}

static void
test_directed_end_that_all_are_told_of(void)
{
    check_all_told(nothing, shut_it_down);
    check_all_told(take_the_last, give_the_first);
    check_all_told(reserve_and_shut_down, drop_it);
}

/* It does not look by itself. */
static void
look_beside(int number)
{
    shx_member me = me_in(in.party);
    shx_patience patience = shx_patience_for(10 * SECOND, NULL, NULL);
    patience.slice = 10 * SECOND;
    uint64_t began = now();
    shx_err err = await_with(&ring, &me, &patience, true);
    done(number, now() - began < 5 * SECOND ? err : ETIMEDOUT);
}

/* So does who looks at several, and was woken as the first one. */
static void
test_directed_wake_up_of_who_looks_at_several(void)
{
    begin_anew();
    pid_t looks = spawn(look_beside, 1);
    wait_until_it_is(looks, 'S');
    put(1);
    check_ended(looks);
    CHECK(atomic_load(&notes->got[1]) == 0);
    begin_anew();
    overlooked_on = ring.messages;
    looks = spawn(look_beside, 1);
    wait_until_it_is(looks, 'S');
    pid_t other = spawn(be_overlooked, 0);
    wait_until_it_is(other, 'S');
    put(1);
    check_ended(looks);
    check_ended(other);
    CHECK(atomic_load(&notes->got[1]) == 0);
    CHECK(atomic_load(&notes->got[0]) != ETIMEDOUT);
}

/* What is not there to be taken is not seen, whatever the words say. */
static void
test_directed_looks_that_take_nothing(void)
{
    begin_anew();
    shx_member me = me_in(in.party);
    CHECK(await_beside(&ring, &me, 0) == EAGAIN);
    CHECK(await_beside(&ring, &me, MS) == ETIMEDOUT);
    put(1);
    CHECK(await_beside(&ring, &me, 0) == 0);
    shx_ring_record record = take(1, 0);
    CHECK(await_beside(&ring, &me, 0) == EAGAIN);
    return_message(&ring, &record);
    CHECK(await_beside(&ring, &me, SECOND) == 0);
    get(1, 1);
    CHECK(await_beside(&ring, &me, 0) == EAGAIN);
    CHECK(shut_down(&ring, SECOND) == 0);
    CHECK(await_beside(&ring, &me, 0) == 0);
}

static void
test_directed_wake_ups(void)
{
    check_wakes(nothing, take_one, MOST, put_eight);
    check_wakes(nothing, take_one, MOST, put_eight_together);
    check_wakes(nothing, take_one, MOST, shut_it_down);
    check_wakes(take_the_last, take_one, MOST, give_the_first);
    check_wakes(reserve_one, take_one, 1, commit_it);
    check_wakes(hold_one, take_one, 1, return_it);
    check_wakes(fill, put_one, MOST, give_eight);
    check_wakes(fill, put_one, MOST, give_eight_together);
    check_wakes(fill_with_two, put_one, MOST, give_the_first);
    check_wakes(fill, put_one, MOST, shut_it_down);
    check_wakes(reserve_all, put_one, 1, drop_it);
    check_wakes(reserve_and_shut_down, take_one, MOST, drop_it);
}

int
main(void)
{
    prepare_ring();
    test_directed_wake_up_of_who_takes_nothing();
    test_directed_end_that_all_are_told_of();
    test_directed_wake_up_of_who_looks_at_several();
    test_directed_looks_that_take_nothing();
    test_directed_wake_ups();
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Who takes from a ring, or looks at it, is killed after every instruction:
 * see crash_ring.h. */
#define _GNU_SOURCE

#include "crash_ring.h"

/* Before the knife is there. */

static shx_ring_record held[MOST];

static size_t
take_most(size_t most)
{
    size_t count = 0;
    shx_ring_wait wait = waits(SECOND);
    shx_member me = me_in(in.party);
    if (shx_ring_take(&ring, &me, held, most, &count, &wait) != 0) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        const label *of = shx_ring_bytes(&ring, &held[i]);
        CHECK(of->number < MOST);
        atomic_fetch_add(&told->taken[of->number], 1);
    }
    return count;
}

static void
return_one(void)
{
    shx_ring_record record;
    put_some();
    CHECK(take_message(&ring, &record, SECOND) == 0);
    return_message(&ring, &record);
}

static void
fill_and_take(void)
{
    put(BEFORE, 0, shx_ring_longest(&ring));
    put(BEFORE, 1, shx_ring_longest(&ring));
    atomic_store(&told->before, 2);
    CHECK(take_most(2) == 2);
}

static void
take_the_last(void)
{
    put(BEFORE, 0, 40);
    atomic_store(&told->before, 1);
    CHECK(take_most(1) == 1);
    CHECK(shut_down(&ring, SECOND) == 0);
}

/* Under the knife. */

static void
give(size_t count)
{
    shx_member me = me_in(in.party);
    atomic_store(&told->giving, true);
    shx_ring_give(&ring, &me, held, count);
    atomic_store(&told->gave, true);
}

static void
take_and_give(void)
{
    give(take_most(1));
}

static void
take_several(void)
{
    give(take_most(MOST));
}

static void
give_two(void)
{
    give(2);
}

static void
take_and_return(void)
{
    if (take_most(1) == 1) {
        return_message(&ring, &held[0]);
    }
}

static void
recover(void)
{
    shx_ring_wait wait = waits(SECOND);
    shx_member me = me_in(in.party);
    (void)shx_ring_recover(&ring, &me, &wait);
}

static void
shut_it_down(void)
{
    (void)shut_down(&ring, SECOND);
}

static void
wait_for_the_end(void)
{
    shx_ring_record record;
    (void)take_message(&ring, &record, SECOND);
    give(1);
}

static void
await_message(void)
{
    shx_ring_wait wait = waits(SECOND);
    shx_member me = me_in(in.party);
    (void)shx_ring_await_message(&ring, &me, &wait);
}

static void
await_it_beside(void)
{
    shx_member me = me_in(in.party);
    (void)await_beside(&ring, &me, SECOND);
}

/* There is none. */
static void
await_long(void)
{
    shx_ring_wait wait = waits(5 * MS);
    shx_member me = me_in(in.party);
    (void)shx_ring_await_message(&ring, &me, &wait);
}

static void
look_at_it(void)
{
    shx_ring_state state;
    shx_ring_wait wait = waits(SECOND);
    shx_member me = me_in(in.party);
    (void)shx_ring_look(&ring, &me, &wait, &state);
}

/* Those who wait meanwhile, and who comes afterwards. */

static void
sleep_for_room(int number)
{
    done(number,
         put_message(&ring, 40, (label){SLEEPER, (uint32_t)number}, -1));
}

static void
check_sleepers(void)
{
    check_all();
    await_sleepers();
    for (int i = 0; i < SLEEPERS; i++) {
        shx_err got = atomic_load(&notes->got[i]);
        CHECK(got == 0 || got == SHX_SHUT_DOWN);
        CHECK(told->came[SLEEPER][i] == (got == 0));
    }
    check_room();
}

/* Room for who sleeps comes from the victim, or its death. */
static void
check_writers(void)
{
    for (int i = 0; i < SLEEPERS; i++) {
        shx_ring_record record;
        CHECK(take_message(&ring, &record, 2 * SECOND) == 0);
        note(&record);
        give_message(&ring, &record);
    }
    check_sleepers();
}

/* Not killed, but for a while it does not come further. What may wait for it
 * does not wait for long. */

/* It seems that something came back, and nothing did. */
static void
return_none(void)
{
    return_one();
    CHECK(take_most(1) == 1);
    shx_member me = me_in(in.party);
    shx_ring_give(&ring, &me, held, 1);
    atomic_store(&told->taken[0], 0);
    atomic_store(&told->before, 0); /* those are counted by who takes them */
}

static void
take_one_at_once(void)
{
    shx_ring_record record;
    if (take_without_waiting(&ring, &record) == 0) {
        give_message(&ring, &record);
        atomic_fetch_add(&told->put, 1);
    }
}

/* By one who looked for that before it seemed so. */
static void
return_one_meanwhile(int number)
{
    shx_ring_record record;
    (void)number;
    uint32_t times = atomic_exchange(shx_ring_returned(&ring), 0);
    shx_err err = take_without_waiting(&ring, &record);
    atomic_fetch_add(shx_ring_returned(&ring), times);
    if (err == 0) {
        return_message(&ring, &record);
    }
}

/* What came back is found at once. */
static void
check_found(void)
{
    shx_ring_record record;
    for (unsigned left = 2 - atomic_load(&told->put); left > 0; left--) {
        CHECK(take_without_waiting(&ring, &record) == 0);
        give_message(&ring, &record);
    }
    CHECK(take_without_waiting(&ring, &record) != 0);
    took();
    check_room();
}

static const row rows[] = {
    {"take, give", put_some, take_and_give, check_it, NULL, USUAL},
    {"take, give: several", put_some, take_several, check_it, NULL, USUAL},
    {"take, give: what came back", return_one, take_and_give, check_it, NULL,
     USUAL},
    {"take, give: where one died", have_one_die, take_several, check_it, NULL,
     USUAL},
    {"take, return", put_some, take_and_return, check_it, NULL, USUAL},
    {"give: two asleep", fill_and_take, give_two, check_writers,
     sleep_for_room, USUAL},
    {"recover", have_one_die, recover, check_it, NULL, USUAL},
    {"shut down: two asleep", nothing, shut_it_down, check_takers,
     sleep_for_messages, LAST},
    {"take: at the end", take_the_last, wait_for_the_end, check_it, NULL,
     USUAL},
    {"await a message", put_some, await_message, check_it, NULL, USUAL},
    {"await a message: in vain", nothing, await_long, check_it, NULL, USUAL},
    {"await a message: one died", have_one_die, await_message, check_it, NULL,
     USUAL},
    {"await beside", put_some, await_it_beside, check_it, NULL, USUAL},
    {"await beside: one died", have_one_die, await_it_beside, check_it, NULL,
     USUAL},
    {"paused: take, return", return_none, take_one_at_once, check_found,
     return_one_meanwhile, PAUSED},
    {"look", put_some, look_at_it, check_it, NULL, USUAL},
};

int
main(int argc, char **argv)
{
    return run_ring(argc, argv, rows, sizeof rows / sizeof *rows);
}

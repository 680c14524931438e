/* SPDX-License-Identifier: MIT */
/* Who comes to the end of a ring that is shut down, and when. */
#define _GNU_SOURCE

#include "directed_ring.h"

static shx_ring_record mine; /* over a fork */

static void
take_till_the_end(int number)
{
    shx_ring_record record;
    for (;;) {
        shx_err err = take_message(&ring, &record, -1);
        if (err != 0) {
            done(number, err);
            return;
        }
        atomic_store(&notes->number[number], label_of(&ring, &record).number);
        atomic_store(&notes->deliveries[number], shx_ring_deliveries(&record));
        give_message(&ring, &record);
    }
}

static void
hold_till_killed(int number)
{
    shx_ring_record record;
    CHECK(take_message(&ring, &record, SECOND) == 0);
    done(number, 0);
    for (;;) {
        (void)pause();
    }
}

/* Nobody ends while a message may come back. */
static void
test_directed_shut_down_with_a_message_in_a_hand(void)
{
    begin_anew();
    put(4);
    pid_t holder = spawn(hold_till_killed, 2);
    SOON(atomic_load(&notes->done[2]));
    CHECK(shut_down(&ring, SECOND) == 0);
    CHECK(put_message(&ring, 9, (label){0, 0}, 0) == SHX_SHUT_DOWN);
    pid_t waiter = spawn(take_till_the_end, 0);
    SOON(state_of(waiter) != 'R');
    sleep_for(20 * MS);
    CHECK(!atomic_load(&notes->done[0]));
    kill_and_wait(holder);
    SOON(atomic_load(&notes->done[0]));
    check_ended(waiter);
    CHECK(atomic_load(&notes->got[0]) == SHX_SHUT_DOWN);
    CHECK(atomic_load(&notes->number[0]) == 4);
    CHECK(atomic_load(&notes->deliveries[0]) == 1);
}

static void
hold_and_wait_for_the_end(int number)
{
    shx_ring_record record, other;
    CHECK(take_message(&ring, &record, SECOND) == 0);
    atomic_store(&notes->number[number], 1);
    SOON(shx_ring_is_shut_down(&ring));
    done(number, take_message(&ring, &other, -1));
    give_message(&ring, &record);
}

/* Two do not wait for each other. */
static void
test_directed_two_who_hold_wait_for_the_end(void)
{
    pid_t pids[2];
    begin_anew();
    put(1);
    put(2);
    for (int i = 0; i < 2; i++) {
        pids[i] = spawn(hold_and_wait_for_the_end, i);
        SOON(atomic_load(&notes->number[i]) != 0);
    }
    CHECK(shut_down(&ring, SECOND) == 0);
    SOON(all_done(2));
    for (int i = 0; i < 2; i++) {
        check_ended(pids[i]);
        CHECK(atomic_load(&notes->got[i]) == SHX_SHUT_DOWN);
    }
    CHECK(atomic_load(&ring.counts->redelivered) == 0);
}

/* Who waited for the end with a message in hand, and was killed there: that
 * is another one's. */
static void
test_directed_death_of_who_waited_for_the_end(void)
{
    shx_ring_record record;
    begin_anew();
    put(1);
    put(2);
    mine = take(1, 0);
    pid_t holder = spawn(hold_and_wait_for_the_end, 0);
    SOON(atomic_load(&notes->number[0]) != 0);
    CHECK(shut_down(&ring, SECOND) == 0);
    wait_until_it_is(holder, 'S');
    SOON(shx_state_of_record(atomic_load(
             &shx_ring_header(&ring, mine.at + 64)->word)) == SHX_KEPT);
    kill_and_wait(holder);
    CHECK(take_message(&ring, &record, SECOND) == 0);
    CHECK(label_of(&ring, &record).number == 2);
    CHECK(shx_ring_deliveries(&record) == 1);
    give_message(&ring, &record);
    give_message(&ring, &mine);
    CHECK(take_message(&ring, &record, SECOND) == SHX_SHUT_DOWN);
}

int
main(void)
{
    prepare_ring();
    test_directed_shut_down_with_a_message_in_a_hand();
    test_directed_two_who_hold_wait_for_the_end();
    test_directed_death_of_who_waited_for_the_end();
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* A queue, one case after the other: its pages, its numbers, its tasks, and
 * what the dead leave of each. */
#define _GNU_SOURCE

#include "mail.h"

static memory in;

static struct {
    _Atomic bool joined;
    _Atomic shx_err got;
    _Atomic unsigned taken;
} * notes;

static void
begin_anew(uint32_t most)
{
    (void)memset(notes, 0, sizeof *notes);
    make_queue(&in, most);
}

static void
put(uint32_t number)
{
    CHECK(post_mail(40, (label){1, number}, SECOND) == 0);
}

static shx_ring_record
take(uint32_t number)
{
    shx_ring_record record;
    CHECK(take_mail(&record, SECOND) == 0);
    CHECK(read_mail(&record).number == number);
    return record;
}

static void
get(uint32_t number)
{
    shx_ring_record record = take(number);
    give_mail(&record, true);
}

/* Pages */

static void
pages_come_before_they_are_written(void)
{
    begin_anew(0);
    CHECK(bytes_held(&in) <= SHX_RING_PAGE);
    put(0);
    /* More than the one that was written. */
    CHECK(bytes_held(&in) == SHX_RING_PAGE + SHX_QUEUE_GRAIN);
    check_pages(&in);
}

static void
pages_go_with_what_was_in_them(void)
{
    enum { COUNT = 30000 };
    begin_anew(0);
    for (uint32_t i = 0; i < COUNT; i++) {
        put(i);
        if (i % 1000 == 0) {
            check_pages(&in);
        }
    }
    CHECK(bytes_held(&in) > COUNT * 72);
    for (uint32_t i = 0; i < COUNT; i++) {
        get(i);
    }
    check_pages(&in);
    CHECK(bytes_held(&in) <= SHX_QUEUE_IDLE + 4 * SHX_QUEUE_GRAIN);
}

/* Of all lengths, so that it is nearly full and nearly empty, anywhere. */
static void
pages_are_there_all_the_way_round(void)
{
    const size_t lengths[] = {40, 900, 2000, 70000, 300000, LONG_MAIL, 16};
    begin_anew(0);
    uint32_t first = 0, last = 0;
    srand(1);
    for (int turn = 0; turn < 3000; turn++) {
        size_t length = lengths[rand() % 7];
        if (post_mail(length, (label){1, last}, 0) == 0) {
            last++;
        }
        while (first != last && rand() % 3 == 0) {
            get(first++);
        }
        if (turn % 16 == 0) {
            check_pages(&in);
        }
    }
    CHECK(atomic_load(&ring.in->tail) > 10 * ring.capacity);
    CHECK(last - first < 3000);
    for (; first != last; first++) {
        get(first);
    }
}

/* The one that is in hand keeps what lies behind it, and it is not written
 * over. */
static void
one_in_hand_keeps_its_bytes(void)
{
    begin_anew(0);
    put(7);
    shx_ring_record record = take(7);
    uint32_t number = 0;
    while (post_mail(LONG_MAIL, (label){1, number}, 0) == 0) {
        get(number++);
    }
    CHECK(number >= 2);
    CHECK(read_mail(&record).number == 7);
    give_mail(&record, true);
    CHECK(post_mail(LONG_MAIL, (label){1, number}, SECOND) == 0);
    get(number);
    check_pages(&in);
}

/* Numbers */

static void
as_many_wait_as_may(void)
{
    bool full;
    begin_anew(2);
    for (uint32_t i = 0; i < 10; i++) {
        put(2 * i);
        CHECK(count_mail(&full) == 1 && !full);
        CHECK(post_mail(LONG_MAIL, (label){1, 2 * i + 1}, SECOND) == 0);
        CHECK(count_mail(&full) == 2 && full);
        CHECK(post_mail(40, (label){1, 9}, 0) == ETIMEDOUT);
        get(2 * i);
        get(2 * i + 1);
        CHECK(count_mail(&full) == 0 && !full);
    }
}

static void
put_one(int number)
{
    put((uint32_t)number);
}

/* A slice would end by chance as soon, now and then: so it is several times
 * out of many, also where others use the machine. */
enum { ROUNDS = 10, QUICK = 3 };

static bool
is_quick(uint64_t begun)
{
    return now() - begun < (uint64_t)(10 * MS);
}

static void
who_waits_for_room_is_woken_by_who_takes(void)
{
    int quick = 0;
    for (int i = 0; i < ROUNDS && quick < QUICK; i++) {
        begin_anew(1);
        put(0);
        pid_t other = spawn(put_one, 1);
        wait_until_it_is(other, 'S');
        sleep_for(150 * MS); /* its slices are long by then */
        uint64_t begun = now();
        shx_ring_record record = take(0);
        check_ended(other);
        quick += is_quick(begun);
        give_mail(&record, true);
        get(1);
    }
    CHECK(quick == QUICK);
}

/* Its number was skipped, its place is taken: nobody is kept out by it. */
static void
begin_and_die(int number)
{
    shx_ring_wait wait = waits(SECOND);
    shx_member me = me_in(in.party);
    uint64_t tail;
    (void)number;
    CHECK(shx_ring_enter(&ring, &me, &wait, &tail) == 0);
    atomic_fetch_add(&ring.in->number, 1);
}

static void
number_that_was_skipped_is_forgotten(void)
{
    bool full;
    begin_anew(2);
    put(0);
    check_ended(spawn(begin_and_die, 0));
    CHECK(count_mail(&full) == 2 && full);
    get(0);
    CHECK(count_mail(&full) == 0 && !full);
    put(1);
    put(2);
    get(1);
    get(2);
}

static void
reserve_and_die(int number)
{
    shx_ring_record record;
    (void)number;
    CHECK(reserve_message(&ring, 100, &record, SECOND) == 0);
    atomic_fetch_add(&ring.in->number, 1);
}

static void
what_was_dropped_does_not_count(void)
{
    begin_anew(1);
    check_ended(spawn(reserve_and_die, 0));
    CHECK(post_mail(40, (label){1, 1}, SECOND) == 0);
    get(1);
}

/* Tasks */

static void
all_are_done(void)
{
    begin_anew(0);
    CHECK(join_tasks(0) == 0);
    put(0);
    CHECK(join_tasks(0) == EAGAIN);
    shx_ring_record record = take(0);
    CHECK(join_tasks(0) == EAGAIN);
    give_mail(&record, false);
    CHECK(join_tasks(0) == EAGAIN);
    CHECK(settle(true) && !settle(true) && !settle(false));
    CHECK(join_tasks(0) == 0);
    put(1);
    get(1);
    CHECK(!settle(true) && join_tasks(0) == 0);
}

static void
take_two_and_die(int number)
{
    (void)number;
    shx_ring_record record = take(0);
    give_mail(&record, false);
    (void)take(1);
}

static void
what_the_dead_owe_is_taken_off(void)
{
    begin_anew(0);
    put(0);
    put(1);
    check_ended(spawn(take_two_and_die, 0));
    CHECK(join_tasks(0) == EAGAIN);
    shx_ring_record record;
    CHECK(take_mail(&record, SECOND) == 0);
    CHECK(read_mail(&record).number == 1);
    CHECK(shx_ring_deliveries(&record) == 1);
    give_mail(&record, true);
    CHECK(join_tasks(SECOND) == 0);
}

static void
others_may_settle(void)
{
    begin_anew(0);
    put(0);
    shx_ring_record record = take(0);
    give_mail(&record, false);
    pid_t other = fork();
    if (other == 0) {
        CHECK(!settle(true));
        CHECK(settle(false));
        _exit(0);
    }
    check_ended(other);
    CHECK(join_tasks(0) == 0);
}

static void
owe_and_stay(int number)
{
    shx_ring_record record;
    (void)number;
    CHECK(take_mail(&record, SECOND) == 0);
    give_mail(&record, false);
    atomic_fetch_add(&notes->taken, 1);
    (void)pause();
}

/* Places for all of them are not there: what has none is counted all the same,
 * and is anybody's to settle. */
static void
more_owe_than_there_are_places(void)
{
    enum { OWN = 3 };
    begin_anew(0);
    shx_slot *owed = shx_queue_owed(&ring);
    shx_member me = me_in(in.party);
    for (int i = 0; i < SHX_QUEUE_DEBTORS; i++) { /* somebody's who lives */
        atomic_store(&owed[i], UINT64_C(1) << SHX_TOKEN_BITS | me.token);
    }
    for (uint32_t i = 0; i < OWN; i++) {
        put(i);
    }
    pid_t others[OWN];
    for (int i = 0; i < OWN; i++) {
        others[i] = spawn(owe_and_stay, i);
    }
    SOON(atomic_load(&notes->taken) == OWN);
    for (int i = 0; i < SHX_QUEUE_DEBTORS; i++) {
        CHECK(settle(true));
    }
    CHECK(!settle(true));
    CHECK(join_tasks(0) == EAGAIN);
    for (int i = 0; i < OWN; i++) {
        CHECK(settle(false));
    }
    CHECK(!settle(false) && join_tasks(0) == 0);
    for (int i = 0; i < OWN; i++) {
        kill_and_wait(others[i]);
    }
}

static void
join_all(int number)
{
    (void)number;
    atomic_store(&notes->got, join_tasks(5 * SECOND));
    atomic_store(&notes->joined, true);
}

static void
who_joins_is_told_at_once(void)
{
    int quick = 0;
    for (int i = 0; i < ROUNDS && quick < QUICK; i++) {
        begin_anew(0);
        put(0);
        pid_t other = spawn(join_all, 0);
        wait_until_it_is(other, 'S');
        sleep_for(150 * MS);
        shx_ring_record record = take(0);
        CHECK(!atomic_load(&notes->joined));
        uint64_t begun = now();
        give_mail(&record, true);
        check_ended(other);
        quick += is_quick(begun);
        CHECK(atomic_load(&notes->got) == 0);
    }
    CHECK(quick == QUICK);
}

static void
mark_and_die(int number)
{
    (void)number;
    shx_opened opened;
    shx_ring_record record = take(0);
    CHECK(shx_queue_read(&ring, &record, &opened) == 0);
    atomic_store(&opened.letter->done, 1);
}

/* And it is given out again to who withdraws what is left. */
static void
what_is_marked_as_done_is_not_waited_for(void)
{
    begin_anew(0);
    put(0);
    check_ended(spawn(mark_and_die, 0));
    CHECK(join_tasks(SECOND) == 0);
    shx_opened opened;
    shx_ring_record record = take(0);
    CHECK(shx_queue_read(&ring, &record, &opened) == 0);
    CHECK(atomic_load(&opened.letter->done) == 1);
    give_mail(&record, true);
}

static void
take_and_die(int number)
{
    (void)take((uint32_t)number);
}

/* Who never waits finds it in a few milliseconds, before what waits. */
static void
what_the_dead_had_comes_before_what_waits(void)
{
    begin_anew(0);
    for (uint32_t i = 0; i < 100; i++) {
        put(i);
    }
    check_ended(spawn(take_and_die, 0));
    sleep_for(30 * MS);
    get(0);
    get(1);
}

static void
a_childs_record_is_its_own(void)
{
    begin_anew(0);
    put(0);
    shx_ring_record record = take(0);
    pid_t other = fork();
    if (other == 0) {
        give_mail(&record, false);
        CHECK(!settle(true));
        _exit(0);
    }
    check_ended(other);
    CHECK(state_in(&ring, &record) == SHX_TAKEN);
    give_mail(&record, true);
    CHECK(join_tasks(0) == 0);
}

static void
nothing_is_read_beyond(void)
{
    shx_opened opened;
    begin_anew(1);
    put(0);
    shx_ring_record record = take(0);
    CHECK(shx_queue_read(&ring, &record, &opened) == 0);
    atomic_store(&opened.letter->references, UINT32_MAX);
    CHECK(shx_queue_read(&ring, &record, &opened) == SHX_DAMAGED);
    record.length = 8;
    CHECK(shx_queue_read(&ring, &record, &opened) == SHX_DAMAGED);
    atomic_store(&ring.in->floor, 12345);
    for (int i = 0; i < 2000; i++) { /* until it asks for pages */
        shx_err err = post_mail(900, (label){1, 0}, 0);
        CHECK(err == 0 || err == SHX_DAMAGED || err == ETIMEDOUT);
        if (err == 0) {
            shx_ring_record one;
            (void)take_mail(&one, 0);
        }
    }
}

int
main(void)
{
    in = make_memory(QUEUE_MEMORY);
    notes = make_notes(sizeof *notes);
    pages_come_before_they_are_written();
    pages_go_with_what_was_in_them();
    pages_are_there_all_the_way_round();
    one_in_hand_keeps_its_bytes();
    as_many_wait_as_may();
    who_waits_for_room_is_woken_by_who_takes();
    number_that_was_skipped_is_forgotten();
    what_was_dropped_does_not_count();
    all_are_done();
    what_the_dead_owe_is_taken_off();
    others_may_settle();
    more_owe_than_there_are_places();
    who_joins_is_told_at_once();
    what_is_marked_as_done_is_not_waited_for();
    what_the_dead_had_comes_before_what_waits();
    a_childs_record_is_its_own();
    nothing_is_read_beyond();
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Deaths and forks at the very place where they would hurt, and a ring of the
 * least size, at each place of which everything fits. */
#define _GNU_SOURCE

#include "directed_ring.h"

static shx_ring_record mine; /* over a fork */

/* What no ring is. */
static void
test_directed_what_is_opened(void)
{
    begin_anew();
    CHECK(shx_ring_open(in.bytes, MEMORY - 1, in.party, &ring) ==
          SHX_TOO_SMALL);
    CHECK(shx_ring_open(in.bytes + 64, MEMORY, in.party, &ring) ==
          SHX_FOREIGN);
    shx_cell *cell = (shx_cell *)(void *)in.bytes;
    atomic_store(&cell->head, shx_ring_head_of(SIZE + 1));
    CHECK(shx_ring_open(in.bytes, MEMORY, in.party, &ring) == SHX_TOO_SMALL);
    CHECK(shx_ring_size(1) == MEMORY);
    CHECK(shx_ring_size(SIZE + 1) == 2 * SIZE + SHX_RING_PAGE);
    CHECK(shx_ring_size(UINT64_MAX) == 0);
    CHECK(shx_ring_size_for(UINT64_MAX) == 0);
}

static void
test_directed_full_and_empty(void)
{
    shx_ring_record record;
    size_t done, count = 0;
    begin_anew();
    shx_ring_wait wait = waits_for_locks();
    shx_member me = me_in(in.party);
    shx_piece piece = {NULL, 0};
    while (shx_ring_put(&ring, &me, &piece, 1, &done, &wait) == 0) {
        count++;
    }
    CHECK(count == SIZE / SHX_UNIT);
    CHECK(shx_ring_put(&ring, &me, &piece, 1, &done, NULL) == EAGAIN ||
          done == 0);
    shx_ring_state state;
    CHECK(shx_ring_look(&ring, &me, &wait, &state) == 0);
    CHECK(state.full && state.messages == count && state.bytes == 0);
    while (take_at_once(&record) == 0) {
        CHECK(record.length == 0);
        give_message(&ring, &record);
        count--;
    }
    CHECK(count == 0);
    check_empty();
}

/* Each length, from each place of the ring on, while another record is in
 * somebody's hand. */
static void
test_directed_every_alignment(void)
{
    static const size_t lengths[] = {0, 1, 15, 16, 17, 40, 1000, 1024, 1025};
    uint32_t number = 0;
    begin_anew();
    size_t longest = shx_ring_longest(&ring);
    CHECK(longest == SIZE / 2 - SHX_UNIT);
    CHECK(shx_ring_size_for(longest) == SIZE);
    CHECK(shx_ring_size_for(longest + 1) == 2 * SIZE);
    for (int place = 0; place < SIZE / SHX_UNIT; place++) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            shx_ring_record record;
            label of = {2, ++number}, found;
            CHECK(put_message(&ring, lengths[i], of, 0) == 0);
            CHECK(take_message(&ring, &record, 0) == 0);
            CHECK(record.length == lengths[i]);
            CHECK(read_message(shx_ring_bytes(&ring, &record), lengths[i],
                               &found));
            give_message(&ring, &record);
        }
        CHECK(put_message(&ring, longest, (label){2, ++number}, 0) == 0);
        get(number, 0);
        /* On to the next place: 16 bytes from where this one began. */
        uint64_t at = atomic_load(&ring.in->tail) % SIZE;
        uint64_t step = ((uint64_t)place * SHX_UNIT + SIZE - at) % SIZE;
        while (step != 0) {
            size_t length = step > SIZE / 2 ? SIZE / 2 : step;
            CHECK(put_message(&ring, length - SHX_UNIT, (label){3, number},
                              0) == 0);
            get(length == SHX_UNIT ? 0 : number, 0);
            step -= length;
        }
    }
    check_empty();
}

/* Deliveries are counted up to 15. */
static void
test_directed_many_deliveries(void)
{
    begin_anew();
    put(6);
    for (unsigned i = 0; i < 20; i++) {
        mine = take(6, i < 15 ? i : 15);
        return_message(&ring, &mine);
    }
    get(6, 15);
    CHECK(atomic_load(&ring.counts->redelivered) == 20);
    check_empty();
}

/* Those who hold, and die or sleep. */

static void
give_as_child(int number)
{
    (void)number;
    give_message(&ring, &mine);
    return_message(&ring, &mine);
}

static void
commit_as_child(int number)
{
    commit_message(&ring, &mine, number != 0);
}

/* What a child inherits stays its parent's. */
static void
test_directed_fork_with_a_record_in_hand(void)
{
    begin_anew();
    put(1);
    mine = take(1, 0);
    check_ended(spawn(give_as_child, 0));
    CHECK(state_in(&ring, &mine) == SHX_TAKEN);
    CHECK(label_of(&ring, &mine).number == 1);
    return_message(&ring, &mine);
    mine = take(1, 1);
    check_ended(spawn(give_as_child, 0));
    give_message(&ring, &mine);
    CHECK(state_in(&ring, &mine) == SHX_FREE);
    check_empty();
}

static void
test_directed_fork_with_a_reservation_open(void)
{
    for (int keep = 0; keep < 2; keep++) {
        begin_anew();
        CHECK(reserve_message(&ring, 40, &mine, SECOND) == 0);
        check_ended(spawn(commit_as_child, 0));
        check_ended(spawn(commit_as_child, 1));
        CHECK(state_in(&ring, &mine) == SHX_BUSY);
        write_message(shx_ring_bytes(&ring, &mine), 40, (label){1, 5});
        commit_message(&ring, &mine, keep);
        if (keep) {
            get(5, 0);
        }
        check_empty();
    }
}

static void
lock_and_die(int number)
{
    shx_site *locks[] = {&ring.put, &ring.take};
    CHECK(acquire(locks[number], SECOND) == 0);
}

static void
test_directed_death_with_each_lock(void)
{
    for (int which = 0; which < 2; which++) {
        begin_anew();
        put(1);
        check_ended(spawn(lock_and_die, which));
        uint64_t began = now();
        put(2);
        get(1, 0);
        get(2, 0);
        CHECK(now() - began < SECOND);
        check_ended(spawn(lock_and_die, which));
        check_empty();
        check_ended(spawn(lock_and_die, which));
        CHECK(shut_down(&ring, SECOND) == 0);
    }
}

static void
reserve_and_die(int number)
{
    shx_ring_record record;
    CHECK(reserve_message(&ring, (size_t)number, &record, SECOND) == 0);
}

static void
take_and_die(int number)
{
    shx_ring_record record;
    CHECK(take_message(&ring, &record, SECOND) == 0);
    CHECK(number < 0 || label_of(&ring, &record).number == (uint32_t)number);
}

/* What nobody will write is no hindrance to what is behind it. */
static void
test_directed_reservation_of_a_dead_one(void)
{
    begin_anew();
    check_ended(spawn(reserve_and_die, 100));
    put(1);
    get(1, 0);
    CHECK(atomic_load(&ring.counts->discarded) == 1);
    check_empty();
}

/* Who never waits is told EBUSY where it must, and finds it by the next
 * tick. */
static void
test_directed_death_among_takers_who_never_wait(void)
{
    shx_ring_record record;
    begin_anew();
    put(7);
    check_ended(spawn(take_and_die, 7));
    CHECK(take_without_waiting(&ring, &record) == EBUSY);
    CHECK(take_at_once(&record) == 0);
    CHECK(shx_ring_deliveries(&record) == 1);
    CHECK(label_of(&ring, &record).number == 7);
    give_message(&ring, &record);
    put(8);
    check_ended(spawn(take_and_die, 8));
    SOON(take_at_once(&record) == 0);
    CHECK(label_of(&ring, &record).number == 8);
    give_message(&ring, &record);
    check_empty();
}

static void
fill_with_records_of_the_dead(void)
{
    for (int i = 0; i < 10; i++) {
        check_ended(spawn(reserve_and_die, 24));
        put((uint32_t)i);
        check_ended(spawn(take_and_die, -1));
    }
}

static void
test_directed_full_of_records_of_the_dead(void)
{
    shx_ring_record record;
    uint32_t seen = 0;
    begin_anew();
    /* Reservations only: the room is had without any taker. */
    for (int i = 0; i < 2; i++) {
        check_ended(spawn(reserve_and_die, (int)shx_ring_longest(&ring)));
    }
    put_longest(3);
    get(3, 0);
    check_empty();
    begin_anew();
    fill_with_records_of_the_dead();
    for (int i = 0; i < 10; i++) {
        CHECK(take_message(&ring, &record, SECOND) == 0);
        seen |= UINT32_C(1) << label_of(&ring, &record).number;
        give_message(&ring, &record);
    }
    CHECK(seen == (UINT32_C(1) << 10) - 1);
    check_empty();
}

/* Room that was reserved and dropped is room, whoever takes or does not. */
static void
test_directed_room_of_what_was_dropped(void)
{
    shx_ring_record records[2];
    size_t done;
    shx_member me;
    begin_anew();
    me = me_in(in.party);
    for (int i = 0; i < 2; i++) {
        CHECK(reserve_message(&ring, shx_ring_longest(&ring), &records[i],
                              SECOND) == 0);
    }
    const shx_piece piece = {in.bytes, 40};
    shx_ring_wait wait = waits_for_locks();
    CHECK(shx_ring_put(&ring, &me, &piece, 1, &done, &wait) == EAGAIN);
    commit_message(&ring, &records[0], false);
    commit_message(&ring, &records[1], false);
    CHECK(shx_ring_put(&ring, &me, &piece, 1, &done, &wait) == 0);
    CHECK(take_at_once(&records[0]) == 0);
    give_message(&ring, &records[0]);
    check_empty();
}

int
main(void)
{
    prepare_ring();
    test_directed_what_is_opened();
    test_directed_full_and_empty();
    test_directed_every_alignment();
    test_directed_many_deliveries();
    test_directed_fork_with_a_record_in_hand();
    test_directed_fork_with_a_reservation_open();
    test_directed_death_with_each_lock();
    test_directed_reservation_of_a_dead_one();
    test_directed_death_among_takers_who_never_wait();
    test_directed_full_of_records_of_the_dead();
    test_directed_room_of_what_was_dropped();
    return 0;
}

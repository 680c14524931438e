/* SPDX-License-Identifier: MIT */
/* Deaths, forks and shut-downs at the very place where they would hurt, and a
 * ring of the least size, at each place of which everything fits. */
#define _GNU_SOURCE

#include "messages.h"

enum { SIZE = SHX_RING_LEAST, MEMORY = SHX_RING_PAGE + SIZE, MOST = 8 };

static memory in;
static shx_ring ring;

static struct {
    _Atomic bool done[MOST];
    _Atomic shx_err got[MOST];
    _Atomic uint32_t number[MOST];
    _Atomic uint32_t deliveries[MOST];
} * notes;

static void
begin_anew(void)
{
    (void)memset(in.bytes, 0, in.size);
    (void)memset(notes, 0, sizeof *notes);
    make_ring(&in, 0, SIZE, &ring);
}

static void
done(int number, shx_err got)
{
    atomic_store(&notes->got[number], got);
    atomic_store(&notes->done[number], true);
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

static void
put(uint32_t number)
{
    CHECK(put_message(&ring, 40, (label){1, number}, SECOND) == 0);
}

/* The longest message. */
static void
put_longest(uint32_t number)
{
    CHECK(put_message(&ring, shx_ring_longest(&ring), (label){1, number},
                      SECOND) == 0);
}

static shx_ring_record
take(uint32_t number, unsigned deliveries)
{
    shx_ring_record record;
    CHECK(take_message(&ring, &record, SECOND) == 0);
    CHECK(label_of(&ring, &record).number == number);
    CHECK(shx_ring_deliveries(&record) == deliveries);
    return record;
}

static void
get(uint32_t number, unsigned deliveries)
{
    shx_ring_record record = take(number, deliveries);
    give_message(&ring, &record);
}

static shx_err
take_at_once(shx_ring_record *out)
{
    size_t count;
    shx_ring_wait wait = waits_for_locks();
    shx_member me = me_in(in.party);
    return shx_ring_take(&ring, &me, out, 1, &count, &wait);
}

static shx_err
take_without_waiting(shx_ring_record *out)
{
    size_t count;
    shx_member me = me_in(in.party);
    return shx_ring_take(&ring, &me, out, 1, &count, NULL);
}

/* Nothing is left, nothing lost: all of the room is there. */
static void
check_empty(void)
{
    shx_ring_record record;
    shx_ring_state state;
    shx_ring_wait wait = waits_for_locks();
    shx_member me = me_in(in.party);
    CHECK(take_at_once(&record) == EAGAIN);
    CHECK(shx_ring_look(&ring, &me, &wait, &state) == 0);
    CHECK(state.messages == 0 && state.bytes == 0 && state.taken == 0);
    CHECK(!state.full);
    put_longest(1);
    get(1, 0);
}

/* Those who hold, and die or sleep. */

static shx_ring_record mine; /* over a fork */

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
    CHECK(take_without_waiting(&record) == EBUSY);
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

/* Shut down. */

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

int
main(void)
{
    in = make_memory(MEMORY);
    notes = make_notes(sizeof *notes);
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
    test_directed_shut_down_with_a_message_in_a_hand();
    test_directed_two_who_hold_wait_for_the_end();
    test_directed_death_of_who_waited_for_the_end();
    test_directed_wake_up_of_who_takes_nothing();
    test_directed_end_that_all_are_told_of();
    test_directed_wake_up_of_who_looks_at_several();
    test_directed_looks_that_take_nothing();
    test_directed_wake_ups();
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* What a broadcast does in each case, who is woken, and what becomes of it
 * when somebody dies. */
#define _GNU_SOURCE

#include "core/channels/broadcast_words.h"

#include "broadcast.h"

enum { PAGE = 4096, FEW = 4, SLEEPERS = 40 };

static memory in;

static struct {
    _Atomic bool done[SLEEPERS];
    _Atomic int steps;
    _Atomic uint32_t rounds[2];
} * notes;

static shx_frame open_frame;
static shx_reader reader;

static void
begin_anew(void)
{
    (void)memset(notes, 0, sizeof *notes);
    open_anew(&in);
    reader = (shx_reader){0};
}

static void
test_directed_newest_frame(void)
{
    shx_frame frame;
    begin_anew();
    CHECK(receive(&reader, 0, &frame) == EAGAIN);
    CHECK(receive(&reader, MS, &frame) == ETIMEDOUT);
    publish_next();
    publish_next();
    CHECK(receive(&reader, 0, &frame) == 0 && frame.seq == 2);
    CHECK(is_whole(&frame) && atomic_load(&reader.missed) == 0);
    CHECK((uintptr_t)shx_broadcast_bytes(&cast, &frame) % PAGE == 0);
    give(&frame);
    CHECK(receive(&reader, 0, &frame) == EAGAIN);
    publish_many();
    CHECK(receive(&reader, -1, &frame) == 0 && frame.seq == 52);
    CHECK(atomic_load(&reader.missed) == 49);
    give(&frame);
    CHECK(count_held() == 0);
}

static void
test_directed_reservation(void)
{
    shx_frame frame, other;
    shx_member me = me_in(in.party);
    begin_anew();
    CHECK(shx_broadcast_reserve(&cast, &me, usual.size + 1, &frame) ==
          EMSGSIZE);
    CHECK(shx_broadcast_reserve(&cast, &me, 0, &frame) == 0);
    CHECK(shx_broadcast_reserve(&cast, &me, 0, &other) == EBUSY);
    CHECK(resign() == EBUSY);
    shx_broadcast_abandon(&cast, &me, &frame);
    CHECK(publish(&frame) == SHX_NOT_OWNER);
    CHECK(receive(&reader, 0, &other) == EAGAIN);
    publish_next();
    CHECK(newest().seq == 1);
    CHECK(shx_broadcast_reserve(&cast, &me, 0, &frame) == 0);
    CHECK(publish(&frame) == 0 && frame.seq == 2);
    CHECK(receive(&reader, 0, &other) == 0 && other.length == 0);
}

/* Who holds more than was said is told so; the writer never is. */
static void
test_directed_more_is_held_than_was_said(void)
{
    shx_frame frame;
    begin_anew();
    hold_all();
    publish_many();
    CHECK(receive(&reader, 0, &frame) == SHX_TOO_MANY);
    CHECK(receive(&reader, -1, &frame) == SHX_TOO_MANY);
    CHECK(atomic_load(&reader.seen) == 0);
    give_all();
    CHECK(receive(&reader, 0, &frame) == 0 && is_whole(&frame));
}

static void
hold_and_die(int number)
{
    (void)number;
    hold_all();
    _exit(0);
}

static void
test_directed_dead_readers_are_forgotten(void)
{
    begin_anew();
    publish_next();
    CHECK(resign() == 0); /* or the child could not write */
    check_ended(spawn(hold_and_die, 0));
    CHECK(count_held() == usual.readers);
    publish_many();
    hold_all();
    give_all();
    CHECK(count_held() == 0);
}

/* A token was drawn again that a dead one had. */
static void
test_directed_token_drawn_again(void)
{
    begin_anew();
    shx_member me = me_in(in.party);
    const shx_member dead = {.token = me.token, .nonce = me.nonce + 1};
    for (unsigned i = 0; i < usual.readers; i++) {
        atomic_store(&cast.slots[i], shx_hold_of(&dead, i, 0));
    }
    hold_all();
    give_all();
    CHECK(count_held() == 0);
}

enum { RACES = 2000, RACERS = 2 };

static void
meet(int number, uint32_t round)
{
    uint64_t began = now();
    atomic_store(&notes->rounds[number], round);
    while (atomic_load(&notes->rounds[1 - number]) < round) {
        CHECK(now() - began < (uint64_t)(10 * SECOND));
        shx_os_relax();
    }
}

/* All is held by the dead, and another one frees it at the same moment. */
static void
race(int number)
{
    uint64_t dead[8];
    for (unsigned i = 0; i < usual.readers; i++) {
        dead[i] = atomic_load(&cast.slots[i]);
    }
    for (uint32_t round = 1; round < 3 * RACES; round += 3) {
        meet(number, round);
        for (unsigned i = 0; number == 0 && i < usual.readers; i++) {
            atomic_store(&cast.slots[i], dead[i]);
        }
        meet(number, round + 1);
        shx_frame frame = newest();
        meet(number, round + 2);
        give(&frame);
    }
}

static void
test_directed_dead_readers_whom_others_forget(void)
{
    pid_t racers[RACERS];
    begin_anew();
    publish_next();
    CHECK(resign() == 0);
    check_ended(spawn(hold_and_die, 0));
    for (int i = 0; i < RACERS; i++) {
        racers[i] = spawn(race, i);
    }
    for (int i = 0; i < RACERS; i++) {
        check_ended(racers[i]);
    }
}

static void
reserve_and_die(int number)
{
    CHECK(reserve_next(&open_frame) == 0);
    if (number != 0) {
        shx_member me = me_in(in.party);
        atomic_store(&cast.entries[cast.next % usual.depth],
                     shx_entry_of(cast.next, open_frame.block));
        atomic_store(&cast.lengths[open_frame.block], open_frame.length);
        CHECK(me.token == open_frame.token);
    }
    _exit(0);
}

/* Its successor goes on; what it had half written was never there, and what it
 * had published is the newest, though it did not come to say so. */
static void
test_directed_dead_writer(void)
{
    for (int published = 0; published < 2; published++) {
        shx_frame frame;
        begin_anew();
        publish_next();
        CHECK(shx_broadcast_writer(&cast).ours && resign() == 0);
        CHECK(!shx_broadcast_writer(&cast).held);
        check_ended(spawn(reserve_and_die, published));
        CHECK(shx_broadcast_writer(&cast).held);
        CHECK(shx_broadcast_writer(&cast).dead);
        CHECK(newest().seq == 1);
        CHECK(receive(&reader, 0, &frame) == 0 && frame.seq == 1);
        CHECK(receive(&reader, MS, &frame) == ETIMEDOUT);
        CHECK(reserve_next(&open_frame) == 0);
        CHECK(receive(&reader, 0, &frame) == (published ? 0 : EAGAIN));
        CHECK(!published || (frame.seq == 2 && is_whole(&frame)));
        CHECK(publish(&open_frame) == 0);
        CHECK(open_frame.seq == (published ? 3 : 2));
        CHECK(receive(&reader, 0, &frame) == 0);
        CHECK(frame.seq == open_frame.seq && is_whole(&frame));
        CHECK(atomic_load(&reader.missed) == 0);
    }
}

static void
write_and_stay(int number)
{
    (void)number;
    publish_next();
    atomic_store(&notes->steps, 1);
    (void)pause();
}

static void
test_directed_second_writer(void)
{
    begin_anew();
    pid_t first = spawn(write_and_stay, 0);
    SOON(atomic_load(&notes->steps) == 1);
    CHECK(kill(first, SIGSTOP) == 0); /* who is stopped lives */
    CHECK(reserve_next(&open_frame) == SHX_SECOND_WRITER);
    shx_lock_state is = shx_broadcast_writer(&cast);
    CHECK(is.held && !is.ours && !is.dead && is.pid == (uint32_t)first);
    kill_and_wait(first);
    publish_next();
    CHECK(newest().seq == 2);
    /* Nor is another handle of the same process a writer. */
    shx_broadcast other;
    size_t control_size, data_size;
    shx_member me = me_in(in.party);
    CHECK(shx_broadcast_sizes(&usual, &control_size, &data_size));
    CHECK(shx_broadcast_open(in.bytes, in.size, frames, data_size, in.party,
                             &other) == 0);
    CHECK(shx_broadcast_reserve(&other, &me, 0, &open_frame) ==
          SHX_SECOND_WRITER);
    CHECK(shx_broadcast_resign(&other, &me) == 0); /* which it is not */
    CHECK(shx_broadcast_writer(&cast).ours);
    CHECK(resign() == 0);
    CHECK(shx_broadcast_reserve(&other, &me, 0, &open_frame) == 0);
    shx_broadcast_abandon(&other, &me, &open_frame);
    CHECK(shx_broadcast_resign(&other, &me) == 0);
    shx_broadcast_close(&other);
}

/* The data are a file that a reader may only read. */
static int data_fd;

static void
read_only(int number)
{
    size_t control_size, data_size;
    shx_frame frame;
    (void)number;
    CHECK(shx_broadcast_sizes(&usual, &control_size, &data_size));
    shx_broadcast_close(&cast);
    frames = mmap(NULL, data_size, PROT_READ, MAP_SHARED, data_fd, 0);
    CHECK(frames != MAP_FAILED);
    CHECK(shx_broadcast_open(in.bytes, in.size, frames, data_size, in.party,
                             &cast) == 0);
    atomic_store(&notes->steps, 1);
    CHECK(receive(&reader, SECOND, &frame) == 0 && is_whole(&frame));
    give(&frame);
}

static void
test_directed_reader_who_may_not_write(void)
{
    begin_anew();
    pid_t child = spawn(read_only, 0);
    SOON(atomic_load(&notes->steps) == 1);
    publish_next();
    check_ended(child);
}

static void
test_directed_what_is_none(void)
{
    size_t control_size, data_size;
    shx_broadcast other;
    shx_broadcast_about *about = (void *)in.bytes;
    begin_anew();
    CHECK(shx_broadcast_sizes(&usual, &control_size, &data_size));
    CHECK(shx_broadcast_open(in.bytes, control_size - 1, frames, data_size,
                             in.party, &other) == SHX_TOO_SMALL);
    CHECK(shx_broadcast_open(in.bytes, in.size, frames, data_size - 1,
                             in.party, &other) == SHX_TOO_SMALL);
    atomic_fetch_add(&about->pair, 1);
    CHECK(shx_broadcast_open(in.bytes, in.size, frames, data_size, in.party,
                             &other) == SHX_FOREIGN);
    shx_broadcast_shape wrong = usual;
    wrong.readers = 0;
    CHECK(!shx_broadcast_sizes(&wrong, &control_size, &data_size));
    wrong.readers = 1024;
    CHECK(!shx_broadcast_sizes(&wrong, &control_size, &data_size));
    wrong = usual;
    wrong.size = UINT64_MAX;
    CHECK(!shx_broadcast_sizes(&wrong, &control_size, &data_size));
}

/* Wake-ups. */

/* Of slices as long as they become: until one is over somebody is woken, or
 * sleeps. */
static shx_patience
long_patience(void)
{
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    shx_patience_lengthen(&patience);
    return patience;
}

/* Where there are more than places, who has none has seen a frame. */
static void
wait_for_frame(int number)
{
    shx_frame frame;
    shx_member me = me_in(in.party);
    shx_patience patience = long_patience();
    shx_err err =
        shx_broadcast_receive(&cast, &me, &reader, &frame, &patience);
    CHECK(err == 0 || err == SHX_TOO_MANY);
    if (err == 0) {
        CHECK(is_whole(&frame));
        give(&frame);
    }
    atomic_store(&notes->done[number], true);
}

static void
await_frame(int number)
{
    shx_patience patience = long_patience();
    CHECK(shx_broadcast_await(&cast, &reader, &patience) == 0);
    CHECK(shx_broadcast_await(&cast, &reader, NULL) == 0); /* none is taken */
    atomic_store(&notes->done[number], true);
}

static bool
all_done(int sleepers)
{
    bool all = true;
    for (int i = 0; i < sleepers; i++) {
        all = all && atomic_load(&notes->done[i]);
    }
    return all;
}

/* As one does who dies before it has woken anybody. */
static void
publish_silently(void)
{
    shx_frame frame;
    CHECK(reserve_next(&frame) == 0);
    atomic_store(&cast.lengths[frame.block], frame.length);
    atomic_store(&cast.entries[1], shx_entry_of(1, frame.block));
    atomic_store(&cast.front->newest, 1);
}

/* How long it takes until all that slept are done. What is quicker than a
 * slice, somebody was woken for. */
static uint64_t
time_to_wake(void (*sleeper)(int), int sleepers, void (*wake)(void))
{
    pid_t pids[SLEEPERS];
    begin_anew();
    CHECK(shx_broadcast_await(&cast, &reader, NULL) == EAGAIN);
    for (int i = 0; i < sleepers; i++) {
        pids[i] = spawn(sleeper, i);
    }
    for (int i = 0; i < sleepers; i++) {
        wait_until_it_is(pids[i], 'S');
    }
    uint64_t began = now();
    wake();
    while (!all_done(sleepers)) {
        CHECK(now() - began < (uint64_t)(2 * SECOND));
        sleep_for(MS / 10);
    }
    uint64_t length = now() - began;
    for (int i = 0; i < sleepers; i++) {
        check_ended(pids[i]);
    }
    return length;
}

/* Once in five times at least: others use the machine, too. */
static void
check_wakes(void (*sleeper)(int), int sleepers, void (*wake)(void),
            int64_t within)
{
    for (int tries = 0;
         time_to_wake(sleeper, sleepers, wake) > (uint64_t)within;) {
        CHECK(++tries < 5);
    }
}

static void
test_directed_wake_ups(void)
{
    check_wakes(wait_for_frame, 1, publish_next, 16 * MS);
    check_wakes(await_frame, 1, publish_next, 16 * MS);
    check_wakes(wait_for_frame, FEW, publish_next, 16 * MS);
    check_wakes(await_frame, FEW, publish_next, 16 * MS);
    /* Most of these sleep for half a second: who looks by itself wakes them.
     */
    check_wakes(await_frame, SLEEPERS, publish_silently, 250 * MS);
    check_wakes(wait_for_frame, SLEEPERS, publish_silently, 250 * MS);
}

int
main(void)
{
    size_t control_size, data_size;
    in = make_memory(PAGE);
    notes = make_notes(sizeof *notes);
    CHECK(shx_broadcast_sizes(&usual, &control_size, &data_size));
    CHECK(shx_os_create_anonymous(&data_fd) == 0);
    CHECK(shx_os_resize(data_fd, data_size) == 0);
    frames =
        mmap(NULL, data_size, PROT_READ | PROT_WRITE, MAP_SHARED, data_fd, 0);
    CHECK(frames != MAP_FAILED);
    test_directed_newest_frame();
    test_directed_reservation();
    test_directed_more_is_held_than_was_said();
    test_directed_dead_readers_are_forgotten();
    test_directed_dead_readers_whom_others_forget();
    test_directed_token_drawn_again();
    test_directed_dead_writer();
    test_directed_second_writer();
    test_directed_reader_who_may_not_write();
    test_directed_what_is_none();
    test_directed_wake_ups();
    return 0;
}

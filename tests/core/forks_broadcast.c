/* SPDX-License-Identifier: MIT */
/* What becomes of a broadcast's frames over fork(). */
#define _GNU_SOURCE

#include "broadcast.h"

enum { PAGE = 4096 };

static memory in;

static struct {
    _Atomic int steps;
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

/* But not for ever: a parent that has failed may be gone. */
static void
wait_for_parent(void)
{
    uint64_t begun = now();
    while (atomic_load(&notes->steps) == 0) {
        CHECK(now() - begun < (uint64_t)(10 * SECOND));
        sleep_for(MS / 10);
    }
}

/* A child that only sleeps holds what its parent did. */
static void
inherit(int number)
{
    shx_frame frame = held[0];
    wait_for_parent();
    CHECK(is_whole(&frame));
    if (number == 0) {
        _exit(0);
    }
    publish_next(); /* the parent has resigned */
    shx_frame own = newest();
    give(&frame); /* what it has inherited, and nothing else */
    publish_many();
    CHECK(is_whole(&own));
    give(&own);
    CHECK(count_held() == 0);
}

static void
test_directed_fork_with_a_frame_held(void)
{
    for (int i = 0; i < 2; i++) {
        shx_broadcast other;
        size_t control_size, data_size;
        begin_anew();
        CHECK(shx_broadcast_sizes(&usual, &control_size, &data_size));
        CHECK(shx_broadcast_open(in.bytes, in.size, frames, data_size,
                                 in.party, &other) == 0);
        publish_next();
        held[0] = newest();
        pid_t child = spawn(inherit, i);
        CHECK(count_held() == 2); /* however many handles there are */
        give(&held[0]);
        CHECK(count_held() == 1);
        publish_many();
        CHECK(resign() == 0);
        atomic_store(&notes->steps, 1);
        check_ended(child);
        CHECK(count_held() == (i == 0 ? 1 : 0));
        hold_all(); /* the child's place is one of the heirs' */
        give_all();
        shx_broadcast_close(&other);
    }
}

static void
look_at_all(int number)
{
    (void)number;
    wait_for_parent();
    give_all();
}

/* No places are left: what has none is there for good, and is counted. */
static void
test_directed_fork_with_no_place_left(void)
{
    begin_anew();
    hold_all();
    pid_t child = spawn(look_at_all, 0);
    unsigned pinned = usual.readers - usual.heirs;
    CHECK(shx_broadcast_look(&cast).pinned == pinned);
    CHECK(count_held() == usual.readers + usual.heirs);
    give_all();
    CHECK(count_held() == usual.readers);
    publish_many();
    atomic_store(&notes->steps, 1);
    check_ended(child);
    CHECK(count_held() == pinned);
    held[0] = newest();
    held[1] = newest();
    shx_frame frame;
    CHECK(receive(&reader, 0, &frame) == SHX_TOO_MANY);
    give(&held[0]);
    CHECK(receive(&reader, 0, &frame) == 0);
}

static void
do_nothing(int number)
{
    (void)number;
}

/* However many are made, and die, while a frame is held. */
static void
test_directed_forks_one_after_another(void)
{
    begin_anew();
    publish_next();
    held[0] = newest();
    for (unsigned i = 0; i < 3 * (usual.readers + usual.heirs); i++) {
        check_ended(spawn(do_nothing, 0));
        CHECK(shx_broadcast_look(&cast).pinned == 0);
    }
    give(&held[0]);
    hold_all();
    give_all();
    CHECK(count_held() == 0);
}

/* A child that was not made after all is dead. */
static void
test_directed_fork_that_failed(void)
{
    begin_anew();
    shx_member me = me_in(in.party);
    const shx_member none = {.token = me.token ^ 1, .nonce = 7};
    publish_next();
    for (unsigned i = 0; i < usual.heirs + 1; i++) {
        held[i] = newest();
    }
    for (int i = 0; i < 2; i++) { /* once more: that changes nothing */
        cast.bequest.tell(&cast.bequest, &me, &none);
        CHECK(count_held() == 2 * (usual.heirs + 1));
    }
    for (unsigned i = 0; i < usual.heirs + 1; i++) {
        give(&held[i]);
    }
    hold_all();
    give_all();
    CHECK(count_held() == 0);
}

static void
use_what_is_open(int number)
{
    shx_frame frame;
    shx_member me = me_in(in.party);
    (void)number;
    CHECK(publish(&open_frame) == SHX_NOT_OWNER);
    shx_broadcast_abandon(&cast, &me, &open_frame);
    CHECK(shx_broadcast_reserve(&cast, &me, 0, &frame) == SHX_SECOND_WRITER);
    CHECK(resign() == 0); /* it is not the writer */
    CHECK(shx_broadcast_writer(&cast).held);
}

static void
test_directed_fork_with_a_reservation_open(void)
{
    begin_anew();
    CHECK(reserve_next(&open_frame) == 0);
    check_ended(spawn(use_what_is_open, 0));
    CHECK(publish(&open_frame) == 0);
    CHECK(newest().seq == 1 && shx_broadcast_writer(&cast).ours);
}

int
main(void)
{
    in = make_memory(PAGE);
    notes = make_notes(sizeof *notes);
    make_frames(&usual);
    test_directed_fork_with_a_frame_held();
    test_directed_fork_with_no_place_left();
    test_directed_forks_one_after_another();
    test_directed_fork_that_failed();
    test_directed_fork_with_a_reservation_open();
    return 0;
}

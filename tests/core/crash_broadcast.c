/* SPDX-License-Identifier: MIT */
/* Users of a broadcast are killed after each of their instructions: see
 * crash.h. Whatever they leave, there is a next writer, whose frame is the
 * next or the one after, and all places are there for others. */
#define _GNU_SOURCE

#include "crash.h"

#include "broadcast.h"

static uint64_t first; /* seq of the newest frame, before anybody is killed */
static shx_reader reader;

static void
begin_anew(void)
{
    (void)memset(notes, 0, sizeof *notes);
    open_anew(&in);
    publish_next();
    publish_next();
    CHECK(resign() == 0);
    reader = (shx_reader){0};
    first = 2;
}

static void
hold_newest(void)
{
    for (unsigned i = 0; i < usual.readers; i++) {
        held[i] = newest();
    }
}

static void
check_all(void)
{
    uint64_t seen = newest().seq;
    CHECK(seen == first || seen == first + 1);
    publish_next();
    shx_frame next = newest();
    CHECK(next.seq == seen + 1 || next.seq == seen + 2);
    CHECK(next.seq <= first + 2);
    shx_member me = me_in(in.party);
    shx_frame own = {.token = me.token};
    for (own.block = 0; own.block < cast.blocks; own.block++) {
        give(&own); /* what was held above */
    }
    hold_newest();
    for (int i = 0; i < 10; i++) {
        publish_next();
    }
    for (unsigned i = 0; i < usual.readers; i++) {
        CHECK(held[i].seq == next.seq && is_whole(&held[i]));
        give(&held[i]);
    }
    CHECK(shx_broadcast_look(&cast).held == 0);
    CHECK(shx_broadcast_look(&cast).pinned == 0);
    took();
}

static void
do_nothing(void)
{
}

static void
write_frame(void)
{
    publish_next();
}

static void
write_and_resign(void)
{
    publish_next();
    CHECK(resign() == 0);
}

static void
read_frame(void)
{
    shx_frame frame = newest();
    give(&frame);
}

static void
hold_all_and_die(int number)
{
    (void)number;
    hold_newest();
    _exit(0);
}

static void
have_all_held_by_the_dead(void)
{
    check_ended(spawn(hold_all_and_die, 0));
}

static void
publish_silently_and_die(int number)
{
    shx_frame frame;
    (void)number;
    CHECK(reserve_next(&frame) == 0);
    atomic_store(&cast.lengths[frame.block], frame.length);
    atomic_store(&cast.entries[cast.next % usual.depth],
                 cast.next << 16 | frame.block);
    _exit(0);
}

/* The newest is not said to be so. */
static void
have_one_unsaid(void)
{
    check_ended(spawn(publish_silently_and_die, 0));
}

static void
take_over(void)
{
    shx_frame frame;
    CHECK(reserve_next(&frame) == 0);
}

/* The child says whether it was ever written under it, when its parent is
 * dead. */
static void
hold_and_fork(void)
{
    shx_frame frame = newest();
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        while (getppid() == parent) {
            sleep_for(MS);
        }
        for (int i = 0; i < 5; i++) {
            atomic_fetch_add(&notes->a, !is_whole(&frame));
            sleep_for(MS);
        }
        atomic_fetch_add(&notes->a, !is_whole(&frame));
        give(&frame);
        _exit(0);
    }
    give(&frame);
}

static bool
is_gone(void)
{
    return shx_broadcast_look(&cast).held == 0;
}

/* What the dead hold is not counted, once somebody needed it. */
static void
check_fork(void)
{
    uint64_t begun = now();
    while (now() - begun < (uint64_t)(4 * MS)) {
        publish_next();
        first++;
    }
    /* The child may take its time. */
    while (!is_gone() && now() - begun < (uint64_t)(10 * SECOND)) {
        sleep_for(MS / 10);
        for (unsigned i = 0; i < usual.readers; i++) {
            shx_reader anybody = {0};
            if (receive(&anybody, 0, &held[i]) != 0) {
                held[i].token = 0;
            }
        }
        for (unsigned i = 0; i < usual.readers; i++) {
            if (held[i].token != 0) {
                give(&held[i]);
            }
        }
    }
    CHECK(is_gone());
    CHECK(atomic_load(&notes->a) == 0);
    seen.killed = now();
    check_all();
}

static void
wait_for_frame(int number)
{
    shx_frame frame;
    CHECK(receive(&reader, SECOND, &frame) == 0 && is_whole(&frame));
    atomic_store(&reader.seen, first);
    give(&frame);
    shx_err err = receive(&reader, SECOND, &frame);
    CHECK(err != 0 || is_whole(&frame));
    if (err == 0) {
        give(&frame);
    }
    done(number, err);
}

/* They see the victim's frame, or the next one. */
static void
check_sleepers(void)
{
    publish_next();
    for (int i = 0; i < SLEEPERS; i++) {
        SOON(atomic_load(&notes->done[i]));
        CHECK(atomic_load(&notes->got[i]) == 0);
    }
    took();
    first = newest().seq - 1;
    shx_member me = me_in(in.party);
    shx_frame own = {.token = me.token};
    for (own.block = 0; own.block < cast.blocks; own.block++) {
        give(&own);
    }
    check_all();
}

static const row rows[] = {
    {"frame", do_nothing, write_frame, check_all, NULL, USUAL},
    {"frame, resign", do_nothing, write_and_resign, check_all, NULL, USUAL},
    {"frame, two asleep", do_nothing, write_frame, check_sleepers,
     wait_for_frame, USUAL},
    {"frame: first use", do_nothing, write_frame, check_all, NULL, CLONED},
    {"frame: after a dead one", have_one_unsaid, take_over, check_all, NULL,
     USUAL},
    {"receive, give", do_nothing, read_frame, check_all, NULL, USUAL},
    {"receive: held by the dead", have_all_held_by_the_dead, read_frame,
     check_all, NULL, USUAL},
    {"receive: over fork", do_nothing, hold_and_fork, check_fork, NULL, USUAL},
};

int
main(int argc, char **argv)
{
    make_frames(&usual);
    return run_rows(argc, argv, rows, sizeof rows / sizeof *rows);
}

/* SPDX-License-Identifier: MIT */
/* Who writes to a ring is killed after every instruction: see crash_ring.h. */
#define _GNU_SOURCE

#include "crash_ring.h"

/* What the victim puts, so that it need not be written under the knife. */
enum { BATCH = 5, LARGE = 1500 };
static unsigned char batch[BATCH][64], large[LARGE], reserved[100],
    dropped[100];
static shx_piece pieces[BATCH], large_piece = {large, LARGE};

/* Before the knife is there. */

/* It moves the ends to there. */
static void
move_to(size_t place)
{
    shx_ring_record record;
    CHECK(reserve_message(&ring, place - SHX_UNIT, &record, SECOND) == 0);
    commit_message(&ring, &record, true);
    CHECK(take_message(&ring, &record, SECOND) == 0);
    give_message(&ring, &record);
}

static void
move_near_the_end(void)
{
    move_to(SIZE / 2);
    move_to(SIZE / 2 - 64);
}

static void
fill_with_free(void)
{
    shx_ring_record records[SIZE / 64];
    for (int i = 0; i < SIZE / 64; i++) {
        CHECK(reserve_message(&ring, 48, &records[i], SECOND) == 0);
        commit_message(&ring, &records[i], true);
        CHECK(take_message(&ring, &records[i], SECOND) == 0);
    }
    for (int i = 0; i < SIZE / 64; i++) {
        give_message(&ring, &records[i]);
    }
}

static void
fill_with_dropped(void)
{
    shx_ring_record record;
    for (int i = 0; i < SIZE / 64; i++) {
        CHECK(reserve_message(&ring, 48, &record, SECOND) == 0);
        commit_message(&ring, &record, false);
    }
}

/* Under the knife. */

static void
put_pieces(const shx_piece *which, size_t count)
{
    size_t done;
    shx_ring_wait wait = waits(SECOND);
    shx_member me = me_in(in.party);
    (void)shx_ring_put(&ring, &me, which, count, &done, &wait);
    atomic_store(&told->put, (unsigned)done);
}

static void
put_small(void)
{
    put_pieces(pieces, 1);
}

static void
put_large(void)
{
    put_pieces(&large_piece, 1);
}

static void
put_batch(void)
{
    put_pieces(pieces, BATCH);
}

static void
make_pieces(void)
{
    write_message(large, sizeof large, (label){VICTIM, 0});
    write_message(reserved, sizeof reserved, (label){VICTIM, 0});
    write_message(dropped, sizeof dropped, (label){VICTIM, DROPPED});
    for (uint32_t i = 0; i < BATCH; i++) {
        pieces[i] = (shx_piece){batch[i], 10 + i * 12};
        write_message(batch[i], pieces[i].length, (label){VICTIM, i});
    }
}

static void
reserve_and_commit(void)
{
    shx_ring_record record;
    if (reserve_message(&ring, 100, &record, SECOND) == 0) {
        write_message(shx_ring_bytes(&ring, &record), 100, (label){VICTIM, 0});
        commit_message(&ring, &record, true);
        atomic_store(&told->put, 1);
    }
}

static void
reserve_and_drop(void)
{
    shx_ring_record record;
    if (reserve_message(&ring, 100, &record, SECOND) == 0) {
        memcpy(shx_ring_bytes(&ring, &record), dropped, 100);
        commit_message(&ring, &record, false);
    }
}

static void
await_room(void)
{
    shx_ring_wait wait = waits(SECOND);
    shx_member me = me_in(in.party);
    (void)shx_ring_await_room(&ring, &me, 100, &wait);
}

/* Not killed, but for a while it does not come further. What may wait for it
 * does not wait for long. */

/* To the end, unless it is in the way. */
static void
end_it_meanwhile(int number)
{
    if (shut_down(&ring, 3 * MS) == 0) {
        done(number, take_till_the_end());
    }
}

/* The end was the end. */
static void
check_end(void)
{
    bool ended = atomic_load(&notes->done[0]);
    unsigned before = atomic_load(&told->came[VICTIM][0]);
    CHECK(shut_down(&ring, 2 * SECOND) == 0);
    CHECK(take_till_the_end() == SHX_SHUT_DOWN);
    CHECK(!ended || before == told->came[VICTIM][0]);
    CHECK(told->came[VICTIM][0] == told->put);
    took();
    check_room();
}

static const row rows[] = {
    {"put: small", nothing, put_small, check_it, NULL, USUAL},
    {"put: two asleep", nothing, put_small, check_takers, sleep_for_messages,
     USUAL},
    {"put: batch", nothing, put_batch, check_it, NULL, USUAL},
    {"put: batch over the end", move_near_the_end, put_batch, check_it, NULL,
     USUAL},
    {"put: large", nothing, put_large, check_it, NULL, USUAL},
    {"put: large over the end", move_near_the_end, put_large, check_it, NULL,
     USUAL},
    {"put: large, two asleep", nothing, put_large, check_takers,
     sleep_for_messages, USUAL},
    {"put: where all is free", fill_with_free, put_small, check_it, NULL,
     USUAL},
    {"put: where all was dropped", fill_with_dropped, put_small, check_it,
     NULL, USUAL},
    {"put: where one died", have_one_die, put_small, check_it, NULL, USUAL},
    {"reserve, commit", nothing, reserve_and_commit, check_it, NULL, USUAL},
    {"reserve, commit: two asleep", nothing, reserve_and_commit, check_takers,
     sleep_for_messages, USUAL},
    {"reserve, drop", put_some, reserve_and_drop, check_it, NULL, USUAL},
    {"await room", fill_with_free, await_room, check_it, NULL, USUAL},
    {"await room: all was dropped", fill_with_dropped, await_room, check_it,
     NULL, USUAL},
    {"paused: put, end", nothing, put_small, check_end, end_it_meanwhile,
     PAUSED},
};

int
main(int argc, char **argv)
{
    make_pieces();
    return run_ring(argc, argv, rows, sizeof rows / sizeof *rows);
}

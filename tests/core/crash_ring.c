/* SPDX-License-Identifier: MIT */
/* Rings: killed after every instruction, see crash.h. Then another one puts a
 * message, shuts the ring down and takes what there is to the end, in time:
 * what was put and taken is there as often as ring.h says, and all of the room
 * is there again. */
#define _GNU_SOURCE

#include "crash.h"
#include "messages.h"

enum { SIZE = SHX_RING_LEAST, MOST = 8, DROPPED = 7 };

/* Who writes. */
enum { BEFORE, VICTIM, SLEEPER, AFTERWARDS, WRITERS };

static shx_ring ring;

/* What the victim puts, so that it need not be written under the knife. */
enum { BATCH = 5, LARGE = 1500 };
static unsigned char batch[BATCH][64], large[LARGE], reserved[100],
    dropped[100];
static shx_piece pieces[BATCH], large_piece = {large, LARGE};

static struct {
    _Atomic unsigned came[WRITERS][MOST];
    _Atomic unsigned last[WRITERS]; /* the latest that came, + 1 */
    _Atomic unsigned put;           /* by the victim, and it has returned */
    _Atomic unsigned before;        /* that were put before */
    _Atomic unsigned taken[MOST];   /* of them, by the victim */
    _Atomic bool giving, gave;      /* all that it has */
} * told;

/* But that it knows who it is. */
static void
nothing(void)
{
    (void)me_in(in.party);
}

static void
put(uint32_t writer, uint32_t number, size_t length)
{
    CHECK(put_message(&ring, length, (label){writer, number}, SECOND) == 0);
}

/* Before the knife is there. */

static void
put_some(void)
{
    for (uint32_t i = 0; i < 3; i++) {
        put(BEFORE, i, 40 + i);
    }
    atomic_store(&told->before, 3);
}

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

static void
return_one(void)
{
    shx_ring_record record;
    put_some();
    CHECK(take_message(&ring, &record, SECOND) == 0);
    return_message(&ring, &record);
}

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

static void
take_and_die(int number)
{
    shx_ring_record record;
    (void)number;
    CHECK(take_message(&ring, &record, SECOND) == 0);
    CHECK(reserve_message(&ring, 40, &record, SECOND) == 0);
}

static void
have_one_die(void)
{
    put_some();
    check_ended(spawn(take_and_die, 0));
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
await_room(void)
{
    shx_ring_wait wait = waits(SECOND);
    shx_member me = me_in(in.party);
    (void)shx_ring_await_room(&ring, &me, 100, &wait);
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
note(const shx_ring_record *record)
{
    label of;
    CHECK(read_message(shx_ring_bytes(&ring, record), record->length, &of));
    CHECK(of.writer < WRITERS && of.number < MOST);
    atomic_fetch_add(&told->came[of.writer][of.number], 1);
    if (of.writer == BEFORE && atomic_load(&told->taken[of.number]) != 0) {
        CHECK(shx_ring_deliveries(record) >= 1); /* the victim had it */
    }
    if (shx_ring_deliveries(record) == 0 && of.writer != SLEEPER) {
        CHECK(atomic_load(&told->last[of.writer]) <= of.number);
        atomic_store(&told->last[of.writer], of.number + 1);
    }
}

static shx_err
take_till_the_end(void)
{
    for (;;) {
        shx_ring_record record;
        shx_err err = take_message(&ring, &record, 2 * SECOND);
        if (err != 0) {
            return err;
        }
        note(&record);
        give_message(&ring, &record);
    }
}

static void
sleep_for_messages(int number)
{
    done(number, take_till_the_end());
}

static void
sleep_for_room(int number)
{
    done(number,
         put_message(&ring, 40, (label){SLEEPER, (uint32_t)number}, -1));
}

static void
check_counts(void)
{
    unsigned put = atomic_load(&told->put), before = told->before;
    for (unsigned i = 0; i < MOST; i++) {
        unsigned came = atomic_load(&told->came[VICTIM][i]);
        CHECK(came <= 1 && (i >= put || came == 1));
        CHECK(i == 0 || came == 0 || told->came[VICTIM][i - 1] == 1);
        unsigned had = atomic_load(&told->taken[i]);
        came = atomic_load(&told->came[BEFORE][i]);
        CHECK(came <= 1 && (i < before || came == 0));
        CHECK(i >= before || came == 1 || (had && told->giving));
        CHECK(!had || !told->gave || came == 0);
    }
    CHECK(told->came[VICTIM][DROPPED] == 0);
}

/* The longest, twice around. */
static void
check_room(void)
{
    atomic_store(shx_ring_shut(&ring), 0);
    for (int i = 0; i < 4; i++) {
        shx_ring_record record;
        put(AFTERWARDS, 1, shx_ring_longest(&ring));
        CHECK(take_message(&ring, &record, SECOND) == 0);
        CHECK(record.length == shx_ring_longest(&ring));
        give_message(&ring, &record);
    }
}

static void
check_all(void)
{
    shx_err err = put_message(&ring, 40, (label){AFTERWARDS, 0}, 2 * SECOND);
    CHECK(err == 0 || err == SHX_SHUT_DOWN);
    CHECK(shut_down(&ring, 2 * SECOND) == 0);
    CHECK(take_till_the_end() == SHX_SHUT_DOWN);
    took();
    check_counts();
    CHECK(told->came[AFTERWARDS][0] == (err == 0));
}

static void
check_it(void)
{
    check_all();
    check_room();
}

/* Late ones are too late for what was promised, which is tried again. */
static void
await_sleepers(void)
{
    for (int i = 0; i < SLEEPERS; i++) {
        while (!atomic_load(&notes->done[i])) {
            CHECK(now() - seen.killed < (uint64_t)(5 * SECOND));
            sleep_for(MS / 10);
        }
    }
    took();
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

/* They share what there is, and each comes to the end. */
static void
check_takers(void)
{
    shx_err err = put_message(&ring, 40, (label){AFTERWARDS, 0}, 2 * SECOND);
    CHECK(err == 0 || err == SHX_SHUT_DOWN);
    CHECK(shut_down(&ring, 2 * SECOND) == 0);
    await_sleepers();
    for (int i = 0; i < SLEEPERS; i++) {
        CHECK(atomic_load(&notes->got[i]) == SHX_SHUT_DOWN);
    }
    check_counts();
    CHECK(told->came[AFTERWARDS][0] == (err == 0));
    check_room();
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

static shx_err
take_without_waiting(shx_ring_record *out)
{
    size_t count;
    shx_member me = me_in(in.party);
    return shx_ring_take(&ring, &me, out, 1, &count, NULL);
}

static void
take_one_at_once(void)
{
    shx_ring_record record;
    if (take_without_waiting(&record) == 0) {
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
    shx_err err = take_without_waiting(&record);
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
        CHECK(take_without_waiting(&record) == 0);
        give_message(&ring, &record);
    }
    CHECK(take_without_waiting(&record) != 0);
    took();
    check_room();
}

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
    {"await room", fill_with_free, await_room, check_it, NULL, USUAL},
    {"await room: all was dropped", fill_with_dropped, await_room, check_it,
     NULL, USUAL},
    {"paused: take, return", return_none, take_one_at_once, check_found,
     return_one_meanwhile, PAUSED},
    {"paused: put, end", nothing, put_small, check_end, end_it_meanwhile,
     PAUSED},
    {"look", put_some, look_at_it, check_it, NULL, USUAL},
};

static void
begin_anew(void)
{
    (void)memset(in.bytes, 0, in.size);
    (void)memset(notes, 0, sizeof *notes);
    (void)memset(told, 0, sizeof *told);
    make_ring(&in, 0, SIZE, &ring);
}

int
main(int argc, char **argv)
{
    promised = 150 * MS;
    make_pieces();
    told = make_notes(sizeof *told);
    return run_rows(argc, argv, rows, sizeof rows / sizeof *rows);
}

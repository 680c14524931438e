/* SPDX-License-Identifier: MIT */
/* A ring whose users are killed: see crash.h. Then another one puts a message,
 * shuts the ring down and takes what there is to the end, in time: what was
 * put and taken is there as often as core/channels/ring.h says, and all of the
 * room is there again. */
#ifndef CRASH_RING_H
#define CRASH_RING_H

#include "crash.h"
#include "messages.h"

enum { SIZE = SHX_RING_LEAST, MOST = 8, DROPPED = 7 };

/* Who writes. */
enum { BEFORE, VICTIM, SLEEPER, AFTERWARDS, WRITERS };

static shx_ring ring;

static struct {
    _Atomic unsigned came[WRITERS][MOST];
    _Atomic unsigned last[WRITERS]; /* the latest that came, + 1 */
    _Atomic unsigned put;           /* by the victim, and it has returned */
    _Atomic unsigned before;        /* that were put before */
    _Atomic unsigned taken[MOST];   /* of them, by the victim */
    _Atomic bool giving, gave;      /* all that it has */
} * told;

/* But that it knows who it is. */
static inline void
nothing(void)
{
    (void)me_in(in.party);
}

static inline void
put(uint32_t writer, uint32_t number, size_t length)
{
    CHECK(put_message(&ring, length, (label){writer, number}, SECOND) == 0);
}

/* Before the knife is there. */

static inline void
put_some(void)
{
    for (uint32_t i = 0; i < 3; i++) {
        put(BEFORE, i, 40 + i);
    }
    atomic_store(&told->before, 3);
}

static inline void
take_and_die(int number)
{
    shx_ring_record record;
    (void)number;
    CHECK(take_message(&ring, &record, SECOND) == 0);
    CHECK(reserve_message(&ring, 40, &record, SECOND) == 0);
}

static inline void
have_one_die(void)
{
    put_some();
    check_ended(spawn(take_and_die, 0));
}

/* Those who wait meanwhile, and who comes afterwards. */

static inline void
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

static inline shx_err
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

static inline void
sleep_for_messages(int number)
{
    done(number, take_till_the_end());
}

static inline void
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
static inline void
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

static inline void
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

static inline void
check_it(void)
{
    check_all();
    check_room();
}

/* Late ones are too late for what was promised, which is tried again. */
static inline void
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

/* They share what there is, and each comes to the end. */
static inline void
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

static void
begin_anew(void)
{
    (void)memset(in.bytes, 0, in.size);
    (void)memset(notes, 0, sizeof *notes);
    (void)memset(told, 0, sizeof *told);
    make_ring(&in, 0, SIZE, &ring);
}

static inline int
run_ring(int argc, char **argv, const row *rows, size_t count)
{
    promised = 150 * MS;
    told = make_notes(sizeof *told);
    return run_rows(argc, argv, rows, count);
}

#endif

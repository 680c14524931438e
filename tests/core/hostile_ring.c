/* SPDX-License-Identifier: MIT */
/* Somebody writes random words over a ring while others use it, with timeouts:
 *
 *   hostile_ring SECONDS
 *
 * Nobody crashes, and nothing is read or written beside the ring, where there
 * are no pages; the rest is for the sanitizers to see. No call takes much
 * longer than its timeout. What a message says is worth nothing: but what it
 * is said to be lies in the ring. */
#define _GNU_SOURCE

#include "messages.h"

enum {
    PAGE = 4096,
    SIZE = 2 * PAGE,
    BYTES = SHX_RING_PAGE + SIZE,
    USERS = 3,
    BATCH = 4,
};

static memory in;
static shx_ring ring;
static uint64_t ends;

/* For who runs it. */
static struct {
    _Atomic uint64_t calls, damaged, late, had;
} * notes;

static void
note(shx_err err)
{
    atomic_fetch_add(&notes->damaged, err == SHX_DAMAGED);
    atomic_fetch_add(&notes->late, err == ETIMEDOUT);
    atomic_fetch_add(&notes->had, err == 0);
}

static uint64_t
next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 8;
}

/* Words that may mean something more often than not: positions, and words of
 * records. */
static uint64_t
any_word(uint64_t *seed, uint32_t me)
{
    uint64_t drawn = next(seed);
    uint64_t tail = atomic_load(&ring.in->tail);
    const uint64_t values[] = {
        0,
        UINT64_MAX,
        UINT64_C(1) << drawn % 64,
        drawn,
        drawn % SIZE,
        drawn % (2 * SIZE) / SHX_UNIT * SHX_UNIT,
        tail,
        tail + SHX_UNIT * (drawn % 64),
        tail - SHX_UNIT * (drawn % 64),
        tail - SIZE,
        shx_record_word(drawn % 8, drawn >> 8 & 15, me, drawn >> 16 & 31),
        shx_record_word(drawn % 8, 0, (uint32_t)(drawn >> 20) & SHX_TOKEN,
                        drawn >> 4 & 1023),
        me,
        me | SHX_LOCK_WAITED,
    };
    return values[(drawn >> 40) % (sizeof values / sizeof *values)];
}

/* Where it matters: the first words of the page, and where records begin. */
static uint64_t
any_place(uint64_t *seed)
{
    enum { WORDS = SHX_RING_COUNTS + 64 };
    uint64_t drawn = next(seed);
    uint64_t tail = atomic_load(&ring.in->tail) % SIZE / SHX_UNIT * SHX_UNIT;
    switch (drawn % 4) {
    case 0:
        return (drawn >> 8) % WORDS / 8 * 8;
    case 1:
        return SHX_RING_PAGE + (drawn >> 8) % SIZE / SHX_UNIT * SHX_UNIT;
    case 2:
        return SHX_RING_PAGE + tail;
    default:
        return (drawn >> 8) % BYTES / 8 * 8;
    }
}

/* It rests now and then, so that some come further than to the next error; or
 * makes it whole. */
static void
write_anything(int number)
{
    uint64_t seed = (uint64_t)number + 1;
    uint32_t me = me_in(in.party).token;
    for (;;) {
        char *place = in.bytes + PAGE + any_place(&seed);
        atomic_store((shx_position *)(void *)place, any_word(&seed, me));
        uint64_t drawn = next(&seed);
        if (drawn % 16 == 0) {
            (void)memset(in.bytes + PAGE, 0, BYTES);
        }
        if (drawn % 8 == 0) {
            sleep_for((int64_t)(drawn >> 8) % (MS / 4));
        }
    }
}

static unsigned
read_all(const shx_ring_record *record)
{
    const unsigned char *bytes = shx_ring_bytes(&ring, record);
    const unsigned char *data = ring.data;
    unsigned sum = 0;
    CHECK(bytes >= data + SHX_UNIT && bytes <= data + SIZE);
    CHECK(record->length <= (uint64_t)(data + SIZE - bytes));
    for (size_t i = 0; i < record->length; i++) {
        sum += bytes[i];
    }
    return sum;
}

typedef void (*use)(uint64_t drawn, const shx_member *me, shx_ring_wait *wait);

static void
put(uint64_t drawn, const shx_member *me, shx_ring_wait *wait)
{
    static unsigned char bytes[SIZE];
    shx_piece pieces[BATCH];
    size_t done, count = 1 + drawn % BATCH;
    for (size_t i = 0; i < count; i++) {
        pieces[i] = (shx_piece){
            bytes, drawn % 3 == 0 ? drawn % (shx_ring_longest(&ring) + 1)
                                  : drawn % 100};
        drawn >>= 3;
    }
    note(shx_ring_put(&ring, me, pieces, count, &done, wait));
    CHECK(done <= count);
}

static void
reserve(uint64_t drawn, const shx_member *me, shx_ring_wait *wait)
{
    shx_ring_record record;
    size_t length = drawn % (shx_ring_longest(&ring) + 1);
    shx_err err = shx_ring_reserve(&ring, me, length, &record, wait);
    note(err);
    if (err == 0) {
        CHECK(record.length == length);
        (void)read_all(&record);
        (void)memset(shx_ring_bytes(&ring, &record), 7, length);
        shx_ring_commit(&ring, me, &record, drawn >> 20 & 1);
    }
}

static void
take(uint64_t drawn, const shx_member *me, shx_ring_wait *wait)
{
    shx_ring_record records[BATCH];
    size_t count = 0, most = 1 + drawn % BATCH;
    shx_err err = shx_ring_take(&ring, me, records, most, &count, wait);
    note(err);
    if (err == 0) {
        CHECK(count != 0 && count <= most);
        for (size_t i = 0; i < count; i++) {
            (void)read_all(&records[i]);
            (void)shx_ring_deliveries(&records[i]);
        }
        if ((drawn >> 8 & 3) == 0) {
            shx_ring_return(&ring, me, &records[0]);
        }
        shx_ring_give(&ring, me, records, count);
    }
}

static void
shut_and_open(uint64_t drawn, const shx_member *me, shx_ring_wait *wait)
{
    if (drawn % 16 == 0) {
        (void)shx_ring_shut_down(&ring, me, &wait->patience);
    }
    (void)shx_ring_is_shut_down(&ring);
    atomic_store(shx_ring_shut(&ring), 0);
}

static void
look(uint64_t drawn, const shx_member *me, shx_ring_wait *wait)
{
    shx_ring_state state;
    if (drawn % 2 == 0) {
        note(shx_ring_look(&ring, me, wait, &state));
    }
    else {
        note(shx_ring_recover(&ring, me, wait));
    }
}

static void
await(uint64_t drawn, const shx_member *me, shx_ring_wait *wait)
{
    if (drawn % 4 == 0) {
        (void)await_beside(&ring, me, 1000000);
    }
    else if (drawn % 4 == 2) {
        (void)shx_ring_await_message(&ring, me, wait);
    }
    else {
        (void)shx_ring_await_room(&ring, me, drawn % shx_ring_longest(&ring),
                                  wait);
    }
}

static void
open_it(uint64_t drawn, const shx_member *me, shx_ring_wait *wait)
{
    shx_ring other;
    (void)drawn;
    (void)me;
    (void)wait;
    if (shx_ring_open(in.bytes + PAGE, BYTES, in.party, &other) == 0) {
        CHECK(other.capacity <= SIZE);
    }
}

static const use uses[] = {put,  put,           reserve, take,  take,
                           take, shut_and_open, look,    await, open_it};

/* Time in which others had the processor is nobody's fault: a user that the
 * words keep busy would show it here. */
static void
use_all(int number)
{
    uint64_t seed = UINT64_C(77) << number;
    shx_member me = me_in(in.party);
    while (now() < ends) {
        uint64_t drawn = next(&seed);
        int64_t timeout = (int64_t)(drawn % (2 * MS));
        shx_ring_wait wait = waits(timeout);
        wait.blocks = drawn >> 50 & 1;
        uint64_t began = now();
        uses[(drawn >> 32) % (sizeof uses / sizeof *uses)](drawn >> 36, &me,
                                                           &wait);
        CHECK(now() - began < (uint64_t)(timeout + SECOND));
        atomic_fetch_add(&notes->calls, 1);
    }
}

int
main(int argc, char **argv)
{
    pid_t users[USERS];
    CHECK(argc == 2 && atof(argv[1]) > 0);
    in = make_memory(PAGE + BYTES + PAGE);
    make_ring(&in, PAGE, SIZE, &ring);
    CHECK(mprotect(in.bytes, PAGE, PROT_NONE) == 0);
    CHECK(mprotect(in.bytes + PAGE + BYTES, PAGE, PROT_NONE) == 0);
    ends = now() + (uint64_t)(atof(argv[1]) * (double)SECOND);
    notes = make_notes(sizeof *notes);
    pid_t hostile = spawn(write_anything, 0);
    for (int i = 0; i < USERS; i++) {
        users[i] = spawn(use_all, i);
    }
    for (int i = 0; i < USERS; i++) {
        check_ended(users[i]);
    }
    kill_and_wait(hostile);
    (void)printf(
        "%llu calls: %llu had, %llu damaged, %llu late\n",
        (unsigned long long)notes->calls, (unsigned long long)notes->had,
        (unsigned long long)notes->damaged, (unsigned long long)notes->late);
    CHECK(notes->had != 0 && notes->damaged != 0);
    return 0;
}

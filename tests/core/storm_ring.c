/* SPDX-License-Identifier: MIT */
/* Writers and readers of one ring, see storm.h. Every byte of each message is
 * looked at, and who wrote it: each reader sees those of a writer in order,
 * but for what comes again. At the end of each round all are killed, and who
 * comes then takes what there is, and counts:
 *
 *   get       nothing comes twice; lost is at most what each reader that was
 *             killed had in hand
 *   receive   nothing is lost; what comes again says so
 *   both      what was put is there; what was dropped is not
 */
#define _GNU_SOURCE

#include "messages.h"
#include "storm.h"

/* NUMBERS: more than any writer comes to in a round. */
enum { SIZE = 1 << 14, NUMBERS = 1 << 22, BATCH = 16 };

typedef enum { NEW = 0, BEGUN = 1, PUT = 2, DROPPED = 3 } fate;

/* Those that are too short to say whose they are are only counted. */
static struct {
    _Atomic uint32_t next[WORKERS];          /* the number of a writer */
    _Atomic uint32_t last[WORKERS][WORKERS]; /* that a reader had of it */
    _Atomic uint64_t short_put, short_begun, short_came;
    _Atomic unsigned char fates[WORKERS][NUMBERS];
    _Atomic unsigned char came[WORKERS][NUMBERS];
} * told;

static shx_ring ring;

static size_t
any_length(void)
{
    return any(4) != 0 ? any(48) : any(LONGEST + 1);
}

/* Writers. */

static label
begin_message(int self, size_t length)
{
    label of = {(uint32_t)self, 0};
    if (length < TOLD) {
        atomic_fetch_add(&told->short_begun, 1);
        return of;
    }
    of.number = atomic_fetch_add(&told->next[self], 1);
    CHECK(of.number < NUMBERS);
    atomic_store(&told->fates[self][of.number], BEGUN);
    return of;
}

static void
end_message(label of, size_t length, fate then)
{
    atomic_fetch_add(&notes->operations, then == PUT);
    if (length < TOLD) {
        atomic_fetch_add(&told->short_put, then == PUT);
        return;
    }
    atomic_store(&told->fates[of.writer][of.number], then);
}

static bool
must_have(shx_err err)
{
    must(err == 0 || err == ETIMEDOUT, "neither had nor late");
    atomic_fetch_add(&notes->timeouts, err == ETIMEDOUT);
    return err == 0;
}

static shx_ring_wait
waits_somehow(void)
{
    return (shx_ring_wait){.patience = some_patience(), .blocks = true};
}

static void
put_many(int self, size_t most)
{
    static unsigned char bytes[BATCH][LONGEST];
    shx_piece pieces[BATCH];
    label of[BATCH];
    shx_member me = me_in(in.party);
    for (;;) {
        size_t done = 0, count = 1 + any((uint32_t)most);
        for (size_t i = 0; i < count; i++) {
            pieces[i] = (shx_piece){bytes[i], any_length()};
            of[i] = begin_message(self, pieces[i].length);
            write_message(bytes[i], pieces[i].length, of[i]);
        }
        shx_ring_wait wait = waits_somehow();
        shx_err err = shx_ring_put(&ring, &me, pieces, count, &done, &wait);
        has_waited(&wait.patience);
        must(must_have(err) == (done == count), "said otherwise than done");
        for (size_t i = 0; i < count; i++) {
            end_message(of[i], pieces[i].length, i < done ? PUT : DROPPED);
        }
    }
}

static void
reserve_and_commit(int self)
{
    shx_member me = me_in(in.party);
    for (;;) {
        shx_ring_record record;
        bool keep = any(8) != 0;
        size_t length = any_length() + TOLD;
        shx_ring_wait wait = waits_somehow();
        shx_err err = shx_ring_reserve(&ring, &me, length, &record, &wait);
        has_waited(&wait.patience);
        if (must_have(err)) {
            label of = begin_message(self, length);
            void *bytes = shx_ring_bytes(&ring, &record);
            if (!keep) {
                end_message(of, length, DROPPED);
            }
            write_message(bytes, length, of);
            shx_ring_commit(&ring, &me, &record, keep);
            if (keep) {
                end_message(of, length, PUT);
            }
        }
    }
}

/* Readers. */

/* Its bytes are what was written; in order, if it is the first time. */
static label
look_at(int self, const shx_ring_record *record, const void *bytes)
{
    label of;
    must(read_message(bytes, record->length, &of), "other bytes");
    if (record->length < TOLD) {
        return of;
    }
    must(of.writer < WORKERS && of.number < told->next[of.writer], "whose?");
    fate then = atomic_load(&told->fates[of.writer][of.number]);
    must(then == BEGUN || then == PUT, "it was dropped");
    if (shx_ring_deliveries(record) == 0) {
        _Atomic uint32_t *last = &told->last[self][of.writer];
        must(atomic_load(last) <= of.number, "in another order");
        atomic_store(last, of.number + 1);
    }
    return of;
}

/* How often it had come before. */
static unsigned
came(label of, size_t length)
{
    if (length < TOLD) {
        atomic_fetch_add(&told->short_came, 1);
        return 0;
    }
    return atomic_fetch_add(&told->came[of.writer][of.number], 1);
}

/* Copied, given, and then had. */
static void
get_many(int self, size_t most)
{
    static unsigned char bytes[BATCH][LONGEST + TOLD];
    shx_ring_record records[BATCH];
    label of[BATCH];
    shx_member me = me_in(in.party);
    for (;;) {
        size_t count = 0;
        shx_ring_wait wait = waits_somehow();
        shx_err err = shx_ring_take(&ring, &me, records, most, &count, &wait);
        has_waited(&wait.patience);
        if (!must_have(err)) {
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            CHECK(records[i].length <= sizeof bytes[i]);
            memcpy(bytes[i], shx_ring_bytes(&ring, &records[i]),
                   records[i].length);
            of[i] = look_at(self, &records[i], bytes[i]);
        }
        shx_ring_give(&ring, &me, records, count);
        for (size_t i = 0; i < count; i++) {
            must(came(of[i], records[i].length) == 0, "it came twice");
        }
        atomic_fetch_add(&notes->operations, count);
    }
}

/* Used in place; some are left to others. */
static void
receive(int self)
{
    shx_member me = me_in(in.party);
    for (;;) {
        shx_ring_record record;
        size_t count = 0;
        shx_ring_wait wait = waits_somehow();
        shx_err err = shx_ring_take(&ring, &me, &record, 1, &count, &wait);
        has_waited(&wait.patience);
        if (!must_have(err)) {
            continue;
        }
        void *bytes = shx_ring_bytes(&ring, &record);
        label of = look_at(self, &record, bytes);
        work(any(16) == 0 ? any(20000) : 0);
        (void)look_at(
            self,
            &(shx_ring_record){.length = record.length,
                          .word = record.word | UINT64_C(1)
                                                    << SHX_DELIVERIES_SHIFT},
            bytes);
        unsigned before = came(of, record.length);
        must(before == 0 || shx_ring_deliveries(&record) != 0,
             "it came twice, and did not say so");
        if (any(50) == 0) {
            shx_ring_return(&ring, &me, &record);
        }
        else {
            shx_ring_give(&ring, &me, &record, 1);
        }
        atomic_fetch_add(&notes->operations, 1);
    }
}

/* The kinds of storm, by who writes and who reads; `parameter` is how many
 * write. */

typedef enum { GET = 1, GET_MANY = BATCH, RECEIVE = 0 } kind; /* may be lost */

static void
use(int self, int writers, void write(int), void read(int))
{
    (self < writers ? write : read)(self);
}

static void
put_one(int self)
{
    put_many(self, 1);
}

static void
put_several(int self)
{
    put_many(self, BATCH);
}

static void
get_one(int self)
{
    get_many(self, 1);
}

static void
get_several(int self)
{
    get_many(self, BATCH);
}

static void
use_get(int self)
{
    use(self, 3, put_one, get_one);
}

static void
use_receive(int self)
{
    use(self, 3, put_one, receive);
}

static void
use_reserve(int self)
{
    use(self, 3, reserve_and_commit, receive);
}

static void
use_many(int self)
{
    use(self, 3, put_several, get_several);
}

static void
use_one_to_many(int self)
{
    use(self, 1, put_several, receive);
}

static void
use_many_to_one(int self)
{
    use(self, WORKERS - 1, reserve_and_commit, get_several);
}

static const storm storms[] = {
    {"get", GET, 3, use_get, NULL},
    {"receive", RECEIVE, 3, use_receive, NULL},
    {"reserve", RECEIVE, 3, use_reserve, NULL},
    {"many", GET_MANY, 3, use_many, NULL},
    {"one to many", RECEIVE, 1, use_one_to_many, NULL},
    {"many to one", GET_MANY, WORKERS - 1, use_many_to_one, NULL},
};

static void
prepare(const storm *of)
{
    (void)of;
    (void)memset(told, 0, sizeof *told);
    make_ring(&in, 0, SIZE, &ring);
}

/* By who is nobody of those: what there is, to the end. */
static void
drain(bool may_come_twice)
{
    shx_ring_record record;
    uint64_t began = now();
    CHECK(shut_down(&ring, SECOND) == 0);
    for (;;) {
        shx_err err = take_message(&ring, &record, SECOND);
        if (err == SHX_SHUT_DOWN) {
            break;
        }
        CHECK(err == 0);
        label of = look_at(0, &record, shx_ring_bytes(&ring, &record));
        unsigned before = came(of, record.length);
        CHECK(before == 0 ||
              (may_come_twice && shx_ring_deliveries(&record) != 0));
        give_message(&ring, &record);
    }
    CHECK(now() - began < SECOND);
}

static void
finish(const storm *of)
{
    uint64_t lost = 0, count = 0, permitted = 0;
    (void)memset(told->last, 0, sizeof told->last); /* it is another one */
    drain(of->kind == RECEIVE);
    for (int i = 0; i < WORKERS; i++) {
        for (uint32_t n = 0; n < told->next[i]; n++) {
            bool is_there = told->came[i][n] != 0;
            count += is_there;
            lost += told->fates[i][n] == PUT && !is_there;
            CHECK(told->fates[i][n] != DROPPED || !is_there);
        }
        permitted +=
            i < (int)of->parameter ? 0 : (uint64_t)of->kind * notes->killed[i];
    }
    uint64_t put = told->short_put, had = told->short_came;
    lost += put > had ? put - had : 0;
    CHECK(of->kind == RECEIVE || had <= told->short_begun);
    (void)printf("  %llu messages, %llu short, lost %llu of %llu at most, "
                 "%llu came again, %llu discarded\n",
                 (unsigned long long)count, (unsigned long long)had,
                 (unsigned long long)lost, (unsigned long long)permitted,
                 (unsigned long long)atomic_load(&ring.counts->redelivered),
                 (unsigned long long)atomic_load(&ring.counts->discarded));
    CHECK(lost <= permitted && count != 0);
}

int
main(int argc, char **argv)
{
    size_t count = sizeof storms / sizeof *storms;
    told = make_notes(sizeof *told);
    return run_storms(
        argc, argv, storms, count,
        &(frame){.prepare = prepare, .finish = finish, .round = 2});
}

/* SPDX-License-Identifier: MIT */
/* Who uses a queue is killed after every instruction: see crash.h. Then others
 * put, take to the end and say that all is done, in time: what was put and
 * taken is there as often as core/channels/queue.h says, all tasks are done,
 * and every page that is written is there. */
#define _GNU_SOURCE

#define CRASH_MEMORY (4096 + (1 << 22))

#include "crash.h"
#include "mail.h"

enum { MOST = 8 };

/* Who writes. */
enum { BEFORE, VICTIM, AFTERWARDS, WRITERS };

static struct {
    _Atomic unsigned came[WRITERS][MOST];
    _Atomic unsigned put;    /* by the victim, and it has returned */
    _Atomic unsigned before; /* that were put before */
    _Atomic unsigned had;    /* of them, by the victim: it may be given */
    _Atomic bool giving, gave;
} * told;

static shx_ring_record held;

static void
nothing(void)
{
    (void)me_in(in.party);
}

static void
put_some(void)
{
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(post_mail(40, (label){BEFORE, i}, SECOND) == 0);
    }
    atomic_store(&told->before, 3);
}

static void
put_some_and_take(void)
{
    put_some();
    CHECK(take_mail(&held, SECOND) == 0);
    atomic_store(&told->had, 1);
}

static void
take_all_but_the_last(int number)
{
    shx_ring_record record;
    (void)number;
    while (count_mail(&(bool){false}) > 1) {
        CHECK(take_mail(&record, SECOND) == 0);
        give_mail(&record, true);
    }
}

/* There are pages to be given back. */
static void
have_idle_pages(void)
{
    for (int i = 0; i < 2; i++) {
        CHECK(post_mail(LONG_MAIL, (label){BEFORE, 0}, SECOND) == 0);
        shx_ring_record record;
        CHECK(take_mail(&record, SECOND) == 0);
        atomic_store(&ring.put.cell->word, 1); /* nobody gives them back */
        give_mail(&record, true);
        atomic_store(&ring.put.cell->word, 0);
    }
}

static void
have_idle_pages_and_take(void)
{
    for (int i = 0; i < 2; i++) {
        CHECK(post_mail(LONG_MAIL, (label){BEFORE, 0}, SECOND) == 0);
    }
    put_some();
    for (int i = 0; i < 3; i++) {
        CHECK(take_mail(&held, SECOND) == 0);
        atomic_store(&ring.put.cell->word, 1);
        if (i < 2) {
            give_mail(&held, true);
        }
        atomic_store(&ring.put.cell->word, 0);
    }
    atomic_store(&told->had, 1);
}

/* A few bytes before the next grain of pages. */
static void
come_near_a_grain(void)
{
    CHECK(post_mail(SHX_QUEUE_GRAIN - 100, (label){BEFORE, 0}, SECOND) == 0);
    take_all_but_the_last(0);
    CHECK(take_mail(&held, SECOND) == 0);
    give_mail(&held, true);
}

static void
owe_one(void)
{
    put_some_and_take();
    give_mail(&held, false);
    atomic_store(&told->giving, true);
    atomic_store(&told->gave, true);
}

/* Under the knife. */

static void
put_small(void)
{
    if (post_mail(40, (label){VICTIM, 0}, SECOND) == 0) {
        atomic_store(&told->put, 1);
    }
}

static void
put_large(void)
{
    if (post_mail(3000, (label){VICTIM, 0}, SECOND) == 0) {
        atomic_store(&told->put, 1);
    }
}

static void
take_one(void)
{
    if (take_mail(&held, SECOND) == 0) {
        atomic_store(&told->had, 1);
    }
}

static void
give(bool done)
{
    atomic_store(&told->giving, true);
    give_mail(&held, done);
    atomic_store(&told->gave, true);
}

static void
give_done(void)
{
    give(true);
}

static void
give_owing(void)
{
    give(false);
}

static void
settle_one(void)
{
    (void)settle(true);
}

static void
join_without_waiting(void)
{
    (void)join_tasks(0);
}

static void
count_all(void)
{
    bool full;
    (void)count_mail(&full);
}

/* Those who wait, and who comes afterwards. */

static void
join_all(int number)
{
    done(number, join_tasks(5 * SECOND));
}

static bool
take_next(int64_t timeout)
{
    shx_ring_record record;
    shx_err err = take_mail(&record, timeout);
    CHECK(err == 0 || err == ETIMEDOUT);
    if (err == 0) {
        label of = read_mail(&record);
        CHECK(of.writer < WRITERS && of.number < MOST);
        atomic_fetch_add(&told->came[of.writer][of.number], 1);
        give_mail(&record, true);
    }
    return err == 0;
}

static void
check_counts(void)
{
    unsigned put = atomic_load(&told->put), before = told->before;
    unsigned came = atomic_load(&told->came[VICTIM][0]);
    CHECK(came <= 1 && came >= put);
    for (unsigned i = 0; i < before; i++) {
        came = atomic_load(&told->came[BEFORE][i]);
        bool had = i == 0 && atomic_load(&told->had) != 0;
        CHECK(came <= 1);
        CHECK(came == 1 || (had && told->giving));
        CHECK(!had || !told->gave || came == 0);
    }
}

static void
check_it(void)
{
    bool full;
    CHECK(post_mail(40, (label){AFTERWARDS, 0}, 2 * SECOND) == 0);
    while (atomic_load(&told->came[AFTERWARDS][0]) == 0) {
        CHECK(take_next(2 * SECOND));
    }
    took();
    CHECK(join_tasks(0) == 0 || take_next(20 * MS) ||
          join_tasks(2 * SECOND) == 0);
    CHECK(!take_next(0));
    CHECK(join_tasks(2 * SECOND) == 0);
    CHECK(!settle(true) && !settle(false));
    CHECK(count_mail(&full) == 0 && !full);
    check_counts();
    check_pages(&in);
    for (int i = 0; i < 5; i++) { /* once around */
        CHECK(post_mail(LONG_MAIL, (label){AFTERWARDS, 1}, SECOND) == 0);
        check_pages(&in);
        CHECK(take_next(SECOND));
    }
    CHECK(bytes_held(&in) <= (1 << 22) + 4096);
}

/* They are told when all is done, whoever was to say so. */
static void
check_joiners(void)
{
    while (take_next(0) || join_tasks(0) != 0) {
        CHECK(now() - seen.killed < (uint64_t)(5 * SECOND));
        sleep_for(MS / 10);
    }
    for (int i = 0; i < SLEEPERS; i++) {
        while (!atomic_load(&notes->done[i])) {
            CHECK(now() - seen.killed < (uint64_t)(5 * SECOND));
            sleep_for(MS / 10);
        }
        CHECK(atomic_load(&notes->got[i]) == 0);
    }
    took();
    check_counts();
}

static const row rows[] = {
    {"put: small", nothing, put_small, check_it, NULL, USUAL},
    {"put: small, new pages", come_near_a_grain, put_small, check_it, NULL,
     USUAL},
    {"put: small, idle pages", have_idle_pages, put_small, check_it, NULL,
     USUAL},
    {"put: large", nothing, put_large, check_it, NULL, USUAL},
    {"take", put_some, take_one, check_it, NULL, USUAL},
    {"give: done", put_some_and_take, give_done, check_it, NULL, USUAL},
    {"give: owing", put_some_and_take, give_owing, check_it, NULL, USUAL},
    {"give: idle pages", have_idle_pages_and_take, give_done, check_it, NULL,
     USUAL},
    {"give: done, two join", put_some_and_take, give_done, check_joiners,
     join_all, USUAL},
    {"settle", owe_one, settle_one, check_it, NULL, USUAL},
    {"settle: two join", owe_one, settle_one, check_joiners, join_all, USUAL},
    {"join", owe_one, join_without_waiting, check_it, NULL, USUAL},
    {"count", put_some, count_all, check_it, NULL, USUAL},
};

static void
begin_anew(void)
{
    (void)memset(notes, 0, sizeof *notes);
    (void)memset(told, 0, sizeof *told);
    make_queue(&in, 0);
}

int
main(int argc, char **argv)
{
    promised = 150 * MS;
    told = make_notes(sizeof *told);
    return run_rows(argc, argv, rows, sizeof rows / sizeof *rows);
}

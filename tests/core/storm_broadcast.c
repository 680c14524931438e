/* SPDX-License-Identifier: MIT */
/* One writes, or waits until it may, many read, and any of them is killed at
 * any moment:
 *
 *   storm_broadcast SECONDS
 *
 * One is killed every 0 to 3 ms, some after a stop, and replaced. Whatever
 * happens, each frame that is seen is whole and stays so while it is held, by
 * a child of who held it, too; each reader sees numbers that grow; no number
 * is left out, none is there twice; the writer is never kept from writing, and
 * no frame is late by a second. */
#define _GNU_SOURCE

#include "broadcast.h"

enum { WRITERS = 2, WATCHERS = 5, WORKERS = WRITERS + WATCHERS, PAGE = 4096 };

static memory in;

/* Of heirs more than there are children at any time: none is pinned. */
static const shx_broadcast_shape stormy = {
    .size = 16384, .readers = 4, .heirs = 4 * WATCHERS, .depth = 2};

static struct {
    _Atomic uint64_t published, received, missed, children, refused, dropped;
    _Atomic uint64_t last; /* seq of the last frame whose publisher went on */
    _Atomic uint64_t longest;
    _Atomic bool wrong;
} * notes;

static uint64_t seed;

static uint32_t
any(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16) % below;
}

static void
must(bool condition, const char *what)
{
    if (!condition && !atomic_exchange(&notes->wrong, true)) {
        (void)fprintf(stderr, "%s\n", what);
    }
}

static void
has_taken(uint64_t since)
{
    uint64_t length = now() - since, longest = atomic_load(&notes->longest);
    while (length > longest &&
           !atomic_compare_exchange_weak(&notes->longest, &longest, length)) {
    }
}

static void
write_frames(int self)
{
    (void)self;
    for (;;) {
        shx_frame frame;
        uint64_t since = now();
        shx_err err = reserve_next(&frame);
        if (err == SHX_SECOND_WRITER) {
            sleep_for(any(MS));
            continue;
        }
        must(err == 0, "a writer was kept from writing");
        if (any(20) == 0) {
            shx_member me = me_in(cast.party);
            shx_broadcast_abandon(&cast, &me, &frame);
            atomic_fetch_add(&notes->dropped, 1);
            continue;
        }
        uint64_t last = atomic_load(&notes->last);
        must(publish(&frame) == 0, "not published");
        must(frame.seq > last, "a number that was there");
        atomic_store(&notes->last, frame.seq);
        atomic_fetch_add(&notes->published, 1);
        has_taken(since);
        if (any(500) == 0) {
            must(resign() == 0, "not resigned");
        }
        else if (any(8) == 0) {
            sleep_for(any(MS / 2));
        }
    }
}

static void
look_for_a_while(const shx_frame *frame)
{
    must(is_whole(frame), "torn");
    if (any(3) == 0) {
        sleep_for(any(2 * MS));
    }
    must(is_whole(frame), "written while it was held");
}

/* What it has inherited is as its parent had it, though that lets go. */
static void
inherit(const shx_frame *frame)
{
    pid_t parent = getpid();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        die_with(parent);
        look_for_a_while(frame);
        look_for_a_while(frame);
        give(frame);
        _exit(0);
    }
    give(frame);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    atomic_fetch_add(&notes->children, 1);
}

static void
read_frames(int self)
{
    enum { HANDS = 2 };
    shx_reader reader = {0};
    uint64_t last = 0;
    (void)self;
    for (;;) {
        unsigned count = 0, wanted = any(10) == 0 ? HANDS : 1;
        while (count < wanted) {
            uint64_t since = now();
            shx_err err = receive(
                &reader, any(4) ? -1 : 1 + (int64_t)any(3 * MS), &held[count]);
            must(err == 0 || err == ETIMEDOUT || err == SHX_TOO_MANY,
                 "received with an error");
            has_taken(since);
            atomic_fetch_add(&notes->refused, err == SHX_TOO_MANY);
            if (err == 0) {
                must(held[count].seq > last, "an older one");
                last = held[count].seq;
                look_for_a_while(&held[count++]);
                atomic_fetch_add(&notes->received, 1);
            }
            else if (err == SHX_TOO_MANY) {
                sleep_for(any(MS));
                break;
            }
        }
        atomic_fetch_add(&notes->missed, atomic_exchange(&reader.missed, 0));
        for (unsigned i = 0; i < count; i++) {
            must(is_whole(&held[i]), "written while it was held for long");
            if (any(200) == 0) {
                inherit(&held[i]);
            }
            else {
                give(&held[i]);
            }
        }
    }
}

static pid_t
start_worker(int self)
{
    seed += UINT64_C(0x9e3779b97f4a7c15); /* another for each */
    return spawn(self < WRITERS ? write_frames : read_frames, self);
}

static uint64_t
rage(double seconds)
{
    pid_t workers[WORKERS];
    uint64_t kills = 0, seen = 0, since = now();
    uint64_t end = since + (uint64_t)(seconds * (double)SECOND);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = start_worker(i);
    }
    while (now() < end && !atomic_load(&notes->wrong)) {
        int victim = (int)any(WORKERS);
        sleep_for(any(3 * MS));
        if (any(20) == 0) {
            CHECK(kill(workers[victim], SIGSTOP) == 0);
            sleep_for(any(5 * MS));
        }
        kill_and_wait(workers[victim]);
        kills++;
        workers[victim] = start_worker(victim);
        if (atomic_load(&notes->received) != seen) {
            seen = atomic_load(&notes->received);
            since = now();
        }
        must(now() - since < SECOND, "nobody has seen a frame for a second");
    }
    for (int i = 0; i < WORKERS; i++) {
        kill_and_wait(workers[i]);
    }
    return kills;
}

/* Whatever the dead have left, all of it is there for those who come. */
static void
check_rest(uint64_t kills)
{
    shx_reader readers[4] = {{0}};
    publish_next();
    uint64_t last = shx_broadcast_look(&cast).newest;
    uint64_t published = atomic_load(&notes->published) + 1;
    must(last >= published, "a number is there twice");
    must(last - published <= kills, "a number is left out");
    for (unsigned i = 0; i < stormy.readers; i++) {
        /* Children of the dead are about to die, too. */
        SOON(receive(&readers[i], 0, &held[i]) == 0);
        must(held[i].seq == last && is_whole(&held[i]), "another one");
    }
    must(shx_broadcast_look(&cast).pinned == 0, "pinned");
    must(atomic_load(&notes->longest) < SECOND, "waited for over a second");
}

int
main(int argc, char **argv)
{
    CHECK(argc == 2 && atof(argv[1]) > 0);
    seed = now();
    in = make_memory(PAGE);
    notes = make_notes(sizeof *notes);
    make_frames(&stormy);
    open_broadcast(&in, &stormy);
    uint64_t kills = rage(atof(argv[1]));
    check_rest(kills);
    (void)printf("%6llu kills, %9llu frames, %9llu received, missed %llu, "
                 "children %llu, refused %llu, dropped %llu, longest %.1f "
                 "ms\n",
                 (unsigned long long)kills,
                 (unsigned long long)atomic_load(&notes->published),
                 (unsigned long long)atomic_load(&notes->received),
                 (unsigned long long)atomic_load(&notes->missed),
                 (unsigned long long)atomic_load(&notes->children),
                 (unsigned long long)atomic_load(&notes->refused),
                 (unsigned long long)atomic_load(&notes->dropped),
                 (double)atomic_load(&notes->longest) / MS);
    CHECK(!atomic_load(&notes->wrong) && kills > 0);
    CHECK(atomic_load(&notes->received) > 0);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Workers use one thing, and any of them is killed at any moment:
 *
 *   PROGRAM SECONDS [NAME...]
 *
 * One is killed every 0 to 3 ms, some after a stop, and replaced. Whatever
 * happens, nobody waits for longer than a second. Each row of the program's
 * table has its share of the seconds. */
#ifndef STORM_H
#define STORM_H

#include "sync.h"

enum { WORKERS = 6, PERMITS = 3, PAGE = 4096, MEMORY = 8 * PAGE };

static memory in;

static struct {
    _Atomic uint64_t a, b; /* what is guarded: both are the same */
    _Atomic uint64_t operations, told, torn, timeouts, given;
    _Atomic uint64_t longest;         /* that anybody has waited */
    _Atomic uint64_t inside[WORKERS]; /* stay << 32 | the token of who is */
    _Atomic uint32_t stays;
    _Atomic uint32_t killed[WORKERS]; /* how often who had that place was */
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

static inline void
work(uint32_t rounds)
{
    for (volatile uint32_t i = 0; i < rounds; i++) {
    }
}

static void
must(bool condition, const char *what)
{
    if (!condition && !atomic_exchange(&notes->wrong, true)) {
        (void)fprintf(stderr, "%s\n", what);
    }
}

/* Some do not wait for as long as it takes. */
static shx_patience
some_patience(void)
{
    return shx_patience_for(any(4) != 0 ? -1 : (int64_t)any(3 * MS), NULL,
                            NULL);
}

static void
has_waited(const shx_patience *patience)
{
    uint64_t length = now() - patience->began;
    uint64_t longest = atomic_load(&notes->longest);
    while (length > longest &&
           !atomic_compare_exchange_weak(&notes->longest, &longest, length)) {
    }
}

static inline void
enter(int self, const shx_member *me)
{
    uint64_t stay = atomic_fetch_add(&notes->stays, 1);
    atomic_store(&notes->inside[self], stay << 32 | me->token);
}

static inline void
leave(int self)
{
    atomic_fetch_add(&notes->operations, 1);
    atomic_store(&notes->inside[self], 0);
}

/* How many living ones are inside at one moment, this one apart: those who
 * were before it, and are after it in the same stay. */
static inline int
others_inside(int self)
{
    int found = 0;
    uint64_t before[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        before[i] = i == self ? 0 : atomic_load(&notes->inside[i]);
    }
    for (int i = 0; i < WORKERS; i++) {
        uint32_t token = (uint32_t)before[i];
        found += token != 0 && !shx_party_is_dead(in.party, token) &&
                 atomic_load(&notes->inside[i]) == before[i];
    }
    return found;
}

/* Of who has it: `err` is what acquiring it said. */
static inline void
write_both(const shx_site *at, int self, const shx_member *me, shx_err err)
{
    enter(self, me);
    must(others_inside(self) == 0, "two had it");
    bool torn = atomic_load(&notes->a) != atomic_load(&notes->b);
    must(!torn || err == SHX_OWNER_DIED, "torn, and not told");
    atomic_fetch_add(&notes->torn, torn);
    if (torn) {
        atomic_store(&notes->b, atomic_load(&notes->a));
    }
    atomic_fetch_add(&notes->a, 1);
    work(any(200));
    atomic_fetch_add(&notes->b, 1);
    if (err == SHX_OWNER_DIED) {
        shx_lock_mend(at);
    }
    leave(self);
}

typedef struct {
    const char *name;
    int kind; /* the program's, as is the next */
    uint32_t parameter;
    void (*use)(int);   /* by a worker, until it dies */
    void (*tend)(void); /* by who kills, each time; or NULL */
} storm;

static pid_t
start_worker(const storm *of, int self)
{
    seed += UINT64_C(0x9e3779b97f4a7c15); /* another for each */
    return spawn(of->use, self);
}

static void
kill_worker(pid_t pid, bool stopped)
{
    if (stopped) {
        CHECK(kill(pid, SIGSTOP) == 0);
        sleep_for(any(5 * MS));
    }
    kill_and_wait(pid);
}

static void
rage(const storm *of, double seconds)
{
    pid_t workers[WORKERS];
    uint64_t kills = 0, seen = 0, since = now(), still = 0;
    uint64_t end = since + (uint64_t)(seconds * (double)SECOND);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = start_worker(of, i);
    }
    while (now() < end && !atomic_load(&notes->wrong)) {
        int victim = (int)any(WORKERS);
        sleep_for(any(3 * MS));
        kill_worker(workers[victim], any(20) == 0);
        kills++;
        atomic_store(&notes->inside[victim], 0);
        atomic_fetch_add(&notes->killed[victim], 1);
        workers[victim] = start_worker(of, victim);
        if (of->tend != NULL) {
            of->tend();
        }
        if (atomic_load(&notes->operations) != seen) {
            seen = atomic_load(&notes->operations);
            since = now();
        }
        still = now() - since > still ? now() - since : still;
        must(still < SECOND, "nobody has gone on for a second");
    }
    for (int i = 0; i < WORKERS; i++) {
        kill_and_wait(workers[i]);
        atomic_fetch_add(&notes->killed[i], 1);
    }
    must(atomic_load(&notes->longest) < SECOND, "waited for over a second");
    (void)printf("%-10s %6llu kills, %9llu operations, told %llu, torn %llu, "
                 "timeouts %llu, longest %.1f ms, all still %.1f ms\n",
                 of->name, (unsigned long long)kills,
                 (unsigned long long)atomic_load(&notes->operations),
                 (unsigned long long)atomic_load(&notes->told),
                 (unsigned long long)atomic_load(&notes->torn),
                 (unsigned long long)atomic_load(&notes->timeouts),
                 (double)atomic_load(&notes->longest) / MS,
                 (double)still / MS);
    (void)fflush(stdout);
    CHECK(!atomic_load(&notes->wrong) && kills > 0 && seen > 0);
}

static bool
is_asked_for(const storm *of, int argc, char **argv)
{
    bool found = argc == 2;
    for (int i = 2; i < argc; i++) {
        found = found || strcmp(argv[i], of->name) == 0;
    }
    return found;
}

/* What a program does before each round, of so many seconds at most, and
 * after it. */
typedef struct {
    void (*prepare)(const storm *of);
    void (*finish)(const storm *of); /* or NULL */
    double round;                    /* 0: there is one */
} frame;

static void
rage_in_rounds(const storm *of, double seconds, const frame *in_frame)
{
    double most = in_frame->round != 0 ? in_frame->round : seconds;
    for (double left = seconds; left > 0; left -= most) {
        (void)memset(in.bytes, 0, in.size);
        (void)memset(notes, 0, sizeof *notes);
        in_frame->prepare(of);
        rage(of, left < most ? left : most);
        if (in_frame->finish != NULL) {
            in_frame->finish(of);
            CHECK(!atomic_load(&notes->wrong));
        }
    }
}

static int
run_storms(int argc, char **argv, const storm *storms, size_t count,
           const frame *in_frame)
{
    CHECK(argc > 1 && atof(argv[1]) > 0);
    double seconds = atof(argv[1]) / (argc == 2 ? (double)count : argc - 2);
    seed = now();
    in = make_memory(MEMORY);
    notes = make_notes(sizeof *notes);
    for (size_t i = 0; i < count; i++) {
        if (is_asked_for(&storms[i], argc, argv)) {
            rage_in_rounds(&storms[i], seconds, in_frame);
        }
    }
    return 0;
}

#endif

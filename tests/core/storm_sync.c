/* SPDX-License-Identifier: MIT */
/* Workers use one synchronizer, and any of them is killed at any moment:
 *
 *   storm_sync SECONDS [KIND...]
 *
 * One is killed every 0 to 3 ms, some after a stop, and replaced. Whatever
 * happens, no two are where one may be, who finds what the dead have left half
 * written was told so, and nobody waits for longer than a second. Each kind of
 * the table below has its share of the seconds. */
#define _GNU_SOURCE

#include "core/sync/bounded_semaphore.h"
#include "core/sync/event.h"
#include "core/sync/semaphore.h"

#include "storm_groups.h"

static shx_site site;

typedef shx_err (*acquirer)(const shx_site *at, const shx_member *me,
                            shx_torn torn, shx_patience *patience);

/* Until it is had: who is told that the holder died repairs. */
static shx_err
have(acquirer acquire_it, const shx_member *me)
{
    shx_torn torn = SHX_TORN_TELLS;
    for (;;) {
        shx_patience patience = some_patience();
        shx_err err = acquire_it(&site, me, torn, &patience);
        has_waited(&patience);
        must(err == 0 || err == ETIMEDOUT || err == SHX_OWNER_DIED,
             "acquired with an error");
        if (err == 0 || (err == SHX_OWNER_DIED && torn == SHX_TORN_REPAIRS)) {
            return err;
        }
        atomic_fetch_add(&notes->timeouts, err == ETIMEDOUT);
        if (err == SHX_OWNER_DIED) {
            atomic_fetch_add(&notes->told, 1);
            torn = SHX_TORN_REPAIRS;
        }
    }
}

static void
use_lock(int self)
{
    shx_member me = me_in(in.party);
    for (;;) {
        write_both(&site, self, &me, have(shx_lock_acquire, &me));
        must(shx_lock_release(&site, &me) == 0, "not released");
        work(any(8) == 0 ? any(2000) : 0);
    }
}

static void
use_rlock(int self)
{
    shx_member me = me_in(in.party);
    for (;;) {
        shx_err err = have(shx_rlock_acquire, &me);
        shx_patience patience = shx_patience_for(0, NULL, NULL);
        shx_err again =
            shx_rlock_acquire(&site, &me, SHX_TORN_REPAIRS, &patience);
        must(again == 0 || again == SHX_OWNER_DIED, "not had again");
        must(shx_rlock_depth(&site, &me) == 2, "not had twice");
        write_both(&site, self, &me, err);
        must(shx_rlock_release(&site, &me) == 0, "not released");
        must(shx_rlock_release(&site, &me) == 0, "not released at last");
    }
}

/* Deaths are ignored: what is guarded is not looked at. */
static void
use_ignoring(int self)
{
    shx_member me = me_in(in.party);
    for (;;) {
        must(have(shx_lock_acquire, &me) == 0, "told, and should not be");
        enter(self, &me);
        must(others_inside(self) == 0, "two had it");
        work(any(200));
        leave(self);
        must(shx_lock_release(&site, &me) == 0, "not released");
    }
}

static void
use_permits(int self)
{
    shx_word hint = (uint32_t)self;
    shx_member me = me_in(in.party);
    for (;;) {
        shx_patience patience = some_patience();
        shx_err err = shx_permits_acquire(&site, &me, &hint, &patience);
        has_waited(&patience);
        must(err == 0 || err == ETIMEDOUT, "permitted with an error");
        atomic_fetch_add(&notes->timeouts, err == ETIMEDOUT);
        if (err == 0) {
            enter(self, &me);
            must(others_inside(self) < PERMITS, "more than there are permits");
            work(any(2000));
            leave(self);
            must(shx_permits_release(&site, &me, &hint, 1) == 0, "not ours");
        }
    }
}

/* The units come from outside of the storm, one by one. */
static void
use_units(int self)
{
    (void)self;
    for (;;) {
        shx_patience patience = some_patience();
        shx_err err = shx_semaphore_acquire(&site, &patience);
        has_waited(&patience);
        must(err == 0 || err == ETIMEDOUT, "acquired with an error");
        atomic_fetch_add(err == 0 ? &notes->operations : &notes->timeouts, 1);
    }
}

static void
give_units(void)
{
    enum { UNITS = 20 };
    for (uint32_t i = any(UNITS); i > 0; i--) {
        atomic_fetch_add(&notes->given, 1);
        CHECK(shx_semaphore_release(&site, 1) == 0);
    }
    must(atomic_load(&notes->operations) <= atomic_load(&notes->given),
         "more units than were given");
}

/* Two set and clear, and each of the others sees some of that. */
static void
use_event(int self)
{
    for (;;) {
        if (self < 2) {
            shx_event_set(&site);
            work(any(3000));
            shx_event_clear(&site);
            sleep_for(any(50) == 0 ? any(MS) : 0);
            continue;
        }
        shx_patience patience = shx_patience_for(-1, NULL, NULL);
        shx_err err = shx_event_wait(&site, shx_event_times(&site), &patience);
        has_waited(&patience);
        must(err == 0, "waited with an error");
        atomic_fetch_add(&notes->operations, 1);
    }
}

typedef struct {
    const char *name;
    int kind; /* 0: see groups.h */
    uint32_t parameter;
    void (*use)(int);   /* by a worker, until it dies */
    void (*tend)(void); /* by who kills, each time; or NULL */
} storm;

static const storm storms[] = {
    {"lock", SHX_CELL_LOCK, 0, use_lock, NULL},
    {"ignoring", SHX_CELL_LOCK, SHX_IGNORES_DEATH, use_ignoring, NULL},
    {"rlock", SHX_CELL_RLOCK, 0, use_rlock, NULL},
    {"semaphore", SHX_CELL_SEMAPHORE, 0, use_units, give_units},
    {"bounded", SHX_CELL_BOUNDED_SEMAPHORE, PERMITS, use_permits, NULL},
    {"event", SHX_CELL_EVENT, 0, use_event, NULL},
    {"rwlock", 0, 0, use_rwlock, NULL},
    {"condition", 0, 0, use_condition, NULL},
    {"items", 0, 0, take_items, make_items},
    {"barrier", 0, 0, use_barrier, mend_barrier},
};

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
    uint64_t kills = 0, seen = 0, since = now();
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
        workers[victim] = start_worker(of, victim);
        if (of->tend != NULL) {
            of->tend();
        }
        if (atomic_load(&notes->operations) != seen) {
            seen = atomic_load(&notes->operations);
            since = now();
        }
        must(now() - since < SECOND, "nobody has gone on for a second");
    }
    for (int i = 0; i < WORKERS; i++) {
        kill_and_wait(workers[i]);
    }
    must(atomic_load(&notes->longest) < SECOND, "waited for over a second");
    (void)printf("%-10s %6llu kills, %9llu operations, told %llu, torn %llu, "
                 "timeouts %llu, longest %.1f ms\n",
                 of->name, (unsigned long long)kills,
                 (unsigned long long)atomic_load(&notes->operations),
                 (unsigned long long)atomic_load(&notes->told),
                 (unsigned long long)atomic_load(&notes->torn),
                 (unsigned long long)atomic_load(&notes->timeouts),
                 (double)atomic_load(&notes->longest) / MS);
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

int
main(int argc, char **argv)
{
    size_t count = sizeof storms / sizeof *storms;
    CHECK(argc > 1 && atof(argv[1]) > 0);
    double seconds = atof(argv[1]) / (argc == 2 ? (double)count : argc - 2);
    seed = now();
    in = make_memory(PAGE);
    notes = make_notes(sizeof *notes);
    for (size_t i = 0; i < count; i++) {
        if (is_asked_for(&storms[i], argc, argv)) {
            (void)memset(in.bytes, 0, in.size);
            (void)memset(notes, 0, sizeof *notes);
            if (storms[i].kind == 0) {
                make_groups(&in, 0, WORKERS);
            }
            else {
                site = make_site(&in, 0, 1024, (shx_cell_kind)storms[i].kind,
                                 storms[i].parameter);
            }
            rage(&storms[i], seconds);
        }
    }
    return 0;
}

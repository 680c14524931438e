/* SPDX-License-Identifier: MIT */
/* The locks of csrc/core with no Python near them, and the robust mutex of
 * pthread, which processes share and which says that its holder died.
 *
 * Reads lines "WORK SIDE NUMBER NUMBER" and answers each with a number. SIDE
 * is core, robust, or bare: the two compare-exchanges that it takes, which
 * nobody can wait for.
 *
 *   pair       taken and given back so often by one: nanoseconds of once
 *   contended  two do, for 50 ms, with so many steps while they have it and so
 *              many until they take it again: nanoseconds of a turn of either
 *   death      another has slept for so many milliseconds when its holder is
 *              killed: milliseconds until that one has it
 *   readers    so many read, and a writer has slept for so many milliseconds,
 *              when all of them are killed: milliseconds until it writes
 *   sleepers   so many sleep; they are looked at for so many milliseconds: %
 * of a core first      microseconds of the first lock of a process, from a
 * memory that is mapped to a lock that is taken. It must be asked first
 *
 * The arguments, if there are any, are the CPUs of the two.
 */
#define _GNU_SOURCE

#include <pthread.h>
#include <sched.h> /* sched_setaffinity */
#include <stdlib.h>
#include <time.h> /* clock_getcpuclockid */

#include "core/sync/rwlock.h"

#include "sync.h"

enum {
    SIZE = 4096,
    MUTEX = 64, /* where it lies */
    RWLOCK = 1024,
    READERS = 64,
    MOST = 2000,
    STUCK = 100, /* seconds, after which nothing comes any more */
};

static const int64_t contended_for = 50 * MS;
static const int64_t settled_after = 300 * MS; /* when slices are long */

static memory in;
static shx_site lock, rwlock;
static pthread_mutex_t *robust;
static int cpus[2] = {-1, -1};

static struct {
    _Atomic int ready; /* how many have what they want, or want it */
    _Atomic int go;    /* 1: begin, 2: stop */
    _Atomic uint64_t got, turns;
    uint64_t inside; /* turns too, counted by whoever has the lock */
} * notes;

typedef struct {
    void (*take)(void);
    void (*give)(void);
    void (*inherit)(void); /* from one who is dead */
} side;

static side of;
static long first_number, second_number;

static void
take_core(void)
{
    shx_member me;
    CHECK(shx_party_me(lock.party, &me) == 0);
    if (!shx_lock_take(&lock, &me)) {
        CHECK(acquire(&lock, -1) == 0);
    }
}

static void
give_core(void)
{
    CHECK(release(&lock) == 0);
}

static void
inherit_core(void)
{
    CHECK(acquire_torn(&lock, -1) == SHX_OWNER_DIED);
    shx_lock_mend(&lock);
}

static void
take_bare(void)
{
    uint32_t none = 0;
    CHECK(atomic_compare_exchange_strong(&lock.cell->word, &none, 1));
}

static void
give_bare(void)
{
    uint32_t mine = 1;
    CHECK(atomic_compare_exchange_strong(&lock.cell->word, &mine, 0));
}

static void
take_robust(void)
{
    CHECK(pthread_mutex_lock(robust) == 0);
}

static void
give_robust(void)
{
    CHECK(pthread_mutex_unlock(robust) == 0);
}

static void
inherit_robust(void)
{
    CHECK(pthread_mutex_lock(robust) == EOWNERDEAD);
    CHECK(pthread_mutex_consistent(robust) == 0);
}

static const struct {
    const char *name;
    side does;
} sides[] = {
    {"core", {take_core, give_core, inherit_core}},
    {"robust", {take_robust, give_robust, inherit_robust}},
    {"bare", {take_bare, give_bare, NULL}},
};

static void
begin_anew(void)
{
    if (in.bytes == NULL) {
        in = make_memory(SIZE);
        notes = make_notes(sizeof *notes);
    }
    (void)memset(in.bytes, 0, in.size);
    (void)memset(notes, 0, sizeof *notes);
    lock = make_lock(&in, 0, 0);
    rwlock = make_site(&in, RWLOCK, SIZE - RWLOCK, SHX_CELL_RWLOCK, READERS);
    pthread_mutexattr_t kind;
    robust = (pthread_mutex_t *)(void *)(in.bytes + MUTEX);
    CHECK(pthread_mutexattr_init(&kind) == 0);
    CHECK(pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED) == 0);
    CHECK(pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST) == 0);
    CHECK(pthread_mutex_init(robust, &kind) == 0);
}

/* A system that is busy may take its time. */
static void
wait_until_ready(int count)
{
    while (atomic_load(&notes->ready) < count) {
        sleep_for(MS / 10);
    }
}

static void
be_ready(void)
{
    (void)atomic_fetch_add(&notes->ready, 1);
}

static double
pair(void)
{
    uint64_t start = now();
    for (long done = 0; done < first_number; done++) {
        of.take();
        of.give();
    }
    return (double)(now() - start) / (double)first_number;
}

/* Two who want it all the time. */

static void
steps(long count)
{
    for (volatile long done = 0; done < count; done++) {
    }
}

static void
contend(int number)
{
    if (cpus[number] >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpus[number], &set);
        (void)sched_setaffinity(0, sizeof set, &set);
    }
    be_ready();
    while (atomic_load(&notes->go) == 0) {
        (void)sched_yield();
    }
    uint64_t turns = 0;
    for (; atomic_load(&notes->go) == 1; turns++) {
        of.take();
        steps(first_number);
        notes->inside++;
        of.give();
        steps(second_number);
    }
    (void)atomic_fetch_add(&notes->turns, turns);
}

static double
contended(void)
{
    pid_t pids[2] = {spawn(contend, 0), spawn(contend, 1)};
    wait_until_ready(2);
    uint64_t start = now();
    atomic_store(&notes->go, 1);
    sleep_for(contended_for);
    atomic_store(&notes->go, 2);
    double elapsed = (double)(now() - start);
    check_ended(pids[0]);
    check_ended(pids[1]);
    CHECK(notes->inside == atomic_load(&notes->turns));
    return elapsed / (double)notes->inside;
}

/* The dead. */

static void
hold(int number)
{
    (void)number;
    of.take();
    be_ready();
    (void)pause();
}

static void
inherit(int number)
{
    (void)number;
    of.inherit();
    atomic_store(&notes->got, now());
    of.give();
}

/* Who waits is asleep, and has been. */
static void
let_sleep(pid_t pid, long milliseconds)
{
    wait_until_it_is(pid, 'S');
    sleep_for(milliseconds * MS);
}

static double
since(uint64_t start)
{
    return (double)(atomic_load(&notes->got) - start) / (double)MS;
}

static double
death(void)
{
    pid_t holder = spawn(hold, 0);
    wait_until_ready(1);
    pid_t heir = spawn(inherit, 0);
    let_sleep(heir, first_number);
    uint64_t start = now();
    kill_and_wait(holder);
    check_ended(heir);
    return since(start);
}

static shx_rwlock_memory *
remembered(void)
{
    shx_rwlock_memory *made = calloc(1, shx_rwlock_memory_size(READERS));
    CHECK(made != NULL);
    return made;
}

static void
read_on(int number)
{
    (void)number;
    shx_member me = me_in(in.party);
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    CHECK(shx_rwlock_read(&rwlock, remembered(), &me, &patience) == 0);
    be_ready();
    (void)pause();
}

static void
write_once(int number)
{
    (void)number;
    shx_member me = me_in(in.party);
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    CHECK(shx_rwlock_write(&rwlock, remembered(), &me, SHX_TORN_TELLS,
                           &patience) == 0);
    atomic_store(&notes->got, now());
    CHECK(shx_rwlock_release_write(&rwlock, &me) == 0);
}

/* A group, which one signal kills. */
static pid_t
spawn_many(void (*run)(int), long count, pid_t *pids)
{
    CHECK(count <= MOST);
    for (long i = 0; i < count; i++) {
        pids[i] = spawn(run, (int)i);
        CHECK(setpgid(pids[i], pids[0]) == 0);
    }
    return pids[0];
}

static void
bury(const pid_t *pids, long count)
{
    for (long i = 0; i < count; i++) {
        CHECK(waitpid(pids[i], NULL, 0) == pids[i]);
    }
}

static double
readers(void)
{
    pid_t pids[MOST];
    pid_t group = spawn_many(read_on, first_number, pids);
    wait_until_ready((int)first_number);
    pid_t writer = spawn(write_once, 0);
    let_sleep(writer, second_number);
    uint64_t start = now();
    CHECK(kill(-group, SIGKILL) == 0);
    check_ended(writer);
    bury(pids, first_number);
    return since(start);
}

/* Those who sleep. */

static void
sleep_on(int number)
{
    (void)number;
    be_ready();
    (void)acquire(&lock, -1);
}

static double
spent(const pid_t *pids, long count)
{
    double sum = 0;
    for (long i = 0; i < count; i++) {
        clockid_t clock;
        struct timespec time;
        CHECK(clock_getcpuclockid(pids[i], &clock) == 0);
        CHECK(clock_gettime(clock, &time) == 0);
        sum += (double)time.tv_sec * (double)SECOND + (double)time.tv_nsec;
    }
    return sum;
}

static double
sleepers(void)
{
    pid_t pids[MOST];
    take_core();
    pid_t group = spawn_many(sleep_on, first_number, pids);
    wait_until_ready((int)first_number);
    sleep_for(settled_after);
    uint64_t start = now();
    double before = spent(pids, first_number);
    sleep_for(second_number * MS);
    double took = spent(pids, first_number) - before;
    double elapsed = (double)(now() - start);
    CHECK(kill(-group, SIGKILL) == 0);
    bury(pids, first_number);
    give_core();
    return took / elapsed * 100;
}

static double
first(void)
{
    CHECK(in.bytes == NULL && shx_os_create_anonymous(&in.fd) == 0);
    CHECK(shx_os_resize(in.fd, SIZE) == 0);
    in.bytes = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, in.fd, 0);
    CHECK(in.bytes != MAP_FAILED);
    int kept;
    uint64_t start = now();
    CHECK(shx_os_duplicate(in.fd, &kept) == 0);
    CHECK(shx_party_join(kept, NULL, &in.party) == 0);
    in.size = SIZE;
    lock = make_lock(&in, 0, 0);
    take_core();
    return (double)(now() - start) / 1e3;
}

static double
run(const char *what, const char *who)
{
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        if (strcmp(who, sides[i].name) == 0) {
            of = sides[i].does;
        }
    }
    CHECK(of.take != NULL && "no such side");
    static const struct {
        const char *name;
        double (*measure)(void);
    } works[] = {
        {"pair", pair},       {"contended", contended}, {"death", death},
        {"readers", readers}, {"sleepers", sleepers},
    };
    if (strcmp(what, "first") == 0) {
        return first();
    }
    begin_anew();
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        if (strcmp(what, works[i].name) == 0) {
            return works[i].measure();
        }
    }
    CHECK(0 && "no such work");
    return 0;
}

int
main(int argc, char **argv)
{
    char what[16], who[16];
    for (int i = 0; i < 2 && argc == 3; i++) {
        cpus[i] = atoi(argv[i + 1]);
    }
    while (scanf("%15s %15s %ld %ld", what, who, &first_number,
                 &second_number) == 4) {
        (void)alarm(STUCK);
        (void)printf("%.4f\n", run(what, who));
        (void)fflush(stdout);
    }
    return 0;
}

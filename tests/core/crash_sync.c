/* SPDX-License-Identifier: MIT */
/* A SIGKILL after every single instruction of an operation:
 *
 *   crash_sync [POINTS [NAME]]
 *
 * A victim is traced and goes on instruction by instruction; after k of them
 * it is killed, for each k until it comes to the end. Then all must be
 * recoverable, in time, and told. An operation of more instructions than
 * POINTS is killed in as many pieces of it only, each at a random place of the
 * piece: to get there takes a system call an instruction. A row of the table
 * below is an operation; NAME is how its name begins. */
#define _GNU_SOURCE

#include <sys/ptrace.h>
#include <sys/syscall.h> /* SYS_clone */

#include "core/sync/rlock.h"

#include "sync.h"

enum { SLEEPERS = 2, PAGE = 4096, MANY = 1000000 };

static memory in;
static shx_site lock, rlock, ignoring;

/* What the lock guards: who was in the middle of it left two that differ. And
 * what the sleepers say. */
static struct {
    _Atomic uint64_t a, b;
    _Atomic bool done[SLEEPERS];
    _Atomic shx_err got[SLEEPERS];
} * notes;

/* Of the row that is run. */
static struct {
    int told;
    int torn;
    uint64_t killed; /* when */
    uint64_t longest;
} seen;

static void
write_both(void)
{
    atomic_fetch_add(&notes->a, 1);
    atomic_fetch_add(&notes->b, 1);
}

static void
took(void)
{
    uint64_t length = now() - seen.killed;
    seen.longest = length > seen.longest ? length : seen.longest;
}

/* What it does before the knife is there, and under it. */

static void
do_nothing(void)
{
}

static void
lock_it(void)
{
    CHECK(acquire(&lock, SECOND) == 0);
}

static void
use_lock(void)
{
    (void)acquire(&lock, SECOND);
    write_both();
    (void)release(&lock);
}

static void
try_lock(void)
{
    (void)try_acquire(&lock);
    write_both();
    (void)release(&lock);
}

static void
release_lock(void)
{
    write_both();
    (void)release(&lock);
}

static void
use_ignoring(void)
{
    (void)acquire(&ignoring, SECOND);
    (void)release(&ignoring);
}

static void
use_rlock(void)
{
    shx_member me = me_in(in.party);
    shx_patience patience = shx_patience_for(SECOND, NULL, NULL);
    (void)shx_rlock_acquire(&rlock, &me, SHX_TORN_TELLS, &patience);
    (void)shx_rlock_acquire(&rlock, &me, SHX_TORN_TELLS, &patience);
    write_both();
    (void)shx_rlock_release(&rlock, &me);
    (void)shx_rlock_release(&rlock, &me);
}

/* Holds it over a fork: what was made for the child is not its parent's. */
static void
hold_and_fork(void)
{
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(1);
        (void)pause();
        _exit(0);
    }
    (void)release(&lock);
}

static void
leave_and_join(void)
{
    int fd;
    shx_party *party;
    if (shx_os_duplicate(in.fd, &fd) == 0) {
        shx_party_leave(in.party);
        (void)shx_party_join(fd, NULL, &party);
        in.party = lock.party = party;
    }
    use_lock();
}

static void
make_cell(void)
{
    lock = make_lock(&in, 1024, 0);
    use_lock();
}

/* Another one has died inside: this one finds it, and tells, or repairs. */

static void
die_inside(int number)
{
    (void)number;
    CHECK(acquire(&lock, SECOND) == 0);
    atomic_fetch_add(&notes->a, 1);
}

static void
have_one_die_inside(void)
{
    check_ended(spawn(die_inside, 0));
}

static void
have_it_torn(void)
{
    have_one_die_inside();
    CHECK(acquire(&lock, SECOND) == SHX_OWNER_DIED);
}

static void
repair_lock(void)
{
    if (acquire_torn(&lock, SECOND) == SHX_OWNER_DIED) {
        atomic_store(&notes->b, atomic_load(&notes->a));
    }
    (void)release(&lock);
}

static void
give_up_repair(void)
{
    shx_member me = me_in(in.party);
    (void)acquire_torn(&lock, SECOND);
    (void)shx_lock_release_torn(&lock, &me);
}

/* Those who wait meanwhile. */

static void
done(int number, shx_err got)
{
    atomic_store(&notes->got[number], got);
    atomic_store(&notes->done[number], true);
}

static void
wait_for_lock(int number)
{
    shx_err err = acquire(&lock, -1);
    done(number, err);
    if (err == 0) {
        (void)release(&lock);
    }
}

/* Afterwards. */

static void
check_told(shx_err err)
{
    CHECK(err == 0 || err == SHX_OWNER_DIED);
    if (atomic_load(&notes->a) != atomic_load(&notes->b)) {
        seen.torn++;
        CHECK(err == SHX_OWNER_DIED);
    }
    seen.told += err == SHX_OWNER_DIED;
}

static void
check_lock(void)
{
    shx_err err = acquire(&lock, 2 * SECOND);
    took();
    check_told(err);
    if (err == SHX_OWNER_DIED) {
        CHECK(acquire_torn(&lock, 0) == SHX_OWNER_DIED);
    }
    CHECK(release(&lock) == 0);
    CHECK(acquire(&lock, 0) == 0 && release(&lock) == 0);
}

static void
check_new_cell(void)
{
    make_cell();
    check_lock();
}

static void
check_ignoring(void)
{
    CHECK(acquire(&ignoring, 2 * SECOND) == 0);
    took();
    CHECK(release(&ignoring) == 0);
}

static void
check_rlock(void)
{
    shx_member me = me_in(in.party);
    shx_patience patience = shx_patience_for(2 * SECOND, NULL, NULL);
    shx_err err = shx_rlock_acquire(&rlock, &me, SHX_TORN_TELLS, &patience);
    took();
    check_told(err);
    if (err == SHX_OWNER_DIED) {
        patience = shx_patience_for(0, NULL, NULL);
        CHECK(shx_rlock_acquire(&rlock, &me, SHX_TORN_REPAIRS, &patience) ==
              SHX_OWNER_DIED);
    }
    CHECK(shx_rlock_depth(&rlock, &me) == 1);
    CHECK(shx_rlock_release(&rlock, &me) == 0);
    CHECK(shx_rlock_depth(&rlock, &me) == 0);
}

/* Each of them goes on, whether the victim came so far as to wake one. */
static void
check_sleepers(void)
{
    for (int i = 0; i < SLEEPERS; i++) {
        SOON(atomic_load(&notes->done[i]));
        check_told(atomic_load(&notes->got[i]));
    }
    took();
    check_lock();
}

/* Told, or repaired: but one of the two. */
static void
check_repaired(void)
{
    shx_err err = acquire(&lock, 2 * SECOND);
    took();
    check_told(err);
    CHECK(err == SHX_OWNER_DIED || release(&lock) == 0);
}

static void
check_still_torn(void)
{
    CHECK(acquire(&lock, 2 * SECOND) == SHX_OWNER_DIED);
    took();
    seen.told++;
}

typedef struct {
    const char *name;
    void (*prepare)(void);
    void (*operate)(void);
    void (*check)(void);
    void (*sleeper)(int); /* or NULL */
    bool cloned;          /* by clone(2): it is nobody yet */
} row;

static const row rows[] = {
    {"lock", do_nothing, use_lock, check_lock, NULL, false},
    {"lock: without waiting", do_nothing, try_lock, check_lock, NULL, false},
    {"lock: in a new cell", do_nothing, make_cell, check_new_cell, NULL,
     false},
    {"lock: release, two asleep", lock_it, release_lock, check_sleepers,
     wait_for_lock, false},
    {"lock: over fork", lock_it, hold_and_fork, check_lock, NULL, false},
    {"lock: first use", do_nothing, use_lock, check_lock, NULL, true},
    {"lock: leave and join", do_nothing, leave_and_join, check_lock, NULL,
     false},
    {"lock: the dead found", have_one_die_inside, use_lock, check_still_torn,
     NULL, false},
    {"lock: torn", have_it_torn, use_lock, check_still_torn, NULL, false},
    {"lock: repair", have_it_torn, repair_lock, check_repaired, NULL, false},
    {"lock: repair given up", have_it_torn, give_up_repair, check_still_torn,
     NULL, false},
    {"lock: ignoring", do_nothing, use_ignoring, check_ignoring, NULL, false},
    {"rlock", do_nothing, use_rlock, check_rlock, NULL, false},
};

static void
begin_anew(void)
{
    (void)memset(in.bytes, 0, in.size);
    (void)memset(notes, 0, sizeof *notes);
    lock = make_lock(&in, 0, 0);
    rlock = make_site(&in, 64, 64, SHX_CELL_RLOCK, 0);
    ignoring = make_lock(&in, 128, SHX_IGNORES_DEATH);
}

static pid_t
start_victim(const row *of)
{
    int status;
    pid_t pid =
        of->cloned ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        of->prepare();
        CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
        (void)raise(SIGSTOP);
        of->operate();
        (void)raise(SIGUSR1);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
    CHECK(WSTOPSIG(status) == SIGSTOP);
    return pid;
}

/* How many it has gone: fewer than asked, if it has come to the end. */
static int
step(pid_t victim, int steps)
{
    for (int i = 0; i < steps; i++) {
        int status;
        CHECK(ptrace(PTRACE_SINGLESTEP, victim, 0, 0) == 0);
        CHECK(waitpid(victim, &status, 0) == victim && WIFSTOPPED(status));
        if (WSTOPSIG(status) == SIGUSR1) {
            return i;
        }
        CHECK(WSTOPSIG(status) == SIGTRAP);
    }
    return steps;
}

/* After so many instructions, or as many as there are. */
static int
kill_after(const row *of, int steps)
{
    pid_t sleepers[SLEEPERS];
    begin_anew();
    pid_t victim = start_victim(of);
    for (int i = 0; of->sleeper != NULL && i < SLEEPERS; i++) {
        sleepers[i] = spawn(of->sleeper, i);
        wait_until_it_is(sleepers[i], 'S');
    }
    int gone = step(victim, steps);
    seen.killed = now();
    kill_and_wait(victim);
    of->check();
    for (int i = 0; of->sleeper != NULL && i < SLEEPERS; i++) {
        kill_and_wait(sleepers[i]);
    }
    return gone;
}

static void
run_row(const row *of, int most)
{
    (void)memset(&seen, 0, sizeof seen);
    int length = kill_after(of, MANY), points = 1;
    CHECK(length < MANY);
    for (; points <= length && points <= most; points++) {
        int piece = length <= most ? 1 : length / most;
        (void)kill_after(of, (points - 1) * piece + rand() % piece);
    }
    (void)printf(
        "%-28s %5d of %5d points, told %d, torn %d, longest %.1f ms\n",
        of->name, points, length + 1, seen.told, seen.torn,
        (double)seen.longest / MS);
    (void)fflush(stdout); /* before the next child has it too */
    CHECK(seen.longest < SECOND);
}

int
main(int argc, char **argv)
{
    int most = argc > 1 ? atoi(argv[1]) : MANY;
    const char *only = argc > 2 ? argv[2] : "";
    CHECK(most > 0);
    srand((unsigned)now());
    in = make_memory(PAGE);
    notes = make_notes(PAGE);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strncmp(rows[i].name, only, strlen(only)) == 0) {
            run_row(&rows[i], most);
        }
    }
    return 0;
}

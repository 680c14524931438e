/* SPDX-License-Identifier: MIT */
/* A SIGKILL after every single instruction of an operation:
 *
 *   PROGRAM [POINTS [NAME]]
 *
 * A victim is traced and goes on instruction by instruction; after k of them
 * it is killed, for each k until it comes to the end. Then all must be
 * recoverable, in time, and told. An operation of more instructions than
 * POINTS is killed in as many pieces of it only, each at a random place of the
 * piece: to get there takes a system call an instruction. A row of the
 * program's table is an operation; NAME is how its name begins. */
#ifndef CRASH_H
#define CRASH_H

#include <sys/ptrace.h>
#include <sys/syscall.h> /* SYS_clone */

#include "sync.h"

/* A program may say that it needs more. */
#ifndef CRASH_MEMORY
#define CRASH_MEMORY (4 * 4096)
#endif

enum { SLEEPERS = 2, PAGE = 4096, MEMORY = CRASH_MEMORY, MANY = 1000000 };

static memory in;

/* What the lock guards: who was in the middle of it left two that differ. And
 * what the sleepers say. */
static struct {
    _Atomic uint64_t a, b;
    _Atomic bool done[SLEEPERS];
    _Atomic shx_err got[SLEEPERS];
} * notes;

/* That others may stand still. */
static uint64_t promised = SECOND;

/* Of the row that is run. */
static struct {
    int told;
    int torn;
    uint64_t killed; /* when */
    uint64_t took;   /* since then */
    uint64_t longest;
} seen;

static inline void
write_both(void)
{
    atomic_fetch_add(&notes->a, 1);
    atomic_fetch_add(&notes->b, 1);
}

static inline void
took(void)
{
    seen.took = now() - seen.killed;
}

static inline void
done(int number, shx_err got)
{
    atomic_store(&notes->got[number], got);
    atomic_store(&notes->done[number], true);
}

static inline void
check_told(shx_err err)
{
    CHECK(err == 0 || err == SHX_OWNER_DIED);
    if (atomic_load(&notes->a) != atomic_load(&notes->b)) {
        seen.torn++;
        CHECK(err == SHX_OWNER_DIED);
    }
    seen.told += err == SHX_OWNER_DIED;
}

typedef struct {
    const char *name;
    void (*prepare)(void);
    void (*operate)(void);
    void (*check)(void);
    void (*sleeper)(int); /* or NULL */
    enum {
        USUAL,
        CLONED, /* the victim, by clone(2): it is nobody yet */
        LAST,   /* the sleepers are there before it has prepared */
        PAUSED, /* the victim, which ends by itself: one "sleeper" meanwhile */
    } comes;
} row;

/* The program's: a first state. */
static void begin_anew(void);

static pid_t
start_victim(const row *of)
{
    int status;
    pid_t parent = getpid();
    pid_t pid = of->comes == CLONED
                    ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)
                    : fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        die_with(parent);
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

static void
go_on(pid_t victim)
{
    int status;
    CHECK(ptrace(PTRACE_CONT, victim, 0, 0) == 0);
    CHECK(waitpid(victim, &status, 0) == victim && WIFSTOPPED(status));
    CHECK(WSTOPSIG(status) == SIGUSR1);
}

static int
sleepers_of(const row *of)
{
    return of->sleeper == NULL || of->comes == PAUSED ? 0 : SLEEPERS;
}

static void
start_sleepers(const row *of, pid_t sleepers[SLEEPERS])
{
    for (int i = 0; i < sleepers_of(of); i++) {
        sleepers[i] = spawn(of->sleeper, i);
        wait_until_it_is(sleepers[i], 'S');
    }
}

static int
kill_once(const row *of, int steps)
{
    pid_t sleepers[SLEEPERS], victim;
    seen.took = 0;
    begin_anew();
    if (of->comes == LAST) {
        start_sleepers(of, sleepers);
        victim = start_victim(of);
    }
    else {
        victim = start_victim(of);
        start_sleepers(of, sleepers);
    }
    int gone = step(victim, steps);
    if (of->comes == PAUSED) {
        check_ended(spawn(of->sleeper, 0));
        if (gone == steps) {
            go_on(victim);
        }
    }
    seen.killed = now();
    kill_and_wait(victim);
    of->check();
    for (int i = 0; i < sleepers_of(of); i++) {
        kill_and_wait(sleepers[i]);
    }
    return gone;
}

/* After so many instructions, or as many as there are. In time once in five
 * times at least: others use the machine, too. */
static int
kill_after(const row *of, int steps)
{
    int gone = kill_once(of, steps);
    for (int tries = 1; seen.took >= promised && tries < 5; tries++) {
        gone = kill_once(of, steps);
    }
    seen.longest = seen.took > seen.longest ? seen.took : seen.longest;
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
    CHECK(seen.longest < promised);
}

static int
run_rows(int argc, char **argv, const row *rows, size_t count)
{
    int most = argc > 1 ? atoi(argv[1]) : MANY;
    const char *only = argc > 2 ? argv[2] : "";
    CHECK(most > 0);
    srand((unsigned)now());
    in = make_memory(MEMORY);
    notes = make_notes(PAGE);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(rows[i].name, only, strlen(only)) == 0) {
            run_row(&rows[i], most);
        }
    }
    return 0;
}

#endif

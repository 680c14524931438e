/* SPDX-License-Identifier: MIT */
/* Starting a program that is nobody's child, without fork(): a fork would
 * copy the page tables of a process that may hold gigabytes, and run its
 * atfork handlers.
 *
 *   application ---clone---> in between ---clone---> execve(program)
 *                            exits at once           now init's child
 *
 * Both clones share our memory, each on a stack of its own. The one in between
 * stops us until it is gone, as vfork(2) does; it has no exit signal, so no
 * SIGCHLD is sent and no wait() of the application can see it. The program's
 * own process runs beside us until its execve(): what it needs until then is
 * never unmapped. It writes nothing, not even errno as long as that succeeds.
 *
 * Until then it shares what we have mapped, too: killed in that moment, we
 * would seem to live on. So who has something to be missed waits: the kernel
 * sets a word to 0, and wakes who waits for that, when a process leaves the
 * memory that it shares.
 */
#define _GNU_SOURCE

#include "core/os/os.h"

#include <errno.h>
#include <fcntl.h>  /* open */
#include <limits.h> /* PATH_MAX */
#include <linux/futex.h>
#include <sched.h>  /* clone */
#include <signal.h> /* sigfillset, pthread_sigmask */
#include <stdatomic.h>
#include <string.h>      /* memcmp, memcpy, strlen */
#include <sys/mman.h>    /* mmap: the stacks */
#include <sys/prctl.h>   /* PR_GET_CHILD_SUBREAPER */
#include <sys/stat.h>    /* umask */
#include <sys/syscall.h> /* SYS_futex */
#include <sys/wait.h>    /* waitpid, __WALL */
#include <unistd.h>      /* access, dup2, execve, readlink, setsid, syscall */

enum { STACK = 16 << 10 };

/* close_range(2) by its number, which has been the same on every architecture
 * since 2019: musl, and glibc before 2.34, have no function of that name. */
enum { CLOSE_RANGE = 436 };

typedef struct {
    char program[PATH_MAX];
    char argument[PATH_MAX];
    int error;
    pid_t starter;       /* a forked child has a copy of all this */
    _Atomic(int) beside; /* 0: the program's process has left our memory */
    _Alignas(16) char between[STACK];
    _Alignas(16) char last[STACK]; /* the program's, before it is one */
} start;

/* The last one, while it may be beside us. */
static _Atomic(start *) started;

/* What runs on the stacks below leaves no marks in a sanitizer's shadow: the
 * addresses are other memory's afterwards. */
#define UNMARKED __attribute__((no_sanitize("address")))

UNMARKED static int
run_program(void *context)
{
    start *self = context;
    char *const argv[] = {self->program, self->argument, NULL};
    char *const environment[] = {NULL};
    (void)execve(self->program, argv, environment);
    return 127;
}

UNMARKED static int
run_between(void *context)
{
    start *self = context;
    (void)setsid(); /* for both, so that killpg() of ours never finds them */
    atomic_store(&self->beside, 1);
    if (clone(run_program, self->last + STACK, CLONE_VM | CLONE_CHILD_CLEARTID,
              self, NULL, NULL, &self->beside) < 0) {
        self->error = errno;
    }
    return 0;
}

/* Would an orphan of ours come back to this application? A child subreaper
 * says so itself; an init that runs our own program is taken for one. */
static bool
adopts_orphans(void)
{
    int subreaper = 0;
    if (getpid() == 1 ||
        (prctl(PR_GET_CHILD_SUBREAPER, &subreaper) == 0 && subreaper)) {
        return true;
    }
    char ours[PATH_MAX], inits[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", ours, sizeof ours);
    ssize_t other = readlink("/proc/1/exe", inits, sizeof inits);
    return length > 0 && length == other &&
           memcmp(ours, inits, (size_t)length) == 0;
}

shx_err
shx_os_start_detached(const char *program, const char *argument)
{
    if (adopts_orphans()) {
        return 0;
    }
    if (access(program, X_OK) != 0) {
        return errno;
    }
    if (strlen(program) >= PATH_MAX || strlen(argument) >= PATH_MAX) {
        return ENAMETOOLONG;
    }
    start *self = mmap(NULL, sizeof *self, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (self == MAP_FAILED) {
        return errno;
    }
    memcpy(self->program, program, strlen(program) + 1);
    memcpy(self->argument, argument, strlen(argument) + 1);
    self->starter = getpid();
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int child = clone(run_between, self->between + STACK,
                      CLONE_VM | CLONE_VFORK, self);
    shx_err err = child < 0 ? errno : self->error;
    while (child > 0 && waitpid(child, NULL, __WALL) < 0 && errno == EINTR) {
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0) {
        (void)munmap(self, sizeof *self);
    }
    else {
        atomic_store(&started, self);
    }
    return err;
}

/* A program that cannot be read, from a disk that is gone, is not waited for
 * for ever. One waiter is woken: others look again. */
void
shx_os_await_started(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    start *self = atomic_load(&started);
    if (self == NULL) {
        return;
    }
    if (self->starter == getpid()) {
        for (int i = 0; i < 1000 && atomic_load(&self->beside) != 0; i++) {
            (void)syscall(SYS_futex, &self->beside, FUTEX_WAIT, 1, &moment);
        }
    }
    (void)atomic_compare_exchange_strong(&started, &self, NULL);
}

shx_err
shx_os_detach(void)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    (void)setsid();
    (void)umask(0077);
    int null = open("/dev/null", O_RDWR);
    if (chdir("/") != 0 || null < 0) {
        return errno;
    }
    for (int fd = 0; fd <= 2; fd++) {
        if (dup2(null, fd) < 0) {
            return errno;
        }
    }
    if (syscall(CLOSE_RANGE, 3u, ~0u, 0u) != 0) {
        for (int fd = (int)sysconf(_SC_OPEN_MAX) - 1; fd > 2; fd--) {
            (void)close(fd);
        }
    }
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Starting a program that is nobody's child, without fork(): a fork would
 * copy the page tables of a process that may hold gigabytes, and run its
 * atfork handlers.
 *
 *   application ---clone---> in between ---clone---> execve(program)
 *   stopped                  stopped, then exits     now init's child
 *
 * Both clones share our memory, each on a stack of its own. That of the one in
 * between has no exit signal, so no SIGCHLD is sent and no wait() of the
 * application can see it.
 *
 * They share what the C library keeps for a thread, too, and so are the same
 * thread to it: to errno, and to the locks that a thread may take twice or,
 * where there is only one, without asking the others. Whatever stands before a
 * call of ours, as preloaded libraries do before execve(), may use those. Two
 * that do it at once lose a wake-up, and one of them sleeps for ever, with the
 * application's pipes open. So each stops who made it until it is a program,
 * or gone, as vfork(2) does. By then it shares nothing of ours that could seem
 * to live on when we are killed.
 *
 * Who kills the one in between has us run beside the program's process all the
 * same: then what it needs stays mapped until it has left. Its pid is in a
 * word which the kernel sets to 0 when it leaves the memory that it shares,
 * and wakes who waits for that. One that does not leave is killed.
 *
 * Some seccomp filters, and qemu where it emulates one program, refuse a
 * child without that signal. There the program is spawned as any child is, as
 * the leader of a session, and makes itself an orphan by a fork of its own:
 *
 *   application ---posix_spawn---> program ---fork---> program
 *   waits for it, by its pid       exits at once       now init's child
 *
 * What an application can see of that: a SIGCHLD in another of its threads, or
 * in this one when it is over, as of a child that has been waited for already;
 * and, in another thread that waits for just any child at this very moment,
 * the pid of one that it does not know. Nothing is left of it afterwards.
 */
#define _GNU_SOURCE

#include "core/os/os.h"

#include <errno.h>
#include <fcntl.h>  /* open */
#include <limits.h> /* PATH_MAX */
#include <sched.h>  /* clone */
#include <signal.h> /* sigfillset, pthread_sigmask, kill */
#include <spawn.h>  /* posix_spawn */
#include <stdatomic.h>
#include <string.h>      /* memcmp, memcpy, strlen */
#include <sys/mman.h>    /* mmap: the stacks */
#include <sys/prctl.h>   /* PR_GET_CHILD_SUBREAPER */
#include <sys/stat.h>    /* umask, lstat */
#include <sys/syscall.h> /* SYS_futex */
#include <sys/wait.h>    /* waitpid, __WALL */
#include <unistd.h>      /* access, dup2, execve, readlink, setsid, syscall */

enum { STACK = 16 << 10 };

/* close_range(2) by its number, which has been the same on every architecture
 * since 2019: musl, and glibc before 2.34, have no function of that name. */
enum { CLOSE_RANGE = 436 };

/* futex(2)'s: musl-gcc, and Alpine's musl-dev, come without linux/futex.h. */
enum { FUTEX_WAIT = 0 };

typedef struct {
    char program[PATH_MAX];
    char argument[PATH_MAX];
    int error;
    _Atomic(int) beside; /* the program's process, while it has our memory */
    _Alignas(16) char between[STACK];
    _Alignas(16) char last[STACK]; /* the program's, before it is one */
} start;

static char *const no_environment[] = {NULL};

/* What runs on the stacks below leaves no marks in a sanitizer's shadow: the
 * addresses are other memory's afterwards. */
#define UNMARKED __attribute__((no_sanitize("address")))

UNMARKED static int
run_program(void *context)
{
    start *self = context;
    char *const argv[] = {self->program, self->argument, NULL};
    (void)execve(self->program, argv, no_environment);
    self->error = errno; /* who waits for us reads it when we are gone */
    return 127;
}

UNMARKED static int
run_between(void *context)
{
    start *self = context;
    const int how = CLONE_VM | CLONE_VFORK;
    const int told = CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    (void)setsid(); /* for both, so that killpg() of ours never finds them */
    if (clone(run_program, self->last + STACK, how | told, self, &self->beside,
              NULL, &self->beside) < 0) {
        self->error = errno;
    }
    return 0;
}

/* After a second it is killed. Whom the kernel does not let die, because it
 * reads the program from a disk that is gone, is left alone. */
static void
await_departure(start *self)
{
    /* The kernel's timespec for this call, whatever the C library's is. */
    const long moment[2] = {0, 1000000};
    enum { PATIENCE = 1000 };
    int last;
    for (int i = 0;
         i < 2 * PATIENCE && (last = atomic_load(&self->beside)) != 0; i++) {
        if (i == PATIENCE) {
            (void)kill(last, SIGKILL);
        }
        (void)syscall(SYS_futex, &self->beside, FUTEX_WAIT, last, moment);
    }
}

/* EINTR: somebody killed the one in between, which may not have come to the
 * second clone; or we, then, who that had made. */
static shx_err
start_by_clone(const char *program, const char *argument)
{
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
    int status = 0;
    int child = clone(run_between, self->between + STACK,
                      CLONE_VM | CLONE_VFORK, self);
    shx_err err = child < 0 ? errno : 0;
    while (child > 0 && waitpid(child, &status, __WALL) < 0 &&
           errno == EINTR) {
    }
    await_departure(self);
    if (atomic_load(&self->beside) == 0) {
        err = child < 0 ? err : self->error;
        (void)munmap(self, sizeof *self);
    }
    return err == 0 && WIFSIGNALED(status) ? EINTR : err;
}

/* What the program says of its fork. An application that has SIGCHLD ignored,
 * or a thread that waits for any child, leaves us none to ask. */
static shx_err
outcome(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : ECANCELED;
}

static shx_err
start_by_spawn(const char *program, const char *argument)
{
    char *const argv[] = {(char *)program, (char *)argument, NULL};
    posix_spawnattr_t attributes;
    pid_t child;
    shx_err err = posix_spawnattr_init(&attributes);
    if (err != 0) {
        return err;
    }
    err = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    if (err == 0) {
        err = posix_spawn(&child, program, NULL, &attributes, argv,
                          no_environment);
    }
    (void)posix_spawnattr_destroy(&attributes);
    return err != 0 ? err : outcome(child);
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
    ssize_t length = readlink("/proc/1/exe", inits, sizeof inits);
    return length > 0 && /* it is not shown to everybody */
           readlink("/proc/self/exe", ours, sizeof ours) == length &&
           memcmp(ours, inits, (size_t)length) == 0;
}

/* Are our children of another pid namespace than we are, see unshare(2) and
 * setns(2)? The first one is the init of a new one: with the end of that, all
 * of it ends, and nobody forks there again. Until it is there, what stands for
 * the namespace cannot be read. */
static bool
bears_elsewhere(void)
{
    static const char childrens[] = "/proc/thread-self/ns/pid_for_children";
    char here[64], there[64];
    struct stat status;
    ssize_t length = readlink("/proc/thread-self/ns/pid", here, sizeof here);
    ssize_t other = readlink(childrens, there, sizeof there);
    if (length <= 0 || (other < 0 && lstat(childrens, &status) != 0)) {
        return false; /* no /proc, or one that does not know of this */
    }
    return length != other || memcmp(here, there, (size_t)length) != 0;
}

shx_err
shx_os_start_detached(const char *program, const char *argument)
{
    if (adopts_orphans() || bears_elsewhere()) {
        return SHX_NO_ORPHANS;
    }
    if (access(program, X_OK) != 0) {
        return errno;
    }
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    shx_err err = start_by_clone(program, argument);
    for (int tries = 0; err == EINTR && tries < 8; tries++) {
        err = start_by_clone(program, argument);
    }
    if (err == EPERM || err == EINVAL || err == ENOSYS) {
        err = start_by_spawn(program, argument);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

shx_err
shx_os_detach(void)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    if (setsid() < 0) { /* a group cannot lose its leader */
        pid_t child = fork();
        if (child != 0) {
            _exit(child < 0 ? errno : 0);
        }
        (void)setsid();
    }
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

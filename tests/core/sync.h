/* SPDX-License-Identifier: MIT */
/* What the programs on synchronizers have in common: a memory that processes
 * share, cells in it, and processes that are started and killed. */
#ifndef SYNC_H
#define SYNC_H

#include <errno.h>
#include <fcntl.h> /* F_DUPFD_CLOEXEC */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h> /* PR_SET_PDEATHSIG */
#include <sys/wait.h>
#include <unistd.h>

#include "core/life/party.h"
#include "core/sync/cell.h"
#include "core/sync/lock.h"

#include "check.h"

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)

typedef struct {
    int fd;
    char *bytes;
    size_t size;
    shx_party *party;
} memory;

/* Of zeros, and this process is a party in it. */
static inline memory
make_memory(size_t size)
{
    memory made = {.size = size};
    CHECK(shx_os_create_anonymous(&made.fd) == 0);
    CHECK(shx_os_resize(made.fd, size) == 0);
    made.bytes =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, made.fd, 0);
    CHECK(made.bytes != MAP_FAILED);
    int kept;
    CHECK(shx_os_duplicate(made.fd, &kept) == 0);
    CHECK(shx_party_join(kept, NULL, &made.party) == 0);
    return made;
}

/* Pages that all processes of the program share, for what they note: no
 * synchronizer has anything to do with them. */
static inline void *
make_notes(size_t size)
{
    void *made = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(made != MAP_FAILED);
    return made;
}

static inline shx_site
make_site(const memory *in, size_t offset, size_t size, shx_cell_kind kind,
          uint32_t parameter)
{
    shx_site at = {.cell = (shx_cell *)(void *)(in->bytes + offset),
                   .party = in->party,
                   .parameter = parameter};
    CHECK(offset + size <= in->size);
    CHECK(shx_cell_make(at.cell, size, kind, parameter) == 0);
    return at;
}

static inline shx_site
make_lock(const memory *in, size_t offset, uint32_t parameter)
{
    return make_site(in, offset, sizeof(shx_cell), SHX_CELL_LOCK, parameter);
}

static inline shx_member
me_in(shx_party *party)
{
    shx_member me;
    CHECK(shx_party_me(party, &me) == 0);
    return me;
}

/* Locks, by whoever this process is. */
static inline shx_err
acquire(const shx_site *at, int64_t timeout)
{
    shx_patience patience = shx_patience_for(timeout, NULL, NULL);
    shx_member me = me_in(at->party);
    return shx_lock_acquire(at, &me, SHX_TORN_TELLS, &patience);
}

static inline shx_err
acquire_torn(const shx_site *at, int64_t timeout)
{
    shx_patience patience = shx_patience_for(timeout, NULL, NULL);
    shx_member me = me_in(at->party);
    return shx_lock_acquire(at, &me, SHX_TORN_REPAIRS, &patience);
}

static inline shx_err
try_acquire(const shx_site *at)
{
    shx_member me = me_in(at->party);
    return shx_lock_try(at, &me, SHX_TORN_TELLS);
}

static inline shx_err
release(const shx_site *at)
{
    shx_member me = me_in(at->party);
    return shx_lock_release(at, &me);
}

/* What it guards has been repaired. */
static inline shx_err
release_mended(const shx_site *at)
{
    shx_lock_mend(at);
    return release(at);
}

static inline uint64_t
now(void)
{
    struct timespec time;
    shx_os_now(&time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static inline void
sleep_for(int64_t nanoseconds)
{
    const struct timespec length = {nanoseconds / SECOND,
                                    nanoseconds % SECOND};
    (void)shx_os_pause(&length);
}

/* Does it become true within a second? */
#define SOON(condition)                                                       \
    do {                                                                      \
        for (uint64_t begun = now(); !(condition);) {                         \
            CHECK(now() - begun < SECOND && #condition);                      \
            sleep_for(MS / 10);                                               \
        }                                                                     \
    } while (0)

/* Processes. None stays when a CHECK has ended who started it, which may be
 * before it is asked to be told of that. */
static inline void
die_with(pid_t parent)
{
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    if (getppid() != parent && getppid() != 0) { /* 0: of pids not seen here */
        _exit(1);
    }
}

static inline pid_t
spawn(void (*run)(int), int number)
{
    (void)fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        die_with(parent);
        run(number);
        _exit(0);
    }
    return pid;
}

static inline void
kill_and_wait(pid_t pid)
{
    int status;
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) ? WEXITSTATUS(status) == 0
                            : WTERMSIG(status) == SIGKILL); /* not its own */
}

/* It has ended by itself, and well. */
static inline void
check_ended(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* S sleeps, T is stopped, Z is a zombie. */
static inline char
state_of(pid_t pid)
{
    char path[32], text[256] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    size_t size = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[size] = '\0';
    const char *name_ends = strrchr(text, ')');
    CHECK(name_ends != NULL);
    return name_ends[2];
}

static inline void
wait_until_it_is(pid_t pid, char state)
{
    while (state_of(pid) != state) {
        sleep_for(MS / 10);
    }
}

#endif

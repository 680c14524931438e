/* SPDX-License-Identifier: MIT */
/* Some send blocks of their pools, others receive them, look at each byte,
 * write there, hold them, and send them on; and any of them is killed at any
 * moment:
 *
 *   storm_pool SECONDS
 *
 * One is killed every 0 to 3 ms, some after a stop, some by themselves between
 * two steps, and replaced. Whatever happens, what is received is what was
 * sent, and stays so while it is held, by a child of who held it, too. Nothing
 * is received twice. A pool is there while anything of it is held, or in the
 * pipe; when all are dead, what is in flight is what is in the pipe, and one
 * reference at most for each who was killed. A sender finds a block, and a
 * receiver a message, within a second. */
#define _GNU_SOURCE

#include <sys/resource.h> /* RLIMIT_NOFILE */

#include "pool_users.h"

enum { SENDERS = 2, RECEIVERS = 4, WORKERS = SENDERS + RECEIVERS };

/* Killing. */

static pid_t workers[WORKERS];

static void
start_worker(int which)
{
    seed += UINT64_C(0x9e3779b97f4a7c15); /* another for each */
    workers[which] = which < SENDERS ? spawn(send_blocks, (int)make_pool())
                                     : spawn(receive_blocks, which);
}

static void
forget_what_is_gone(void)
{
    for (unsigned i = 0; i < atomic_load(&known->made); i++) {
        if (atomic_load(&known->all[i].gone)) {
            forget_pool(i);
        }
    }
}

/* Those that were killed by themselves as well. */
static unsigned
replace_dead(void)
{
    unsigned count = 0;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        must(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL
                                 : WEXITSTATUS(status) == 0,
             "somebody has failed");
        for (int i = 0; i < WORKERS; i++) {
            if (workers[i] == pid) {
                start_worker(i);
                count++;
            }
        }
    }
    return count;
}

static unsigned
rage(uint64_t end)
{
    unsigned kills = 0;
    uint64_t seen = 0, since = now();
    for (int i = 0; i < WORKERS; i++) {
        start_worker(i);
    }
    while (now() < end && !atomic_load(&notes->wrong) &&
           atomic_load(&known->made) < POOLS - SENDERS) {
        int victim = (int)any(WORKERS);
        sleep_for(any(3 * MS));
        if (any(20) == 0) {
            CHECK(kill(workers[victim], SIGSTOP) == 0);
            sleep_for(any(5 * MS));
        }
        CHECK(kill(workers[victim], SIGKILL) == 0);
        kills += replace_dead();
        forget_what_is_gone();
        if (atomic_load(&notes->received) != seen) {
            seen = atomic_load(&notes->received);
            since = now();
        }
        must(now() - since < SECOND, "nothing was received for a second");
    }
    for (int i = 0; i < WORKERS; i++) {
        CHECK(kill(workers[i], SIGKILL) == 0);
    }
    while (wait(NULL) > 0) { /* children of the dead as well */
    }
    return kills + WORKERS;
}

/* All are dead. What they have left in the pipe is there. */
static void
receive_the_rest(void)
{
    message about;
    while (read(ends[0], &about, sizeof about) == (ssize_t)sizeof about) {
        thing one = {.about = about};
        shx_err err = SHX_SPENT;
        if (attach(about.serial)) {
            err = claim_in(about.serial, &about.reference, &one.hold);
        }
        must(err == 0 || about.reference.kept, "lost");
        if (err == 0) {
            must(is_whole(&one), "other bytes were left");
            drop_in(about.serial, &one.hold);
        }
    }
}

static void
forget_all(void)
{
    (void)memset(known->all, 0, sizeof known->all);
    atomic_store(&known->made, 0);
}

/* How many references are in flight that nobody will ever receive. */
static unsigned
look_at_pool(unsigned serial)
{
    CHECK(attach(serial));
    /* Who was killed before it owned it has told nobody of it. */
    bool owned = atomic_load(attached[serial].pool.owner) != 0;
    bool abandoned = ask_whether_abandoned(serial) || !owned;
    shx_pool_state state = shx_pool_look(&attached[serial].pool);
    must(state.pinned == 0, "pinned");
    must(state.held == 0 && state.places == 0, "the dead hold something");
    must(abandoned == (state.in_flight == 0), "there for no reason");
    detach(serial);
    forget_pool(serial);
    return state.in_flight;
}

static void
rage_once(uint64_t end, uint64_t *kills, uint64_t *leaks, uint64_t *pools)
{
    unsigned killed = rage(end), leaked = 0;
    receive_the_rest();
    forget_what_is_gone();
    for (unsigned i = 0; i < atomic_load(&known->made); i++) {
        if (is_known(i)) {
            leaked += look_at_pool(i);
        }
        else if (attached[i].attached) {
            detach(i);
        }
    }
    must(leaked <= killed, "more was lost than was in hand");
    *kills += killed;
    *leaks += leaked;
    *pools += atomic_load(&known->made);
    forget_all();
}

/* Of 40 senders that were killed there is that pool of which something is
 * still in the pipe, and no other. */
static void
own_and_send(int self)
{
    thing one;
    CHECK(attach((unsigned)self));
    shx_member me = me_of((unsigned)self);
    CHECK(shx_pool_own(&attached[self].pool, &me) == 0);
    take_thing((unsigned)self, &one);
    send_thing(&one, true);
    (void)pause();
}

static void
kill_forty(void)
{
    enum { FORTY = 40 };
    unsigned left = 0;
    message about;
    for (int i = 0; i < FORTY; i++) {
        struct pollfd readable = {.fd = ends[0], .events = POLLIN};
        do { /* some take theirs back, or kill themselves */
            seed += UINT64_C(0x9e3779b97f4a7c15);
            pid_t sender = spawn(own_and_send, (int)make_pool());
            (void)poll(&readable, 1, 100);
            kill_and_wait(sender);
        } while (poll(&readable, 1, 0) == 0);
        if (i < FORTY - 1) {
            receive_the_rest();
        }
    }
    for (unsigned i = 0; i < atomic_load(&known->made); i++) {
        CHECK(attach(i));
        left += !ask_whether_abandoned(i);
    }
    must(left == 1, "forty senders have left something else than one pool");
    CHECK(read(ends[0], &about, sizeof about) == (ssize_t)sizeof about);
    for (unsigned i = 0; i < atomic_load(&known->made); i++) {
        detach(i);
        forget_pool(i);
    }
    forget_all();
}

int
main(int argc, char **argv)
{
    uint64_t kills = 0, leaks = 0, pools = 0;
    CHECK(argc == 2 && atof(argv[1]) > 0);
    struct rlimit most = {.rlim_cur = 0};
    CHECK(getrlimit(RLIMIT_NOFILE, &most) == 0);
    most.rlim_cur = most.rlim_max < 4096 ? most.rlim_max : 4096;
    CHECK(setrlimit(RLIMIT_NOFILE, &most) == 0);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    CHECK(pipe(ends) == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 &&
          fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    seed = now();
    known = make_notes(sizeof *known);
    known->keeper = getpid();
    notes = make_notes(sizeof *notes);
    kill_forty();
    uint64_t end = now() + (uint64_t)(atof(argv[1]) * (double)SECOND);
    while (now() < end && !atomic_load(&notes->wrong)) {
        rage_once(end, &kills, &leaks, &pools);
    }
    must(atomic_load(&notes->longest) < SECOND, "waited for over a second");
    (void)printf(
        "%6llu kills, %llu pools, %9llu sent, %9llu received, kept %llu, "
        "forwarded %llu, copied %llu, withdrawn %llu, twice %llu, spent %llu, "
        "children %llu, full %llu, lost %llu, longest %.1f ms\n",
        (unsigned long long)kills, (unsigned long long)pools,
        (unsigned long long)atomic_load(&notes->sent),
        (unsigned long long)atomic_load(&notes->received),
        (unsigned long long)atomic_load(&notes->kept),
        (unsigned long long)atomic_load(&notes->forwarded),
        (unsigned long long)atomic_load(&notes->copied),
        (unsigned long long)atomic_load(&notes->withdrawn),
        (unsigned long long)atomic_load(&notes->doubles),
        (unsigned long long)atomic_load(&notes->spent),
        (unsigned long long)atomic_load(&notes->children),
        (unsigned long long)atomic_load(&notes->full),
        (unsigned long long)leaks, (double)atomic_load(&notes->longest) / MS);
    CHECK(!atomic_load(&notes->wrong) && kills > 0);
    CHECK(atomic_load(&notes->received) > 0);
    return 0;
}

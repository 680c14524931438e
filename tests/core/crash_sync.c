/* SPDX-License-Identifier: MIT */
/* Locks, and who is a party: killed after every instruction, see crash.h. */
#define _GNU_SOURCE

#include "core/sync/rlock.h"

#include "crash.h"

static shx_site lock, rlock, ignoring;

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
    (void)release_mended(&lock);
}

static void
give_up_repair(void)
{
    (void)acquire_torn(&lock, SECOND);
    (void)release(&lock);
}

/* Those who wait meanwhile. */

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
check_lock(void)
{
    shx_err err = acquire(&lock, 2 * SECOND);
    took();
    check_told(err);
    if (err == SHX_OWNER_DIED) {
        CHECK(acquire_torn(&lock, 0) == SHX_OWNER_DIED);
    }
    CHECK(release_mended(&lock) == 0);
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

static const row rows[] = {
    {"lock", do_nothing, use_lock, check_lock, NULL, USUAL},
    {"lock: without waiting", do_nothing, try_lock, check_lock, NULL, USUAL},
    {"lock: in a new cell", do_nothing, make_cell, check_new_cell, NULL,
     USUAL},
    {"lock: release, two asleep", lock_it, release_lock, check_sleepers,
     wait_for_lock, USUAL},
    {"lock: over fork", lock_it, hold_and_fork, check_lock, NULL, USUAL},
    {"lock: first use", do_nothing, use_lock, check_lock, NULL, CLONED},
    {"lock: leave and join", do_nothing, leave_and_join, check_lock, NULL,
     USUAL},
    {"lock: the dead found", have_one_die_inside, use_lock, check_still_torn,
     NULL, USUAL},
    {"lock: torn", have_it_torn, use_lock, check_still_torn, NULL, USUAL},
    {"lock: repair", have_it_torn, repair_lock, check_repaired, NULL, USUAL},
    {"lock: repair given up", have_it_torn, give_up_repair, check_still_torn,
     NULL, USUAL},
    {"lock: ignoring", do_nothing, use_ignoring, check_ignoring, NULL, USUAL},
    {"rlock", do_nothing, use_rlock, check_rlock, NULL, USUAL},
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

int
main(int argc, char **argv)
{
    return run_rows(argc, argv, rows, sizeof rows / sizeof *rows);
}

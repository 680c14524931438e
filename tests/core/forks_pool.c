/* SPDX-License-Identifier: MIT */
/* What becomes of a pool's blocks over fork(). */
#define _GNU_SOURCE

#include <pthread.h>
#include <sys/syscall.h> /* SYS_clone */

#include "pool.h"

enum { FORKS = SHX_POOL_PLACES + 44 };

static memory in;

static struct {
    _Atomic int steps;
    _Atomic int children;
    shx_pool_reference reference;
} * notes;

static shx_hold held[BLOCKS];

/* Another handle, and what it holds. */
static shx_pool other;
static shx_hold others;

static void
begin_anew(void)
{
    (void)memset(notes, 0, sizeof *notes);
    open_anew(&in);
}

/* But not for ever: a parent that has failed may be gone. */
static void
wait_for_parent(int step)
{
    uint64_t begun = now();
    while (atomic_load(&notes->steps) < step) {
        CHECK(now() - begun < (uint64_t)(10 * SECOND));
        sleep_for(MS / 10);
    }
}

static void
hold_some(void)
{
    for (unsigned i = 0; i < 4; i++) {
        held[i] = taken(PAGE);
        fill(&held[i], i);
    }
}

static void
drop_some(void)
{
    for (unsigned i = 0; i < 4; i++) {
        CHECK(is_filled(&held[i], i));
        drop(&held[i]);
    }
}

/* Takes all that is to be had, and writes there. */
static void
use_the_rest(void)
{
    shx_hold hold, all[BLOCKS];
    unsigned count = 0;
    while (take(PAGE, &hold) == 0) {
        fill(&hold, 77);
        all[count++] = hold;
    }
    for (unsigned i = 0; i < count; i++) {
        drop(&all[i]);
    }
}

/* A child that only sleeps holds what its parent did; it drops that, sends it
 * on, and holds other things, as anybody. */
static void
inherit(int number)
{
    unsigned block;
    shx_hold hold;
    shx_member me = me_in(in.party);
    wait_for_parent(1);
    if (number == 0) {
        CHECK(is_filled(&held[0], 0));
        _exit(0);
    }
    CHECK(shx_pool_find(&pool, held[1].offset, PAGE, &block) == 0);
    notes->reference = sent(&held[1]);
    drop_some();
    CHECK(look().places == 0);
    CHECK(take(PAGE, &hold) == SHX_NOT_OWNER);
    CHECK(!shx_pool_is_own(&pool, &me) && !shx_pool_is_fat(&pool));
    CHECK(shx_pool_trim(&pool, data_fd) == 0);
    CHECK(!shx_pool_is_abandoned(&pool, &me));
    hold = claimed(notes->reference);
    CHECK(is_filled(&hold, 1));
    notes->reference = sent(&hold);
    drop(&hold);
}

static void
test_directed_fork_with_blocks_held(void)
{
    for (int i = 0; i < 2; i++) {
        begin_anew();
        open_in(&in, &other); /* which holds nothing */
        hold_some();
        pid_t child = spawn(inherit, i);
        CHECK(look().places == 2 && look().held == 4);
        drop_some();
        CHECK(look().places == 1 && look().held == 4);
        use_the_rest();
        atomic_store(&notes->steps, 1);
        check_ended(child);
        if (i == 1) {
            shx_hold hold = claimed(notes->reference);
            CHECK(is_filled(&hold, 1));
            drop(&hold);
            CHECK(is_idle());
        }
        shx_hold all = taken(DATA); /* and those of a dead one are free */
        drop(&all);
        CHECK(is_idle() && look().pinned == 0);
        shx_pool_close(&other);
    }
}

/* What two handles hold, the child holds by both. */
static void
inherit_twice(int number)
{
    shx_member me = me_in(in.party);
    (void)number;
    wait_for_parent(1);
    drop_some();
    CHECK(look().places == 1 && look().held == 1);
    CHECK(is_filled(&others, 0));
    shx_pool_drop(&other, &me, &others);
    CHECK(is_idle());
}

static void
test_directed_fork_with_two_handles(void)
{
    begin_anew();
    shx_member me = me_in(in.party);
    open_in(&in, &other);
    hold_some();
    shx_pool_reference reference = sent(&held[0]);
    CHECK(shx_pool_claim(&other, &me, &reference, &others) == 0);
    pid_t child = spawn(inherit_twice, 0);
    CHECK(look().places == 4);
    drop_some();
    shx_pool_drop(&other, &me, &others);
    CHECK(look().places == 2);
    use_the_rest();
    atomic_store(&notes->steps, 1);
    check_ended(child);
    shx_pool_close(&other);
    CHECK(is_idle());
}

static void
fork_on(int number)
{
    if (number > 0) {
        check_ended(spawn(fork_on, number - 1)); /* before it does anything */
    }
    drop_some();
}

static void
test_directed_child_of_a_child(void)
{
    begin_anew();
    hold_some();
    check_ended(spawn(fork_on, 3));
    drop_some();
    CHECK(is_idle() && look().pinned == 0);
}

static void
do_nothing(int number)
{
    (void)number;
}

/* However many are made, and die, while something is held. */
static void
test_directed_forks_one_after_another(void)
{
    begin_anew();
    hold_some();
    for (int i = 0; i < FORKS; i++) {
        check_ended(spawn(do_nothing, 0));
    }
    CHECK(look().pinned == 0 && look().places <= SHX_POOL_PLACES);
    drop_some();
    shx_hold hold = taken(DATA);
    drop(&hold);
    CHECK(is_idle());
}

static void
fill_places(void)
{
    uint64_t mine = shx_slot_of(&pool.who, 0);
    for (unsigned i = 0; i < SHX_POOL_PLACES; i++) {
        uint64_t nobody = 0;
        (void)atomic_compare_exchange_strong(&pool.places[i], &nobody, mine);
    }
}

static void
look_at_all(int number)
{
    unsigned block;
    (void)number;
    wait_for_parent(1);
    CHECK(is_filled(&held[0], 0) && is_filled(&held[1], 1));
    drop_some(); /* which does nothing */
    CHECK(shx_pool_find(&pool, held[0].offset, 1, &block) == ENOENT);
}

/* No places are left: what has none is there for good, and is counted. */
static void
test_directed_fork_with_no_place_left(void)
{
    begin_anew();
    hold_some();
    shx_pool_reference reference = sent(&held[0]);
    fill_places();
    pid_t child = spawn(look_at_all, 0);
    CHECK(look().pinned == 4 && look().places == SHX_POOL_PLACES);
    shx_hold hold = claimed(reference); /* no load takes the pin */
    CHECK(claim(reference, &hold) == SHX_SPENT);
    drop(&hold);
    drop_some();
    CHECK(look().held == 0 && look().blocks == 4);
    for (unsigned i = 0; i < SHX_POOL_PLACES; i++) {
        atomic_store(&pool.places[i], 0);
    }
    use_the_rest();
    atomic_store(&notes->steps, 1);
    check_ended(child);
    use_the_rest();
    CHECK(look().blocks == 4 && look().pinned == 4 && look().held == 0);
    CHECK(!shx_pool_is_abandoned(&pool, &pool.who));
}

/* Nobody knows who it will be: the same. And a child that was not made after
 * all is dead. */
static void
test_directed_fork_that_failed(void)
{
    begin_anew();
    shx_member me = me_in(in.party);
    const shx_member none = {.token = me.token ^ 1, .nonce = 7};
    hold_some();
    _Atomic uint64_t *word = &pool.words[held[0].block].word;
    uint64_t before = atomic_load(word);
    pool.bequest.tell(&pool.bequest, &me, &none);
    CHECK(look().places == 2);
    CHECK(atomic_load(word) != before); /* of which the owner is told */
    drop_some();
    CHECK(look().held == 4);
    shx_hold hold = taken(DATA);
    CHECK(look().places == 1 && look().pinned == 0);
    pool.bequest.tell(&pool.bequest, &me, NULL);
    CHECK(look().pinned == 1);
    drop(&hold);
    CHECK(take(PAGE, &hold) == EAGAIN);
}

static void
become_another(int number)
{
    shx_member me = me_in(in.party);
    (void)number;
    CHECK(!shx_is_same_member(&pool.who, &me));
    drop_some(); /* its parent's, and nothing is changed by that */
    shx_hold hold = claimed(notes->reference);
    CHECK(hold.era != held[0].era && is_filled(&hold, 0));
    drop(&held[0]);
    unsigned block;
    CHECK(shx_pool_find(&pool, hold.offset, PAGE, &block) == 0);
    drop(&hold);
    CHECK(look().held == 4 && look().places == 1);
}

/* By raw clone(2): it holds nothing of what its parent does. */
static void
test_directed_raw_clone(void)
{
    begin_anew();
    hold_some();
    notes->reference = sent(&held[0]);
    (void)fflush(NULL);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    CHECK(child >= 0);
    if (child == 0) {
        become_another(0);
        _exit(0);
    }
    check_ended(child);
    drop_some();
    CHECK(is_idle());
}

/* Threads hold and drop while one forks: the child has what its copy of the
 * counts says, and its place goes with the last of it. */
static _Atomic bool stop;

static void *
hold_and_drop(void *argument)
{
    while (!atomic_load(&stop)) {
        shx_hold hold;
        if (take(PAGE, &hold) == 0) {
            shx_pool_reference reference = sent(&hold);
            drop(&hold);
            hold = claimed(reference);
            drop(&hold);
        }
    }
    return argument;
}

static void
check_counts(int number)
{
    (void)number;
    shx_member me = me_in(in.party);
    shx_hold none = {0};
    shx_pool_drop(&pool, &me, &none); /* it becomes itself */
    unsigned own = pool.held;
    CHECK((own == 0) == (pool.place == SHX_NO_PLACE));
    for (unsigned i = 0; i < BLOCKS && own > 0; i++) {
        bool set = (atomic_load(shx_pool_holders(&pool.words[i], pool.place)) &
                    shx_pool_bit(pool.place)) != 0;
        CHECK(set == (pool.local[i].count > 0));
    }
}

static void
test_directed_fork_beside_threads(void)
{
    pthread_t threads[2];
    begin_anew();
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, hold_and_drop, NULL) == 0);
    }
    for (int i = 0; i < 200; i++) {
        check_ended(spawn(check_counts, 0));
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    shx_hold hold = taken(DATA);
    drop(&hold);
    CHECK(is_idle() && look().pinned == 0);
}

int
main(void)
{
    in = make_memory(control_size_of(&usual));
    notes = make_notes(sizeof *notes);
    make_data(DATA);
    test_directed_fork_with_blocks_held();
    test_directed_fork_with_two_handles();
    test_directed_child_of_a_child();
    test_directed_forks_one_after_another();
    test_directed_fork_with_no_place_left();
    test_directed_fork_that_failed();
    test_directed_raw_clone();
    test_directed_fork_beside_threads();
    return 0;
}

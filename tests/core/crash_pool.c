/* SPDX-License-Identifier: MIT */
/* Users of a pool are killed after each of their instructions: see crash.h.
 * Whatever they leave, what was sent is there or was received, its bytes are
 * those that were sent, and all blocks and places are there for others. */
#define _GNU_SOURCE

#include "crash.h"

#include "pool.h"

enum { MOVED = 5, STOCK = 6 }; /* what the words are of the two blocks */

/* One is in flight, and nobody holds it; the other is held here. */
static shx_hold stock;
static shx_pool_reference moved, stocked;

static shx_hold in_hand; /* of the victim */

static void
begin_anew(void)
{
    (void)memset(notes, 0, sizeof *notes);
    open_anew(&in);
    shx_hold hold = taken(PAGE);
    fill(&hold, MOVED);
    moved = sent(&hold);
    drop(&hold);
    stock = taken(2 * PAGE);
    fill(&stock, STOCK);
    stocked = kept(sent(&stock));
    unsend(&stocked);
}

/* Each page, by those who hold nothing; and what is free is written. */
static bool
is_all_free(void)
{
    shx_hold hold;
    if (take(DATA, &hold) != 0) {
        return false;
    }
    fill(&hold, 0);
    drop(&hold);
    return true;
}

static void
check_all_free(void)
{
    CHECK(is_filled(&stock, STOCK));
    drop(&stock);
    SOON(is_all_free()); /* a child of the victim may live a little longer */
    CHECK(is_idle() && look().pinned == 0);
    took();
}

/* It is still in flight, or somebody has received it. */
static void
check_moved(void)
{
    shx_hold hold;
    unsigned left = look().in_flight;
    CHECK(left <= 1);
    shx_err err = claim(moved, &hold);
    CHECK(err == (left == 1 ? 0 : SHX_SPENT));
    if (err == 0) {
        CHECK(is_filled(&hold, MOVED));
        drop(&hold);
    }
    CHECK(claim(moved, &hold) == SHX_SPENT);
    check_all_free();
}

static void
check_stocked(void)
{
    CHECK(look().in_flight == 1);
    shx_hold hold = claimed(stocked);
    CHECK(is_filled(&hold, STOCK));
    drop(&hold);
    check_moved();
}

static void
do_nothing(void)
{
}

/* Receivers. */

static void
claim_it(void)
{
    in_hand = claimed(moved);
}

static void
drop_it(void)
{
    drop(&in_hand);
}

static void
claim_and_drop(void)
{
    claim_it();
    drop_it();
}

static void
claim_and_send(void)
{
    claim_it();
    CHECK(sent(&in_hand).generation == moved.generation);
    drop_it();
}

static void
claim_stocked(void)
{
    in_hand = claimed(stocked);
    drop_it();
}

static void
claim_spent(void)
{
    CHECK(claim(moved, &in_hand) == SHX_SPENT);
}

static void
withdraw(void)
{
    unsend(&moved);
}

static void
copy_out(void)
{
    static unsigned char bytes[PAGE];
    CHECK(shx_pool_copy_out(&pool, &moved, data, bytes) == 0);
    CHECK(bytes[0] == MOVED);
}

static void
take_all_places_and_die(int number)
{
    shx_member me = me_in(in.party);
    (void)number;
    for (unsigned i = 0; i < SHX_POOL_PLACES; i++) {
        uint64_t nobody = 0;
        if (!atomic_compare_exchange_strong(&pool.places[i], &nobody,
                                            shx_slot_of(&me, 0))) {
            continue; /* who has it lives */
        }
        for (unsigned j = 0; j < BLOCKS; j++) {
            (void)atomic_fetch_or(shx_pool_holders(&pool.words[j], i),
                                  shx_pool_bit(i));
        }
    }
    _exit(0);
}

static void
have_all_places_of_the_dead(void)
{
    check_ended(spawn(take_all_places_and_die, 0));
}

/* The child says whether it was ever written under it, when its parent is
 * dead. */
static void
hold_and_fork(void)
{
    claim_it();
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        while (getppid() == parent) {
            sleep_for(MS);
        }
        for (int i = 0; i < 5; i++) {
            atomic_fetch_add(&notes->a, !is_filled(&in_hand, MOVED));
            sleep_for(MS);
        }
        atomic_fetch_add(&notes->a, !is_filled(&in_hand, MOVED));
        drop_it();
        _exit(0);
    }
    drop_it();
}

/* Uses all that is free, while it looks. */
static void
check_fork(void)
{
    uint64_t begun = now();
    while (now() - begun < (uint64_t)(8 * MS)) {
        shx_hold hold, all[BLOCKS];
        unsigned count = 0;
        while (take(PAGE, &hold) == 0) {
            fill(&hold, 77);
            all[count++] = hold;
        }
        while (count > 0) {
            drop(&all[--count]);
        }
    }
    check_moved();
    CHECK(atomic_load(&notes->a) == 0);
}

/* Owners. Who was one is here so no more. */

static void
be_the_owner(void)
{
    shx_member me = me_in(in.party);
    drop(&stock); /* this process has inherited that */
    (void)shx_pool_claim(&pool, &me, &moved, &in_hand);
    drop_it();
    atomic_store(pool.owner, 0);
    CHECK(shx_pool_own(&pool, &me) == 0);
}

static void
be_an_owner_of_many(void)
{
    shx_hold holds[4];
    be_the_owner();
    for (int i = 0; i < 4; i++) {
        holds[i] = taken(PAGE);
    }
    for (int i = 0; i < 4; i++) {
        drop(&holds[i]);
    }
}

static void
take_and_send(void)
{
    in_hand = taken(PAGE);
    data[in_hand.offset] = MOVED;
    (void)sent(&in_hand);
    drop_it();
}

static void
take_again(void)
{
    in_hand = taken(2 * PAGE);
    drop_it();
}

static void
close_it(void)
{
    shx_pool_close(&pool);
}

/* What it has sent, if it has, can be received; then it may go. */
static void
check_abandoned(void)
{
    shx_member me = me_in(in.party);
    drop(&stock);
    bool out = look().in_flight > 0;
    CHECK(look().in_flight <= 1);
    CHECK(shx_pool_is_abandoned(&pool, &me) == !out);
    for (unsigned i = 0; out && i < BLOCKS; i++) {
        shx_hold hold;
        uint64_t word = atomic_load(&pool.words[i].word);
        if ((word & SHX_POOL_IN_FLIGHT) != 0) {
            moved = (shx_pool_reference){
                .block = i,
                .generation = atomic_load(&pool.words[i].generation),
                .offset = atomic_load(&pool.words[i].offset),
                .length = PAGE};
            hold = claimed(moved);
            CHECK(data[hold.offset] == MOVED);
            drop(&hold);
        }
    }
    CHECK(shx_pool_is_abandoned(&pool, &me));
    CHECK(claim(kept(moved), &stock) == SHX_SPENT);
    CHECK(is_idle() && look().pinned == 0);
    took();
}

static void
own_and_die(int number)
{
    (void)number;
    be_an_owner_of_many();
    in_hand = taken(PAGE);
    _exit(0);
}

static void
have_a_dead_owner(void)
{
    drop(&stock);
    check_ended(spawn(own_and_die, 0));
}

static void
ask_whether_abandoned(void)
{
    shx_member me = me_in(in.party);
    (void)shx_pool_is_abandoned(&pool, &me);
}

static const row rows[] = {
    {"claim, drop", do_nothing, claim_and_drop, check_moved, NULL, USUAL},
    {"claim, send, drop", do_nothing, claim_and_send, check_moved, NULL,
     USUAL},
    {"claim: first use", do_nothing, claim_and_drop, check_moved, NULL,
     CLONED},
    {"claim: kept", do_nothing, claim_stocked, check_stocked, NULL, USUAL},
    {"claim: spent", withdraw, claim_spent, check_moved, NULL, USUAL},
    {"claim: places of the dead", have_all_places_of_the_dead, claim_and_drop,
     check_moved, NULL, USUAL},
    {"claim: over fork", do_nothing, hold_and_fork, check_fork, NULL, USUAL},
    {"drop", claim_it, drop_it, check_moved, NULL, USUAL},
    {"take back", do_nothing, withdraw, check_moved, NULL, USUAL},
    {"copy out", do_nothing, copy_out, check_moved, NULL, USUAL},

    {"take, send, drop", be_the_owner, take_and_send, check_abandoned, NULL,
     USUAL},
    {"take: used before", be_an_owner_of_many, take_again, check_abandoned,
     NULL, USUAL},
    {"close", be_an_owner_of_many, close_it, check_abandoned, NULL, USUAL},
    {"abandon", have_a_dead_owner, ask_whether_abandoned, check_abandoned,
     NULL, USUAL},
};

int
main(int argc, char **argv)
{
    make_data(DATA);
    return run_rows(argc, argv, rows, sizeof rows / sizeof *rows);
}

/* SPDX-License-Identifier: MIT */
/* Somebody stands still after each of its instructions, while another one does
 * something with the same block, and then goes on: see crash.h. What is held,
 * or in flight, by then is not used again.
 *
 * The other one is there before, and is woken by who is started meanwhile. */
#define _GNU_SOURCE

#include "crash.h"

#include "pool.h"

enum { SENT = 5, USED = 77 }; /* what the words are */

/* The block, as it was sent; and what has become of it. */
static struct {
    shx_pool_reference reference;
    _Atomic bool ready, go, gone;
    _Atomic bool held; /* by somebody who lives */
    _Atomic bool overwritten;
} * about;

static void
begin_anew(void)
{
    (void)memset(about, 0, sizeof *about);
    (void)memset(notes, 0, sizeof *notes);
    open_anew(&in);
}

static void
wait_for(_Atomic bool *flag)
{
    for (uint64_t begun = now(); !atomic_load(flag);) {
        CHECK(now() - begun < (uint64_t)(10 * SECOND));
        sleep_for(MS / 20);
    }
}

static void
note_bytes(const shx_hold *hold)
{
    if (!is_filled(hold, SENT)) {
        atomic_store(&about->overwritten, true);
    }
}

static shx_hold
as_sent(void)
{
    return (shx_hold){.block = about->reference.block,
                      .offset = about->reference.offset,
                      .size = about->reference.length};
}

/* The other one, of whom the victim is the parent. */
static void
start(void (*run)(int))
{
    (void)spawn(run, 0);
    wait_for(&about->ready);
}

static void
be_ready(void)
{
    atomic_store(&about->ready, true);
    wait_for(&about->go);
}

static void
be_gone(void)
{
    atomic_store(&about->gone, true);
    (void)pause();
}

/* The sleeper of each row. */
static void
let_go_on(int number)
{
    (void)number;
    atomic_store(&about->go, true);
    wait_for(&about->gone);
}

/* Owning it. */

static void
own_and_send(void)
{
    shx_member me = me_in(in.party);
    atomic_store(pool.owner, 0);
    CHECK(shx_pool_own(&pool, &me) == 0);
    shx_hold hold = taken(PAGE);
    fill(&hold, SENT);
    about->reference = sent(&hold);
    drop(&hold);
}

static void
own_and_keep(void)
{
    own_and_send();
    unsend(&about->reference);
    about->reference.kept = true;
}

static void
take_one(void)
{
    shx_hold hold = taken(PAGE);
    data[hold.offset] = USED;
    drop(&hold);
}

static void
own_and_take(int number)
{
    (void)number;
    own_and_send();
    be_ready();
    take_one();
    be_gone();
}

static void
own_keep_and_take(int number)
{
    (void)number;
    own_and_keep();
    be_ready();
    take_one();
    be_gone();
}

static void
be_beside_an_owner(void)
{
    start(own_and_take);
}

static void
be_beside_an_owner_who_kept(void)
{
    start(own_keep_and_take);
}

/* Beside an owner that looks whether it is free, as whoever takes one does.
 */

static bool
is_free(void)
{
    return shx_pool_try_free(&pool.words[about->reference.block],
                             SHX_NO_PLACE);
}

static void
free_it(void)
{
    if (is_free()) {
        data[about->reference.offset] = USED;
    }
}

/* Places are looked at from the first on: who holds it is a late one, and who
 * has it from there an early one, which was looked at by then. */
enum { EARLY = 10, LATE = 200 };

static shx_hold
claimed_late(void)
{
    pool.hint = LATE;
    shx_hold hold = claimed(about->reference);
    CHECK(pool.place == LATE);
    pool.hint = EARLY;
    return hold;
}

static void
claim_and_send(int number)
{
    (void)number;
    shx_hold hold = claimed_late();
    be_ready();
    about->reference = sent(&hold);
    drop(&hold);
    atomic_store(&about->held, true);
    be_gone();
}

static void
claim_and_pass_on(int number)
{
    shx_pool other;
    shx_hold passed;
    shx_member me = me_in(in.party);
    (void)number;
    open_in(&in, &other);
    other.hint = EARLY;
    shx_hold hold = claimed_late();
    be_ready();
    const shx_pool_reference reference = sent(&hold);
    CHECK(shx_pool_claim(&other, &me, &reference, &passed) == 0);
    drop(&hold);
    CHECK(other.place == EARLY);
    atomic_store(&about->held, true);
    be_gone();
}

static void
inherit(int number)
{
    (void)number;
    (void)pause();
}

static void
claim_and_fork(int number)
{
    (void)number;
    shx_hold hold = claimed_late();
    be_ready();
    (void)spawn(inherit, 0);
    drop(&hold);
    atomic_store(&about->held, true);
    be_gone();
}

static void
claim_late(int number)
{
    shx_hold hold;
    (void)number;
    be_ready();
    shx_err err = claim(about->reference, &hold);
    CHECK(err == 0 || err == SHX_SPENT);
    atomic_store(&about->held, err == 0);
    be_gone();
}

static void
own_beside_a_sender(void)
{
    own_and_send();
    start(claim_and_send);
}

static void
own_beside_one_who_passes_it_on(void)
{
    own_and_send();
    start(claim_and_pass_on);
}

static void
own_beside_a_parent(void)
{
    own_and_send();
    start(claim_and_fork);
}

static void
own_beside_a_receiver(void)
{
    own_and_keep();
    start(claim_late);
}

/* Beside one that drops it, whose place is the only one. */

static shx_hold in_hand;

static void
take_other_places(void)
{
    for (unsigned i = 0; i < SHX_POOL_PLACES; i++) {
        uint64_t nobody = 0;
        if (i != pool.place) {
            (void)atomic_compare_exchange_strong(&pool.places[i], &nobody,
                                                 shx_slot_of(&pool.who, 0));
        }
    }
}

static void
claim_in_that_place(int number)
{
    shx_hold hold;
    (void)number;
    be_ready();
    shx_err err = claim(about->reference, &hold);
    CHECK(err == 0 || err == SHX_TOO_MANY || err == SHX_SPENT);
    atomic_store(&about->held, err == 0);
    be_gone();
}

static void
hold_in_the_only_place(void)
{
    own_and_keep();
    start(claim_in_that_place);
    in_hand = claimed(about->reference);
    take_other_places();
}

static void
drop_it(void)
{
    drop(&in_hand);
}

/* Beside one that comes when the place of a dead one is given back. */

static void
claim_and_die(int number)
{
    (void)number;
    (void)claimed(about->reference);
    _exit(0);
}

static void
leave_a_dead_ones_place(void)
{
    own_and_keep();
    check_ended(spawn(claim_and_die, 0));
    start(claim_in_that_place);
    take_other_places();
}

static void
reap(void)
{
    (void)shx_pool_reap_locked(&pool, shx_party_is_dead);
}

/* Receiving. */

static void
claim_it(void)
{
    shx_err err = claim(about->reference, &in_hand);
    CHECK(err == 0 || err == SHX_SPENT);
    CHECK(err == 0 || about->reference.kept);
    if (err == 0 && data[in_hand.offset] != SENT) {
        atomic_store(&about->overwritten, true);
    }
}

/* What is held, or in flight, is as it was sent. */
static void
check_all(void)
{
    if (atomic_load(&about->held)) {
        shx_hold hold = as_sent();
        note_bytes(&hold);
        CHECK(!is_free());
    }
    CHECK(!atomic_load(&about->overwritten));
    took();
}

static const row rows[] = {
    {"free, beside send and drop", own_beside_a_sender, free_it, check_all,
     let_go_on, PAUSED},
    {"free, beside send, claim and drop", own_beside_one_who_passes_it_on,
     free_it, check_all, let_go_on, PAUSED},
    {"free, beside fork and drop", own_beside_a_parent, free_it, check_all,
     let_go_on, PAUSED},
    {"free, beside claim", own_beside_a_receiver, free_it, check_all,
     let_go_on, PAUSED},
    {"claim, beside take", be_beside_an_owner, claim_it, check_all, let_go_on,
     PAUSED},
    {"claim of a kept one, beside take", be_beside_an_owner_who_kept, claim_it,
     check_all, let_go_on, PAUSED},
    {"drop, beside claim", hold_in_the_only_place, drop_it, check_all,
     let_go_on, PAUSED},
    {"reap, beside claim", leave_a_dead_ones_place, reap, check_all, let_go_on,
     PAUSED},
};

int
main(int argc, char **argv)
{
    make_data(DATA);
    about = make_notes(sizeof *about);
    return run_rows(argc, argv, rows, sizeof rows / sizeof *rows);
}

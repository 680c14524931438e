/* SPDX-License-Identifier: MIT */
/* What a pool does in each case, and what becomes of it when somebody dies. */
#define _GNU_SOURCE

#include "pool.h"

static memory in;

static struct {
    _Atomic int steps;
    shx_pool_reference reference;
} * notes;

static void
begin_anew(void)
{
    (void)memset(notes, 0, sizeof *notes);
    open_anew(&in);
}

static void
test_directed_block_goes_round(void)
{
    begin_anew();
    shx_hold first = taken(1);
    CHECK(first.size == PAGE && first.offset % PAGE == 0);
    fill(&first, 1);
    shx_pool_reference reference = sent(&first);
    drop(&first);
    shx_hold second = claimed(reference);
    CHECK(second.block == first.block && second.offset == first.offset);
    CHECK(is_filled(&second, 1));
    drop(&second);
    CHECK(is_idle());
    shx_hold again = taken(PAGE); /* the same pages, and other bytes */
    CHECK(again.offset == first.offset);
    CHECK(again.generation == first.generation + 1);
    CHECK(claim(reference, &second) == SHX_SPENT);
    CHECK(look().held == 1);
    drop(&again);
    CHECK(is_idle() && look().idle == PAGE);
}

/* What is held or in flight is not given again; whoever asks for how much. */
static void
test_directed_what_is_in_use_stays(void)
{
    begin_anew();
    shx_hold holds[BLOCKS], more;
    shx_pool_reference references[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        holds[i] = taken((i + 1) * PAGE);
        fill(&holds[i], i);
        references[i] = sent(&holds[i]);
        if (i % 2 == 0) {
            drop(&holds[i]);
        }
    }
    CHECK(take(PAGE, &more) == EAGAIN); /* no block is left */
    CHECK(look().blocks == BLOCKS && look().in_flight == BLOCKS);
    CHECK(look().used == 36 * PAGE);
    for (unsigned i = 0; i < BLOCKS; i++) {
        CHECK(is_filled(&holds[i], i));
        more = claimed(references[i]);
        CHECK(claim(references[i], &more) == SHX_SPENT);
        drop(&more);
        if (i % 2 != 0) {
            drop(&holds[i]);
        }
    }
    CHECK(is_idle());
    CHECK(take(DATA + 1, &more) == EAGAIN);
    holds[0] = taken(DATA);
    CHECK(take(1, &more) == EAGAIN); /* no room is left */
    drop(&holds[0]);
}

static void
test_directed_local_counts(void)
{
    begin_anew();
    shx_hold hold = taken(PAGE);
    shx_pool_reference references[] = {sent(&hold), sent(&hold), sent(&hold)};
    CHECK(look().in_flight == 3);
    shx_hold second = claimed(references[0]), third = claimed(references[1]);
    drop(&hold);
    drop(&second);
    CHECK(look().held == 1 && look().places == 1);
    unsend(&references[2]);
    CHECK(look().in_flight == 0);
    unsend(&references[2]); /* once too often: nothing is in flight */
    CHECK(look().in_flight == 0 && look().held == 1);
    drop(&third);
    CHECK(is_idle());
    const shx_hold none = {.block = third.block};
    drop(&none);
    CHECK(is_idle());
}

static void
test_directed_kept_for_any_number(void)
{
    begin_anew();
    shx_hold hold = taken(PAGE), holds[3];
    shx_pool_reference reference = sent(&hold);
    drop(&hold);
    for (int i = 0; i < 3; i++) {
        holds[i] = claimed(kept(reference));
        CHECK(look().in_flight == 1);
    }
    unsend(&reference);
    shx_hold other = taken(PAGE);
    CHECK(other.block != hold.block); /* it is held */
    for (int i = 0; i < 3; i++) {
        drop(&holds[i]);
    }
    drop(&other);
    /* Nor is a reference in flight needed, while somebody holds it. */
    hold = taken(PAGE);
    reference = sent(&hold);
    unsend(&reference);
    CHECK(claim(reference, &other) == SHX_SPENT);
    other = claimed(kept(reference));
    drop(&hold);
    drop(&other);
    hold = taken(DATA);
    CHECK(claim(kept(reference), &other) == SHX_SPENT);
    unsend(&reference); /* of another generation */
    drop(&hold);
    CHECK(is_idle());
}

static void
test_directed_find(void)
{
    unsigned block;
    begin_anew();
    shx_hold hold = taken(2 * PAGE), other = taken(PAGE);
    CHECK(shx_pool_find(&pool, hold.offset, hold.size, &block) == 0);
    CHECK(block == hold.block);
    CHECK(shx_pool_find(&pool, other.offset + 8, 8, &block) == 0);
    CHECK(block == other.block);
    CHECK(shx_pool_find(&pool, hold.offset + 1, hold.size, &block) == ENOENT);
    CHECK(shx_pool_find(&pool, UINT64_MAX, 2, &block) == ENOENT);
    shx_pool_reference reference = sent(&hold);
    drop(&hold);
    CHECK(shx_pool_find(&pool, hold.offset, 1, &block) == ENOENT);
    CHECK(send_block(&hold, &reference) == ENOENT);
    CHECK(shx_pool_find(&pool, other.offset, 1, &block) == 0);
    drop(&other);
}

static void
test_directed_copy_out(void)
{
    static unsigned char bytes[2 * PAGE];
    begin_anew();
    shx_hold hold = taken(2 * PAGE);
    fill(&hold, 7);
    shx_pool_reference reference = sent(&hold);
    drop(&hold);
    reference.offset += 8;
    reference.length = 16;
    shx_pool_reference both = kept(reference);
    CHECK(shx_pool_copy_out(&pool, &both, data, bytes) == 0);
    CHECK(look().in_flight == 1 && look().places == 0);
    CHECK(shx_pool_copy_out(&pool, &reference, data, bytes) == 0);
    CHECK(memcmp(bytes, data + reference.offset, 16) == 0 && bytes[16] == 0);
    CHECK(shx_pool_copy_out(&pool, &reference, data, bytes) == SHX_SPENT);
    CHECK(is_idle());
    reference.block = BLOCKS;
    CHECK(shx_pool_copy_out(&pool, &reference, data, bytes) == SHX_DAMAGED);
}

/* What a reference says is not believed, nor what the memory does. */
static void
test_directed_nonsense(void)
{
    begin_anew();
    shx_hold hold = taken(PAGE), other;
    const shx_pool_reference good = sent(&hold);
    shx_pool_reference bad = good;
    bad.block = BLOCKS;
    CHECK(claim(bad, &other) == SHX_DAMAGED);
    shx_pool_unsend(&pool, BLOCKS, 1);
    bad = good;
    bad.length = PAGE + 1;
    CHECK(claim(bad, &other) == SHX_DAMAGED);
    bad.length = 1;
    bad.offset = hold.offset + PAGE;
    CHECK(claim(bad, &other) == SHX_DAMAGED);
    atomic_store(&pool.words[hold.block].offset, DATA);
    CHECK(claim(good, &other) == SHX_DAMAGED);
    atomic_store(&pool.words[hold.block].offset, UINT64_MAX - PAGE + 1);
    CHECK(claim(good, &other) == SHX_DAMAGED);
    atomic_store(&pool.words[hold.block].offset, hold.offset);
    CHECK(look().in_flight == 1); /* on error nothing has changed */
    drop(&hold);
    atomic_store(&pool.words[hold.block].size, UINT64_MAX);
    CHECK(claim(good, &other) == SHX_DAMAGED && look().held == 0);
    CHECK(look().places == 0);
}

/* Others. */

static void
claim_and_stay(int number)
{
    shx_hold hold = claimed(notes->reference);
    CHECK(is_filled(&hold, 5));
    (void)number;
    atomic_store(&notes->steps, 1);
    (void)pause();
}

/* A receiver holds it, whatever the owner does, until it is dead. */
static void
test_directed_dead_receiver_is_forgotten(void)
{
    begin_anew();
    shx_hold hold = taken(DATA), other;
    fill(&hold, 5);
    notes->reference = sent(&hold);
    drop(&hold);
    pid_t child = spawn(claim_and_stay, 0);
    SOON(atomic_load(&notes->steps) == 1);
    CHECK(kill(child, SIGSTOP) == 0); /* who is stopped lives */
    CHECK(look().held == 1 && look().in_flight == 0);
    CHECK(take(PAGE, &other) == EAGAIN);
    CHECK(!shx_pool_is_abandoned(&pool, &pool.who));
    kill_and_wait(child);
    CHECK(look().places == 1);
    hold = taken(DATA);
    CHECK(look().places == 1);
    drop(&hold);
    CHECK(is_idle());
}

static void
enter_place(shx_pool *one, uint32_t token, unsigned place)
{
    uint64_t value = UINT64_C(9) << 32 | token;
    atomic_store(&one->places[place], value);
    for (unsigned i = 0; i < BLOCKS; i++) {
        (void)atomic_fetch_or(shx_pool_holders(&one->words[i], place),
                              shx_pool_bit(place));
    }
}

/* All places are taken by the living: claims are none, but bytes may be copied
 * out. Then one of them is dead. */
static void
test_directed_no_place(void)
{
    static unsigned char bytes[PAGE];
    shx_pool other;
    begin_anew();
    shx_member me = me_in(in.party);
    shx_hold hold = taken(PAGE), more;
    shx_pool_reference reference = sent(&hold);
    open_in(&in, &other);
    uint64_t mine = shx_slot_of(&me, 0);
    for (unsigned i = 0; i < SHX_POOL_PLACES; i++) {
        uint64_t nobody = 0;
        (void)atomic_compare_exchange_strong(&pool.places[i], &nobody, mine);
    }
    CHECK(shx_pool_claim(&other, &me, &reference, &more) == SHX_TOO_MANY);
    CHECK(look().in_flight == 1);
    CHECK(shx_pool_copy_out(&other, &reference, data, bytes) == 0);
    CHECK(look().in_flight == 0);
    reference = sent(&hold);
    unsigned dead = pool.place == 200 ? 201 : 200;
    enter_place(&pool, me.token, dead); /* a number that was drawn again */
    CHECK(shx_pool_claim(&other, &me, &reference, &more) == 0);
    CHECK(other.place == dead);
    for (unsigned i = 0; i < BLOCKS; i++) {
        bool ours = (atomic_load(shx_pool_holders(&pool.words[i], dead)) &
                     shx_pool_bit(dead)) != 0;
        CHECK(ours == (i == hold.block));
    }
    shx_pool_drop(&other, &me, &more);
    CHECK(look().held == 1);
    drop(&hold);
    shx_pool_close(&other);
}

/* Two handles of one process are two who hold. */
static void
test_directed_two_handles(void)
{
    shx_pool other;
    begin_anew();
    shx_member me = me_in(in.party);
    open_in(&in, &other);
    CHECK(shx_pool_own(&other, &me) == SHX_NOT_OWNER);
    CHECK(!shx_pool_is_own(&other, &me) && shx_pool_is_own(&pool, &me));
    shx_hold hold = taken(DATA), more;
    shx_pool_reference reference = sent(&hold);
    CHECK(shx_pool_claim(&other, &me, &reference, &more) == 0);
    CHECK(look().places == 2);
    drop(&hold);
    CHECK(take(PAGE, &hold) == EAGAIN);
    CHECK(look().held == 1 && look().places == 1);
    CHECK(!shx_pool_is_abandoned(&other, &me));
    shx_pool_drop(&other, &me, &more);
    CHECK(!shx_pool_is_abandoned(&other, &me)); /* its owner lives */
    hold = taken(PAGE);
    drop(&hold);
    shx_pool_close(&other);
}

/* Abandoned pools. */

static void
own_and_die(int number)
{
    begin_anew();
    shx_hold hold = taken(PAGE);
    fill(&hold, 5);
    if (number != 0) {
        notes->reference = sent(&hold);
    }
    atomic_store(&notes->steps, 1);
    _exit(0);
}

static void
test_directed_pool_of_a_dead_owner(void)
{
    for (int sent_one = 0; sent_one < 2; sent_one++) {
        begin_anew();
        shx_member me = me_in(in.party);
        shx_pool_close(&pool);
        pool.party = NULL;
        check_ended(spawn(own_and_die, sent_one));
        open_in(&in, &pool);
        shx_hold hold;
        CHECK(take(PAGE, &hold) == SHX_NOT_OWNER);
        CHECK(shx_pool_own(&pool, &me) == SHX_NOT_OWNER);
        if (sent_one) {
            CHECK(!shx_pool_is_abandoned(&pool, &me));
            hold = claimed(notes->reference);
            CHECK(is_filled(&hold, 5));
            CHECK(!shx_pool_is_abandoned(&pool, &me));
            drop(&hold);
        }
        CHECK(shx_pool_is_abandoned(&pool, &me));
        CHECK(claim(kept(notes->reference), &hold) == SHX_SPENT);
        CHECK(look().places == 0);
    }
}

/* It goes itself: what only it holds is no reason to stay. */
static void
test_directed_owner_that_goes(void)
{
    begin_anew();
    shx_member me = me_in(in.party);
    shx_hold hold = taken(PAGE), other;
    shx_pool_reference reference = sent(&hold);
    CHECK(!shx_pool_is_abandoned(&pool, &me));
    CHECK(claim(kept(reference), &other) == 0);
    drop(&other);
    unsend(&reference);
    CHECK(shx_pool_is_abandoned(&pool, &me));
    CHECK(claim(kept(reference), &other) == SHX_SPENT);
    CHECK(send_block(&hold, &reference) == SHX_SPENT);
    CHECK(take(PAGE, &other) == SHX_NOT_OWNER);
    CHECK(!shx_pool_is_own(&pool, &me));
    drop(&hold);
    CHECK(is_idle());
    /* And so does one that closes it. */
    begin_anew();
    shx_pool_close(&pool);
    open_in(&in, &pool);
    CHECK(shx_pool_own(&pool, &me) == SHX_NOT_OWNER);
    CHECK(shx_pool_is_abandoned(&pool, &me));
}

static void
test_directed_what_is_none(void)
{
    shx_pool other;
    size_t size, needed = control_size_of(&usual);
    begin_anew();
    CHECK(shx_pool_open(in.bytes, needed - 1, DATA, in.party, &other) ==
          SHX_TOO_SMALL);
    CHECK(shx_pool_open(in.bytes, 64, DATA, in.party, &other) ==
          SHX_TOO_SMALL);
    CHECK(shx_pool_open(in.bytes, needed, DATA - 1, in.party, &other) ==
          SHX_TOO_SMALL);
    shx_pool_about *about = (void *)in.bytes;
    atomic_store(&about->head, shx_cell_head_of(SHX_CELL_POOL, 0));
    CHECK(shx_pool_open(in.bytes, in.size, DATA, in.party, &other) ==
          SHX_FOREIGN);
    atomic_store(&about->head, shx_cell_head_of(SHX_CELL_CHANNEL, BLOCKS));
    CHECK(shx_pool_open(in.bytes, in.size, DATA, in.party, &other) ==
          SHX_FOREIGN);
    const shx_pool_shape wrong[] = {{DATA, 0},
                                    {DATA, SHX_POOL_MOST_BLOCKS + 1},
                                    {PAGE - 1, 1},
                                    {UINT64_MAX, 1}};
    for (int i = 0; i < 4; i++) {
        CHECK(!shx_pool_size(&wrong[i], &size));
    }
}

int
main(void)
{
    in = make_memory(control_size_of(&usual));
    notes = make_notes(sizeof *notes);
    make_data(DATA);
    test_directed_block_goes_round();
    test_directed_what_is_in_use_stays();
    test_directed_local_counts();
    test_directed_kept_for_any_number();
    test_directed_find();
    test_directed_copy_out();
    test_directed_nonsense();
    test_directed_dead_receiver_is_forgotten();
    test_directed_no_place();
    test_directed_two_handles();
    test_directed_pool_of_a_dead_owner();
    test_directed_owner_that_goes();
    test_directed_what_is_none();
    return 0;
}

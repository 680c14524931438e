/* SPDX-License-Identifier: MIT */
/* Who holds which block.
 *
 * A fork leaves a child the counts of its parent, and a place of its own whose
 * bits are those of all that was held at that moment, which the pools' mutex
 * makes one. Which place that is the parent writes down for each child anew,
 * and the child reads in its copy of that. */
#include "core/pool/pool_words.h"

#include <errno.h>

#include "core/life/party_anchor.h" /* shx_party_prove_death */

void
shx_pool_become_locked(shx_pool *pool, const shx_member *me)
{
    if (shx_is_same_member(&pool->who, me)) {
        return;
    }
    if (pool->willed != SHX_NO_PLACE && shx_is_same_member(&pool->heir, me)) {
        pool->place = pool->willed;
    }
    else {
        for (unsigned i = 0; i < pool->held; i++) {
            pool->local[pool->local[i].listed].count = 0;
        }
        pool->held = 0;
        pool->place = SHX_NO_PLACE;
        pool->era++;
    }
    pool->willed = SHX_NO_PLACE;
    pool->who = *me;
    if (pool->estate != NULL && !shx_is_same_member(&pool->estate->who, me)) {
        shx_pool_disown_locked(pool); /* it is the parent's */
    }
}

/* Places. */

static bool
claim_place(shx_pool *pool, const shx_member *who, unsigned *place)
{
    *place = pool->hint;
    bool claimed = shx_slots_claim(pool->places, SHX_POOL_PLACES,
                                   shx_slot_of(who, 0), place);
    pool->hint = *place;
    return claimed;
}

/* Another one may have freed those of the dead meanwhile. */
static bool
claim_or_reap(shx_pool *pool, const shx_member *who, shx_pool_proof is_dead,
              unsigned *place)
{
    if (claim_place(pool, who, place)) {
        return true;
    }
    (void)shx_pool_reap_locked(pool, is_dead);
    return claim_place(pool, who, place);
}

/* From where this process begins, so that not all begin at the same. */
shx_err
shx_pool_enter_locked(shx_pool *pool)
{
    unsigned place;
    if (pool->place != SHX_NO_PLACE) {
        return 0;
    }
    if (pool->hint == 0) {
        pool->hint = pool->who.nonce % SHX_POOL_PLACES;
    }
    if (!claim_or_reap(pool, &pool->who, shx_party_is_dead, &place)) {
        return SHX_TOO_MANY;
    }
    pool->place = place;
    return 0;
}

static void
free_place(shx_pool *pool, unsigned place)
{
    uint64_t ours = shx_slot_of(&pool->who, 0);
    (void)atomic_compare_exchange_strong(&pool->places[place], &ours, 0);
}

void
shx_pool_leave_locked(shx_pool *pool)
{
    if (pool->held == 0 && pool->place != SHX_NO_PLACE) {
        free_place(pool, pool->place);
        pool->place = SHX_NO_PLACE;
    }
}

/* Who had our number, and another nonce, is dead as well. */
static bool
is_of_dead(shx_pool *pool, uint64_t place, shx_pool_proof is_dead)
{
    uint32_t token = shx_slot_token(place);
    if (place == 0 || place == shx_slot_of(&pool->who, 0)) {
        return false;
    }
    return token == 0 || token == pool->who.token ||
           is_dead(pool->party, token);
}

static void
clear_bits(shx_pool *pool, const uint64_t *bits)
{
    for (unsigned i = 0; i < pool->blocks; i++) {
        for (unsigned j = 0; j < SHX_PLACE_WORDS; j++) {
            _Atomic uint64_t *holders = &pool->words[i].holders[j];
            if ((atomic_load(holders) & bits[j]) != 0) {
                (void)atomic_fetch_and(holders, ~bits[j]);
            }
        }
    }
}

/* All of them at a time: the bits are far apart. */
unsigned
shx_pool_reap_locked(shx_pool *pool, shx_pool_proof is_dead)
{
    uint64_t bits[SHX_PLACE_WORDS] = {0};
    unsigned count = 0;
    for (unsigned i = 0; i < SHX_POOL_PLACES; i++) {
        uint64_t place = atomic_load(&pool->places[i]);
        if (is_of_dead(pool, place, is_dead) &&
            atomic_compare_exchange_strong(&pool->places[i], &place,
                                           shx_slot_of(&pool->who, 0))) {
            bits[i / 64] |= shx_pool_bit(i);
            count++;
        }
    }
    if (count > 0) {
        clear_bits(pool, bits);
    }
    for (unsigned i = 0; i < SHX_POOL_PLACES && count > 0; i++) {
        if ((bits[i / 64] & shx_pool_bit(i)) != 0) {
            free_place(pool, i);
        }
    }
    return count;
}

/* Local counts. */

void
shx_pool_count_locked(shx_pool *pool, unsigned block, uint64_t offset,
                      uint64_t size)
{
    shx_pool_local *local = &pool->local[block];
    if (local->count++ == 0) {
        local->at = pool->held;
        local->offset = offset;
        local->size = size;
        pool->local[pool->held++].listed = block;
    }
}

void
shx_pool_set_locked(shx_pool *pool, unsigned block)
{
    (void)atomic_fetch_or(shx_pool_holders(&pool->words[block], pool->place),
                          shx_pool_bit(pool->place));
}

void
shx_pool_clear_locked(shx_pool *pool, unsigned block)
{
    (void)atomic_fetch_and(shx_pool_holders(&pool->words[block], pool->place),
                           ~shx_pool_bit(pool->place));
}

void
shx_pool_release_locked(shx_pool *pool, unsigned block)
{
    shx_pool_local *local = &pool->local[block];
    if (--local->count > 0) {
        return;
    }
    unsigned last = pool->local[--pool->held].listed;
    pool->local[last].at = local->at;
    pool->local[local->at].listed = last;
    shx_pool_clear_locked(pool, block);
    shx_pool_leave_locked(pool);
}

void
shx_pool_drop(shx_pool *pool, const shx_member *me, const shx_hold *hold)
{
    shx_pools_lock();
    shx_pool_become_locked(pool, me);
    if (hold->era == pool->era && pool->local[hold->block].count > 0) {
        shx_pool_release_locked(pool, hold->block);
    }
    shx_pools_unlock();
}

shx_err
shx_pool_find(shx_pool *pool, uint64_t offset, uint64_t length,
              unsigned *block)
{
    shx_err err = ENOENT;
    shx_pools_lock();
    for (unsigned i = 0; i < pool->held && err != 0; i++) {
        unsigned one = pool->local[i].listed;
        const shx_pool_local *local = &pool->local[one];
        if (shx_is_within(offset, length, local->offset, local->size)) {
            *block = one;
            err = 0;
        }
    }
    shx_pools_unlock();
    return err;
}

/* Forks. */

static void
pin_all(shx_pool *pool)
{
    for (unsigned i = 0; i < pool->held; i++) {
        (void)atomic_fetch_or(&pool->words[pool->local[i].listed].word,
                              SHX_POOL_PINNED);
    }
}

/* The owner may have looked at that place by now, and not yet at ours, which
 * is free before it does: so the word is changed, as by who claims. */
static void
hold_all_as(shx_pool *pool, unsigned place)
{
    for (unsigned i = 0; i < pool->held; i++) {
        shx_pool_block *block = &pool->words[pool->local[i].listed];
        (void)atomic_fetch_or(shx_pool_holders(block, place),
                              shx_pool_bit(place));
        (void)atomic_fetch_add(&block->word, SHX_POOL_SEND);
    }
}

/* Before this process forks, with the mutex of its parties, too. */
void
shx_pool_bequeath(shx_bequest *bequest, const shx_member *me,
                  const shx_member *child)
{
    shx_pool *pool = (shx_pool *)(void *)bequest;
    unsigned place;
    shx_pool_become_locked(pool, me);
    pool->willed = SHX_NO_PLACE;
    if (pool->held == 0) {
        return;
    }
    if (child == NULL ||
        !claim_or_reap(pool, child, shx_party_prove_death, &place)) {
        pin_all(pool);
        return;
    }
    hold_all_as(pool, place);
    pool->heir = *child;
    pool->willed = place;
}

/* SPDX-License-Identifier: MIT */
#include "core/pool/pool_words.h"

#include <errno.h>
#include <stdlib.h> /* calloc, free */

/* One for all pools of the process: what a child inherits it finds whole. */
static struct {
    shx_mutex mutex;
    bool watches_forks;
} pools = {.mutex = SHX_MUTEX};

void
shx_pools_lock(void)
{
    shx_mutex_lock(&pools.mutex);
}

void
shx_pools_unlock(void)
{
    shx_mutex_unlock(&pools.mutex);
}

/* After the parties have asked for the same, who are told of forks later then:
 * the last to ask is the first to lock. */
static shx_err
watch_forks(void)
{
    shx_err err = 0;
    shx_pools_lock();
    if (!pools.watches_forks) {
        err =
            shx_os_at_fork(shx_pools_lock, shx_pools_unlock, shx_pools_unlock);
        pools.watches_forks = err == 0;
    }
    shx_pools_unlock();
    return err;
}

bool
shx_pool_size(const shx_pool_shape *shape, size_t *control)
{
    if (shape->blocks == 0 || shape->blocks > SHX_POOL_MOST_BLOCKS ||
        shape->size < shx_os_page_size() || shape->size > INT64_MAX) {
        return false;
    }
    *control = SHX_POOL_AT_BLOCKS + shape->blocks * sizeof(shx_pool_block);
    return true;
}

static shx_pool_block *
blocks_in(void *control)
{
    return (void *)((char *)control + SHX_POOL_AT_BLOCKS);
}

void
shx_pool_make(void *control, const shx_pool_shape *shape, uint64_t pair)
{
    shx_pool_about *about = control;
    for (unsigned i = 0; i < shape->blocks; i++) {
        atomic_store(&blocks_in(control)[i].word, SHX_POOL_FREED);
    }
    atomic_store(&about->size, shape->size);
    atomic_store(&about->pair, pair);
    atomic_store(&about->head, shx_cell_head_of(SHX_CELL_POOL, shape->blocks));
}

/* What it says of itself, if all of that is mapped. */
static shx_err
read_shape(const void *control, size_t control_size, uint64_t data_size,
           shx_pool_shape *out)
{
    const shx_pool_about *about = control;
    size_t needed = SHX_POOL_AT_BLOCKS;
    if (control_size < needed) {
        return SHX_TOO_SMALL;
    }
    shx_cell_head head = shx_cell_read(control);
    shx_pool_shape found = {.size = atomic_load(&about->size),
                            .blocks = head.parameter};
    if (head.kind != SHX_CELL_POOL || head.version != SHX_CELL_VERSION ||
        !shx_pool_size(&found, &needed)) {
        return SHX_FOREIGN;
    }
    *out = found;
    return control_size < needed || data_size < found.size ? SHX_TOO_SMALL : 0;
}

shx_err
shx_pool_open(void *control, size_t control_size, uint64_t data_size,
              shx_party *party, shx_pool *out)
{
    const shx_pool_about *about = control;
    shx_pool_shape shape;
    shx_err err = read_shape(control, control_size, data_size, &shape);
    if (err == 0) {
        err = watch_forks();
    }
    if (err != 0) {
        return err;
    }
    shx_pool_local *local = calloc(shape.blocks, sizeof *local);
    if (local == NULL) {
        return ENOMEM;
    }
    *out = (shx_pool){
        .bequest.tell = shx_pool_bequeath,
        .party = party,
        .pair = atomic_load(&about->pair),
        .size = shape.size,
        .blocks = shape.blocks,
        .owner = (void *)((char *)control + SHX_POOL_OWNER),
        .places = (void *)((char *)control + SHX_POOL_AT_PLACES),
        .words = blocks_in(control),
        .place = SHX_NO_PLACE,
        .willed = SHX_NO_PLACE,
        .local = local,
    };
    shx_party_bequeath(party, &out->bequest);
    return 0;
}

void
shx_pool_close(shx_pool *pool)
{
    shx_member me;
    bool known = pool->estate != NULL && shx_party_me(pool->party, &me) == 0;
    shx_party_disinherit(pool->party, &pool->bequest);
    shx_pools_lock();
    if (known) {
        shx_pool_become_locked(pool, &me); /* a child is not the owner */
    }
    shx_pool_disown_locked(pool);
    shx_pools_unlock();
    free(pool->local);
    pool->local = NULL;
}

bool
shx_pool_is_unheld(const shx_pool_block *block, unsigned but)
{
    for (unsigned i = 0; i < SHX_PLACE_WORDS; i++) {
        uint64_t ours = but / 64 == i ? shx_pool_bit(but) : 0;
        if ((atomic_load(&block->holders[i]) & ~ours) != 0) {
            return false;
        }
    }
    return true;
}

bool
shx_pool_try_free(shx_pool_block *block, unsigned but)
{
    uint64_t word = atomic_load(&block->word);
    return !shx_pool_is_out(word) && shx_pool_is_unheld(block, but) &&
           atomic_compare_exchange_strong(&block->word, &word,
                                          word | SHX_POOL_FREED);
}

static void
look_at(const shx_pool_block *block, shx_pool_state *state)
{
    uint64_t word = atomic_load(&block->word);
    uint64_t size = atomic_load(&block->size);
    bool held = !shx_pool_is_unheld(block, SHX_NO_PLACE);
    if (shx_pool_is_freed(word)) {
        return;
    }
    state->in_flight += (unsigned)(word & SHX_POOL_IN_FLIGHT);
    state->pinned += (word & SHX_POOL_PINNED) != 0;
    state->held += held;
    if (held || shx_pool_is_out(word)) {
        state->blocks++;
        state->used += size;
    }
    else {
        state->idle += size;
    }
}

shx_pool_state
shx_pool_look(shx_pool *pool)
{
    shx_pool_state state = {
        .size = pool->size,
        .places = shx_slots_count(pool->places, SHX_POOL_PLACES),
    };
    for (unsigned i = 0; i < pool->blocks; i++) {
        look_at(&pool->words[i], &state);
    }
    shx_pools_lock();
    if (pool->estate != NULL) {
        state.idle += pool->estate->space.idle;
    }
    shx_pools_unlock();
    return state;
}

/* Who owns it is dead, or has gone, or is about to: `ours`. */
static bool
has_no_owner(shx_pool *pool, const shx_member *me, bool *ours)
{
    uint64_t owner = atomic_load(pool->owner);
    uint32_t token = shx_slot_token(owner);
    *ours = shx_pool_is_own(pool, me);
    if (owner == 0 || owner == shx_slot_of(me, 0)) {
        return *ours;
    }
    return token == 0 || token == me->token || /* who had our number */
           shx_party_is_dead(pool->party, token);
}

/* All are looked at first, so that a pool that is in use stays as it is. */
static bool
free_all(shx_pool *pool, unsigned but)
{
    for (unsigned i = 0; i < pool->blocks; i++) {
        uint64_t word = atomic_load(&pool->words[i].word);
        if (!shx_pool_is_freed(word) &&
            (shx_pool_is_out(word) ||
             !shx_pool_is_unheld(&pool->words[i], but))) {
            return false;
        }
    }
    for (unsigned i = 0; i < pool->blocks; i++) {
        if (!shx_pool_is_freed(atomic_load(&pool->words[i].word)) &&
            !shx_pool_try_free(&pool->words[i], but)) {
            return false;
        }
    }
    return true;
}

bool
shx_pool_is_abandoned(shx_pool *pool, const shx_member *me)
{
    bool ours, abandoned = false;
    if (!has_no_owner(pool, me, &ours)) {
        return false;
    }
    shx_pools_lock();
    shx_pool_become_locked(pool, me);
    if (ours || pool->held == 0) {
        (void)shx_pool_reap_locked(pool, shx_party_is_dead);
        abandoned = free_all(pool, ours ? pool->place : SHX_NO_PLACE);
    }
    if (abandoned) {
        shx_pool_disown_locked(pool);
    }
    shx_pools_unlock();
    return abandoned;
}

/* SPDX-License-Identifier: MIT */
/* The owner: blocks for what it sends. Pages are what costs, so blocks are
 * used that were used before, if they are free: a few are looked at whenever
 * one is taken, and all, with the places of the dead, before fresh pages are,
 * or where they are many, from time to time. */
#include "core/pool/pool_words.h"

#include <errno.h>
#include <stdlib.h> /* calloc, malloc, free */

/* Idle pages that nobody minds; and how many blocks are looked at each time.
 * One reservation of a gigabyte can be interrupted for ever; pieces cannot. */
static const uint64_t modest = 64u << 20, piece = 16u << 20, least = 64u << 10;
enum { FEW = 32, MANY = 128 };

static void
dispose(shx_pool_estate *estate)
{
    shx_pool_space_close(&estate->space);
    free(estate->numbers);
    free(estate);
}

static uint64_t
in_pages(uint64_t size)
{
    uint64_t page = shx_os_page_size();
    return (size + page - 1) / page * page;
}

static shx_pool_estate *
make_estate(const shx_pool *pool, const shx_member *me)
{
    size_t blocks = pool->blocks;
    uint64_t page = shx_os_page_size();
    shx_pool_estate *made =
        calloc(1, sizeof *made + blocks * sizeof made->block[0]);
    if (made == NULL) {
        return NULL;
    }
    made->who = *me;
    made->blocks = pool->blocks;
    made->numbers = malloc(blocks * sizeof *made->numbers);
    if (made->numbers == NULL ||
        shx_pool_space_open(&made->space, pool->size / page * page) != 0) {
        dispose(made);
        return NULL;
    }
    for (unsigned i = 0; i < blocks; i++) {
        made->numbers[i] = (uint16_t)i;
    }
    return made;
}

shx_err
shx_pool_own(shx_pool *pool, const shx_member *me)
{
    uint64_t nobody = 0;
    shx_err err = 0;
    shx_pool_estate *made = make_estate(pool, me);
    if (made == NULL) {
        return ENOMEM;
    }
    shx_pools_lock();
    shx_pool_become_locked(pool, me);
    if (!atomic_compare_exchange_strong(pool->owner, &nobody,
                                        shx_slot_of(me, 0))) {
        err = SHX_NOT_OWNER;
    }
    else {
        pool->estate = made;
    }
    shx_pools_unlock();
    if (err != 0) {
        dispose(made);
    }
    return err;
}

bool
shx_pool_is_own(shx_pool *pool, const shx_member *me)
{
    shx_pools_lock();
    bool own =
        pool->estate != NULL && shx_is_same_member(&pool->estate->who, me);
    shx_pools_unlock();
    return own;
}

/* A child, which only has its parent's, is not who is known as the owner. */
void
shx_pool_disown_locked(shx_pool *pool)
{
    shx_pool_estate *estate = pool->estate;
    if (estate == NULL) {
        return;
    }
    uint64_t ours = shx_slot_of(&pool->who, 0);
    if (shx_is_same_member(&estate->who, &pool->who)) {
        (void)atomic_compare_exchange_strong(pool->owner, &ours,
                                             SHX_POOL_RETIRED);
    }
    pool->estate = NULL;
    dispose(estate);
}

/* Its number is the first to be used again: its line is known here. */
static void
put_back(shx_pool_estate *estate, unsigned at)
{
    uint16_t number = estate->numbers[at];
    const shx_pool_own_block *block = &estate->block[number];
    shx_pool_space_give(&estate->space, block->offset, block->size,
                        block->backed);
    estate->numbers[at] = estate->numbers[--estate->in_use];
    estate->numbers[estate->in_use] = number;
    if (estate->enough > 2 * estate->in_use) {
        estate->enough = 2 * estate->in_use;
    }
}

static bool
is_unused(shx_pool *pool, unsigned number)
{
    return pool->local[number].count == 0 &&
           shx_pool_try_free(&pool->words[number], SHX_NO_PLACE);
}

/* Which of those in use are so no more? In turn, and no more than that. */
static void
look_at(shx_pool *pool, unsigned most)
{
    shx_pool_estate *estate = pool->estate;
    for (unsigned left = estate->in_use < most ? estate->in_use : most;
         left > 0; left--) {
        if (estate->cursor >= estate->in_use) {
            estate->cursor = 0;
        }
        unsigned number = estate->numbers[estate->cursor];
        if (is_unused(pool, number)) {
            put_back(estate, estate->cursor);
        }
        else {
            estate->cursor++;
        }
    }
}

static shx_err
find_space(shx_pool_estate *estate, uint64_t size, bool backed_alone,
           uint64_t *offset, bool *fresh)
{
    if (estate->in_use == estate->blocks) {
        return EAGAIN;
    }
    return shx_pool_space_take(&estate->space, size, backed_alone, offset,
                               fresh);
}

/* This one, if nobody else has got it since. */
static void
free_one(shx_pool *pool, unsigned number)
{
    shx_pool_estate *estate = pool->estate;
    for (unsigned i = 0; estate != NULL && i < estate->in_use; i++) {
        if (estate->numbers[i] == number && is_unused(pool, number)) {
            put_back(estate, i);
            break;
        }
    }
}

/* Of many it is not done anew before a quarter more is in use. */
static void
look_at_all(shx_pool *pool)
{
    shx_pool_estate *estate = pool->estate;
    (void)shx_pool_reap_locked(pool, shx_party_is_dead);
    look_at(pool, estate->in_use);
    estate->enough = estate->in_use + estate->in_use / 4;
}

static shx_err
find_or_make_space(shx_pool *pool, uint64_t size, uint64_t *offset,
                   bool *fresh)
{
    shx_pool_estate *estate = pool->estate;
    look_at(pool, FEW);
    shx_err err = find_space(estate, size, true, offset, fresh);
    bool looked = estate->in_use < MANY || estate->in_use > estate->enough;
    if (err == EAGAIN && looked) {
        look_at_all(pool);
    }
    if (err == EAGAIN) {
        err = find_space(estate, size, false, offset, fresh);
    }
    if (err == EAGAIN && !looked) {
        look_at_all(pool);
        err = find_space(estate, size, false, offset, fresh);
    }
    return err;
}

/* Nobody claims it before its word is there: not in this generation, nor in
 * the one before, since more was sent than was. */
static void
publish(shx_pool *pool, unsigned number, const shx_pool_own_block *own)
{
    shx_pool_block *block = &pool->words[number];
    uint64_t word = atomic_load(&block->word);
    shx_pool_set_locked(pool, number);
    atomic_store_explicit(&block->offset, own->offset, memory_order_relaxed);
    atomic_store_explicit(&block->size, own->size, memory_order_relaxed);
    atomic_store_explicit(&block->generation, own->generation,
                          memory_order_relaxed);
    atomic_store(&block->word, (word & ~(SHX_POOL_SEND - 1)) + SHX_POOL_SEND);
}

static shx_err
take_locked(shx_pool *pool, uint64_t size, shx_hold *out, bool *fresh)
{
    uint64_t offset;
    shx_pool_estate *estate = pool->estate;
    if (estate == NULL) {
        return SHX_NOT_OWNER;
    }
    shx_err err = shx_pool_enter_locked(pool);
    if (err == 0) {
        err = find_or_make_space(pool, size, &offset, fresh);
    }
    if (err != 0) {
        shx_pool_leave_locked(pool);
        return err;
    }
    unsigned number = estate->numbers[estate->in_use++];
    shx_pool_own_block *own = &estate->block[number];
    own->offset = offset;
    own->size = size;
    own->backed = !*fresh;
    own->generation++;
    publish(pool, number, own);
    shx_pool_count_locked(pool, number, offset, size);
    *out = (shx_hold){.block = number,
                      .era = pool->era,
                      .generation = own->generation,
                      .offset = offset,
                      .size = size};
    return 0;
}

shx_err
shx_pool_take(shx_pool *pool, const shx_member *me, uint64_t size,
              shx_hold *out, bool *fresh)
{
    if (size > pool->size) {
        return EAGAIN;
    }
    shx_pools_lock();
    shx_pool_become_locked(pool, me);
    shx_err err = take_locked(pool, in_pages(size > 0 ? size : 1), out, fresh);
    shx_pools_unlock();
    return err;
}

/* Pages. None of it is done with the mutex. */

static unsigned
punch_to(shx_pool *pool, int fd, uint64_t most)
{
    unsigned count = 0;
    for (shx_err err = 0; err == 0;) {
        shx_extent extent;
        shx_pools_lock();
        bool found = pool->estate != NULL &&
                     shx_pool_space_cut(&pool->estate->space, most, &extent);
        shx_pools_unlock();
        if (!found) {
            break;
        }
        err = shx_os_punch(fd, extent.offset, extent.size);
        shx_pools_lock();
        if (pool->estate != NULL) {
            shx_pool_space_give(&pool->estate->space, extent.offset,
                                extent.size, err != 0);
        }
        shx_pools_unlock();
        count += err == 0;
    }
    return count;
}

/* How much may be idle. */
static uint64_t
bound_locked(const shx_pool *pool)
{
    uint64_t used = pool->estate->space.used;
    return used > modest ? used : modest;
}

bool
shx_pool_is_fat(shx_pool *pool)
{
    shx_pools_lock();
    bool fat =
        pool->estate != NULL && pool->estate->space.idle > bound_locked(pool);
    shx_pools_unlock();
    return fat;
}

/* The pages are not a child's to give back. */
unsigned
shx_pool_trim(shx_pool *pool, int fd)
{
    shx_member me;
    if (!shx_pool_is_fat(pool) || shx_party_me(pool->party, &me) != 0 ||
        !shx_pool_is_own(pool, &me)) {
        return 0;
    }
    shx_pools_lock();
    uint64_t most = pool->estate != NULL ? bound_locked(pool) : 0;
    shx_pools_unlock();
    return punch_to(pool, fd, most);
}

/* Without the look at the room, what there is too little for would first eat
 * what is left. */
static shx_err
reserve(int fd, uint64_t from, uint64_t size)
{
    uint64_t to = from + size, most = piece;
    if (size > piece && size > shx_os_room(fd)) {
        return ENOSPC;
    }
    while (from < to) {
        uint64_t length = to - from < most ? to - from : most;
        shx_err err = shx_os_reserve(fd, from, length);
        if (err == 0) {
            from += length;
        }
        else if (err != EINTR) {
            return err;
        }
        else if (most > least) {
            most /= 2; /* signals may come faster than that can be done */
        }
    }
    return 0;
}

shx_err
shx_pool_back(shx_pool *pool, const shx_hold *hold, int fd)
{
    shx_err err = reserve(fd, hold->offset, hold->size);
    if (err == ENOSPC && punch_to(pool, fd, 0) > 0) {
        err = reserve(fd, hold->offset, hold->size);
    }
    if (err != 0) {
        (void)shx_os_punch(fd, hold->offset, hold->size);
    }
    shx_pools_lock();
    if (err != 0) {
        shx_pool_release_locked(pool, hold->block);
        free_one(pool, hold->block);
    }
    else if (pool->estate != NULL) {
        pool->estate->block[hold->block].backed = true;
    }
    shx_pools_unlock();
    return err;
}

/* SPDX-License-Identifier: MIT */
/* How holds become references, and references holds: all by one word. */
#include "core/pool/pool_words.h"

#include <errno.h>
#include <string.h> /* memcpy */

static shx_err
count_send(shx_pool_block *block)
{
    uint64_t word = atomic_load(&block->word);
    do {
        if (shx_pool_is_freed(word)) {
            return SHX_SPENT;
        }
        if ((word & SHX_POOL_IN_FLIGHT) == SHX_POOL_IN_FLIGHT) {
            return SHX_TOO_MANY;
        }
    } while (!atomic_compare_exchange_weak(&block->word, &word,
                                           word + SHX_POOL_SEND + 1));
    return 0;
}

shx_err
shx_pool_send(shx_pool *pool, const shx_member *me, unsigned block,
              uint64_t *generation)
{
    shx_err err = ENOENT;
    shx_pools_lock();
    shx_pool_become_locked(pool, me);
    if (block < pool->blocks && pool->local[block].count > 0) {
        err = count_send(&pool->words[block]);
    }
    if (err == 0) {
        *generation = atomic_load(&pool->words[block].generation);
    }
    shx_pools_unlock();
    return err;
}

/* Is a reference to it out, of that generation? The word was read before that
 * is: so both are of one moment if the word is the same after that. */
static bool
is_out(const shx_pool_block *block, uint64_t word, uint64_t generation,
       bool kept)
{
    return !shx_pool_is_freed(word) &&
           (kept || (word & SHX_POOL_IN_FLIGHT) != 0) &&
           atomic_load(&block->generation) == generation;
}

static shx_err
check(const shx_pool *pool, const shx_pool_reference *reference, uint64_t word,
      uint64_t *offset, uint64_t *size)
{
    const shx_pool_block *block = &pool->words[reference->block];
    if (!is_out(block, word, reference->generation, reference->kept)) {
        return SHX_SPENT;
    }
    *offset = atomic_load(&block->offset);
    *size = atomic_load(&block->size);
    return shx_is_within(*offset, *size, 0, pool->size) &&
                   shx_is_within(reference->offset, reference->length, *offset,
                                 *size)
               ? 0
               : SHX_DAMAGED;
}

/* It is ours. A word that was changed meanwhile is looked at anew. */
static shx_err
receive(shx_pool *pool, const shx_pool_reference *reference, uint64_t *offset,
        uint64_t *size)
{
    _Atomic uint64_t *at = &pool->words[reference->block].word;
    uint64_t word = atomic_load(at), next;
    do {
        shx_err err = check(pool, reference, word, offset, size);
        if (err != 0) {
            return err;
        }
        next = reference->kept ? word + SHX_POOL_SEND : word - 1;
    } while (!atomic_compare_exchange_weak(at, &word, next));
    return 0;
}

void
shx_pool_unsend(shx_pool *pool, unsigned block, uint64_t generation)
{
    if (block >= pool->blocks) {
        return;
    }
    shx_pool_block *at = &pool->words[block];
    uint64_t word = atomic_load(&at->word);
    while (is_out(at, word, generation, false) &&
           !atomic_compare_exchange_weak(&at->word, &word, word - 1)) {
    }
}

static shx_err
claim_locked(shx_pool *pool, const shx_pool_reference *reference,
             shx_hold *out)
{
    uint64_t offset = 0, size = 0;
    unsigned number = reference->block;
    bool held = pool->local[number].count > 0;
    shx_err err = shx_pool_enter_locked(pool);
    if (err != 0) {
        return err;
    }
    if (!held) {
        shx_pool_set_locked(pool, number);
    }
    err = receive(pool, reference, &offset, &size);
    if (err == 0) {
        shx_pool_count_locked(pool, number, offset, size);
        *out = (shx_hold){.block = number,
                          .era = pool->era,
                          .generation = reference->generation,
                          .offset = offset,
                          .size = size};
    }
    else if (!held) {
        shx_pool_clear_locked(pool, number);
        shx_pool_leave_locked(pool);
    }
    return err;
}

shx_err
shx_pool_claim(shx_pool *pool, const shx_member *me,
               const shx_pool_reference *reference, shx_hold *out)
{
    if (reference->block >= pool->blocks) {
        return SHX_DAMAGED;
    }
    shx_pools_lock();
    shx_pool_become_locked(pool, me);
    shx_err err = claim_locked(pool, reference, out);
    shx_pools_unlock();
    return err;
}

/* What is in flight stays as it is: so the bytes are copied first. Another one
 * may have received it meanwhile, and they are others: then it is spent, as is
 * seen in the word. */
shx_err
shx_pool_copy_out(shx_pool *pool, const shx_pool_reference *reference,
                  const void *data, void *into)
{
    uint64_t offset, size;
    if (reference->block >= pool->blocks) {
        return SHX_DAMAGED;
    }
    shx_err err = check(pool, reference,
                        atomic_load(&pool->words[reference->block].word),
                        &offset, &size);
    if (err != 0) {
        return err;
    }
    (void)memcpy(into, (const char *)data + reference->offset,
                 (size_t)reference->length);
    return receive(pool, reference, &offset, &size);
}

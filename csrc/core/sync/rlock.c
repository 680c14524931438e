/* SPDX-License-Identifier: MIT */
#include "core/sync/rlock.h"

#include <errno.h>

#include "core/sync/thread.h"

enum { THREAD, DEPTH, NONCE };

static uint32_t
get(const shx_site *at, int which)
{
    return atomic_load_explicit(&at->cell->own[which], memory_order_relaxed);
}

static void
set(const shx_site *at, int which, uint32_t value)
{
    atomic_store_explicit(&at->cell->own[which], value, memory_order_relaxed);
}

uint32_t
shx_rlock_depth(const shx_site *at, const shx_member *me)
{
    return shx_lock_is_ours(at, me) && get(at, THREAD) == shx_this_thread() &&
                   get(at, NONCE) == me->nonce
               ? get(at, DEPTH)
               : 0;
}

void
shx_rlock_own(const shx_site *at, const shx_member *me, uint32_t depth)
{
    set(at, THREAD, shx_this_thread());
    set(at, NONCE, me->nonce);
    set(at, DEPTH, depth);
}

/* It may be torn: who waited for a condition has it so, and repairs. */
static shx_err
again(const shx_site *at, uint32_t depth, shx_torn torn)
{
    if (depth == UINT32_MAX) {
        return EOVERFLOW;
    }
    set(at, DEPTH, depth + 1);
    return torn == SHX_TORN_REPAIRS &&
                   (atomic_load(&at->cell->word) & SHX_LOCK_TORN) != 0
               ? SHX_OWNER_DIED
               : 0;
}

shx_err
shx_rlock_acquire(const shx_site *at, const shx_member *me, shx_torn torn,
                  shx_patience *patience)
{
    uint32_t depth = shx_rlock_depth(at, me);
    if (depth != 0) {
        return again(at, depth, torn);
    }
    shx_err err = shx_lock_acquire(at, me, torn, patience);
    if (err == 0 || (err == SHX_OWNER_DIED && torn == SHX_TORN_REPAIRS)) {
        shx_rlock_own(at, me, 1);
    }
    return err;
}

shx_err
shx_rlock_try(const shx_site *at, const shx_member *me, shx_torn torn)
{
    uint32_t depth = shx_rlock_depth(at, me);
    if (depth != 0) {
        return again(at, depth, torn);
    }
    shx_err err = shx_lock_try(at, me, torn);
    if (err == 0 || (err == SHX_OWNER_DIED && torn == SHX_TORN_REPAIRS)) {
        shx_rlock_own(at, me, 1);
    }
    return err;
}

/* No other thread of ours is to take what it left for its own. */
static void
disown(const shx_site *at)
{
    set(at, THREAD, 0);
    set(at, DEPTH, 0);
}

shx_err
shx_rlock_release(const shx_site *at, const shx_member *me)
{
    uint32_t depth = shx_rlock_depth(at, me);
    if (depth > 1) {
        set(at, DEPTH, depth - 1);
        return 0;
    }
    if (depth == 0) {
        return SHX_NOT_OWNER;
    }
    disown(at);
    return shx_lock_release(at, me);
}

shx_err
shx_rlock_release_all(const shx_site *at, const shx_member *me,
                      uint32_t *depth)
{
    *depth = shx_rlock_depth(at, me);
    if (*depth == 0) {
        return SHX_NOT_OWNER;
    }
    disown(at);
    return shx_lock_release(at, me);
}

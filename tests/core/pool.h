/* SPDX-License-Identifier: MIT */
/* What the programs on pools have in common: a control that processes share,
 * a file of data, and blocks each word of which is a number. */
#ifndef POOL_H
#define POOL_H

#include "core/pool/pool_words.h"

#include "sync.h"

#ifndef CRASH_H /* which has one */
enum { PAGE = 4096 };
#endif
enum { DATA = 64 * PAGE, BLOCKS = 8 };

static const shx_pool_shape usual = {.size = DATA, .blocks = BLOCKS};

static shx_pool pool;       /* the one that is open */
static unsigned char *data; /* mapped, by all */
static int data_fd;

static inline void
make_data(uint64_t size)
{
    CHECK(shx_os_create_anonymous(&data_fd) == 0);
    CHECK(shx_os_resize(data_fd, size) == 0);
    data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, data_fd, 0);
    CHECK(data != MAP_FAILED);
}

static inline size_t
control_size_of(const shx_pool_shape *shape)
{
    size_t size;
    CHECK(shx_pool_size(shape, &size));
    return size;
}

static inline void
open_in(const memory *control, shx_pool *out)
{
    CHECK(shx_pool_open(control->bytes, control->size, DATA, control->party,
                        out) == 0);
}

/* Of zeros, and this process owns it. */
static inline void
open_pool(const memory *control, const shx_pool_shape *shape)
{
    shx_member me = me_in(control->party);
    shx_pool_make(control->bytes, shape, now());
    CHECK(shx_pool_open(control->bytes, control->size, shape->size,
                        control->party, &pool) == 0);
    CHECK(shx_pool_own(&pool, &me) == 0);
}

/* Instead of the one that is open. */
static inline void
open_anew(const memory *control)
{
    if (pool.party != NULL) {
        shx_pool_close(&pool);
    }
    (void)memset(control->bytes, 0, control->size);
    open_pool(control, &usual);
}

/* By whoever this process is. */
static inline shx_err
take(uint64_t size, shx_hold *out)
{
    bool fresh;
    shx_member me = me_in(pool.party);
    shx_err err = shx_pool_take(&pool, &me, size, out, &fresh);
    if (err == 0 && fresh) {
        err = shx_pool_back(&pool, out, data_fd);
    }
    return err;
}

static inline shx_hold
taken(uint64_t size)
{
    shx_hold hold;
    CHECK(take(size, &hold) == 0);
    return hold;
}

static inline void
drop(const shx_hold *hold)
{
    shx_member me = me_in(pool.party);
    shx_pool_drop(&pool, &me, hold);
}

static inline shx_err
send_block(const shx_hold *hold, shx_pool_reference *out)
{
    shx_member me = me_in(pool.party);
    *out = (shx_pool_reference){
        .block = hold->block, .offset = hold->offset, .length = hold->size};
    return shx_pool_send(&pool, &me, hold->block, &out->generation);
}

static inline shx_pool_reference
sent(const shx_hold *hold)
{
    shx_pool_reference reference;
    CHECK(send_block(hold, &reference) == 0);
    CHECK(reference.generation == hold->generation);
    return reference;
}

static inline shx_pool_reference
kept(shx_pool_reference reference)
{
    reference.kept = true;
    return reference;
}

static inline shx_err
claim(shx_pool_reference reference, shx_hold *out)
{
    shx_member me = me_in(pool.party);
    return shx_pool_claim(&pool, &me, &reference, out);
}

static inline shx_hold
claimed(shx_pool_reference reference)
{
    shx_hold hold;
    CHECK(claim(reference, &hold) == 0);
    return hold;
}

static inline void
unsend(const shx_pool_reference *reference)
{
    shx_pool_unsend(&pool, reference->block, reference->generation);
}

/* The words of a block, each of which is a number. */
static inline void
fill(const shx_hold *hold, uint64_t number)
{
    uint64_t *words = (uint64_t *)(void *)(data + hold->offset);
    for (size_t i = 0; i < hold->size / sizeof *words; i++) {
        words[i] = number;
    }
}

static inline bool
is_filled(const shx_hold *hold, uint64_t number)
{
    const uint64_t *words = (uint64_t *)(void *)(data + hold->offset);
    bool whole = true;
    for (size_t i = 0; whole && i < hold->size / sizeof *words; i++) {
        whole = words[i] == number;
    }
    return whole;
}

static inline shx_pool_state
look(void)
{
    return shx_pool_look(&pool);
}

/* Nothing is in use, and nobody has a place. */
static inline bool
is_idle(void)
{
    shx_pool_state state = look();
    return state.blocks == 0 && state.held == 0 && state.in_flight == 0 &&
           state.places == 0;
}

#endif

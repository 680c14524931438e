/* SPDX-License-Identifier: MIT */
/* Threads of one process, for ThreadSanitizer: the bytes of a block are plain
 * words. Some send, some receive; two handles, as of two interpreters. */
#define _GNU_SOURCE

#include <pthread.h>

#include "pool.h"

enum { SENDING = 2, RECEIVING = 3, ROUNDS = 3000, WAITING = 16 };

static memory in;
static shx_pool other;

/* References on their way: empty while 0. */
static struct {
    _Atomic int full; /* 1: somebody is at it */
    shx_pool_reference reference;
    uint64_t number;
} way[WAITING];

static _Atomic int left = SENDING, received;

static bool
pass_on(const shx_pool_reference *reference, uint64_t number)
{
    for (int i = 0; i < WAITING; i++) {
        int empty = 0;
        if (atomic_compare_exchange_strong(&way[i].full, &empty, 1)) {
            way[i].reference = *reference;
            way[i].number = number;
            atomic_store(&way[i].full, 2);
            return true;
        }
    }
    return false;
}

static bool
fetch(shx_pool_reference *reference, uint64_t *number)
{
    for (int i = 0; i < WAITING; i++) {
        int full = 2;
        if (atomic_compare_exchange_strong(&way[i].full, &full, 1)) {
            *reference = way[i].reference;
            *number = way[i].number;
            atomic_store(&way[i].full, 0);
            return true;
        }
    }
    return false;
}

static void *
send_blocks(void *argument)
{
    uint64_t number = (uint64_t)(uintptr_t)argument;
    for (int i = 0; i < ROUNDS;) {
        shx_hold hold;
        shx_err err = take((1 + (uint64_t)i % 3) * PAGE, &hold);
        CHECK(err == 0 || err == EAGAIN);
        if (err != 0) {
            shx_os_relax();
            continue;
        }
        number += SENDING;
        fill(&hold, number);
        shx_pool_reference reference = sent(&hold);
        if (pass_on(&reference, number)) {
            i++;
        }
        else {
            unsend(&reference);
        }
        drop(&hold);
    }
    atomic_fetch_sub(&left, 1);
    return NULL;
}

static void *
receive_blocks(void *argument)
{
    shx_pool *mine = argument;
    shx_member me = me_in(in.party);
    for (bool ended = false; !ended;) {
        shx_pool_reference reference;
        uint64_t number;
        shx_hold hold;
        ended = atomic_load(&left) == 0;
        if (fetch(&reference, &number)) {
            ended = false;
            CHECK(shx_pool_claim(mine, &me, &reference, &hold) == 0);
            CHECK(is_filled(&hold, number));
            shx_pool_drop(mine, &me, &hold);
            CHECK(shx_pool_claim(mine, &me, &reference, &hold) == SHX_SPENT);
            atomic_fetch_add(&received, 1);
        }
    }
    return NULL;
}

int
main(void)
{
    pthread_t threads[SENDING + RECEIVING];
    in = make_memory(control_size_of(&usual));
    make_data(DATA);
    open_pool(&in, &usual);
    open_in(&in, &other);
    for (uintptr_t i = 0; i < SENDING + RECEIVING; i++) {
        void *(*run)(void *) = i < SENDING ? send_blocks : receive_blocks;
        void *argument = i < SENDING ? (void *)i : i % 2 ? &pool : &other;
        CHECK(pthread_create(&threads[i], NULL, run, argument) == 0);
    }
    for (int i = 0; i < SENDING + RECEIVING; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(atomic_load(&received) == SENDING * ROUNDS && is_idle());
    shx_pool_close(&other);
    shx_pool_close(&pool);
    return 0;
}

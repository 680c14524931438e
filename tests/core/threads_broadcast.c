/* SPDX-License-Identifier: MIT */
/* Threads of one process, for ThreadSanitizer: the bytes of a frame are plain
 * words. Some read as one reader, some each for itself; two would write. */
#define _GNU_SOURCE

#include <pthread.h>

#include "broadcast.h"

enum { READING = 4, WRITING = 2, ROUNDS = 3000, PAGE = 4096 };

static memory in;
static shx_reader together;
static _Atomic uint64_t had[WRITING * ROUNDS + 1];
static _Atomic int left = WRITING;

static void *
write_frames(void *argument)
{
    for (int i = 0; i < ROUNDS;) {
        shx_frame frame;
        shx_err err = reserve_next(&frame);
        CHECK(err == 0 || err == EBUSY);
        if (err == 0) {
            CHECK(publish(&frame) == 0);
            i++;
        }
    }
    atomic_fetch_sub(&left, 1);
    return argument;
}

/* The last frame has been there when all who write have ended. */
static void *
read_frames(void *argument)
{
    bool alone = argument != NULL, ended = false;
    shx_reader own = {0};
    while (!ended) {
        shx_frame frame;
        ended = atomic_load(&left) == 0;
        shx_err err = receive(alone ? &own : &together, MS, &frame);
        CHECK(err == 0 || err == ETIMEDOUT);
        if (err == 0) {
            ended = false;
            CHECK(is_whole(&frame));
            CHECK(alone || atomic_fetch_add(&had[frame.seq], 1) == 0);
            give(&frame);
        }
    }
    CHECK(!alone || atomic_load(&own.seen) == (uint64_t)WRITING * ROUNDS);
    return NULL;
}

int
main(void)
{
    pthread_t threads[READING + WRITING];
    in = make_memory(PAGE);
    make_frames(&usual);
    open_broadcast(&in, &usual);
    for (int i = 0; i < READING + WRITING; i++) {
        void *(*run)(void *) = i < READING ? read_frames : write_frames;
        void *argument = i % 2 == 0 ? &threads[i] : NULL;
        CHECK(pthread_create(&threads[i], NULL, run, argument) == 0);
    }
    for (int i = 0; i < READING + WRITING; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    uint64_t received = 0;
    for (size_t i = 0; i < sizeof had / sizeof *had; i++) {
        received += atomic_load(&had[i]);
    }
    CHECK(received + atomic_load(&together.missed) <=
          atomic_load(&together.seen));
    CHECK(shx_broadcast_look(&cast).held == 0);
    CHECK(resign() == 0);
    shx_broadcast_close(&cast);
    return 0;
}

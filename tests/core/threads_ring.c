/* SPDX-License-Identifier: MIT */
/* Threads of one process with one ring, for ThreadSanitizer: the bytes of
 * messages are plain ones. Who looks without a lock may read them as a header,
 * and then looks again: see ring_look.c. */
#define _GNU_SOURCE

#include <pthread.h>

#include "messages.h"

enum { WRITERS = 2, READERS = 2, THREADS = WRITERS + READERS };
enum { ROUNDS = 3000, SIZE = SHX_RING_LEAST, LARGE = 1500, BATCH = 5 };

static memory in;
static shx_ring ring;
static _Atomic uint32_t put, got, dropped;

const char *__tsan_default_suppressions(void);
const char *
__tsan_default_suppressions(void)
{
    return "race:glance\n";
}

static void
put_several(uint32_t self, uint32_t number)
{
    unsigned char bytes[BATCH][64];
    shx_piece pieces[BATCH];
    size_t done;
    shx_ring_wait wait = waits(-1);
    shx_member me = me_in(in.party);
    for (uint32_t i = 0; i < BATCH; i++) {
        pieces[i] = (shx_piece){bytes[i], i == 0 ? 0 : TOLD + i * 11};
        write_message(bytes[i], pieces[i].length, (label){self, number});
    }
    CHECK(shx_ring_put(&ring, &me, pieces, BATCH, &done, &wait) == 0);
    CHECK(done == BATCH);
    atomic_fetch_add_explicit(&put, BATCH, memory_order_relaxed);
}

static void
put_in_place(uint32_t self, uint32_t number)
{
    shx_ring_record record;
    bool keep = number % 16 != 2;
    size_t length = TOLD + number % LARGE;
    CHECK(reserve_message(&ring, length, &record, -1) == 0);
    write_message(shx_ring_bytes(&ring, &record), length,
                  (label){self, number});
    commit_message(&ring, &record, keep);
    atomic_fetch_add_explicit(keep ? &put : &dropped, 1, memory_order_relaxed);
}

static void
write_all(uint32_t self)
{
    for (uint32_t i = 0; i < ROUNDS; i++) {
        switch (i % 4) {
        case 0:
            put_several(self, i);
            break;
        case 1:
            CHECK(put_message(&ring, LARGE, (label){self, i}, -1) == 0);
            atomic_fetch_add_explicit(&put, 1, memory_order_relaxed);
            break;
        case 2:
            put_in_place(self, i);
            break;
        default:
            CHECK(put_message(&ring, i % 64, (label){self, i}, -1) == 0);
            atomic_fetch_add_explicit(&put, 1, memory_order_relaxed);
        }
    }
}

/* Some are given together, some returned, and some only looked for. */
static void
read_all(uint32_t self)
{
    shx_member me = me_in(in.party);
    for (uint32_t i = 0;; i++) {
        shx_ring_record records[BATCH];
        size_t count = 0, most = 1 + (i + self) % BATCH;
        shx_ring_wait wait = waits(-1);
        if (i % 32 == 0) {
            (void)shx_ring_await_message(&ring, &me, &wait);
        }
        else if (i % 32 == 16) {
            (void)await_beside(&ring, &me, -1);
        }
        if (shx_ring_take(&ring, &me, records, most, &count, &wait) != 0) {
            CHECK(shx_ring_is_shut_down(&ring));
            return;
        }
        for (size_t k = 0; k < count; k++) {
            (void)label_of(&ring, &records[k]);
        }
        bool once_more =
            count == 1 && i % 8 == 0 && shx_ring_deliveries(&records[0]) == 0;
        if (once_more) {
            shx_ring_return(&ring, &me, &records[0]);
        }
        else {
            shx_ring_give(&ring, &me, records, count);
            atomic_fetch_add_explicit(&got, (uint32_t)count,
                                      memory_order_relaxed);
        }
    }
}

static void *
use(void *argument)
{
    uint32_t self = *(uint32_t *)argument;
    (self < WRITERS ? write_all : read_all)(self);
    return NULL;
}

int
main(void)
{
    pthread_t threads[THREADS];
    uint32_t selves[THREADS];
    in = make_memory(SHX_RING_PAGE + SIZE);
    make_ring(&in, 0, SIZE, &ring);
    for (uint32_t i = 0; i < THREADS; i++) {
        selves[i] = i;
        CHECK(pthread_create(&threads[i], NULL, use, &selves[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        if (i == WRITERS) {
            CHECK(shut_down(&ring, SECOND) == 0);
        }
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(put == got);
    CHECK(dropped == WRITERS * ((ROUNDS + 13) / 16));
    return 0;
}

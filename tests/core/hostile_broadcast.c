/* SPDX-License-Identifier: MIT */
/* Somebody writes random words over the control of a broadcast while others
 * use it, with timeouts:
 *
 *   hostile_broadcast SECONDS
 *
 * Nobody crashes, nothing is written beside the control or the data, and no
 * frame lies outside of the data: which is for the sanitizers to see too. No
 * call takes much longer than its timeout. */
#define _GNU_SOURCE

#include "broadcast.h"

enum { PAGE = 4096, USERS = 3, CANARY = 0xaa };

static memory in;
static unsigned char *outside[2];
static unsigned char *ends; /* of the data */
static shx_broadcast_shape shape;
static uint64_t until;

/* For who runs it. */
static struct {
    _Atomic uint64_t calls, had, refused, damaged, late;
} * notes;

static void
note(shx_err err)
{
    atomic_fetch_add(&notes->had, err == 0);
    atomic_fetch_add(&notes->damaged, err == SHX_DAMAGED);
    atomic_fetch_add(&notes->late, err == ETIMEDOUT);
    atomic_fetch_add(&notes->refused,
                     err != 0 && err != SHX_DAMAGED && err != ETIMEDOUT);
}

static uint64_t
next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 8;
}

/* What could be there: or nobody would come far. */
static void
write_sense(uint64_t *seed)
{
    uint64_t newest = 8 + next(seed) % 100;
    for (uint64_t seq = newest; seq > newest - shape.depth; seq--) {
        atomic_store(&cast.entries[seq % shape.depth],
                     seq << 16 | next(seed) % cast.blocks);
    }
    for (unsigned i = 0; i < cast.blocks; i++) {
        atomic_store(&cast.lengths[i], next(seed) % shape.size);
    }
    for (unsigned i = 0; i < shape.readers; i++) {
        atomic_store(&cast.slots[i], 0);
    }
    atomic_store(&cast.front->newest, newest);
}

/* Words that may mean something more often than not. */
static void
write_anything(int number)
{
    uint64_t seed = (uint64_t)number + 1;
    _Atomic uint64_t *words = (_Atomic uint64_t *)(void *)(in.bytes + PAGE);
    shx_member me = me_in(in.party);
    size_t used =
        (size_t)((unsigned char *)(cast.slots + shape.readers + shape.heirs) -
                 (unsigned char *)words) /
        sizeof *words;
    for (;;) {
        uint64_t drawn = next(&seed), seq = drawn >> 32 & 7;
        uint64_t block = drawn >> 40 & 15;
        const uint64_t values[] = {
            0,
            UINT64_MAX,
            seq,
            seq << 16 | block,
            block << 48 | me.token,
            block << 48 | (uint64_t)(me.nonce & 0xffff) << 32 | me.token,
            atomic_load(&cast.front->newest) << 16 | block,
            UINT64_C(1) << drawn % 64,
            drawn * UINT64_C(0x9e3779b97f4a7c15)};
        size_t which = (drawn >> 16) % (sizeof values / sizeof *values);
        atomic_store(&words[drawn % used], values[which]);
        if (drawn % 64 == 0) {
            if (drawn >> 8 & 1) {
                write_sense(&seed);
            }
            sleep_for(MS / 20); /* or nobody else has the time */
        }
    }
}

static void
check_inside(const shx_frame *frame)
{
    unsigned char *bytes = shx_broadcast_bytes(&cast, frame);
    CHECK(bytes >= frames + PAGE && bytes < ends);
    CHECK(frame->length <= shape.size);
    CHECK(frame->length <= (uint64_t)(ends - bytes));
    CHECK((uintptr_t)bytes % PAGE == 0);
}

static void
write_one(uint64_t drawn, const shx_member *me)
{
    shx_frame frame;
    uint64_t length = drawn % (shape.size + 2);
    shx_err err = shx_broadcast_reserve(&cast, me, length, &frame);
    note(err);
    CHECK(err != EMSGSIZE || length > shape.size);
    if (err == 0) {
        check_inside(&frame);
        (void)memset(shx_broadcast_bytes(&cast, &frame), 1, frame.length);
        if (drawn % 5 != 0) {
            CHECK(shx_broadcast_publish(&cast, me, &frame) == 0);
        }
        shx_broadcast_abandon(&cast, me, &frame);
    }
    if (drawn % 7 == 0) {
        CHECK(shx_broadcast_resign(&cast, me) == 0);
    }
}

static void
read_one(uint64_t drawn, const shx_member *me, shx_patience *patience)
{
    static shx_reader reader;
    shx_frame frame;
    volatile unsigned sum = 0;
    shx_patience *wait = drawn % 4 == 0 ? patience : NULL;
    if (drawn % 11 == 0) {
        atomic_store(&reader.seen, 0);
    }
    if (drawn % 3 == 0) {
        (void)shx_broadcast_await(&cast, &reader, wait);
    }
    shx_err err = shx_broadcast_receive(&cast, me, &reader, &frame, wait);
    note(err);
    if (err == 0) {
        check_inside(&frame);
        const unsigned char *bytes = shx_broadcast_bytes(&cast, &frame);
        for (uint64_t i = 0; i < frame.length; i++) {
            sum += bytes[i];
        }
        shx_broadcast_give(&cast, me, &frame);
    }
}

static void
do_nothing(int number)
{
    (void)number;
}

static void
use_all(int number)
{
    uint64_t seed = UINT64_C(77) << number;
    shx_member me = me_in(in.party);
    while (now() < until) {
        uint64_t drawn = next(&seed);
        int64_t timeout = (int64_t)(drawn % (2 * MS));
        shx_patience patience = shx_patience_for(timeout, NULL, NULL);
        uint64_t began = now();
        if (drawn >> 32 & 1) {
            write_one(drawn >> 36, &me);
        }
        else {
            read_one(drawn >> 36, &me, &patience);
        }
        (void)shx_broadcast_look(&cast);
        (void)shx_broadcast_writer(&cast);
        CHECK(now() - began < (uint64_t)(timeout + SECOND));
        atomic_fetch_add(&notes->calls, 1);
        if (drawn % 512 == 0) {
            check_ended(spawn(do_nothing, 0));
        }
    }
}

/* Heads that say anything: it is refused, or is as large as it says. */
static void
open_anything(void)
{
    enum { HEADS = 20000 };
    uint64_t seed = 5;
    for (int i = 0; i < HEADS; i++) {
        _Alignas(64) unsigned char control[PAGE] = {0}, data[4 * PAGE] = {0};
        shx_broadcast_about *abouts[] = {(void *)control, (void *)data};
        uint32_t parameter = (uint32_t)(next(&seed) >> next(&seed) % 32);
        uint64_t size = next(&seed) >> next(&seed) % 64;
        for (int j = 0; j < 2; j++) {
            atomic_store(&abouts[j]->head,
                         shx_cell_head_of(SHX_CELL_BROADCAST, parameter));
            atomic_store(&abouts[j]->size, size);
        }
        shx_broadcast opened;
        shx_err err = shx_broadcast_open(control, sizeof control, data,
                                         sizeof data, in.party, &opened);
        CHECK(err == 0 || err == SHX_FOREIGN || err == SHX_TOO_SMALL);
        if (err == 0) {
            (void)shx_broadcast_look(&opened);
            CHECK(opened.stride * opened.blocks <= 3 * PAGE);
            shx_broadcast_close(&opened);
        }
    }
}

static void
fill_outside(void)
{
    outside[0] = (unsigned char *)in.bytes;
    outside[1] = outside[0] + 2 * PAGE;
    (void)memset(outside[0], CANARY, PAGE);
    (void)memset(outside[1], CANARY, PAGE);
}

int
main(int argc, char **argv)
{
    pid_t users[USERS];
    size_t control_size, data_size;
    CHECK(argc == 2 && atof(argv[1]) > 0);
    shape = usual;
    in = make_memory(3 * PAGE);
    fill_outside();
    CHECK(shx_broadcast_sizes(&shape, &control_size, &data_size));
    frames = mmap(NULL, data_size + 2 * PAGE, PROT_NONE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(frames != MAP_FAILED);
    frames += PAGE; /* between two pages that nobody may touch */
    ends = frames + data_size;
    CHECK(mprotect(frames, data_size, PROT_READ | PROT_WRITE) == 0);
    shx_broadcast_make(in.bytes + PAGE, frames, &shape, 1);
    CHECK(shx_broadcast_open(in.bytes + PAGE, PAGE, frames, data_size,
                             in.party, &cast) == 0);
    open_anything();
    until = now() + (uint64_t)(atof(argv[1]) * (double)SECOND);
    notes = make_notes(sizeof *notes);
    pid_t hostile = spawn(write_anything, 0);
    for (int i = 0; i < USERS; i++) {
        users[i] = spawn(use_all, i);
    }
    for (int i = 0; i < USERS; i++) {
        check_ended(users[i]);
    }
    kill_and_wait(hostile);
    for (int i = 0; i < PAGE; i++) {
        CHECK(outside[0][i] == CANARY && outside[1][i] == CANARY);
    }
    (void)printf(
        "%llu calls: %llu had, %llu refused, %llu damaged, %llu late\n",
        (unsigned long long)notes->calls, (unsigned long long)notes->had,
        (unsigned long long)notes->refused, (unsigned long long)notes->damaged,
        (unsigned long long)notes->late);
    CHECK(notes->had != 0 && notes->damaged != 0 && notes->late != 0);
    return 0;
}

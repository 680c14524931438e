/* SPDX-License-Identifier: MIT */
/* Somebody writes random words over the control of a pool while others use it,
 * and one of them owns it:
 *
 *   hostile_pool SECONDS
 *
 * Nobody crashes, nothing is written beside the control or the data, and no
 * block lies outside of the data, nor two of the owner's in each other: which
 * is for the sanitizers to see too. No call takes long. */
#define _GNU_SOURCE

#include "pool.h"

enum { USERS = 3, CANARY = 0xaa, HANDS = 4 };

static memory in;
static unsigned char *outside[2];
static uint64_t until;

/* For who runs it; and references, for those who claim. */
static struct {
    _Atomic uint64_t calls, had, refused, damaged, spent;
    _Atomic uint64_t reference[4];
} * notes;

static void
note(shx_err err)
{
    atomic_fetch_add(&notes->had, err == 0);
    atomic_fetch_add(&notes->damaged, err == SHX_DAMAGED);
    atomic_fetch_add(&notes->spent, err == SHX_SPENT);
    atomic_fetch_add(&notes->refused,
                     err != 0 && err != SHX_DAMAGED && err != SHX_SPENT);
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
    for (unsigned i = 0; i < SHX_POOL_PLACES; i++) {
        atomic_store(&pool.places[i], 0);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        shx_pool_block *block = &pool.words[i];
        uint64_t pages = next(seed) % (DATA / PAGE);
        for (unsigned j = 0; j < SHX_PLACE_WORDS; j++) {
            atomic_store(&block->holders[j], 0);
        }
        atomic_store(&block->offset, pages * PAGE);
        atomic_store(&block->size, DATA - pages * PAGE);
        atomic_store(&block->word, next(seed) % 2);
    }
}

/* Words that may mean something more often than not. */
static void
write_anything(int number)
{
    uint64_t seed = (uint64_t)number + 1;
    _Atomic uint64_t *words = (_Atomic uint64_t *)(void *)(in.bytes + PAGE);
    shx_member me = me_in(in.party);
    size_t used = control_size_of(&usual) / sizeof *words;
    size_t blocks = SHX_POOL_AT_BLOCKS / sizeof *words;
    for (;;) {
        uint64_t drawn = next(&seed), few = drawn >> 32 & 7;
        const uint64_t values[] = {0,
                                   UINT64_MAX,
                                   few,
                                   few * PAGE,
                                   DATA - few * PAGE,
                                   DATA - few,
                                   SHX_POOL_FREED | few,
                                   SHX_POOL_PINNED | few,
                                   SHX_POOL_FREED - 1,
                                   few << 32 | few,
                                   shx_slot_of(&me, 0),
                                   me.token,
                                   UINT64_C(1) << drawn % 64,
                                   drawn * UINT64_C(0x9e3779b97f4a7c15)};
        size_t which = (drawn >> 16) % (sizeof values / sizeof *values);
        size_t at = drawn & 1 ? blocks + (drawn >> 1) % (used - blocks)
                              : (drawn >> 1) % used;
        atomic_store(&words[at], values[which]);
        if (drawn % 64 == 0) {
            if (drawn >> 8 & 1) {
                write_sense(&seed);
            }
            sleep_for(MS / 20); /* or nobody else has the time */
        }
    }
}

/* It is claimed when this is called: the sanitizers see what lies outside. */
static void
use(const shx_hold *hold, bool writes)
{
    volatile unsigned sum = 0;
    CHECK(hold->block < BLOCKS);
    CHECK(hold->offset <= DATA && hold->size <= DATA - hold->offset);
    if (writes) {
        (void)memset(data + hold->offset, 1, hold->size);
    }
    for (uint64_t i = 0; i < hold->size; i += 64) {
        sum += data[hold->offset + i];
    }
}

static shx_hold hands[HANDS];
static bool is_taken[HANDS]; /* or is it claimed? */
static unsigned count;

static void
drop_some(uint64_t drawn)
{
    while (count > 0 && (count == HANDS || drawn % 3 != 0)) {
        drop(&hands[--count]);
        drawn /= 3;
    }
}

static void
tell(const shx_hold *hold)
{
    shx_pool_reference reference;
    shx_err err = send_block(hold, &reference);
    note(err);
    if (err == 0) {
        atomic_store(&notes->reference[0], reference.block);
        atomic_store(&notes->reference[1], reference.generation);
        atomic_store(&notes->reference[2], reference.offset);
        atomic_store(&notes->reference[3], reference.length);
    }
}

/* Its extents are its own, whatever anybody writes. */
static void
take_one(uint64_t drawn)
{
    shx_hold *hold = &hands[count];
    shx_err err = take(1 + drawn % (DATA / 4), hold);
    note(err);
    if (err == 0) {
        CHECK(hold->offset % PAGE == 0 && hold->size % PAGE == 0);
        for (unsigned i = 0; i < count; i++) {
            CHECK(!is_taken[i] ||
                  hands[i].offset + hands[i].size <= hold->offset ||
                  hold->offset + hold->size <= hands[i].offset);
        }
        is_taken[count++] = true;
        use(hold, true);
        tell(hold);
    }
    (void)shx_pool_trim(&pool, data_fd);
}

static shx_pool_reference
some_reference(uint64_t drawn)
{
    shx_pool_reference made = {.kept = drawn % 2};
    made.block = (unsigned)atomic_load(&notes->reference[0]);
    made.generation = atomic_load(&notes->reference[1]);
    made.offset = atomic_load(&notes->reference[2]);
    made.length = atomic_load(&notes->reference[3]);
    if (drawn % 3 == 0) {
        made.block = (unsigned)(drawn >> 8) % (BLOCKS + 1);
        made.generation =
            atomic_load(&pool.words[made.block % BLOCKS].generation);
        made.offset = (drawn >> 16) % DATA;
        made.length = (drawn >> 24) % (DATA / 8);
    }
    if (drawn % 7 == 0) {
        made.length = UINT64_MAX - (drawn >> 32) % PAGE;
    }
    return made;
}

static void
claim_one(uint64_t drawn)
{
    static unsigned char bytes[DATA];
    const shx_pool_reference reference = some_reference(drawn);
    unsigned block;
    if (drawn >> 4 & 1) {
        shx_hold *hold = &hands[count];
        shx_err err = claim(reference, hold);
        note(err);
        if (err == 0) {
            is_taken[count++] = false;
            use(hold, true);
            CHECK(reference.offset >= hold->offset);
            CHECK(reference.length <=
                  hold->size - (reference.offset - hold->offset));
            tell(hold);
        }
    }
    else {
        shx_err err = shx_pool_copy_out(&pool, &reference, data, bytes);
        note(err);
        CHECK(err != 0 || reference.length <= DATA);
    }
    (void)shx_pool_find(&pool, reference.offset, reference.length, &block);
    if (drawn % 5 == 0) {
        unsend(&reference);
    }
}

static void
look_at_it(int number)
{
    (void)look();
    if (count > 0) {
        use(&hands[number % (int)count], false);
    }
}

static void
use_all(int number)
{
    uint64_t seed = UINT64_C(77) << number;
    shx_member me = me_in(in.party);
    if (number == 0) {
        uint64_t nobody = 0;
        while (shx_pool_own(&pool, &me) != 0) {
            atomic_store(pool.owner, nobody);
        }
    }
    while (now() < until) {
        uint64_t drawn = next(&seed), began = now();
        if (number == 0 && drawn >> 30 & 1) {
            take_one(drawn >> 20);
        }
        else {
            claim_one(drawn >> 20);
        }
        drop_some(drawn >> 8);
        (void)look();
        if (drawn % 16 == 0 && number != 0) {
            (void)shx_pool_is_abandoned(&pool, &me);
        }
        CHECK(now() - began < (uint64_t)SECOND);
        atomic_fetch_add(&notes->calls, 1);
        if (drawn % 512 == 0) {
            check_ended(spawn(look_at_it, number));
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
        _Alignas(64) unsigned char control[PAGE] = {0};
        shx_pool_about *about = (void *)control;
        uint32_t parameter = (uint32_t)(next(&seed) >> next(&seed) % 32);
        atomic_store(&about->head, shx_cell_head_of(SHX_CELL_POOL, parameter));
        atomic_store(&about->size, next(&seed) >> next(&seed) % 64);
        shx_pool opened;
        shx_err err =
            shx_pool_open(control, sizeof control, DATA, in.party, &opened);
        CHECK(err == 0 || err == SHX_FOREIGN || err == SHX_TOO_SMALL);
        if (err == 0) {
            (void)shx_pool_look(&opened);
            CHECK(opened.size <= DATA);
            CHECK(SHX_POOL_AT_BLOCKS +
                      opened.blocks * sizeof(shx_pool_block) <=
                  sizeof control);
            shx_pool_close(&opened);
        }
    }
}

/* Between two pages that nobody may touch. */
static void
make_guarded_data(void)
{
    CHECK(shx_os_create_anonymous(&data_fd) == 0);
    CHECK(shx_os_resize(data_fd, DATA) == 0);
    data = mmap(NULL, DATA + 2 * PAGE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
    CHECK(data != MAP_FAILED);
    data += PAGE;
    CHECK(mmap(data, DATA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
               data_fd, 0) == data);
}

int
main(int argc, char **argv)
{
    pid_t users[USERS];
    CHECK(argc == 2 && atof(argv[1]) > 0);
    in = make_memory(3 * PAGE);
    outside[0] = (unsigned char *)in.bytes;
    outside[1] = outside[0] + 2 * PAGE;
    (void)memset(outside[0], CANARY, PAGE);
    (void)memset(outside[1], CANARY, PAGE);
    make_guarded_data();
    shx_pool_make(in.bytes + PAGE, &usual, 1);
    CHECK(shx_pool_open(in.bytes + PAGE, PAGE, DATA, in.party, &pool) == 0);
    open_anything();
    until = now() + (uint64_t)(atof(argv[1]) * (double)SECOND);
    notes = make_notes(sizeof *notes);
    for (int i = 0; i < USERS; i++) {
        users[i] = spawn(use_all, i);
    }
    pid_t hostile = spawn(write_anything, 0);
    for (int i = 0; i < USERS; i++) {
        check_ended(users[i]);
    }
    kill_and_wait(hostile);
    for (int i = 0; i < PAGE; i++) {
        CHECK(outside[0][i] == CANARY && outside[1][i] == CANARY);
    }
    (void)printf(
        "%llu calls: %llu had, %llu spent, %llu refused, %llu damaged\n",
        (unsigned long long)notes->calls, (unsigned long long)notes->had,
        (unsigned long long)notes->spent, (unsigned long long)notes->refused,
        (unsigned long long)notes->damaged);
    CHECK(notes->had != 0 && notes->damaged != 0 && notes->spent != 0);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* A pool where memory or pages are not to be had: the core's pool/ is compiled
 * to ask here for memory, and this program stands before the system's
 * fallocate(2). */
#define _GNU_SOURCE

#include "pool.h"

enum { LARGE = 1 << 30, MANY = 100, MIB = 1 << 20 };

static memory in;

/* The allocation that fails, of those to come; none: less than 0. */
static int until_failure = -1;

static bool
fails(void)
{
    return until_failure >= 0 && until_failure-- == 0;
}

void *shx_test_malloc(size_t size);
void *shx_test_calloc(size_t count, size_t size);
void *shx_test_realloc(void *old, size_t size);

void *
shx_test_malloc(size_t size)
{
    return fails() ? NULL : malloc(size);
}

void *
shx_test_calloc(size_t count, size_t size)
{
    return fails() ? NULL : calloc(count, size);
}

void *
shx_test_realloc(void *old, size_t size)
{
    return fails() ? NULL : realloc(old, size);
}

/* Which pages of the data exist, of how many. Nothing is asked of the system.
 */
static bool exists[LARGE / PAGE];
static size_t existing, room;
static off_t longest; /* that is done before a signal comes; 0: any */
static int punch_error, punched;

int
fallocate(int fd, int mode, off_t offset, off_t length)
{
    size_t first = (size_t)(offset / PAGE), wanted = 0;
    size_t end = (size_t)((offset + length) / PAGE);
    bool make = mode == 0;
    CHECK(fd == data_fd && offset % PAGE == 0 && length % PAGE == 0);
    if ((errno = make ? 0 : punch_error) != 0) {
        return -1;
    }
    punched += !make;
    if (make && longest != 0 && length > longest) {
        errno = EINTR;
        return -1;
    }
    for (size_t i = first; i < end; i++) {
        wanted += exists[i] != make;
    }
    if (make && existing + wanted > room) {
        errno = ENOSPC;
        return -1;
    }
    existing += make ? wanted : -wanted;
    (void)memset(exists + first, make, end - first);
    return 0;
}

static const shx_pool_shape large = {.size = LARGE, .blocks = MANY};

static void
begin_anew(size_t pages)
{
    if (pool.party != NULL) {
        shx_pool_close(&pool);
    }
    (void)memset(in.bytes, 0, in.size);
    (void)memset(exists, 0, sizeof exists);
    existing = 0;
    room = pages;
    longest = 0;
    punch_error = punched = 0;
    open_pool(&in, &large);
}

static void
test_full_opening(void)
{
    int asked;
    shx_member me = me_in(in.party);
    begin_anew(0);
    for (asked = 0;; asked++) {
        shx_pool other;
        shx_pool_close(&pool);
        (void)memset(in.bytes, 0, in.size);
        shx_pool_make(in.bytes, &large, 1);
        until_failure = asked;
        shx_err err =
            shx_pool_open(in.bytes, in.size, LARGE, in.party, &other);
        if (err == 0) {
            err = shx_pool_own(&other, &me);
            CHECK(err == 0 || !shx_pool_is_own(&other, &me));
            shx_pool_close(&other);
        }
        bool failed = until_failure < 0;
        until_failure = -1;
        CHECK(err == (failed ? ENOMEM : 0));
        CHECK(shx_pool_open(in.bytes, in.size, LARGE, in.party, &pool) == 0);
        if (!failed) {
            break;
        }
        CHECK(shx_pool_own(&pool, &me) == 0); /* it has no owner yet */
    }
    CHECK(asked == 4);
}

/* A take that fails changes nothing, and giving back needs nothing. */
static void
test_full_taking(void)
{
    shx_hold holds[MANY], hold;
    int failed = 0;
    begin_anew(LARGE / PAGE);
    for (unsigned i = 0; i < MANY; i++) {
        until_failure = 0;
        shx_err err = take(PAGE, &holds[i]);
        if (err != 0) {
            CHECK(err == ENOMEM && look().blocks == i);
            until_failure = -1;
            err = take(PAGE, &holds[i]);
            failed++;
        }
        CHECK(err == 0);
    }
    CHECK(failed == 1);
    until_failure = 0;
    for (unsigned i = 0; i < MANY; i += 2) {
        drop(&holds[i]);
    }
    CHECK(take(LARGE, &hold) == EAGAIN);
    for (unsigned i = 1; i < MANY; i += 2) {
        drop(&holds[i]);
    }
    CHECK(take(LARGE, &hold) == 0);
    drop(&hold);
    CHECK(is_idle());
    until_failure = -1;
}

/* What nobody uses is given back first; and what is not to be had leaves the
 * rest as it was. */
static void
test_full_pages(void)
{
    shx_hold idle, hold, other;
    begin_anew(9);
    idle = taken(4 * PAGE);
    hold = taken(4 * PAGE);
    CHECK(existing == 8);
    drop(&idle);
    other = taken(5 * PAGE);
    CHECK(existing == 9 && punched == 1);
    CHECK(take(PAGE, &idle) == ENOSPC);
    CHECK(look().held == 2 && look().idle == 0 && existing == 9);
    drop(&other);
    other = taken(5 * PAGE); /* the pages that exist */
    CHECK(existing == 9 && other.offset == 8 * PAGE);
    drop(&other);
    other = taken(4 * PAGE);
    drop(&other);
    drop(&hold);
    CHECK(look().places == 0 && existing == 9);
    other = taken(9 * PAGE);
    CHECK(existing == 9 && look().idle == 0);
    drop(&other);
}

static void
test_full_signals(void)
{
    begin_anew(LARGE / PAGE);
    longest = 64 << 10;
    shx_hold hold = taken(20 * MIB);
    CHECK(existing == 20 * MIB / PAGE);
    drop(&hold);
}

/* A block whose pages were not made is one whose pages do not exist. */
static void
test_full_never_backed(void)
{
    bool fresh;
    shx_hold hold;
    begin_anew(LARGE / PAGE);
    shx_member me = me_in(in.party);
    for (int i = 0; i < 2; i++) {
        CHECK(shx_pool_take(&pool, &me, PAGE, &hold, &fresh) == 0 && fresh);
        drop(&hold);
    }
    hold = taken(PAGE);
    drop(&hold);
    CHECK(shx_pool_take(&pool, &me, PAGE, &hold, &fresh) == 0 && !fresh);
    drop(&hold);
}

static void
test_full_trimming(void)
{
    begin_anew(LARGE / PAGE);
    shx_hold hold = taken(100 * MIB), small = taken(PAGE);
    CHECK(!shx_pool_is_fat(&pool));
    drop(&hold);
    shx_hold other = taken(100 * MIB); /* as many are in use */
    CHECK(other.offset == hold.offset);
    hold = taken(90 * MIB);
    drop(&hold);
    hold = taken(PAGE);
    CHECK(!shx_pool_is_fat(&pool) && shx_pool_trim(&pool, data_fd) == 0);
    drop(&other);
    drop(&hold);
    hold = taken(2 * PAGE);
    CHECK(shx_pool_is_fat(&pool));
    punch_error = EOPNOTSUPP;
    CHECK(shx_pool_trim(&pool, data_fd) == 0 && shx_pool_is_fat(&pool));
    punch_error = 0;
    CHECK(shx_pool_trim(&pool, data_fd) > 0 && !shx_pool_is_fat(&pool));
    CHECK(shx_pool_trim(&pool, data_fd) == 0);
    CHECK(existing == 64 * MIB / PAGE + 3);
    CHECK(look().idle == 64 * MIB);
    drop(&small);
    drop(&hold);
}

int
main(void)
{
    in = make_memory(control_size_of(&large));
    make_data(LARGE);
    test_full_opening();
    test_full_taking();
    test_full_pages();
    test_full_signals();
    test_full_never_backed();
    test_full_trimming();
    return 0;
}

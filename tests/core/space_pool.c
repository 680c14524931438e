/* SPDX-License-Identifier: MIT */
/* Which extents of a pool are free, against a model that knows each page. */
#define _GNU_SOURCE

#include "pool.h"

enum { PAGES = 200, TAKEN = 64, STEPS = 200000 };

typedef enum { UNBACKED, BACKED, IN_USE } kind;

static kind pages[PAGES + 1]; /* one that is in use is behind the last */
static shx_extent taken_ones[TAKEN];
static unsigned count;
static shx_pool_space space;

static uint64_t
draw(uint64_t below)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

/* The shortest run of free pages that are as many, of one kind or of both:
 * PAGES + 1 if there is none. */
static uint64_t
shortest(uint64_t wanted, bool backed, bool unbacked)
{
    uint64_t least = PAGES + 1, length = 0;
    for (unsigned i = 0; i <= PAGES; i++) {
        bool fits = (pages[i] == BACKED && backed) ||
                    (pages[i] == UNBACKED && unbacked);
        if (!fits && length >= wanted && length < least) {
            least = length;
        }
        length = fits ? length + 1 : 0;
    }
    return least;
}

/* How long is the run of that kind that a page begins? */
static uint64_t
run_at(uint64_t page, bool backed, bool unbacked)
{
    uint64_t length = 0;
    while ((pages[page + length] == BACKED && backed) ||
           (pages[page + length] == UNBACKED && unbacked)) {
        length++;
    }
    return length;
}

static void
set(uint64_t offset, uint64_t size, kind to)
{
    for (uint64_t i = offset / PAGE; i < (offset + size) / PAGE; i++) {
        CHECK((pages[i] == IN_USE) != (to == IN_USE));
        pages[i] = to;
    }
}

static void
take_one(bool backed_alone)
{
    bool fresh, expected = false;
    uint64_t size = 1 + draw(draw(8) == 0 ? 60 : 6), offset;
    shx_err err = shx_pool_space_take(&space, size * PAGE, backed_alone,
                                      &offset, &fresh);
    bool backed = true, unbacked = false;
    uint64_t best = shortest(size, backed, unbacked);
    if (best > PAGES && !backed_alone) {
        expected = true;
        best = shortest(size, backed = false, unbacked = true);
    }
    if (best > PAGES && !backed_alone) {
        best = shortest(size, backed = true, unbacked);
    }
    CHECK(err == (best > PAGES ? EAGAIN : 0));
    if (err != 0) {
        return;
    }
    CHECK(run_at(offset / PAGE, backed, unbacked) == best);
    CHECK(offset == 0 || run_at(offset / PAGE - 1, backed, unbacked) == 0);
    CHECK(fresh == expected);
    set(offset, size * PAGE, IN_USE);
    taken_ones[count++] = (shx_extent){offset, size * PAGE, true};
}

/* A part of what is given back never had pages. */
static void
give_one(void)
{
    unsigned which = (unsigned)draw(count);
    shx_extent one = taken_ones[which];
    taken_ones[which] = taken_ones[--count];
    one.backed = draw(10) != 0;
    shx_pool_space_give(&space, one.offset, one.size, one.backed);
    set(one.offset, one.size, one.backed ? BACKED : UNBACKED);
}

static void
cut_one(void)
{
    shx_extent one;
    uint64_t longest = 0;
    uint64_t most = draw(PAGES) * PAGE, idle = space.idle;
    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t run = run_at(i, true, false) * PAGE;
        longest = run > longest ? run : longest;
    }
    bool cut = shx_pool_space_cut(&space, most, &one);
    CHECK(cut == (idle > most));
    if (cut) {
        uint64_t beyond = idle - most;
        CHECK(one.size == (beyond < longest ? beyond : longest));
        CHECK(run_at(one.offset / PAGE, true, false) * PAGE == one.size);
        set(one.offset, one.size, IN_USE);
        shx_pool_space_give(&space, one.offset, one.size, false);
        set(one.offset, one.size, UNBACKED);
    }
}

/* Sorted, merged, and the numbers are right. */
static void
check_all(void)
{
    uint64_t used = 0, idle = 0;
    unsigned extent = 0;
    for (unsigned i = 0; i < PAGES;) {
        kind is = pages[i];
        uint64_t length = 0;
        while (i + length < PAGES && pages[i + length] == is) {
            length++;
        }
        if (is != IN_USE) {
            CHECK(extent < space.count);
            const shx_extent *one = &space.free[extent++];
            CHECK(one->offset == i * (uint64_t)PAGE);
            CHECK(one->size == length * PAGE);
            CHECK(one->backed == (is == BACKED));
        }
        used += is == IN_USE ? length * PAGE : 0;
        idle += is == BACKED ? length * PAGE : 0;
        i += (unsigned)length;
    }
    CHECK(extent == space.count && count == space.taken);
    CHECK(used == space.used && idle == space.idle);
    CHECK(space.count + space.taken <= space.room);
}

int
main(void)
{
    pages[PAGES] = IN_USE;
    CHECK(shx_pool_space_open(&space, PAGES * PAGE) == 0);
    for (int i = 0; i < STEPS; i++) {
        uint64_t what = draw(100);
        if (what < 2) {
            cut_one();
        }
        else if (count < TAKEN && (count == 0 || what < 52)) {
            take_one(what % 4 == 0);
        }
        else {
            give_one();
        }
        check_all();
    }
    shx_pool_space_close(&space);
    return 0;
}

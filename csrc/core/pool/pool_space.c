/* SPDX-License-Identifier: MIT */
#include "core/pool/pool_space.h"

#include <errno.h>
#include <stdlib.h> /* malloc, realloc, free */
#include <string.h> /* memmove */

enum { FIRST_ROOM = 64 };

shx_err
shx_pool_space_open(shx_pool_space *space, uint64_t size)
{
    shx_extent *made = malloc(FIRST_ROOM * sizeof *made);
    if (made == NULL) {
        return ENOMEM;
    }
    *space = (shx_pool_space){.free = made, .count = 1, .room = FIRST_ROOM};
    made[0] = (shx_extent){.size = size};
    return 0;
}

void
shx_pool_space_close(shx_pool_space *space)
{
    free(space->free);
    space->free = NULL;
}

/* For one extent more, free or taken: so giving back needs nothing. */
static shx_err
make_room(shx_pool_space *space)
{
    if (space->count + space->taken < space->room) {
        return 0;
    }
    unsigned room = 2 * space->room;
    shx_extent *made = realloc(space->free, room * sizeof *made);
    if (made == NULL) {
        return ENOMEM;
    }
    space->free = made;
    space->room = room;
    return 0;
}

static uint64_t
end_of(const shx_extent *extent)
{
    return extent->offset + extent->size;
}

/* Neighbours from one on, whatever their kinds: how many, and their bytes. */
static unsigned
run_from(const shx_pool_space *space, unsigned first, uint64_t *size)
{
    unsigned at = first;
    *size = space->free[first].size;
    while (at + 1 < space->count &&
           end_of(&space->free[at]) == space->free[at + 1].offset) {
        *size += space->free[++at].size;
    }
    return at - first + 1;
}

static const unsigned none = UINT32_MAX;

static unsigned
find_one(const shx_pool_space *space, uint64_t size, bool backed)
{
    unsigned best = none;
    for (unsigned i = 0; i < space->count; i++) {
        const shx_extent *one = &space->free[i];
        if (one->backed == backed && one->size >= size &&
            (best == none || one->size < space->free[best].size)) {
            best = i;
        }
    }
    return best;
}

static unsigned
find_run(const shx_pool_space *space, uint64_t size)
{
    unsigned best = none;
    uint64_t least = UINT64_MAX, found;
    for (unsigned i = 0; i < space->count;) {
        unsigned count = run_from(space, i, &found);
        if (found >= size && found < least) {
            best = i;
            least = found;
        }
        i += count;
    }
    return best;
}

static void
remove_some(shx_pool_space *space, unsigned first, unsigned count)
{
    shx_extent *at = space->free + first;
    (void)memmove(at, at + count, (space->count - first - count) * sizeof *at);
    space->count -= count;
}

/* The first bytes of a run: whole extents of it, and a part of the last. */
static void
carve(shx_pool_space *space, unsigned first, uint64_t size, bool *fresh)
{
    unsigned whole = 0;
    uint64_t left = size;
    *fresh = false;
    while (left > 0) {
        shx_extent *one = &space->free[first + whole];
        uint64_t part = one->size < left ? one->size : left;
        *fresh |= !one->backed;
        space->idle -= one->backed ? part : 0;
        left -= part;
        if (part == one->size) {
            whole++;
        }
        else {
            one->offset += part;
            one->size -= part;
        }
    }
    if (whole > 0) {
        remove_some(space, first, whole);
    }
    space->taken++;
    space->used += size;
}

shx_err
shx_pool_space_take(shx_pool_space *space, uint64_t size, bool backed_alone,
                    uint64_t *offset, bool *fresh)
{
    unsigned at = find_one(space, size, true);
    if (at == none && !backed_alone) {
        at = find_one(space, size, false);
    }
    if (at == none && !backed_alone) {
        at = find_run(space, size);
    }
    if (at == none) {
        return EAGAIN;
    }
    shx_err err = make_room(space);
    if (err == 0) {
        *offset = space->free[at].offset;
        carve(space, at, size, fresh);
    }
    return err;
}

/* Where it belongs: before the first that lies behind it. */
static unsigned
find_place(const shx_pool_space *space, uint64_t offset)
{
    unsigned low = 0, high = space->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (space->free[middle].offset < offset) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return low;
}

/* One with that before it, if they are neighbours of one kind. */
static bool
merge(shx_pool_space *space, unsigned at)
{
    if (at == 0 || at == space->count) {
        return false;
    }
    shx_extent *before = &space->free[at - 1], *one = &space->free[at];
    if (end_of(before) != one->offset || before->backed != one->backed) {
        return false;
    }
    before->size += one->size;
    remove_some(space, at, 1);
    return true;
}

void
shx_pool_space_give(shx_pool_space *space, uint64_t offset, uint64_t size,
                    bool backed)
{
    unsigned at = find_place(space, offset);
    shx_extent *one = space->free + at;
    (void)memmove(one + 1, one, (space->count - at) * sizeof *one);
    *one = (shx_extent){.offset = offset, .size = size, .backed = backed};
    space->count++;
    space->taken--;
    space->used -= size;
    space->idle += backed ? size : 0;
    (void)merge(space, at + 1);
    (void)merge(space, at);
}

/* Its first bytes stay: the next one that is taken is cut from there. */
bool
shx_pool_space_cut(shx_pool_space *space, uint64_t most, shx_extent *out)
{
    unsigned largest = none;
    for (unsigned i = 0; i < space->count; i++) {
        if (space->free[i].backed &&
            (largest == none ||
             space->free[i].size > space->free[largest].size)) {
            largest = i;
        }
    }
    if (largest == none || space->idle <= most) {
        return false;
    }
    shx_extent *one = &space->free[largest];
    *out = *one;
    uint64_t beyond = space->idle - most;
    if (beyond < one->size && make_room(space) == 0) {
        one = &space->free[largest]; /* which may lie elsewhere now */
        one->size -= beyond;
        *out = (shx_extent){end_of(one), beyond, true};
    }
    else {
        remove_some(space, largest, 1);
    }
    space->taken++;
    space->used += out->size;
    space->idle -= out->size;
    return true;
}

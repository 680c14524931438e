/* SPDX-License-Identifier: MIT */
/* Where in its data the owner of a pool takes blocks: which extents are free.
 *
 *   0                                                          size
 *   |  taken  | backed |  taken  | backed  |      unbacked     |
 *
 * Free ones are in the order of their offsets, and neighbours of one kind are
 * one. `backed` are those whose pages exist: they are given first, since fresh
 * pages are what costs. Where none of one kind is large enough, neighbours of
 * both kinds are given together, and count as fresh.
 *
 * All of it is memory of this process, and none of it is read from a shared
 * one. Offsets and sizes are what the caller takes in: whole pages. Nobody
 * locks here.
 */
#ifndef SHX_POOL_SPACE_H
#define SHX_POOL_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

typedef struct {
    uint64_t offset;
    uint64_t size;
    bool backed;
} shx_extent;

typedef struct {
    shx_extent *free;
    unsigned count; /* of free ones */
    unsigned room;  /* for so many: never less than free and taken ones */
    unsigned taken; /* how many */
    uint64_t used;  /* bytes that are taken */
    uint64_t idle;  /* bytes that are free and backed */
} shx_pool_space;

/* All of it free, and unbacked. ENOMEM. */
shx_err shx_pool_space_open(shx_pool_space *space, uint64_t size);
void shx_pool_space_close(shx_pool_space *space);

/* The smallest that will do: of backed ones alone, or of all. `fresh`: not all
 * of it is backed. EAGAIN: none is large enough. ENOMEM. */
shx_err shx_pool_space_take(shx_pool_space *space, uint64_t size,
                            bool backed_alone, uint64_t *offset, bool *fresh);

/* Back, as it was taken. It cannot fail. */
void shx_pool_space_give(shx_pool_space *space, uint64_t offset, uint64_t size,
                         bool backed);

/* Takes one that is backed, to be given back as unbacked: of the largest what
 * is idle beyond `most`. False: nothing is. */
bool shx_pool_space_cut(shx_pool_space *space, uint64_t most, shx_extent *out);

#endif

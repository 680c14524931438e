/* SPDX-License-Identifier: MIT */
/* Copying to and from a segment, in bulk.
 *
 * A page that this process has not touched costs a page fault, which takes
 * longer than copying the page does: then pwrite(2) is faster, which needs
 * none. A page that was touched is fastest copied in place. Milliseconds for
 * 256 MiB, on a machine with slow faults:
 *
 *                      memmove   populate, memmove   pwrite, pread
 *   write, untouched       109                  73              45
 *   write, touched          20                  42              54
 *   read, untouched         31                  30              49
 *   read, touched           18                  38              49
 *
 * What is known of a mapping is kept in 64 strips of it, one bit each. Who
 * writes the same pages again and again is better off with pages that are
 * present: that is arranged once pwrite(2) has taken in four times the size,
 * which costs about what could have been saved.
 */
#ifndef SHX_COPY_H
#define SHX_COPY_H

#include <stdatomic.h>

#include "core/memory/segment.h"

typedef struct {
    _Atomic uint64_t present; /* in our page table */
    _Atomic uint64_t through; /* bytes written by pwrite() so far */
} shx_strips;

/* Opens a descriptor of the segment, if there is one to be had. */
typedef shx_err (*shx_opener)(void *context, int *fd);

typedef struct {
    const shx_segment *segment;
    shx_strips *strips;
    shx_opener open;
    void *context;
} shx_copying;

/* [offset, offset + size) is within the segment. ENOSPC and EFAULT: pages are
 * missing and not to be had, though maybe not all of them; where the copy was
 * in place, the guard tells. */
shx_err shx_copy_in(const shx_copying *copy, size_t offset, const void *data,
                    size_t size);
shx_err shx_copy_out(const shx_copying *copy, size_t offset, void *data,
                     size_t size);

/* Makes all pages present. EFAULT: they are not to be had. */
shx_err shx_copy_populate(const shx_copying *copy, const shx_space *space);

#endif

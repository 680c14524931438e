/* SPDX-License-Identifier: MIT */
/* A store is a memory that holds cells, one after the other, for who has no
 * memory to put one into:
 *
 *   0    how many bytes are taken; 0: none, not even these
 *   64   cells
 *
 * A place is given once, to whichever of the processes that share the memory
 * asks first, and is never taken back: who else knows of it, nobody does. The
 * memory goes with all of its cells.
 */
#ifndef SHX_STORE_H
#define SHX_STORE_H

#include "core/sync/cell.h"

/* A place of that many bytes, a multiple of SHX_CELL_ALIGNMENT, in a memory of
 * so many. ENOSPC: it is full, or what stands there makes no sense. */
shx_err shx_store_take(void *memory, size_t capacity, size_t size,
                       size_t *offset);

#endif

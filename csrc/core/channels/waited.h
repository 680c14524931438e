/* SPDX-License-Identifier: MIT */
/* The word of a cell that those sleep on who wait for a message, a frame, or
 * room:
 *
 *   31..1 times | 0 WAITED
 *
 * Who finds nothing says so in the word, and looks again before it sleeps; who
 * has something for them looks at the word afterwards. Both are in one order
 * for all (seq_cst), so one of them sees the other. */
#ifndef SHX_WAITED_H
#define SHX_WAITED_H

#include "core/sync/cell.h"
#include "core/sync/patience.h"

enum { SHX_WAITED = 1, SHX_ONCE = 2 };

/* Does somebody sleep there, or is about to? */
static inline bool
shx_is_waited(const shx_cell *cell)
{
    return (atomic_load(&cell->word) & SHX_WAITED) != 0;
}

/* Says that it waits, or sleeps if it has: `seen` is of before it looked.
 * EAGAIN: look again. SHX_SLICE_OVER, or why it is to give up. */
shx_err shx_wait_on(shx_cell *cell, uint32_t seen, shx_patience *patience);

#endif

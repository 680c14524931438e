/* SPDX-License-Identifier: MIT */
/* An event is set or not, and can be waited for.
 *
 *   31 .. 2 times that it was set | 1 WAITED | 0 SET
 *
 *   WAITED   somebody may sleep on the word: who sets it wakes all
 *
 * Who waits goes on when it is set, and also when it has been set since, and
 * is clear again: that is what the times are for. Nobody waits for those who
 * are woken: their death stops nobody. When who sets it dies before it has
 * woken them, one sees for itself when a slice of its sleep is over, and wakes
 * the others.
 */
#ifndef SHX_EVENT_H
#define SHX_EVENT_H

#include "core/sync/awaited.h"
#include "core/sync/cell.h"
#include "core/sync/patience.h"

static inline bool
shx_event_is_set(const shx_site *at)
{
    enum { SET = 1 };
    return (atomic_load(&at->cell->word) & SET) != 0;
}

void shx_event_set(const shx_site *at);
void shx_event_clear(const shx_site *at);

/* How often it was set, of 2^30: for who waits in pieces. */
uint32_t shx_event_times(const shx_site *at);

/* Waits until it is set, or has been more often than so many times.
 * ETIMEDOUT, SHX_INTERRUPTED; EFAULT: the page is lost. */
shx_err shx_event_wait(const shx_site *at, uint32_t times,
                       shx_patience *patience);

/* The same, beside other things: until it is set, or has been since now. */
void shx_event_await(const shx_site *at, shx_awaited *out);

#endif

/* SPDX-License-Identifier: MIT */
/* A number of 4 or 8 bytes anywhere in memory, as C11 has it: every function
 * is one step for all who look, in one order for all of them (seq_cst). It is
 * aligned to its size, and has nothing beside it: an array's item will do.
 * Signs are the caller's: numbers wrap around, modulo 2^32 or 2^64.
 *
 * The system compares 4 bytes when somebody falls asleep. Of 8 it is the lower
 * half, so who changes the upper one just then, and wakes, is noticed when a
 * slice is over.
 */
#ifndef SHX_ATOMIC_H
#define SHX_ATOMIC_H

#include "core/sync/patience.h"

typedef struct {
    void *place;
    bool wide; /* 8 bytes */
} shx_atomic;

typedef _Atomic uint64_t shx_wide_word;

_Static_assert(sizeof(shx_wide_word) == 8 && sizeof(shx_word) == 4,
               "atomic numbers are nothing but their bytes");

static inline uint64_t
shx_atomic_load(const shx_atomic *at)
{
    return at->wide ? atomic_load((shx_wide_word *)at->place)
                    : atomic_load((shx_word *)at->place);
}

static inline void
shx_atomic_store(const shx_atomic *at, uint64_t value)
{
    if (at->wide) {
        atomic_store((shx_wide_word *)at->place, value);
    }
    else {
        atomic_store((shx_word *)at->place, (uint32_t)value);
    }
}

/* These return what was there before. */

static inline uint64_t
shx_atomic_add(const shx_atomic *at, uint64_t value)
{
    return at->wide ? atomic_fetch_add((shx_wide_word *)at->place, value)
                    : atomic_fetch_add((shx_word *)at->place, (uint32_t)value);
}

static inline uint64_t
shx_atomic_exchange(const shx_atomic *at, uint64_t value)
{
    return at->wide ? atomic_exchange((shx_wide_word *)at->place, value)
                    : atomic_exchange((shx_word *)at->place, (uint32_t)value);
}

/* Stores the value if `expected` is there. */
static inline uint64_t
shx_atomic_compare_exchange(const shx_atomic *at, uint64_t expected,
                            uint64_t value)
{
    if (at->wide) {
        (void)atomic_compare_exchange_strong((shx_wide_word *)at->place,
                                             &expected, value);
        return expected;
    }
    uint32_t found = (uint32_t)expected;
    (void)atomic_compare_exchange_strong((shx_word *)at->place, &found,
                                         (uint32_t)value);
    return found;
}

/* Waits until something else than `value` is there. ETIMEDOUT,
 * SHX_INTERRUPTED; EFAULT: the page is lost. */
shx_err shx_atomic_wait(const shx_atomic *at, uint64_t value,
                        shx_patience *patience);

/* Wakes so many of those who wait: how many it were. */
unsigned shx_atomic_notify(const shx_atomic *at, unsigned count);

#endif

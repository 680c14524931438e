/* SPDX-License-Identifier: MIT */
#include "core/sync/store.h"

#include <errno.h>

shx_err
shx_store_take(void *memory, size_t capacity, size_t size, size_t *offset)
{
    enum { TRIES = 1000 }; /* against a count that never rests */
    _Atomic uint64_t *count = memory;
    if (capacity < SHX_CELL_ALIGNMENT || size % SHX_CELL_ALIGNMENT != 0) {
        return ENOSPC;
    }
    uint64_t taken = atomic_load(count);
    for (int tries = 0; tries < TRIES; tries++) {
        uint64_t at = taken == 0 ? SHX_CELL_ALIGNMENT : taken;
        if (at % SHX_CELL_ALIGNMENT != 0 || at > capacity ||
            size > capacity - at) {
            break;
        }
        if (atomic_compare_exchange_weak(count, &taken, at + size)) {
            *offset = (size_t)at;
            return 0;
        }
    }
    return ENOSPC;
}

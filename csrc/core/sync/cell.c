/* SPDX-License-Identifier: MIT */
#include "core/sync/cell.h"

const char *
shx_cell_name(unsigned kind)
{
    static const char *const names[] = {
        [SHX_CELL_LOCK] = "Lock",
        [SHX_CELL_RLOCK] = "RLock",
        [SHX_CELL_SEMAPHORE] = "Semaphore",
        [SHX_CELL_BOUNDED_SEMAPHORE] = "BoundedSemaphore",
        [SHX_CELL_EVENT] = "Event",
        [SHX_CELL_CONDITION] = "Condition",
        [SHX_CELL_BARRIER] = "Barrier",
        [SHX_CELL_RWLOCK] = "RWLock",
        [SHX_CELL_CHANNEL] = "Channel",
        [SHX_CELL_BROADCAST] = "Broadcast",
        [SHX_CELL_POOL] = "Pool",
        [SHX_CELL_QUEUE] = "Queue",
    };
    return kind < sizeof names / sizeof names[0] ? names[kind] : NULL;
}

uint64_t
shx_cell_head_of(shx_cell_kind kind, uint32_t parameter)
{
    return (uint64_t)'S' | (uint64_t)'X' << 8 | (uint64_t)kind << 16 |
           (uint64_t)SHX_CELL_VERSION << 24 | (uint64_t)parameter << 32;
}

static shx_cell_head
read_head(uint64_t head)
{
    if ((head & 0xffff) != ((uint64_t)'S' | (uint64_t)'X' << 8)) {
        return (shx_cell_head){0};
    }
    return (shx_cell_head){.kind = (unsigned)(head >> 16 & 0xff),
                           .version = (unsigned)(head >> 24 & 0xff),
                           .parameter = (uint32_t)(head >> 32)};
}

shx_cell_head
shx_cell_read(const shx_cell *cell)
{
    return read_head(atomic_load(&cell->head));
}

/* Somebody may be making it, and use it at once: then the head is not 0 by
 * now, and that is looked at again, later than what was seen here. */
static bool
is_zeros(const shx_cell *cell, size_t size)
{
    const _Atomic uint64_t *words = &cell->head;
    for (size_t i = 0; i < size / sizeof *words; i++) {
        if (atomic_load_explicit(&words[i], memory_order_acquire) != 0) {
            return false;
        }
    }
    return true;
}

shx_err
shx_cell_make(shx_cell *cell, size_t size, shx_cell_kind kind,
              uint32_t parameter)
{
    uint64_t wanted = shx_cell_head_of(kind, parameter);
    uint64_t found = 0;
    if (is_zeros(cell, size)) {
        (void)atomic_compare_exchange_strong(&cell->head, &found, wanted);
    }
    found = atomic_load(&cell->head);
    if (found == wanted) {
        return 0;
    }
    return read_head(found).kind == 0 ? SHX_IN_USE : SHX_FOREIGN;
}

/* SPDX-License-Identifier: MIT */
#include "core/sync/thread.h"

#include <stdatomic.h>

uint32_t
shx_this_thread(void)
{
    static _Atomic uint32_t count;
    static _Thread_local uint32_t number;
    if (number == 0) {
        number = atomic_fetch_add(&count, 1) + 1;
    }
    return number;
}

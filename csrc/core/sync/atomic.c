/* SPDX-License-Identifier: MIT */
#include "core/sync/atomic.h"

/* What sleepers look at: where the lower half lies, the machine says. */
static const shx_word *
word_of(const shx_atomic *at)
{
    const uint16_t one = 1;
    const shx_word *words = at->place;
    return at->wide && *(const unsigned char *)&one == 0 ? words + 1 : words;
}

shx_err
shx_atomic_wait(const shx_atomic *at, uint64_t value, shx_patience *patience)
{
    while (shx_atomic_load(at) == value) {
        shx_err err = shx_nap(patience, word_of(at), (uint32_t)value, NULL);
        if (err != 0 && err != SHX_SLICE_OVER) {
            return err;
        }
    }
    return 0;
}

unsigned
shx_atomic_notify(const shx_atomic *at, unsigned count)
{
    return shx_os_wake(word_of(at), count);
}

/* SPDX-License-Identifier: MIT */
#include "core/channels/waited.h"

#include <errno.h>

shx_err
shx_wait_on(shx_cell *cell, uint32_t seen, shx_patience *patience)
{
    if ((seen & SHX_WAITED) == 0) {
        (void)atomic_compare_exchange_strong(&cell->word, &seen,
                                             seen | SHX_WAITED);
        return EAGAIN;
    }
    shx_err err = shx_nap(patience, &cell->word, seen, &cell->watch);
    return err == 0 ? EAGAIN : err;
}

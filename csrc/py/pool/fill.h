/* SPDX-License-Identifier: MIT */
/* How bytes are copied into blocks of one's own pool, which is most of what
 * sending takes.
 *
 * A page that this process has not touched costs a fault, which takes longer
 * than copying the page does: pwrite(2) needs none. Who writes the same pages
 * again and again is better off with pages that are present. Milliseconds for
 * 100 MiB of a pool:
 *
 *   new pages, pwrite    51     present pages, in place        11
 *   again, pwrite        26     made present, then in place    43
 *   again, by faults     60
 *
 * So pages are made present the fourth time. How often they were written is
 * kept of each 64 KiB; a number that is wrong costs time, nothing else.
 */
#ifndef SHX_FILL_H
#define SHX_FILL_H

#include "py/pool/lease.h"

/* With the GIL, which is let go of where there is much to copy. `fd`: -1, or a
 * descriptor of new pages, which is closed. */
shx_err shx_fill(const shx_lease *lease, const void *from, int fd);

#endif

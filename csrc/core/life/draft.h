/* SPDX-License-Identifier: MIT */
/* Where a segment lies that has no name yet, and cannot lie nowhere: see
 * segment.h. A file of its family's directory, which is on the same file
 * system, and closed to everybody else:
 *
 *   /dev/shm/.shmemext-2-<id>/
 *     +-- d0123456789abcdef      used by who makes it, see shx_os_use()
 *
 * Who is killed leaves it, unused, or with a second name, if it has got its
 * own by then. Whoever makes the next one in that family removes it, or the
 * sweep does. One that its maker has not come to use yet may be taken for
 * such, and one that is gone for whatever reason is made anew.
 *
 * Where there are no families, for want of locks, it lies beside the names, as
 * .shmemext-d0123456789abcdef. Nobody can know then whether its maker lives,
 * and what a SIGKILL leaves of it stays.
 */
#ifndef SHX_DRAFT_H
#define SHX_DRAFT_H

#include <stdbool.h>

#include "core/error.h"
#include "core/os/os.h"

/* Is this the name of a draft's file? */
bool shx_draft_is(const char *file);

/* Finds one its place in a family's directory, whose descriptor it takes over,
 * and removes what the killed have left there. */
shx_err shx_draft_place(int directory, shx_draft *out);

/* The same where there are no families. */
shx_err shx_draft_place_beside(shx_draft *out);

/* Removes one, whoever uses it. */
shx_err shx_draft_remove(int directory, const char *file);

#endif

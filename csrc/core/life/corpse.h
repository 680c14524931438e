/* SPDX-License-Identifier: MIT */
/* A corpse is a segment whose name outlives its family: for the moment until
 * the reaper comes. Who finds the name taken then may take it at once.
 *
 *   open       for reading: who looks at the same time is no writer
 *   written?   somebody has it: no corpse. That is all it costs where it is
 *              in use, 3 us
 *   search     the ledgers of dead families of this user, for a record that
 *              is true of this name and this file
 *   lock       that family's, as a sweep does: no two remove one name, so
 *              nobody removes what another has created in its place
 *   remove     the name, if it still is that file's
 *
 * One of its users that nobody uses is a corpse whoever owns it: users.h.
 *
 * What no ledger knows, and what a living family owns, is no corpse, whether
 * or not anybody has it open.
 */
#ifndef SHX_CORPSE_H
#define SHX_CORPSE_H

#include <stdbool.h>

/* Has somebody the name's memory for writing, so that it is no corpse? Who
 * expects that asks this first, and has all that there is to know. */
bool shx_corpse_is_alive(const char *name);

/* For who has just found the name taken. True: it was a corpse's, or is
 * nobody's, and may be tried once more. Where a sweep is at work on it, waits
 * for that, a second at most. */
bool shx_corpse_remove(const char *name);

#endif

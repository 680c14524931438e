/* SPDX-License-Identifier: MIT */
/* The attendant of a family: while that lives, it removes the names of users'
 * segments whose last user was killed, and so could not (users.h).
 *
 * Nobody tells of a kill. So it looks at all of the family's records, about
 * once a second, and seldom enough to take a hundredth of a processor at most.
 * It is the reaper's program, started at a process's first create of such a
 * segment, where there is none yet; a family that creates none has none. It
 * ends when the family does. Killed itself, it leaves its work to the family's
 * next create of the kind, and to the sweep.
 */
#ifndef SHX_ATTENDANT_H
#define SHX_ATTENDANT_H

#include "core/error.h"

/* What the program is called with: this, and the family's directory. */
#define SHX_ATTENDANT_MARK "users:"

/* Returns when the family, by its directory, is dead, or has another one. */
shx_err shx_attendant_serve(const char *path);

#endif

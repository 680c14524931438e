/* SPDX-License-Identifier: MIT */
/* The guard keeps a touch of a segment from killing the process.
 *
 * A name in /dev/shm cannot be sealed: whoever may write a segment may also
 * cut it short, and then the kernel answers a touch of the lost pages with
 * SIGBUS. So does a hole that a full /dev/shm has no page for. While a segment
 * is guarded, such a touch gets a page of zeros that is this process's own:
 *
 *   before    |  page  |  page  |  page  |   all shared
 *   cut to 1  |  page  |  lost  |  lost  |
 *   touched   |  page  |  zeros |  lost  |   zeros: private, from now on
 *
 * What is written there reaches nobody: the owner of the guard is notified
 * and tells the user. Any other SIGBUS goes to whoever handled it before.
 *
 * The handler runs in the thread that touched the memory, which therefore is
 * not in any function of this file: the lock that it takes is never its own.
 */
#ifndef SHX_GUARD_H
#define SHX_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

enum { SHX_GUARD_NAME = 64 };

/* Part of whatever owns a mapping; must not move while it is listed. */
typedef struct shx_guard {
    struct shx_guard *next;
    struct shx_guard **self; /* where we are linked from; NULL: not listed */
    char *address;
    size_t size;
    unsigned tears; /* pages that were touched where they are lost */
    bool told;      /* the user knows: once for each segment is enough */
    char name[SHX_GUARD_NAME]; /* for the message; long ones are cut */
} shx_guard;

/* Handles SIGBUS from now on, once per process. `notify` is called in the
 * handler when a segment is first torn, so it must be safe there. */
shx_err shx_guard_install(void (*notify)(void));

void shx_guard_add(shx_guard *guard, const char *name, void *address,
                   size_t size);

/* To be called before the memory is unmapped. */
void shx_guard_remove(shx_guard *guard);

/* How many pages of it are lost so far? */
unsigned shx_guard_tears(const shx_guard *guard);

/* Is a segment of that name mapped here? */
bool shx_guard_knows(const char *name);

/* Copies the name of one torn segment that was not told yet: false if there is
 * none. */
bool shx_guard_tell(char name[SHX_GUARD_NAME]);

#endif

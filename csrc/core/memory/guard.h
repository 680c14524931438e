/* SPDX-License-Identifier: MIT */
/* The guard keeps a touch of a segment from killing the process.
 *
 * A name in /dev/shm cannot be sealed: whoever may write a segment may also
 * cut it short, and then the kernel answers a touch of the lost pages with a
 * signal that kills. So does a hole that a full /dev/shm has no page for.
 * While a segment is guarded, such a touch gets zeros that are this process's
 * own:
 *
 *   before     |  page  |  page  |  page  |  page  |   all shared
 *   cut to 1   |  page  |  lost  |  lost  |  lost  |
 *   touched    |  page  |  zeros |  lost  |  lost  |   zeros: private, from
 *   and again  |  page  |  zeros |  zeros |  zeros |          now on
 *
 * The second touch gets two pages, the next one four: each piece is a mapping,
 * of which a process has not many. What can be read, be it the segment's or
 * our own, is never replaced.
 *
 * What is written to the zeros reaches nobody: the owner of the guard is
 * notified and tells the user. Any other such signal goes to whoever handled
 * it before.
 *
 * The handler runs in the thread that touched the memory, which therefore is
 * not in any function of this file: the lock that it takes is never its own.
 * (A handler of another signal, in C, that touches a lost page while it
 * interrupts one of these functions would wait for itself.)
 */
#ifndef SHX_GUARD_H
#define SHX_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

enum { SHX_GUARD_NAME = 64 };

/* Part of whatever owns a mapping; must not move while it is listed. */
typedef struct shx_guard {
    struct shx_guard *left; /* of the tree of all, see guard.c */
    struct shx_guard *right;
    struct shx_guard *untold; /* the next one that the user does not know of */
    char *address;            /* NULL: not listed */
    size_t size;
    atomic_uint tears; /* touches of what is lost: anybody may look */
    bool writable;
    char name[SHX_GUARD_NAME]; /* for the message; long ones are cut */
} shx_guard;

/* Catches touches of lost pages from now on, once per process. `notify` is
 * called in the handler when a segment is first torn, so it must be safe
 * there; never by two threads at once. False: it could not take note, and is
 * called at the next tear. */
shx_err shx_guard_install(bool (*notify)(void));

/* Others take the signal too: whoever hands out memory calls this, so that we
 * get it back. 0.1 us where it is ours. */
void shx_guard_look(void);

/* The same for who is asked in a loop: within some milliseconds it looks but
 * once, and costs a few nanoseconds otherwise. */
void shx_guard_glance(void);

/* The memory may be touched from now on. Looks, too. */
void shx_guard_add(shx_guard *guard, const char *name, void *address,
                   size_t size, bool writable);

/* There is more of the memory now, at least `size` bytes. */
void shx_guard_extend(shx_guard *guard, size_t size);

/* To be called before the memory is unmapped. */
void shx_guard_remove(shx_guard *guard);

/* How often was a lost page of it touched so far? */
static inline unsigned
shx_guard_tears(const shx_guard *guard)
{
    return atomic_load_explicit(&guard->tears, memory_order_relaxed);
}

/* Is a segment of that name mapped here? */
bool shx_guard_knows(const char *name);

/* Copies the name of one torn segment that was not told yet: false if there is
 * none. */
bool shx_guard_tell(char name[SHX_GUARD_NAME]);

#endif

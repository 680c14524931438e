/* SPDX-License-Identifier: MIT */
/* A lock that its holder, which is one thread of a process, may acquire again.
 *
 *   word      as of every lock (lock.h): which process
 *   own[0]    which thread of it: a number that is never given twice
 *   own[1]    how often, 1 the first time
 *   own[2]    the process's nonce
 *
 * The last three are the owner's to write. A dead one's are out of date, and
 * are written anew by who has the word next; the nonce tells, where a token
 * was drawn again.
 */
#ifndef SHX_RLOCK_H
#define SHX_RLOCK_H

#include "core/sync/lock.h"

/* Is it held by this thread? How often: 0, it is not. */
uint32_t shx_rlock_depth(const shx_site *at, const shx_member *me);

/* Once more, or for the first time. EOVERFLOW: 2^32 times. The rest is as for
 * a lock. */
shx_err shx_rlock_acquire(const shx_site *at, const shx_member *me,
                          shx_torn torn, shx_patience *patience);

/* The same without waiting: EAGAIN. */
shx_err shx_rlock_try(const shx_site *at, const shx_member *me, shx_torn torn);

/* Has just taken the word: it is this thread's, so often. */
void shx_rlock_own(const shx_site *at, const shx_member *me, uint32_t depth);

/* Once less; the last one releases. SHX_NOT_OWNER: this thread has it not. */
shx_err shx_rlock_release(const shx_site *at, const shx_member *me);

/* All at once, as who waits for a condition does, and is to have it back by
 * shx_lock_acquire_again() and shx_rlock_own(). */
shx_err shx_rlock_release_all(const shx_site *at, const shx_member *me,
                              uint32_t *depth);

#endif

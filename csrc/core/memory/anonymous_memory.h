/* SPDX-License-Identifier: MIT */
/* Anonymous memory is a segment without a name: whoever has a descriptor of
 * it can map it, nobody else finds it, and it goes with the last of them.
 *
 *   descriptor  --->  inode  --->  pages  <--- mapping
 *        |              |
 *        |              +-- seals: shrink (always), write, future write
 *        +-- passed to other processes
 *
 * It is sealed against shrinking from birth, so no peer can take pages from
 * under us.
 *
 *   seal             may write afterwards        may read
 *   (none)           who has a descriptor        who has a descriptor
 *   FUTURE_WRITE     who has it mapped by then   who has a descriptor
 *   WRITE            nobody                      who has a descriptor
 *
 * A call returns 0 or an shx_err; on error nothing is left open or mapped.
 */
#ifndef SHX_ANONYMOUS_MEMORY_H
#define SHX_ANONYMOUS_MEMORY_H

#include "core/memory/segment.h"

/* ENOSPC: there is not so much memory. EMFILE: few descriptors are left, which
 * passing memory on takes. *fd belongs to the caller. */
shx_err shx_anonymous_memory_create(size_t size, const shx_space *space,
                                    shx_segment *out, int *fd);

/* Maps the memory of a descriptor, which stays the caller's: writable where
 * descriptor and seals allow it. SHX_NOT_SEALED: it can shrink, and cannot be
 * kept from it. */
shx_err shx_anonymous_memory_attach(int fd, shx_segment *out);

/* Makes the memory immutable for everybody. `old` is our mapping, which must
 * be writable: what is written to it from now on is nobody else's. *out is one
 * for reading. EBUSY: another process has it mapped writable, SHX_HELD: the
 * system has pages of it, and nothing has changed; unless the memory is sealed
 * with FUTURE_WRITE, when our mapping cannot be made writable again: then
 * out->address is not NULL. */
shx_err shx_anonymous_memory_seal(int fd, const shx_segment *old,
                                  shx_segment *out);

/* A descriptor for reading, of memory that nobody can map writable from now
 * on. EINVAL: a kernel before 5.1. */
shx_err shx_anonymous_memory_share_readonly(int fd, int *out);

/* Is it immutable? */
bool shx_anonymous_memory_is_sealed(int fd);

#endif

/* SPDX-License-Identifier: MIT */
/* A segment of its users goes when nobody uses it any more.
 *
 * Who uses it holds a shared lock, shx_os_use(), on the very open file that
 * its mapping keeps: fork() inherits it, exec and SIGKILL drop it, views keep
 * it. So a process is a user until its mapping is gone, and the kernel knows.
 * Which segments are of this kind, their mode says: SHX_MODE_USERS.
 *
 * Who goes opens the name anew and asks for the lock alone: never on an open
 * file that a forked child may share. Granted, nobody of ours uses it; a lease
 * tells of those who know nothing of locks, the standard library's.
 *
 *   unmap      our share goes
 *   open       what the name stands for now, if it is still that file
 *   lock       alone: a newcomer waits for a moment, and looks again
 *   remove     the name; who comes later finds none
 *
 * A SIGKILL anywhere leaves the name, with or without users. Its family looks
 * at it later: one record at each of its creates, all of them in a sweep.
 */
#ifndef SHX_USERS_H
#define SHX_USERS_H

#include "core/error.h"
#include "core/os/os.h"

/* Removes the name, of that directory, if it is that file's, and nobody uses
 * the memory; or, dry, would. EAGAIN: somebody does. SHX_REPLACED: it is
 * another file's, or one whose users do not count. ENOENT: there is none. */
shx_err shx_users_remove(int names, const char *name,
                         const shx_identity *identity, bool dry);

/* The same of a name where segments live, for who has just unmapped it. */
shx_err shx_users_leave(const char *name, const shx_identity *identity);

#endif

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
 * at it later: the attendant once a second (attendant.h), each create of the
 * kind at two records, a sweep at all of them.
 */
#ifndef SHX_USERS_H
#define SHX_USERS_H

#include "core/error.h"
#include "core/os/os.h"

enum { SHX_USERS_NAME = 256 };

/* Removes the name, of that directory, if it is that file's, and nobody uses
 * the memory; or, dry, would. EAGAIN: somebody does. SHX_REPLACED: it is
 * another file's, or one whose users do not count. ENOENT: there is none. */
shx_err shx_users_remove(int names, const char *name,
                         const shx_identity *identity, bool dry);

/* The same of a name where segments live, for who has just unmapped it. Others
 * who are about to do that have it open for a moment, and so does who looks:
 * it is tried again for as long. */
shx_err shx_users_leave(const char *name, const shx_identity *identity);

/* A mapping that this process has of such a segment. A forked child inherits
 * it. All of them are known, so that a process that ends normally goes as one
 * that unmaps: it may end with the memory mapped, and in use by threads. */
typedef struct shx_user {
    struct shx_user *next;
    struct shx_user **link; /* what points to it; NULL: it is not listed */
    void *address;
    size_t size;
    shx_identity identity;
    bool gone;                 /* at the process's end, before its memory */
    char name[SHX_USERS_NAME]; /* where segments live */
} shx_user;

/* Made before the segment is, so that nothing can fail once there is one. */
shx_err shx_user_new(const char *name, shx_user **out);

/* It is mapped from now on, `size` bytes from its address on. */
void shx_user_enter(shx_user *user, const shx_identity *identity,
                    void *address, size_t size);

/* To be called before the memory is unmapped. */
void shx_user_forget(shx_user *user);

/* And after that: does what has to be done for the last one out, and frees it.
 * False: the name stays, for now. */
bool shx_user_leave(shx_user *user);

/* At the end of a process: goes from all that it has mapped. Of what somebody
 * still touches a private copy is at the same address. */
void shx_users_leave_all(void);

#endif

/* SPDX-License-Identifier: MIT */
/* A family is a process and all that multiprocessing started from it or that
 * it forked. It owns names, and takes them with it when its last process is
 * gone, however that went.
 *
 *   /dev/shm/.shmemext-<id>/     0700, <id> from the euid and a secret that
 *     |                          the family shares and nobody else knows
 *     +-- .lock                  flock: shared by every living member
 *     +-- .reaper                locked by the reaper while there is one
 *     +-- l0123456789abcdef      a ledger: which names (ledger.h)
 *     +-- l...                   one for each process that creates, or more
 *
 * Who is alive is asked of the kernel alone: the family is dead when an
 * exclusive flock on .lock is granted. There is no pid anywhere.
 *
 * A member maps .lock and closes the descriptor. The lock belongs to the open
 * file, which lives as long as the mapping of it: so fork() inherits it, exec
 * drops it, a SIGKILL releases it, no program that closes "all descriptors"
 * loses it, and no descriptor of ours can be mistaken for another's.
 *
 * On disk, before and after each step of a create:
 *
 *   join       the directory, and our share of .lock
 *   write      + a record: this name shall be that inode's   (family_publish)
 *   publish    + the name                                    (family_publish)
 *   unlink       the name goes                            (segment_unlink)
 *   strike       the record goes                             (family_strike)
 *
 * A SIGKILL after join leaves an empty directory; after write, a record of an
 * inode without a name, which dies with us; after publish, a name that its
 * record knows; after unlink, a record that is out of date. The sweep removes
 * whichever it finds, once nobody holds .lock.
 *
 * All calls may come from any thread. What they share is guarded by one mutex
 * of the process, which is held over fork() so that a child never finds it
 * halfway. But for the end of a process, nothing is done under it that takes
 * longer the more records there are, and of the system only a ledger's file is
 * removed under it: so the names of one process are given in parallel.
 *
 * Whoever calls with a lock of his own that others wait for, Python's for one,
 * gives that up before: the mutex may have to be waited for.
 */
#ifndef SHX_FAMILY_H
#define SHX_FAMILY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "core/life/ledger.h"
#include "core/os/os.h"

typedef struct shx_family shx_family; /* lives as long as the process */

/* Joins the family of that id (32 hexadecimal digits), or finds that we are
 * in it. Waits where a sweep is at work on it. *first: nobody in this process
 * had joined any, so shx_family_leave() is to be called at its end. */
shx_err shx_family_join(const char *id, shx_family **out, bool *first);

/* Before the first create of a process: sweeps what dead families of the user
 * have left, and starts the family's reaper where there is none. Neither can
 * fail the create. Whether it has been called waits for nobody. */
void shx_family_prepare(shx_family *family, const char *reaper);
bool shx_family_is_prepared(const shx_family *family);

/* Whose a name becomes, and what is known of it then. */
typedef struct {
    shx_family *family;
    shx_record *record; /* out */
} shx_ownership;

/* Writes the record, then gives the unnamed file its name. On error neither
 * is there. `owner` is a shx_ownership: see shx_publisher in segment.h. */
shx_err shx_family_publish(void *owner, int fd, const char *name,
                           const shx_identity *identity);

/* Makes a name that is there the family's, whoever else's it is. */
shx_err shx_family_adopt(shx_family *family, const char *name);

/* Strikes out what this process's ledgers say of a name. Was there any? */
bool shx_family_disown(const char *name);

/* The name is gone, or shall not be the family's any more: strikes out the
 * record, if it is still about that inode. */
void shx_family_strike(shx_record *record, uint64_t inode);

/* A name is gone of which the caller has no record: it strikes out ours, if
 * there is one. Now and then, takes over what a dead member has left, so that
 * ledgers of names that others remove do not stay until the family's end. */
void shx_family_forget(const char *name, uint64_t inode);

/* At the end of a process: leaves every family, and sweeps those of which it
 * was the last member. */
void shx_family_leave(void);

#endif

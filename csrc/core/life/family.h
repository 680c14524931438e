/* SPDX-License-Identifier: MIT */
/* A family is a process and all that multiprocessing started from it or that
 * it forked. It owns names, and takes them with it when its last process is
 * gone, however that went.
 *
 *   /dev/shm/.shmemext-2-<id>/   0700, <id> drawn by chance
 *     |
 *     +-- .lock                  shared by every living member
 *     +-- .reaper                locked by the reaper while there is one
 *     +-- .users                 locked by the attendant (attendant.h)
 *     +-- l0123456789abcdef      a ledger: which names (ledger.h)
 *     +-- l...                   one for each process that creates, or more
 *     +-- d0123456789abcdef      a segment to be, on some systems (draft.h)
 *
 * Membership is inherited, never derived. A process founds a family when it
 * has a use for one: at its first create, its first fork, or when it starts
 * its first child. Whoever comes of it has a share of .lock from the first
 * moment on:
 *
 *   fork        by the mapping that the child inherits
 *   a program   by a descriptor that multiprocessing hands to the child:
 *               shx_family_share() here, shx_family_enter() there
 *
 * Who is alive is asked of the kernel alone: the family is dead when nobody
 * shares .lock. There is no pid anywhere.
 *
 * A member maps .lock and closes the descriptor. The lock belongs to the open
 * file, which lives as long as the mapping of it: so fork() inherits it, exec
 * drops it, a SIGKILL releases it, no program that closes "all descriptors"
 * loses it, and no descriptor of ours can be mistaken for another's.
 *
 * On disk, before and after each step of a create:
 *
 *   found      the directory, and our share of .lock
 *   write      + a record: this name shall be that file's    (family_publish)
 *   publish    + the name                                    (family_publish)
 *   unlink       the name goes                            (segment_unlink)
 *   strike       the record goes                             (family_strike)
 *
 * A SIGKILL after found leaves an empty directory; after write, a record of an
 * inode without a name, which dies with us; after publish, a name that its
 * record knows; after unlink, a record that is out of date. The sweep removes
 * whichever it finds, once nobody shares .lock.
 *
 * What a process creates is its own family's: the one that it came with, or
 * founded. A process that changes its user, or comes to see another /dev/shm,
 * founds another one then, and goes on holding its share of the first.
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
#include "core/life/sweep.h"
#include "core/os/os.h"

typedef struct shx_family shx_family; /* lives as long as the process */

/* Before anything else. *first: shx_family_end() is to be called at the end of
 * this process, and nobody has been told so yet. */
shx_err shx_family_begin(bool *first);

/* This process forks for others, who bring families of their own along: its
 * forks found none. */
void shx_family_serve(void);

/* The family that our creates go to. */
shx_err shx_family_own(shx_family **out);

/* Another one, which nothing goes to but what is adopted. */
shx_err shx_family_found(shx_family **out);

/* The id, and the one that has it: NULL if we are not in it. */
const char *shx_family_id(const shx_family *family);
shx_family *shx_family_find(const char *id);

/* The same, where there is one: NULL if one would have to be founded. Waits
 * for nobody. */
shx_family *shx_family_now(void);

/* A descriptor that holds a share of our own family, for a program that we
 * start; and that program's part, which takes it over. ESTALE: the family's
 * directory is not to be found from here, but the share is held. EBADF: that
 * descriptor is not one of the family's. */
shx_err shx_family_share(char id[SHX_FAMILY_ID + 1], int *fd);
shx_err shx_family_enter(const char *id, int fd);

/* Before the first create of a process: starts the family's reaper where there
 * is none. Where that fails, sweeps what dead families have left, as it would
 * have, and says why; nobody will remove the names of a family that is killed,
 * but the next sweep. Whether it has been called waits for nobody. */
shx_err shx_family_prepare(shx_family *family, const char *reaper);
bool shx_family_is_prepared(const shx_family *family);

/* The same before the first create of a users' segment: of an attendant, which
 * removes what the killed have left of these. Without one, it takes longer. */
void shx_family_attend(shx_family *family, const char *reaper);
bool shx_family_is_attended(const shx_family *family);

/* Whose a name becomes, and what is known of it then. */
typedef struct {
    shx_family *family; /* out, too: another one where it is out of reach */
    bool users;         /* the name goes with its last user: see users.h */
    shx_record *record; /* out */
} shx_ownership;

/* Writes the record, then gives the draft its name. On error neither
 * is there. `owner` is a shx_ownership: see shx_publisher in segment.h.
 * ECANCELED: the process is at its end. */
shx_err shx_family_publish(void *owner, shx_draft *draft, const char *name,
                           const shx_identity *identity);

/* Finds a draft its place: in the directory of the ownership's family, which
 * is our own one if it has none, or where none can be. See shx_drafter in
 * segment.h. */
shx_err shx_family_draft(void *owner, shx_draft *out);

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

/* Leaves every family, and sweeps those of which the process was the last
 * member. What is created afterwards is another one's. */
void shx_family_leave(void);

/* The same at the end of a process: nothing is created afterwards. */
void shx_family_end(void);

#endif

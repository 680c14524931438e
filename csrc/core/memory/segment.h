/* SPDX-License-Identifier: MIT */
/* A segment is one mapping of one tmpfs file.
 *
 *   name  --->  inode  --->  pages  <--- mapping (here)  <--- mapping (a peer)
 *
 * The name can go while the mappings stay; the pages go with the last of
 * both. No descriptor is kept: a mapping needs none.
 *
 * How a name comes to be. Each step leaves what the last column says if the
 * process is killed right after it:
 *
 *   create_unnamed   an inode without a name     nothing: it dies with us
 *   map              the address space is there  nothing
 *   reserve          every page exists           nothing
 *   fill             what it begins with         nothing
 *   publish          the name, with its size     the whole segment
 *
 * Where the system makes no such inode, or gives it no name later:
 *
 *   create_hidden    a hidden name elsewhere     that, used by nobody
 *   map, reserve, fill as above                  that
 *   publish          the name, with its size     the segment, with both names
 *   drop             the hidden name goes        the whole segment
 *
 * Who makes it uses it, see shx_os_use(), until it is published: so those who
 * come later know what the killed have left.
 *
 * A segment of its users is shared as one before it is published, and when it
 * is attached, by the open file that the mapping keeps: see shx_os_use(). What
 * becomes of its name is for the caller to see to, when it is unmapped.
 *
 * So no peer ever sees a name without its size, or without what it begins
 * with; and a full /dev/shm is an error here, not a SIGBUS at the first touch.
 *
 * Results are never NULL. A call returns 0 or an shx_err; on error nothing is
 * left open, mapped or named, nothing that was there is changed, and *out is
 * untouched except for out->step of a request.
 */
#ifndef SHX_SEGMENT_H
#define SHX_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"
#include "core/os/os.h"
#include "core/memory/space.h"

typedef struct {
    void *address;
    size_t size;
    shx_identity identity;
    bool writable;
    bool sparse; /* pages may be missing: a touch may find no room for them */
    bool users;  /* we have a share of its use, see shx_os_use() */
    bool shares; /* another segment's address space, which that one unmaps */
    size_t span; /* bytes of address space, if there are more than of memory */
} shx_segment;

/* The address space of a segment, from its address on. */
static inline size_t
shx_segment_span(const shx_segment *segment)
{
    return segment->span != 0 ? segment->span : segment->size;
}

/* Which step failed: the same errno means different things in each. */
typedef enum {
    SHX_STEP_OPEN,
    SHX_STEP_TRUST,
    SHX_STEP_MAP,
    SHX_STEP_RESERVE,
    SHX_STEP_PUBLISH,
    SHX_STEP_USE,
} shx_step;

/* Gives a draft its name, in one step, and makes the name somebody's who
 * removes it in the end. EEXIST if it is taken; on error there is neither name
 * nor owner. ESTALE: the draft was lost, or cannot have one; another may. */
typedef shx_err (*shx_publisher)(void *owner, shx_draft *draft,
                                 const char *name,
                                 const shx_identity *identity);

/* Finds a draft its directory, where somebody will remove what a SIGKILL
 * leaves of it, and a hidden name there, which nobody has. ESTALE as above. */
typedef shx_err (*shx_drafter)(void *owner, shx_draft *out);

typedef struct {
    const char *name;    /* bare, from shx_name_bare() */
    size_t size;         /* 1 .. PTRDIFF_MAX */
    unsigned mode;       /* permission bits, exact whatever the umask, and
                          * SHX_MODE_USERS: it goes with its last user */
    bool may_exist;      /* the name may well be taken: see contest.h */
    bool is_random;      /* it was made up, and hardly is */
    shx_space space;     /* unreserved: a touch is a page, or SIGBUS */
    const void *content; /* what it begins with, from the moment on when it */
    size_t content_size; /* has a name; all else is zeros. NULL: nothing */
    shx_publisher publish; /* NULL: the name is nobody's */
    shx_drafter draft;     /* NULL: EOPNOTSUPP where one is needed */
    void *owner;           /* whose it is: what these are called with */
    shx_step step;         /* out: where it failed */
} shx_create;

typedef struct {
    const char *name;
    int flags;     /* open(2)'s as a subclass may give them: see below */
    bool readonly; /* map it for reading only */
    bool wary;     /* EACCES for what is neither this user's nor root's */
    shx_step step; /* out: where it failed */
} shx_attach;

/* EEXIST if the name is taken. ENOSPC if the pages are not to be had: see
 * contest.h. */
shx_err shx_segment_create(shx_create *request, shx_segment *out);

/* Maps all of an existing segment, as long as it is at this moment. The access
 * mode of the flags is used; O_CREAT and O_EXCL are answered as shm_open()
 * would, creating nothing. */
shx_err shx_segment_attach(shx_attach *request, shx_segment *out);

/* The same, waiting for the name to appear, and to have a size, until then:
 * what a last attempt says after that. */
shx_err shx_segment_await(shx_attach *request, const struct timespec *end,
                          const shx_space *space, shx_segment *out);

/* Maps a file that is open, all of it, whatever kind of memory it is. */
shx_err shx_segment_map(int fd, const shx_file *file, bool writable,
                        shx_segment *out);

/* Where a longer mapping goes. An old one that stays costs address space and
 * one of the mappings that a process may have: who grows step by step and
 * keeps them all has a few of them with room to spare, instead of one for each
 * step.
 *
 *   | old | spare            |  --->  | new           | spare  |   within
 */
typedef enum {
    SHX_GROW_APART,  /* an address space of its own, as long as it is */
    SHX_GROW_SPARE,  /* the same, twice as long */
    SHX_GROW_WITHIN, /* the old one's where that is long enough, else SPARE */
} shx_growth;

/* Lengthens the file of a descriptor that is nobody else's, and maps it anew.
 * `old` stays as it is. Where somebody else was faster and wanted more, the
 * result is longer than asked. Nobody waits for anybody, see space.h. */
shx_err shx_segment_grow(const shx_segment *old, int fd, size_t size,
                         shx_growth how, const shx_space *space,
                         shx_segment *out);

/* Maps the file anew if its length has changed: else out->address is NULL. */
shx_err shx_segment_refresh(const shx_segment *old, int fd, shx_growth how,
                            shx_segment *out);

/* The only place where memory is unmapped, unless another segment does it. */
void shx_segment_detach(const shx_segment *segment);

/* Removes the name if it is the very segment's: SHX_REPLACED if it is another
 * one's by now. Somebody may replace it between the look and the removal. */
shx_err shx_segment_unlink(const char *name, const shx_identity *identity);

/* A descriptor of the very segment, by its name: SHX_GONE if the name is no
 * longer its own. */
shx_err shx_segment_open(const char *name, const shx_identity *identity,
                         int flags, int *fd);

/* The rest of that, for who has opened what stands there, or failed to. */
shx_err shx_segment_take(const shx_identity *identity, shx_err err, int opened,
                         int *fd);

/* Is the descriptor still one of that segment? A process that closes every
 * descriptor and opens others reuses the numbers. */
bool shx_segment_owns_fd(const shx_identity *identity, int fd);

#endif

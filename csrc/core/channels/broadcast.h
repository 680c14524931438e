/* SPDX-License-Identifier: MIT */
/* A broadcast is frames that one writes and many read in place, each of them
 * the newest. Any of those who use it may be killed between any two
 * instructions.
 *
 *   control  about | writer | watchers | newest | entries | lengths | slots
 *   data     about | block | block | ...       in pages: readers only read it
 *
 *   entry    63..16 seq | 15..0 block           of frame seq, at seq % depth
 *   slot     63..48 block | 47..32 nonce | 31 PINNED | 30 HEIR | 28..0 token
 *
 *   entries  | 8,a | 7,c |          the last `depth` frames
 *   slots    |  c  |  -  |  e  |    what readers hold
 *
 *   blocks   | a | b | c | d | e |
 *              8       7       5    b and d are free: the writer takes one
 *
 * The writer writes into a block of which no entry nor slot speaks: there is
 * always one, since there are depth + readers + heirs + 1. So it never waits,
 * whoever holds what. One store of an entry publishes the frame, and takes the
 * one of `depth` frames ago from those who have not got it yet.
 *
 * A reader reads an entry, says in a slot that it holds that block, and reads
 * the entry again. It is the same: then the block is not written until the
 * slot is free. It is another: then the slot is moved to that one's block. For
 * all this there is one order for all (seq_cst): the writer has stored its
 * entries before it looks at the slots, the reader its slot before it looks at
 * the entry again; one of them sees the other.
 *
 * Slots are as many as frames may be held at a time: `readers` for those who
 * receive, and `heirs` for children of processes that fork with a frame in
 * hand. Who holds several frames has several slots; for whom none is left it
 * is SHX_TOO_MANY, after those of the dead were freed. The writer learns
 * nothing of it.
 *
 *   killed                       leaves          which is mended
 *   writing, with a frame open   nothing         -
 *   the entry, but not `newest`  a frame         by the next writer: newest
 *   `newest`, but woke nobody    a frame         sleepers look on their own
 *   being the writer             a dead writer   by who writes next
 *   a slot, at any time          a dead one's    by who finds none free
 *
 * So: a frame is whole, or not seen; what is held is not written; `seq` grows
 * by one from frame to frame, whoever writes; the death of a writer is that no
 * frame comes, and shx_broadcast_writer() says that it is dead.
 *
 * The writer is who has the lock: one handle of one process, until that
 * resigns. A second one is SHX_SECOND_WRITER while the first lives.
 *
 * fork   A child is another party: not the writer, nor has it what is being
 *        written. What its parent holds it holds too, in slots that are its
 *        own before it exists, for as long as it has not given that back, and
 *        lives. Where there are no more slots, or nobody knows yet who it will
 *        be, the parent's slot is PINNED: taken for good, and counted. A frame
 *        that another thread receives while this one forks is that thread's
 *        alone, as is one of who forks by raw clone(2).
 *
 * Invariants, of which tests/models/broadcast.pml is a model:
 *   1. A block that an entry or, once that was seen to be in an entry, a slot
 *      of a living one speaks of is not written.
 *   2. A slot changes from 0 by who takes it, and from anything else by a
 *      compare-exchange of whose it is, or who has proven its death.
 *   3. Who sleeps has said so in the word that it sleeps on, and has looked
 *      after that; the writer looks at that word after it has published.
 *
 * Nothing that is read from the memory is believed: each word is read once,
 * and what it says lies in the data, or SHX_DAMAGED is returned. What the
 * shape is is read from the data, which readers need no right to write.
 */
#ifndef SHX_BROADCAST_H
#define SHX_BROADCAST_H

#include "core/sync/awaited.h"
#include "core/sync/lock.h"
#include "core/sync/slots.h"

typedef struct {
    uint64_t size;    /* of the longest frame */
    unsigned readers; /* frames that are held at a time: 1 to 1023 */
    unsigned heirs;   /* 0 to 1023 */
    unsigned depth;   /* 1 to 255 */
} shx_broadcast_shape;

/* Of both memories, in the first 64 bytes. */
typedef struct {
    _Atomic uint64_t head; /* a cell's, whose parameter are three of these */
    _Atomic uint64_t pair; /* the same in both: they belong together */
    _Atomic uint64_t size;
    uint64_t pad[5];
} shx_broadcast_about;

typedef struct {
    _Atomic uint64_t newest; /* seq of it; 0: none yet */
    uint64_t pad[7];
} shx_broadcast_front;

enum {
    SHX_READERS_BITS = 10,
    SHX_HEIRS_BITS = 10,
    SHX_DEPTH_BITS = 8,
    SHX_MOST_BLOCKS = (1 << SHX_READERS_BITS) + (1 << SHX_HEIRS_BITS) +
                      (1 << SHX_DEPTH_BITS), /* and no more */
};

enum {
    SHX_BROADCAST_ABOUT = 0,
    SHX_BROADCAST_WRITER = 64,    /* a lock */
    SHX_BROADCAST_WATCHERS = 128, /* a cell: readers sleep on its word */
    SHX_BROADCAST_FRONT = 192,
    SHX_BROADCAST_ENTRIES = 256, /* lengths and slots follow */
    SHX_BROADCAST_PAGE = 4096,   /* data: blocks follow, in such pages */
};

/* Bytes of both memories. False: no memory is as large, or it is no shape. */
bool shx_broadcast_sizes(const shx_broadcast_shape *shape, size_t *control,
                         size_t *data);

/* Makes them one, while they are full of zeros and nobody else sees them.
 * `pair` is a number that no other two have. */
void shx_broadcast_make(void *control, void *data,
                        const shx_broadcast_shape *shape, uint64_t pair);

/* What the data say of themselves: the pair says which control is theirs.
 * SHX_FOREIGN, SHX_TOO_SMALL: they are none. */
shx_err shx_broadcast_read(const void *data, size_t size,
                           shx_broadcast_shape *shape, uint64_t *pair);

/* A broadcast as a process uses it. It stays where it is while it is open. */
typedef struct {
    shx_bequest bequest; /* first: see broadcast.c */
    shx_party *party;    /* in the file of the control */
    shx_broadcast_shape shape;
    shx_site writer;
    shx_cell *watchers;
    shx_broadcast_front *front;
    _Atomic uint64_t *entries;
    _Atomic uint64_t *lengths;
    shx_slot *slots;
    unsigned char *data;
    uint64_t stride;            /* bytes of a block */
    unsigned blocks;            /* how many */
    _Atomic unsigned hint;      /* where a slot was free */
    _Atomic uint32_t writing;   /* the token as which it is the writer */
    _Atomic uint32_t reserving; /* the same, while a frame is written */
    uint64_t next;              /* seq of the next frame, of the writer */
    uint64_t furnished[SHX_MOST_BLOCKS / 64]; /* by it: see below */
} shx_broadcast;

/* Readers may have the data mapped for reading only. SHX_FOREIGN: it is none,
 * or the two do not belong together; SHX_TOO_SMALL. */
shx_err shx_broadcast_open(void *control, size_t control_size,
                           const void *data, size_t data_size,
                           shx_party *party, shx_broadcast *out);

/* Nothing is to be held by then, nor is it to be the writer. */
void shx_broadcast_close(shx_broadcast *cast);

/* A frame in hand: one that is written, or is held. */
typedef struct {
    uint64_t seq;    /* of one that is held */
    uint64_t length; /* of its bytes; as asked, of one that is written */
    unsigned block;
    unsigned slot;
    uint32_t
        token; /* whose it is: not that of a child that has inherited it */
} shx_frame;

static inline void *
shx_broadcast_bytes(const shx_broadcast *cast, const shx_frame *frame)
{
    return cast->data + SHX_BROADCAST_PAGE + cast->stride * frame->block;
}

/* Writing: broadcast_write.c. Nothing there waits, whatever the others do. */

/* A frame that is written in place; becomes the writer, if it is not. EBUSY:
 * another frame of this handle is being written. EMSGSIZE: longer than the
 * longest. SHX_SECOND_WRITER, SHX_DAMAGED. */
shx_err shx_broadcast_reserve(shx_broadcast *cast, const shx_member *me,
                              uint64_t length, shx_frame *out);

/* Has this handle made the pages of its block present? Blocks are used that
 * were used before, if they are free: so data that were not reserved take as
 * much as is written and held at a time. */
bool shx_broadcast_is_furnished(const shx_broadcast *cast,
                                const shx_frame *frame);

/* Does that, which takes a while. ENOSPC: there is no room for all of them,
 * so it has none of them now, and nothing is to be written there. EINTR: a
 * signal came. Where nobody can say it is 0, and a touch will tell. */
shx_err shx_broadcast_furnish(shx_broadcast *cast, const shx_frame *frame);

/* It is the newest one from now on, and its seq is set; its length may have
 * become less. SHX_NOT_OWNER: it is that of a process that has forked. */
shx_err shx_broadcast_publish(shx_broadcast *cast, const shx_member *me,
                              shx_frame *frame);

/* It was none. */
void shx_broadcast_abandon(shx_broadcast *cast, const shx_member *me,
                           const shx_frame *frame);

/* Another one may be the writer. EBUSY: a frame is being written. */
shx_err shx_broadcast_resign(shx_broadcast *cast, const shx_member *me);

/* Who is, if `held` and not `dead`. */
static inline shx_lock_state
shx_broadcast_writer(const shx_broadcast *cast)
{
    return shx_lock_look(&cast->writer);
}

/* Reading: broadcast_read.c. */

/* One who takes each frame once at most; several threads may be one. Full of
 * zeros at first. */
typedef struct {
    _Atomic uint64_t seen;   /* seq of the last one it had */
    _Atomic uint64_t missed; /* frames between those that it had */
} shx_reader;

/* The newest frame, if the reader has not had it. `patience` NULL: does not
 * wait, EAGAIN. SHX_TOO_MANY: more are held than was said. ETIMEDOUT,
 * SHX_INTERRUPTED, EFAULT; SHX_DAMAGED. */
shx_err shx_broadcast_receive(shx_broadcast *cast, const shx_member *me,
                              shx_reader *reader, shx_frame *out,
                              shx_patience *patience);

/* Done with it. A child gives back what it has inherited, not its parent's. */
void shx_broadcast_give(shx_broadcast *cast, const shx_member *me,
                        const shx_frame *frame);

/* Waits until there is one that the reader has not had, and takes none. */
shx_err shx_broadcast_await(shx_broadcast *cast, const shx_reader *reader,
                            shx_patience *patience);

/* The same, beside other things; both stay where they are. */
void shx_broadcast_await_beside(shx_broadcast *cast, const shx_reader *reader,
                                shx_awaited *out);

/* How it is, more or less: others go on meanwhile. */
typedef struct {
    uint64_t newest; /* seq; 0: no frame was published yet */
    unsigned held;   /* slots that are taken, by the dead too */
    unsigned pinned; /* of them: for good */
} shx_broadcast_state;
shx_broadcast_state shx_broadcast_look(const shx_broadcast *cast);

#endif

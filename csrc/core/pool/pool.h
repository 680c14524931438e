/* SPDX-License-Identifier: MIT */
/* A pool is blocks of memory that travel by reference: from whoever holds one
 * to whoever is told of it. One process owns the pool, and alone takes blocks
 * of it anew; any process may hold them, and send them on. Any of them may be
 * killed between any two instructions.
 *
 *   control  about | owner | places | block | block | ...
 *   data     pages, which blocks are extents of: readers may only read them
 *
 *   block    word | generation | holders, a bit a place | offset | size
 *   word     63..32 sends | 31 PINNED | 30 FREED | 29..0 in flight
 *   place    63..32 nonce | 28..0 token       a slot: who has that bit
 *   owner    the same: who allocates; 31 RETIRED: nobody any more
 *
 *   take     FREED           the owner holds it, in a new generation
 *   send     held            sends + 1, in flight + 1: a reference is out
 *   claim    in flight       the receiver's bit first; then in flight - 1
 *   drop     held            the bit goes
 *   reuse    neither         FREED, by the owner, when it needs a block
 *
 * A reference says block and generation. Who claims sets its bit, reads the
 * word, then the generation, and changes the word by one compare-exchange: so
 * nothing was reused between, and a reference that was claimed before is
 * SHX_SPENT, and never other bytes. One that is kept is for any number of
 * receivers: sends + 1, and what is in flight stays. The owner reads the word,
 * then all bits, and sets FREED by one compare-exchange of that word: whoever
 * has sent or claimed meanwhile has changed it. `sends` is there for that: who
 * sends a block on, or forks with it, and drops it between the two looks would
 * be missed.
 *
 * Bits are those of places. A process has one in a pool while it holds a
 * block there, and as long only: so there may be any number of processes, and
 * 256 that hold. Who needs the place of a dead one makes it its own first,
 * clears its bit in all blocks, and then frees it: nobody clears the bit of a
 * place that is not its own. How often a process holds a block it counts in
 * memory of its own; the last local hold clears the bit. Who gets no place
 * copies the bytes out, which are in flight until that is done.
 *
 *   killed                      leaves            which is mended
 *   taking, before the word     a FREED block     nothing to mend: the pool's
 *                                                 owner is dead
 *   having sent, not written    in flight         never: see below
 *   claiming, before the word   a bit             by who reaps its place
 *   holding                     bits              the same
 *   taking a dead one's place   a dead one's      the same
 *   the owner                   a pool that       when nothing is in flight
 * nor gives no more     held: it is abandoned
 *
 * So: what is held or in flight is not written by who reuses, whoever dies;
 * and what is lost is a reference that nobody will ever read: that block is in
 * flight for good, which shx_pool_look() counts.
 *
 * fork   A child is another party. What its parent holds it holds too, by a
 *        place that is its own before it exists, and with the same counts.
 *        Where there is no place, or nobody knows yet who the child will be,
 *        the blocks are PINNED: there for good, and counted; the child's
 *        holds are of another era, and dropping them does nothing. So are
 *        those of who forks by raw clone(2), but nothing protects them when
 *        the parent drops its own.
 *
 * The mutex of the pools is held over fork(), and for moments only: what the
 * system has to do for a block is done without it. It is taken before that of
 * the parties.
 *
 * Invariants, of which tests/models/pool.pml is a model:
 *   1. A block in whose generation something is in flight, or that a living
 *      one holds, is not FREED.
 *   2. The generation, offset and size of a block change while it is FREED,
 *      and by its owner alone.
 *   3. A bit is set and cleared by whose place it is; a place changes from
 *      0 by who takes it, and from anything else by a compare-exchange of
 *      whose it is, or who has proven its death.
 *
 * Nothing that is read from the memory is believed: each word is read once,
 * and what it says lies in the data, or SHX_DAMAGED is returned. The owner
 * believes only that a block is in use: which extents it has is in memory of
 * its own.
 */
#ifndef SHX_POOL_H
#define SHX_POOL_H

#include "core/sync/slots.h"

enum { SHX_POOL_PLACES = 256, SHX_POOL_MOST_BLOCKS = 4096 };

typedef struct {
    uint64_t size;   /* bytes of the data */
    unsigned blocks; /* that are in use at a time: 1 to 4096 */
} shx_pool_shape;

/* Bytes of the control. False: it is no shape. */
bool shx_pool_size(const shx_pool_shape *shape, size_t *control);

/* Makes it one, while it is full of zeros and nobody else sees it. `pair` is
 * a number that no other pool has. */
void shx_pool_make(void *control, const shx_pool_shape *shape, uint64_t pair);

/* In the control. */
typedef struct {
    _Atomic uint64_t head; /* a cell's, whose parameter is how many blocks */
    _Atomic uint64_t pair;
    _Atomic uint64_t size; /* of the data */
    uint64_t pad[5];
} shx_pool_about;

typedef struct {
    _Atomic uint64_t word;
    _Atomic uint64_t generation;
    _Atomic uint64_t holders[SHX_POOL_PLACES / 64];
    _Atomic uint64_t offset;
    _Atomic uint64_t size;
} shx_pool_block;

enum {
    SHX_POOL_ABOUT = 0,
    SHX_POOL_OWNER = 64,
    SHX_POOL_AT_PLACES = 128,
    SHX_POOL_AT_BLOCKS = SHX_POOL_AT_PLACES + SHX_POOL_PLACES * 8,
};

/* What this process has of a block, in memory of its own. */
typedef struct {
    uint32_t count;  /* of local holds */
    uint32_t at;     /* where in the list of those that are held */
    uint32_t listed; /* that list: which block is there */
    uint64_t offset;
    uint64_t size;
} shx_pool_local;

/* A pool as a process uses it. It stays where it is while it is open. From
 * `who` on all is guarded by the mutex of the pools. */
typedef struct {
    shx_bequest bequest; /* first: see pool_hold.c */
    shx_party *party;    /* in the file of the control */
    uint64_t pair;
    uint64_t size; /* of the data */
    unsigned blocks;
    shx_slot *owner;
    shx_slot *places;
    shx_pool_block *words;
    shx_member who;  /* as whom what is held is held */
    unsigned era;    /* another one: what was held before is not any more */
    unsigned place;  /* whose bits are set, while something is held */
    unsigned hint;   /* where a place was free */
    unsigned held;   /* how many blocks */
    shx_member heir; /* the last child, and its place: see pool_hold.c */
    unsigned willed;
    shx_pool_local *local;          /* of each block */
    struct shx_pool_estate *estate; /* of the owner: see pool_words.h */
} shx_pool;

/* SHX_FOREIGN: it is none, or one of other data; SHX_TOO_SMALL; ENOMEM. */
shx_err shx_pool_open(void *control, size_t control_size, uint64_t data_size,
                      shx_party *party, shx_pool *out);

/* Nothing is to be held by then. Of the owner: it is none any more. */
void shx_pool_close(shx_pool *pool);

/* One local hold of a block, whose extent this is. */
typedef struct {
    unsigned block;
    unsigned era;
    uint64_t generation;
    uint64_t offset;
    uint64_t size;
} shx_hold;

/* Holding: pool_hold.c. Nothing there waits, whatever the others do. */

/* Done with it. A child's is one that it has inherited, or has got itself. */
void shx_pool_drop(shx_pool *pool, const shx_member *me, const shx_hold *hold);

/* Which of the blocks that this process holds has these bytes? ENOENT: none
 * has all of them. */
shx_err shx_pool_find(shx_pool *pool, uint64_t offset, uint64_t length,
                      unsigned *block);

/* A reference to a block that is held is out from now on, of this generation.
 * ENOENT: it is not held. SHX_TOO_MANY: a thousand million are. SHX_DAMAGED.
 */
shx_err shx_pool_send(shx_pool *pool, const shx_member *me, unsigned block,
                      uint64_t *generation);

/* It was not sent after all. A reference that was claimed is none. */
void shx_pool_unsend(shx_pool *pool, unsigned block, uint64_t generation);

typedef struct {
    unsigned block;
    bool kept; /* for any number of receivers: it stays in flight */
    uint64_t generation;
    uint64_t offset; /* of bytes in that block */
    uint64_t length;
} shx_pool_reference;

/* Holds what a reference stands for. SHX_SPENT: it was received before, or
 * its block is gone. SHX_TOO_MANY: 256 others hold something, and live.
 * SHX_DAMAGED. On error nothing has changed: the reference is as it was. */
shx_err shx_pool_claim(shx_pool *pool, const shx_member *me,
                       const shx_pool_reference *reference, shx_hold *out);

/* Instead: its bytes, copied out of the data that are mapped there. Only when
 * this returns 0 are they what was sent. SHX_SPENT, SHX_DAMAGED. */
shx_err shx_pool_copy_out(shx_pool *pool, const shx_pool_reference *reference,
                          const void *data, void *into);

/* Is its owner dead, and nothing in flight nor held, by this process either?
 * If so no reference can be claimed any more: its names may go. The owner asks
 * at its own end, as if it were dead by then, and what it holds itself does
 * not count: if so, it takes no more of it. */
bool shx_pool_is_abandoned(shx_pool *pool, const shx_member *me);

/* Owning: pool_take.c. */

/* This process allocates in it from now on, for as long as it lives: a pool
 * has one owner. SHX_NOT_OWNER: it has another. ENOMEM. */
shx_err shx_pool_own(shx_pool *pool, const shx_member *me);
bool shx_pool_is_own(shx_pool *pool, const shx_member *me);

/* A block of so many bytes, in whole pages, held once. If it is `fresh`, its
 * pages may not exist: then shx_pool_back() comes next. EAGAIN: the pool is
 * full. SHX_TOO_MANY: as above. SHX_NOT_OWNER: of a pool of another process,
 * which a parent's is. ENOMEM. */
shx_err shx_pool_take(shx_pool *pool, const shx_member *me, uint64_t size,
                      shx_hold *out, bool *fresh);

/* Makes its pages exist, by a descriptor of the data for writing; gives others
 * back for that, which nobody uses, where there is no room. On error the hold
 * is dropped, and the pages are the system's again. ENOSPC. */
shx_err shx_pool_back(shx_pool *pool, const shx_hold *hold, int fd);

/* Gives pages that nobody uses back to the system, if they are more than is in
 * use, and than 64 MiB: in how many pieces. After a take, when what is needed
 * is in use. */
unsigned shx_pool_trim(shx_pool *pool, int fd);

/* Would it, more or less? Two looks at memory of this process. */
bool shx_pool_is_fat(shx_pool *pool);

/* How it is, more or less: others go on meanwhile. */
typedef struct {
    uint64_t size;      /* of the data */
    uint64_t used;      /* bytes of blocks in flight, held or pinned */
    uint64_t idle;      /* of those that are not, and have pages: of the owner,
                         * all of them; else until the owner has looked */
    unsigned blocks;    /* in flight, held or pinned */
    unsigned in_flight; /* references that are out */
    unsigned held;      /* blocks, by whomever, the dead too */
    unsigned places;    /* that are taken */
    unsigned pinned;    /* blocks: for good */
} shx_pool_state;
shx_pool_state shx_pool_look(shx_pool *pool);

#endif

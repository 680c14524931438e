/* SPDX-License-Identifier: MIT */
/* A ring is a queue of messages in memory, each for one of its takers. Any of
 * those who use it may be killed between any two instructions.
 *
 *   page     about | put | tail, head | take | next | messages | room | counts
 *   data     records, one after the other, each in one piece:
 *            word | length | bytes           in units of 16 bytes
 *
 *   word     63..61 state | 60..57 deliveries | 56..28 token | 27..0 units
 *
 *   head <= next <= tail are bytes since the beginning, and only grow:
 *
 *       head              next              tail
 *   ------+-----------------+-----------------+------ (room)
 *         | taken, kept,    | busy, ready     |
 *         | returned, free  |                 |
 *
 *   FREE <--give-- TAKEN <--take-- READY <--commit-- BUSY <--reserve--
 *     ^            |   ^                              |
 *     |      (dies)|   +---------------+              |(dies)
 *     |            v                   |take          |
 *     |        RETURNED ---------------+              |
 *     +-----------------------------------------------+
 *
 * KEPT is TAKEN by one who waits for more, or has learnt that there is none.
 * PAD is what was too short at the end of the data, and free.
 *
 * `tail` and `head` are changed by who holds the lock `put`, `next` by who
 * holds `take`. Nobody holds both. Each store leaves a whole state, so a lock
 * of a dead one is taken as it is:
 *
 *   killed after                   leaves            which is mended
 *   a record, but not the tail     nothing           -
 *   the tail of a small message    a message         -
 *   the tail of a reserved one     BUSY of a dead    by who waits: FREE
 *   READY, but woke nobody         a message         sleepers look
 *   TAKEN, but not the next        TAKEN at next     the next one takes it
 *   next, or any time before FREE  TAKEN of a dead   by who waits: RETURNED
 *   FREE, but woke nobody          room              sleepers look
 *
 * So: a message whose put has returned is there; what was taken is taken once,
 * but for what comes back of the dead; it is in the order of each writer, but
 * for that.
 *
 * What is FREE at `next` is no room until `next` is beyond it: takers see to
 * that, and who finds no room.
 *
 * Invariants, of which tests/models/ring.pml is a model:
 *   1. A record between `head` and `tail` begins where the one before it
 *      ends; its units change never, and its other bytes only while it is
 *      BUSY.
 *   2. TAKEN, KEPT and BUSY change only by a compare-exchange of who has that
 *      token, or has proven it dead; but for TAKEN at or beyond `next`, which
 *      who holds `take` may take again.
 *   3. Who sleeps has said so in the word that it sleeps on, and has looked
 *      after that; who has something for it looks at that word afterwards.
 *
 * Nothing that is read from the memory is believed: each word is read once,
 * and what it says lies in the data, or SHX_DAMAGED is returned.
 */
#ifndef SHX_RING_H
#define SHX_RING_H

#include "core/sync/awaited.h"
#include "core/sync/cell.h"
#include "core/sync/patience.h"

typedef _Atomic uint64_t shx_position;

/* The page, a cache line each: cells, and what is changed with them. */
typedef struct {
    shx_position tail, head;
    shx_position number, floor, backed; /* of a queue: queue.h */
    uint64_t pad[3];
} shx_ring_in;

typedef struct {
    shx_position next;
    uint64_t pad[7];
} shx_ring_out;

typedef struct {
    shx_position discarded, redelivered;
    uint64_t pad[6];
} shx_ring_counts;

enum {
    SHX_RING_ABOUT = 0, /* a cell: its head; its own words: ring_words.h */
    SHX_RING_PUT = 64,  /* a lock */
    SHX_RING_IN = 128,
    SHX_RING_TAKE = 192, /* a lock */
    SHX_RING_OUT = 256,
    SHX_RING_MESSAGES = 320, /* a cell: takers sleep on its word */
    SHX_RING_ROOM = 384,     /* the same for writers */
    SHX_RING_COUNTS = 448,
    SHX_RING_PAGE = 4096, /* data follow */
    SHX_RING_LEAST = 4096,
};

/* A ring as this process uses it. */
typedef struct {
    shx_cell *about;
    shx_site put;
    shx_ring_in *in;
    shx_site take;
    shx_ring_out *out;
    shx_cell *messages;
    shx_cell *room;
    shx_ring_counts *counts;
    unsigned char *data;
    uint64_t capacity;       /* bytes of the data: a power of two */
    uint32_t most;           /* of a queue: messages that wait; 0: any */
    _Atomic unsigned vain;   /* looks before a sleep, one after the other */
    _Atomic uint64_t looked; /* after the dead: a tick of shx_os_tick() */
} shx_ring;

/* A record in hand: reserved, or taken. */
typedef struct {
    uint64_t at;
    uint64_t word;
    uint64_t length;
    uint32_t
        token; /* whose it is: not that of a child that has inherited it */
} shx_ring_record;

/* Bytes of memory for a ring of so many bytes of data, at least; and what that
 * memory begins with. 0: no memory is as large. */
size_t shx_ring_size(uint64_t size);
uint64_t shx_ring_head_of(uint64_t size);

/* The memory of a ring. SHX_FOREIGN, SHX_TOO_SMALL: it is none. */
shx_err shx_ring_open(void *memory, size_t size, shx_party *party,
                      shx_ring *out);

/* The same for what is a ring with more: a cell of that kind. */
shx_err shx_ring_open_as(shx_cell_kind kind, void *memory, size_t size,
                         shx_party *party, shx_ring *out);

/* The longest message, and the size that a ring must have for one. */
uint64_t shx_ring_longest(const shx_ring *ring);
uint64_t shx_ring_size_for(uint64_t length);

static inline void *
shx_ring_bytes(const shx_ring *ring, const shx_ring_record *record)
{
    enum { HEADER = 16 };
    return ring->data + (record->at & (ring->capacity - 1)) + HEADER;
}

/* How one waits. NULL: not at all; EBUSY: to say more it would have to, for
 * who is about to let go of a lock, or look whether somebody is dead. Else
 * locks are waited for with the patience, and what there is to be had only if
 * `blocks`: otherwise that is EAGAIN. */
typedef struct {
    shx_patience patience;
    bool blocks;
} shx_ring_wait;

/* What all of the next may return: EAGAIN, EBUSY, ETIMEDOUT, SHX_INTERRUPTED,
 * EFAULT; SHX_DAMAGED; SHX_SHUT_DOWN: it takes no more messages, or has none
 * any more. */

typedef struct {
    const void *data;
    size_t length; /* shx_ring_longest() at most */
} shx_piece;

/* Puts messages in this order, and counts those that were in *done, on error
 * too. */
shx_err shx_ring_put(shx_ring *ring, const shx_member *me,
                     const shx_piece *pieces, size_t count, size_t *done,
                     shx_ring_wait *wait);

/* Room for a message that is written in place; then it is one, or none. */
shx_err shx_ring_reserve(shx_ring *ring, const shx_member *me, size_t length,
                         shx_ring_record *out, shx_ring_wait *wait);
void shx_ring_commit(shx_ring *ring, const shx_member *me,
                     const shx_ring_record *record, bool keep);

/* Takes as many as there are, `most` at most and one at least. */
shx_err shx_ring_take(shx_ring *ring, const shx_member *me,
                      shx_ring_record *out, size_t most, size_t *count,
                      shx_ring_wait *wait);

/* How often it was delivered before: 15 is that or more. */
unsigned shx_ring_deliveries(const shx_ring_record *record);

/* Done with it; or it is for another one, as if who took it had died. Records
 * of a process that has forked stay that one's. */
void shx_ring_give(shx_ring *ring, const shx_member *me,
                   const shx_ring_record *records, size_t count);
void shx_ring_return(shx_ring *ring, const shx_member *me,
                     const shx_ring_record *record);

/* No more messages, for good. Who waits is told. Idempotent. */
shx_err shx_ring_shut_down(shx_ring *ring, const shx_member *me,
                           shx_patience *patience);
bool shx_ring_is_shut_down(const shx_ring *ring);

/* How it is, more or less: others go on meanwhile. */
typedef struct {
    uint64_t messages; /* that wait */
    uint64_t bytes;    /* of them */
    uint64_t taken;    /* messages in somebody's hand */
    uint64_t discarded;
    uint64_t redelivered;
    bool full; /* not one byte more would fit */
} shx_ring_state;
shx_err shx_ring_look(shx_ring *ring, const shx_member *me,
                      const shx_ring_wait *wait, shx_ring_state *out);

/* Waits until a take would find something, or a put of that length room; has
 * neither then. What else they say is what those would. */
shx_err shx_ring_await_message(shx_ring *ring, const shx_member *me,
                               shx_ring_wait *wait);
shx_err shx_ring_await_room(shx_ring *ring, const shx_member *me,
                            size_t length, shx_ring_wait *wait);

/* The same of a message, beside other things; the ring stays where it is. */
void shx_ring_await(shx_ring *ring, const shx_member *me, shx_awaited *out);

#endif

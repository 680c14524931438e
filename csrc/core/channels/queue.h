/* SPDX-License-Identifier: MIT */
/* A queue is a ring of objects, of which there may be very many: see ring.h.
 * To that it adds four things.
 *
 *   page     ... counts | done: a cell | owed: 256 words
 *   data     as a ring's; a message begins with a letter:
 *            number | references, done | references | bytes
 *
 * It is sparse. `limit` bytes are mapped, and few of them have pages: those of
 * what is in it, and some more. Positions whose pages are there:
 *
 *       floor      head              tail      backed
 *   ------+----------+-----------------+---------+------
 *         | idle     | records         | ahead   |
 *
 * Pages are made present before they are written, so that /dev/shm being full
 * is an error and no SIGBUS; idle ones are given back, a megabyte at a time.
 * Both under `put`. Whoever is killed in between leaves more pages than these
 * two say, never fewer, but for the insides of a message that was dropped.
 *
 * Messages are counted. Each has a number, one more than that of the message
 * before it, so those that wait are as many as lie between the one at `next`
 * and the next one to be put. Who is killed before it has stored the tail has
 * skipped a number: as if one more waited, until what was put before is gone.
 *
 * What was taken stays in hand until who has it says so: it may be asked for
 * all the time by its place. If who has it dies another one gets it. A letter
 * is marked as done before what it refers to is withdrawn, piece by piece, and
 * then it is free: what one leaves who dies in between is not given out again,
 * and the next taker goes on with it.
 *
 * Tasks that are not done are
 *   - all messages that wait, or are in somebody's hand,
 *   - what was given back, and not said to be done: `owed` says by whom:
 *
 *   owed     63..29 how many | 28..0 token         0: free
 *
 * Who gives back what it then owes counts that first. So what the dead owe can
 * be told from the rest, and who waits for all tasks takes that off. It walks
 * the records and then adds up what is owed, and if nothing was put meanwhile
 * it has missed none: a record that it found free stays so, and what that one
 * is owed for was counted before. tests/models/tasks.pml is a model of it, and
 * of what a message refers to.
 */
#ifndef SHX_QUEUE_H
#define SHX_QUEUE_H

#include "core/channels/ring.h"

enum {
    SHX_QUEUE_DONE = 512,  /* a cell: who waits for all tasks sleeps on it */
    SHX_QUEUE_OWED = 1024, /* words */
    SHX_QUEUE_DEBTORS = 256,
    SHX_QUEUE_GRAIN = 1 << 16, /* of pages, in bytes */
    SHX_QUEUE_IDLE = 1 << 20,  /* bytes of idle pages that are kept */
};

_Static_assert(SHX_QUEUE_OWED + SHX_QUEUE_DEBTORS * 8 <= SHX_RING_PAGE,
               "data follow");

/* What a message begins with. */
typedef struct {
    shx_position number;
    shx_word references; /* that follow */
    shx_word done;       /* 0: not yet; else one more than are withdrawn */
} shx_letter;

/* A reference to a block of a pool, as the letter has it. */
enum { SHX_REFERENCE_WORDS = 6 };
typedef struct {
    uint64_t words[SHX_REFERENCE_WORDS];
} shx_reference;

/* What a memory for that begins with: a cell, of which the own words say how
 * many messages may wait, 0 any number; and whether they may refer to what
 * lies elsewhere. */
enum { SHX_QUEUE_CONTENT = 64 };
size_t shx_queue_size(uint64_t limit);
void shx_queue_content(uint64_t limit, uint32_t most, bool refers,
                       unsigned char content[SHX_QUEUE_CONTENT]);
bool shx_queue_refers(const shx_ring *ring);
bool shx_queue_has_referred(const shx_ring *ring);

/* As shx_ring_open(). */
shx_err shx_queue_open(void *memory, size_t size, shx_party *party,
                       shx_ring *out);

/* The longest message: bytes and references. */
uint64_t shx_queue_longest(const shx_ring *ring);

typedef struct {
    const shx_reference *references;
    uint32_t count; /* of them */
    const void *data;
    size_t length;
} shx_mail;

/* As shx_ring_put() and shx_ring_take(), one message. Where there is no memory
 * for its pages that is EAGAIN while there is something in the queue, which
 * gives back its own, and ENOSPC else. */
shx_err shx_queue_put(shx_ring *ring, const shx_member *me,
                      const shx_mail *mail, shx_ring_wait *wait);
shx_err shx_queue_take(shx_ring *ring, const shx_member *me,
                       shx_ring_record *out, shx_ring_wait *wait);

/* Of a record in hand: what is in it. The references are within it, however
 * many it says. */
typedef struct {
    shx_letter *letter;
    const shx_reference *references;
    uint32_t count;
    const void *data;
    size_t length;
} shx_opened;
shx_err shx_queue_read(const shx_ring *ring, const shx_ring_record *record,
                       shx_opened *out);

/* Gives back what is in hand. `done`: the task is, too; else it is owed. */
void shx_queue_give(shx_ring *ring, const shx_member *me,
                    const shx_ring_record *record, bool done);

/* One task less that is owed: by us, or by anybody. False: nobody owes. */
bool shx_queue_settle(shx_ring *ring, const shx_member *me, bool by_us);

/* Waits until all tasks are done. */
shx_err shx_queue_join(shx_ring *ring, const shx_member *me,
                       shx_ring_wait *wait);

/* How many wait, more or less; full: there is no room for one more. */
shx_err shx_queue_count(shx_ring *ring, const shx_member *me,
                        const shx_ring_wait *wait, uint64_t *count,
                        bool *full);

/* Gives back idle pages if there are many, and nobody puts at the moment. */
void shx_queue_tidy(shx_ring *ring, const shx_member *me);

#endif

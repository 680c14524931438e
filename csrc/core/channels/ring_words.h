/* SPDX-License-Identifier: MIT */
/* What the files of the ring share: words, and how they are walked. */
#ifndef SHX_RING_WORDS_H
#define SHX_RING_WORDS_H

#include <limits.h> /* UINT_MAX */

#include "core/channels/ring.h"
#include "core/channels/waited.h"
#include "core/sync/lock.h"

enum { SHX_UNIT = 16 }; /* bytes; and as many before those of a message */

typedef enum {
    SHX_FREE = 0,
    SHX_BUSY = 1,
    SHX_READY = 2,
    SHX_TAKEN = 3,
    SHX_RETURNED = 4,
    SHX_KEPT = 5,
    SHX_PAD = 6,
} shx_record_state;

enum {
    SHX_UNITS_BITS = 28,
    SHX_DELIVERIES_SHIFT = SHX_UNITS_BITS + SHX_TOKEN_BITS,
    SHX_STATE_SHIFT = SHX_DELIVERIES_SHIFT + 4,
    SHX_MOST_DELIVERIES = 15,
};

typedef struct {
    _Atomic uint64_t word;
    _Atomic uint64_t length;
} shx_record_header;

_Static_assert(sizeof(shx_record_header) == SHX_UNIT, "bytes follow");

static inline uint64_t
shx_record_word(shx_record_state state, unsigned deliveries, uint32_t token,
                uint64_t units)
{
    return (uint64_t)state << SHX_STATE_SHIFT |
           (uint64_t)deliveries << SHX_DELIVERIES_SHIFT |
           (uint64_t)token << SHX_UNITS_BITS | units;
}

static inline shx_record_state
shx_state_of_record(uint64_t word)
{
    return (shx_record_state)(word >> SHX_STATE_SHIFT);
}

static inline unsigned
shx_deliveries_of(uint64_t word)
{
    return word >> SHX_DELIVERIES_SHIFT & SHX_MOST_DELIVERIES;
}

static inline uint32_t
shx_token_of(uint64_t word)
{
    return (uint32_t)(word >> SHX_UNITS_BITS) & SHX_TOKEN;
}

static inline uint64_t
shx_units_of(uint64_t word)
{
    return word & ((UINT64_C(1) << SHX_UNITS_BITS) - 1);
}

static inline uint64_t
shx_span_of(uint64_t word)
{
    return shx_units_of(word) * SHX_UNIT;
}

/* The same record in another state, or another's. */
static inline uint64_t
shx_record_as(uint64_t word, shx_record_state state, uint32_t token)
{
    return shx_record_word(state, shx_deliveries_of(word), token,
                           shx_units_of(word));
}

/* Units of a message, with its header. */
static inline uint64_t
shx_units_for(uint64_t length)
{
    return (length + SHX_UNIT - 1) / SHX_UNIT + 1;
}

/* Bytes from there to the end of the data. */
static inline uint64_t
shx_ring_rest(const shx_ring *ring, uint64_t at)
{
    return ring->capacity - (at & (ring->capacity - 1));
}

static inline shx_record_header *
shx_ring_header(const shx_ring *ring, uint64_t at)
{
    unsigned char *place = ring->data + (at & (ring->capacity - 1));
    return (shx_record_header *)(void *)place;
}

/* Positions of which one is not beyond the other, and both are in a ring. */
static inline bool
shx_ring_is_range(const shx_ring *ring, uint64_t from, uint64_t to)
{
    return to - from <= ring->capacity && (from | to) % SHX_UNIT == 0;
}

/* The word of the record that begins there, before `to`. SHX_DAMAGED. */
static inline shx_err
shx_ring_read(const shx_ring *ring, uint64_t at, uint64_t to, uint64_t *word)
{
    *word = atomic_load(&shx_ring_header(ring, at)->word);
    uint64_t span = shx_span_of(*word);
    return span != 0 && span <= shx_ring_rest(ring, at) && span <= to - at &&
                   shx_state_of_record(*word) <= SHX_PAD
               ? 0
               : SHX_DAMAGED;
}

/* Nobody's, nor to be anybody's. */
static inline bool
shx_is_free_record(uint64_t word)
{
    return shx_state_of_record(word) == SHX_FREE ||
           shx_state_of_record(word) == SHX_PAD;
}

static inline bool
shx_ring_change(const shx_ring *ring, uint64_t at, uint64_t word,
                uint64_t next)
{
    return atomic_compare_exchange_strong(&shx_ring_header(ring, at)->word,
                                          &word, next);
}

/* In the own words of the cell `about`. */
static inline shx_word *
shx_ring_shut(const shx_ring *ring)
{
    return &ring->about->own[0];
}

/* There may be records that are returned. */
static inline shx_word *
shx_ring_returned(const shx_ring *ring)
{
    return &ring->about->own[1];
}

/* ring_wait.c */

/* The lock of one side. EBUSY: not at once, and there is no wait. */
shx_err shx_ring_lock(const shx_site *site, const shx_member *me,
                      const shx_ring_wait *wait);

static inline void
shx_ring_unlock(const shx_site *site, const shx_member *me)
{
    (void)shx_lock_release(site, me); /* or it was taken from us: damaged */
}

/* The rest of the next. */
void shx_ring_wake(shx_cell *side, unsigned count);

/* There is something for so many of those who sleep on that side. */
static inline void
shx_ring_notify(shx_cell *side, unsigned count)
{
    if (shx_is_waited(side)) {
        shx_ring_wake(side, count);
    }
}

/* There is something for so many takers; or it may be the end, which all who
 * wait for it are told. */
static inline void
shx_ring_tell(const shx_ring *ring, unsigned count)
{
    shx_ring_notify(ring->messages,
                    shx_ring_is_shut_down(ring) ? UINT_MAX : count);
}

/* Has nobody here looked after the dead for a few milliseconds? */
bool shx_ring_is_due(const shx_ring *ring);

/* Tries again and again until it does not say EAGAIN; sleeps on that side
 * between, and looks after the dead. An attempt says ESTALE if `next` is to be
 * moved first. */
typedef enum { SHX_FOR_MESSAGES, SHX_FOR_ROOM } shx_ring_side;
typedef shx_err (*shx_ring_attempt)(shx_ring *ring, const shx_member *me,
                                    void *what, const shx_ring_wait *wait);
shx_err shx_ring_insist(shx_ring *ring, const shx_member *me,
                        shx_ring_side side, shx_ring_attempt attempt,
                        void *what, shx_ring_wait *wait);

/* ring_put.c */

/* The lock `put`, and the tail, of a ring that takes messages. */
shx_err shx_ring_enter(shx_ring *ring, const shx_member *me,
                       const shx_ring_wait *wait, uint64_t *tail);

/* A record at *tail that nobody sees until that is stored. Under `put`.
 * EAGAIN, ESTALE: no room. */
shx_err shx_ring_begin(shx_ring *ring, const shx_member *me,
                       shx_record_state state, uint64_t length, uint64_t *tail,
                       shx_ring_record *out);

/* Publishes what is before `tail`, and lets go of the lock. */
void shx_ring_leave(shx_ring *ring, const shx_member *me, uint64_t tail);

/* ring_take.c: moves `next` over what is free. */
shx_err shx_ring_skip(shx_ring *ring, const shx_member *me,
                      const shx_ring_wait *wait);

/* ring_recover.c */

/* What the dead have in hand is returned, what they have begun is free. */
shx_err shx_ring_recover(shx_ring *ring, const shx_member *me,
                         const shx_ring_wait *wait);

/* The same of what was taken, and nothing that waits. */
shx_err shx_ring_recover_taken(shx_ring *ring, const shx_member *me,
                               const shx_ring_wait *wait);

/* How many there are that are not free, whoever has them, but for those that
 * are `over`. Under `put`, in portions. */
typedef bool (*shx_ring_question)(const shx_ring *ring, uint64_t at,
                                  uint64_t word);
shx_err shx_ring_count(shx_ring *ring, const shx_member *me,
                       shx_ring_question over, const shx_ring_wait *wait,
                       uint64_t *count);

/* Nothing is left, nor may come back: what others have taken. What is ours is
 * kept from now on: others are not to wait for that, too. EAGAIN: it may. */
shx_err shx_ring_is_over(shx_ring *ring, const shx_member *me,
                         const shx_ring_wait *wait);

#endif

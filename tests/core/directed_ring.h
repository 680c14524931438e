/* SPDX-License-Identifier: MIT */
/* What the directed tests of a ring have in common: a ring of the least size,
 * and what is asked of it. */
#ifndef DIRECTED_RING_H
#define DIRECTED_RING_H

#include "messages.h"

enum { SIZE = SHX_RING_LEAST, MEMORY = SHX_RING_PAGE + SIZE, MOST = 8 };

static memory in;
static shx_ring ring;

static struct {
    _Atomic bool done[MOST];
    _Atomic shx_err got[MOST];
    _Atomic uint32_t number[MOST];
    _Atomic uint32_t deliveries[MOST];
} * notes;

static inline void
begin_anew(void)
{
    (void)memset(in.bytes, 0, in.size);
    (void)memset(notes, 0, sizeof *notes);
    make_ring(&in, 0, SIZE, &ring);
}

static inline void
done(int number, shx_err got)
{
    atomic_store(&notes->got[number], got);
    atomic_store(&notes->done[number], true);
}

static inline bool
all_done(int count)
{
    for (int i = 0; i < count; i++) {
        if (!atomic_load(&notes->done[i])) {
            return false;
        }
    }
    return true;
}

static inline void
put(uint32_t number)
{
    CHECK(put_message(&ring, 40, (label){1, number}, SECOND) == 0);
}

/* The longest message. */
static inline void
put_longest(uint32_t number)
{
    CHECK(put_message(&ring, shx_ring_longest(&ring), (label){1, number},
                      SECOND) == 0);
}

static inline shx_ring_record
take(uint32_t number, unsigned deliveries)
{
    shx_ring_record record;
    CHECK(take_message(&ring, &record, SECOND) == 0);
    CHECK(label_of(&ring, &record).number == number);
    CHECK(shx_ring_deliveries(&record) == deliveries);
    return record;
}

static inline void
get(uint32_t number, unsigned deliveries)
{
    shx_ring_record record = take(number, deliveries);
    give_message(&ring, &record);
}

static inline shx_err
take_at_once(shx_ring_record *out)
{
    size_t count;
    shx_ring_wait wait = waits_for_locks();
    shx_member me = me_in(in.party);
    return shx_ring_take(&ring, &me, out, 1, &count, &wait);
}

/* Nothing is left, nothing lost: all of the room is there. */
static inline void
check_empty(void)
{
    shx_ring_record record;
    shx_ring_state state;
    shx_ring_wait wait = waits_for_locks();
    shx_member me = me_in(in.party);
    CHECK(take_at_once(&record) == EAGAIN);
    CHECK(shx_ring_look(&ring, &me, &wait, &state) == 0);
    CHECK(state.messages == 0 && state.bytes == 0 && state.taken == 0);
    CHECK(!state.full);
    put_longest(1);
    get(1, 0);
}

static inline void
prepare_ring(void)
{
    in = make_memory(MEMORY);
    notes = make_notes(sizeof *notes);
}

#endif

/* SPDX-License-Identifier: MIT */
/* What the dead have left in a ring. */
#include "core/channels/ring_words.h"

#include <errno.h>
#include <limits.h> /* UINT_MAX */

/* Records that are looked at before the lock is let go of for a moment. */
enum { PORTION = 4096 };

typedef struct {
    const shx_member *me;
    uint64_t next;  /* as it was at the beginning: it only grows */
    bool in_hand;   /* what lies before that, and nothing beyond */
    uint32_t asked; /* who was asked after last, and */
    bool dead;      /* what the system said */
    unsigned freed; /* how many were */
    unsigned back;  /* how many came back, now or before */
    shx_ring_question over;
    uint64_t count;
    shx_ring_state state;
} search;

static bool
is_dead(shx_ring *ring, search *seen, uint32_t token)
{
    if (token != seen->asked) {
        seen->asked = token;
        seen->dead = shx_party_is_dead(ring->put.party, token);
    }
    return seen->dead;
}

/* Beyond `next` TAKEN is taken anew by whoever comes there. */
static void
look_at(shx_ring *ring, search *seen, uint64_t at, uint64_t word)
{
    shx_record_state state = shx_state_of_record(word);
    bool taken = state == SHX_TAKEN || state == SHX_KEPT;
    bool before = (int64_t)(at - seen->next) < 0;
    if (state == SHX_RETURNED) {
        seen->back++;
    }
    if ((state != SHX_BUSY && !(taken && before)) ||
        !is_dead(ring, seen, shx_token_of(word))) {
        return;
    }
    shx_record_state then = taken ? SHX_RETURNED : SHX_FREE;
    if (shx_ring_change(ring, at, word, shx_record_as(word, then, 0))) {
        seen->back += taken;
        seen->freed += !taken;
    }
}

/* Calls `visit` for the records from *at to `to`, a portion of them; *at is
 * then where the next one begins. Under `put`: no record goes meanwhile, and
 * what lies between `head` and `tail` is where it was in the next portion. */
typedef void (*visitor)(shx_ring *ring, search *seen, uint64_t at,
                        uint64_t word);

static shx_err
walk(shx_ring *ring, search *seen, visitor visit, uint64_t *at, bool *more)
{
    uint64_t head = atomic_load(&ring->in->head);
    uint64_t tail = seen->in_hand ? seen->next : atomic_load(&ring->in->tail);
    if ((int64_t)(*at - head) < 0) {
        *at = head;
    }
    if (seen->in_hand && (int64_t)(tail - *at) <= 0) {
        *more = false; /* all of that is gone by now */
        return 0;
    }
    if (!shx_ring_is_range(ring, head, tail) ||
        !shx_ring_is_range(ring, *at, tail)) {
        return SHX_DAMAGED;
    }
    for (int i = 0; i < PORTION && *at != tail; i++) {
        uint64_t word;
        shx_err err = shx_ring_read(ring, *at, tail, &word);
        if (err != 0) {
            return err;
        }
        visit(ring, seen, *at, word);
        *at += shx_span_of(word);
    }
    *more = *at != tail;
    return 0;
}

static shx_err
walk_all(shx_ring *ring, search *seen, visitor visit,
         const shx_ring_wait *wait)
{
    uint64_t at = atomic_load(&ring->in->head);
    bool more = true;
    seen->next = atomic_load(&ring->out->next);
    while (more) {
        shx_err err = shx_ring_lock(&ring->put, seen->me, wait);
        if (err == 0) {
            err = walk(ring, seen, visit, &at, &more);
            shx_ring_unlock(&ring->put, seen->me);
        }
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

static shx_err
recover(shx_ring *ring, const shx_member *me, bool in_hand,
        const shx_ring_wait *wait)
{
    search seen = {.me = me, .in_hand = in_hand};
    atomic_store_explicit(&ring->looked, shx_os_tick(), memory_order_relaxed);
    shx_err err = walk_all(ring, &seen, look_at, wait);
    if (seen.back != 0) {
        atomic_fetch_add(shx_ring_returned(ring), 1);
    }
    if (seen.freed != 0) {
        atomic_fetch_add(&ring->counts->discarded, seen.freed);
        shx_ring_notify(ring->room, seen.freed);
    }
    if (seen.back + seen.freed != 0) {
        shx_ring_tell(ring, seen.back + seen.freed);
    }
    return err;
}

shx_err
shx_ring_recover(shx_ring *ring, const shx_member *me,
                 const shx_ring_wait *wait)
{
    return recover(ring, me, false, wait);
}

shx_err
shx_ring_recover_taken(shx_ring *ring, const shx_member *me,
                       const shx_ring_wait *wait)
{
    return recover(ring, me, true, wait);
}

/* `back`: what may still be somebody's else; and is, if who kept it died. */
static void
keep(shx_ring *ring, search *seen, uint64_t at, uint64_t word)
{
    shx_record_state state = shx_state_of_record(word);
    uint32_t token = shx_token_of(word);
    bool ours = token == seen->me->token;
    if (state == SHX_TAKEN && ours) {
        seen->freed += shx_ring_change(ring, at, word,
                                       shx_record_as(word, SHX_KEPT, token));
    }
    else if (state == SHX_KEPT) {
        seen->back += !ours && is_dead(ring, seen, token);
    }
    else if (!shx_is_free_record(word)) {
        seen->back++;
    }
}

shx_err
shx_ring_is_over(shx_ring *ring, const shx_member *me,
                 const shx_ring_wait *wait)
{
    search seen = {.me = me};
    shx_err err = walk_all(ring, &seen, keep, wait);
    if (seen.freed != 0) {
        shx_ring_notify(ring->messages, UINT_MAX);
    }
    return err != 0 ? err : seen.back != 0 ? EAGAIN : SHX_SHUT_DOWN;
}

static void
count_one(shx_ring *ring, search *seen, uint64_t at, uint64_t word)
{
    seen->count += !shx_is_free_record(word) && !seen->over(ring, at, word);
}

shx_err
shx_ring_count(shx_ring *ring, const shx_member *me, shx_ring_question over,
               const shx_ring_wait *wait, uint64_t *count)
{
    search seen = {.me = me, .over = over};
    shx_err err = walk_all(ring, &seen, count_one, wait);
    if (err == 0) {
        *count = seen.count;
    }
    return err;
}

static void
tell_apart(shx_ring *ring, search *seen, uint64_t at, uint64_t word)
{
    shx_record_state state = shx_state_of_record(word);
    bool before = (int64_t)(at - seen->next) < 0;
    bool taken = state == SHX_TAKEN || state == SHX_KEPT;
    if (taken && before) {
        seen->state.taken++;
    }
    else if (taken || state == SHX_READY || state == SHX_RETURNED) {
        uint64_t length = atomic_load(&shx_ring_header(ring, at)->length);
        uint64_t most = shx_span_of(word);
        seen->state.messages++;
        seen->state.bytes += length < most ? length : most;
    }
}

shx_err
shx_ring_look(shx_ring *ring, const shx_member *me, const shx_ring_wait *wait,
              shx_ring_state *out)
{
    search seen = {.me = me};
    shx_ring_wait once = {.patience = wait->patience, .blocks = false};
    shx_err err = walk_all(ring, &seen, tell_apart, wait);
    if (err == 0) {
        err = shx_ring_await_room(ring, me, 1, &once);
        seen.state.full = err == EAGAIN || err == SHX_SHUT_DOWN;
        err = seen.state.full ? 0 : err;
    }
    if (err == 0) {
        seen.state.discarded = atomic_load(&ring->counts->discarded);
        seen.state.redelivered = atomic_load(&ring->counts->redelivered);
        *out = seen.state;
    }
    return err;
}

/* SPDX-License-Identifier: MIT */
/* Seeing whether a taker would find a message, and taking none: by itself, and
 * beside other things.
 *
 * No lock is taken: who waits for hundreds of rings is not to be stopped by
 * one who has stopped in one of them. What lies between `head` and `tail`
 * stays where it is. So what was read from a position on is so if that is
 * still what it was, `head` or `next`: these only grow. Until then it may be
 * the bytes of a message that another one writes there. */
#include "core/channels/ring_words.h"

#include <errno.h>

enum { TRIES = 100 };

/* By a name of its own: tools that look for races are told of it. */
static shx_err
glance(const shx_ring *ring, uint64_t at, uint64_t to, uint64_t *word)
{
    return shx_ring_read(ring, at, to, word);
}

/* One that came back, from there to `next`. EAGAIN: none. */
static shx_err
find_returned(const shx_ring *ring, uint64_t at)
{
    uint64_t next = atomic_load(&ring->out->next);
    if (!shx_ring_is_range(ring, at, next)) {
        return SHX_DAMAGED;
    }
    while (at != next) {
        uint64_t word;
        shx_err err = glance(ring, at, next, &word);
        if (err != 0 || shx_state_of_record(word) == SHX_RETURNED) {
            return err;
        }
        at += shx_span_of(word);
    }
    return EAGAIN;
}

/* Who comes back while others take all the time is one of many: it is there.
 * As who takes, this one forgets what there is none of any more. */
static shx_err
peek_returned(const shx_ring *ring)
{
    uint32_t times = atomic_load(shx_ring_returned(ring));
    if (times == 0) {
        return EAGAIN;
    }
    for (int tries = 0; tries < TRIES; tries++) {
        uint64_t head = atomic_load(&ring->in->head);
        shx_err err = find_returned(ring, head);
        if (atomic_load(&ring->in->head) != head) {
            continue;
        }
        if (err == EAGAIN) {
            (void)atomic_compare_exchange_strong(shx_ring_returned(ring),
                                                 &times, 0);
        }
        return err;
    }
    return 0;
}

/* TAKEN: by one who died before it said so, or is about to. */
static shx_err
find_next(const shx_ring *ring, uint64_t at, bool *dropped)
{
    uint64_t tail = atomic_load(&ring->in->tail);
    if (!shx_ring_is_range(ring, at, tail)) {
        return SHX_DAMAGED;
    }
    while (at != tail) {
        uint64_t word;
        shx_err err = glance(ring, at, tail, &word);
        if (err != 0) {
            return err;
        }
        if (!shx_is_free_record(word)) {
            return shx_state_of_record(word) == SHX_BUSY ? EAGAIN : 0;
        }
        *dropped = true;
        at += shx_span_of(word);
    }
    return EAGAIN;
}

static shx_err
peek_next(const shx_ring *ring, bool *dropped)
{
    for (int tries = 0; tries < TRIES; tries++) {
        uint64_t next = atomic_load(&ring->out->next);
        shx_err err = find_next(ring, next, dropped);
        if (atomic_load(&ring->out->next) == next) {
            return err;
        }
    }
    return 0;
}

static shx_err
peek(shx_ring *ring, const shx_member *me, void *what,
     const shx_ring_wait *wait)
{
    (void)what;
    bool last = shx_ring_is_shut_down(ring), dropped = false;
    shx_err err = peek_returned(ring);
    if (err == EAGAIN) {
        err = peek_next(ring, &dropped);
    }
    if (err == EAGAIN && dropped) { /* the next one has less to look at */
        (void)shx_ring_skip(ring, me, NULL);
    }
    return err == EAGAIN && last ? shx_ring_is_over(ring, me, wait) : err;
}

/* Who takes nothing passes on what it was woken for. */
shx_err
shx_ring_await_message(shx_ring *ring, const shx_member *me,
                       shx_ring_wait *wait)
{
    shx_err err =
        shx_ring_insist(ring, me, SHX_FOR_MESSAGES, peek, NULL, wait);
    if (err == 0) {
        shx_ring_notify(ring->messages, 1);
    }
    return err;
}

static shx_err
look(shx_awaited *one)
{
    return peek(one->what, &one->me, NULL, NULL);
}

static shx_err
recover(shx_awaited *one, const shx_patience *brief)
{
    shx_ring *ring = one->what;
    const shx_ring_wait wait = {.patience = *brief, .blocks = false};
    return shx_ring_is_due(ring) ? shx_ring_recover(ring, &one->me, &wait) : 0;
}

static void
pass_on(shx_awaited *one, bool unwoken)
{
    (void)unwoken;
    shx_ring_tell(one->what, 1);
}

static const shx_awaited_kind kind = {
    .mark = SHX_WAITED,
    .look = look,
    .recover = recover,
    .pass_on = pass_on,
};

void
shx_ring_await(shx_ring *ring, const shx_member *me, shx_awaited *out)
{
    *out = (shx_awaited){
        .kind = &kind, .cell = ring->messages, .what = ring, .me = *me};
}

/* SPDX-License-Identifier: MIT */
#include "core/channels/queue.h"

#include <errno.h>
#include <string.h> /* memcpy */

#include "core/channels/queue_words.h"

/* What is copied while others wait for that; longer ones are reserved. */
enum { SMALL = 1024 };

size_t
shx_queue_size(uint64_t limit)
{
    return shx_ring_size(limit < SHX_QUEUE_GRAIN ? SHX_QUEUE_GRAIN : limit);
}

void
shx_queue_content(uint64_t limit, uint32_t most, bool refers,
                  unsigned char content[SHX_QUEUE_CONTENT])
{
    uint64_t size = shx_queue_size(limit) - SHX_RING_PAGE;
    unsigned exponent = 0;
    while (size >> exponent > 1) {
        exponent++;
    }
    uint64_t head = shx_cell_head_of(SHX_CELL_QUEUE, exponent);
    memset(content, 0, SHX_QUEUE_CONTENT);
    memcpy(content, &head, sizeof head);
    const uint32_t own[] = {most, refers};
    memcpy(content + offsetof(shx_cell, own) + 2 * sizeof most, own,
           sizeof own);
}

bool
shx_queue_refers(const shx_ring *ring)
{
    return atomic_load_explicit(&ring->about->own[3], memory_order_relaxed) !=
           0;
}

shx_err
shx_queue_open(void *memory, size_t size, shx_party *party, shx_ring *out)
{
    shx_err err = shx_ring_open_as(SHX_CELL_QUEUE, memory, size, party, out);
    if (err == 0) {
        out->most = atomic_load(shx_queue_most(out));
        err = out->capacity < SHX_QUEUE_GRAIN ? SHX_FOREIGN : 0;
    }
    return err;
}

uint64_t
shx_queue_longest(const shx_ring *ring)
{
    return shx_ring_longest(ring) - sizeof(shx_letter);
}

static shx_word *
referred(const shx_ring *ring)
{
    return &ring->about->own[4];
}

bool
shx_queue_has_referred(const shx_ring *ring)
{
    return atomic_load_explicit(referred(ring), memory_order_relaxed) != 0;
}

static shx_letter *
letter_at(const shx_ring *ring, uint64_t at)
{
    return (shx_letter *)(void *)(shx_ring_header(ring, at) + 1);
}

/* Of a record of which the word was read. SHX_DAMAGED. */
static bool
has_letter(uint64_t word)
{
    return shx_span_of(word) >= sizeof(shx_record_header) + sizeof(shx_letter);
}

/* Of those from `next` on, by their numbers. Under `put`: nothing is written
 * there meanwhile. *dropped: the first of them is none any more. */
static shx_err
count_waiting(const shx_ring *ring, uint64_t tail, uint64_t *count,
              bool *dropped)
{
    uint64_t word, at = atomic_load(&ring->out->next);
    if (!shx_ring_is_range(ring, at, tail)) {
        return SHX_DAMAGED;
    }
    *count = 0;
    *dropped = false;
    while (at != tail) {
        shx_err err = shx_ring_read(ring, at, tail, &word);
        if (err != 0) {
            return err;
        }
        if (shx_state_of_record(word) == SHX_PAD) {
            at += shx_span_of(word);
            continue;
        }
        *count =
            atomic_load_explicit(&ring->in->number, memory_order_relaxed) -
            atomic_load_explicit(&letter_at(ring, at)->number,
                                 memory_order_relaxed);
        *dropped = shx_is_free_record(word);
        return has_letter(word) ? 0 : SHX_DAMAGED;
    }
    return 0;
}

/* EAGAIN, ESTALE: as many wait as may. */
static shx_err
check_count(const shx_ring *ring, uint64_t tail)
{
    uint64_t count;
    bool dropped;
    if (ring->most == 0) {
        return 0;
    }
    shx_err err = count_waiting(ring, tail, &count, &dropped);
    return err != 0 || count < ring->most ? err : dropped ? ESTALE : EAGAIN;
}

typedef struct {
    const shx_mail *mail;
    uint64_t length;
    shx_ring_record record;
} posting;

static bool
is_small(const posting *it)
{
    return it->length <= SMALL;
}

/* All but the letter. */
static void
write_rest(shx_ring *ring, const posting *it)
{
    const shx_mail *mail = it->mail;
    unsigned char *to = shx_ring_bytes(ring, &it->record);
    size_t references = mail->count * sizeof(shx_reference);
    to += sizeof(shx_letter);
    if (references != 0) {
        memcpy(to, mail->references, references);
    }
    if (mail->length != 0) {
        memcpy(to + references, mail->data, mail->length);
    }
}

static void
write_letter(shx_ring *ring, const posting *it, uint64_t number)
{
    shx_letter *letter = letter_at(ring, it->record.at);
    atomic_store_explicit(&letter->number, number, memory_order_relaxed);
    atomic_store_explicit(&letter->references, it->mail->count,
                          memory_order_relaxed);
    atomic_store_explicit(&letter->done, 0, memory_order_relaxed);
}

static shx_err
begin(shx_ring *ring, const shx_member *me, posting *it, uint64_t *tail)
{
    uint64_t span = shx_units_for(it->length) * SHX_UNIT;
    shx_err err = shx_queue_is_fat(ring) ? shx_queue_trim(ring) : 0;
    err = err == 0 ? check_count(ring, *tail) : err;
    if (err == 0) {
        err = shx_queue_back(ring, *tail, span);
    }
    if (err == ENOSPC && atomic_load(&ring->in->head) != *tail) {
        err = EAGAIN;
    }
    return err != 0
               ? err
               : shx_ring_begin(ring, me, is_small(it) ? SHX_READY : SHX_BUSY,
                                it->length, tail, &it->record);
}

/* The number is taken before the tail says that the message is there. */
static shx_err
post(shx_ring *ring, const shx_member *me, void *what,
     const shx_ring_wait *wait)
{
    posting *it = what;
    uint64_t tail;
    shx_err err = shx_ring_enter(ring, me, wait, &tail);
    if (err != 0) {
        return err;
    }
    err = begin(ring, me, it, &tail);
    if (err != 0) {
        shx_ring_unlock(&ring->put, me);
        return err;
    }
    uint64_t number =
        atomic_load_explicit(&ring->in->number, memory_order_relaxed);
    write_letter(ring, it, number);
    if (is_small(it)) {
        write_rest(ring, it);
    }
    atomic_store_explicit(&ring->in->number, number + 1, memory_order_relaxed);
    shx_ring_leave(ring, me, tail);
    if (is_small(it)) {
        shx_ring_notify(ring->messages, 1);
    }
    return 0;
}

shx_err
shx_queue_put(shx_ring *ring, const shx_member *me, const shx_mail *mail,
              shx_ring_wait *wait)
{
    if (mail->count != 0 && !shx_queue_has_referred(ring)) {
        atomic_store(referred(ring), 1);
    }
    posting it = {.mail = mail,
                  .length = sizeof(shx_letter) +
                            mail->count * sizeof(shx_reference) +
                            mail->length};
    shx_err err = shx_ring_insist(ring, me, SHX_FOR_ROOM, post, &it, wait);
    if (err != 0 || is_small(&it)) {
        return err;
    }
    err = shx_queue_fill(ring, &it.record);
    if (err == 0) {
        write_rest(ring, &it);
    }
    shx_ring_commit(ring, me, &it.record, err == 0);
    return err;
}

/* Who never waits looks after the dead, too: or what one has left would come
 * after all that waits, and after what tells the others to end. The more lies
 * there the more rarely. */
static void
look_after(shx_ring *ring, const shx_member *me)
{
    const uint64_t millisecond = 1000000, mebibyte = 1 << 20;
    uint64_t since = shx_os_tick() -
                     atomic_load_explicit(&ring->looked, memory_order_relaxed);
    uint64_t span =
        atomic_load_explicit(&ring->out->next, memory_order_relaxed) -
        atomic_load_explicit(&ring->in->head, memory_order_relaxed);
    if (since / millisecond > 4 * (span / mebibyte)) {
        (void)shx_ring_recover_taken(ring, me, NULL);
    }
}

/* What is taken is room for one more that waits. */
shx_err
shx_queue_take(shx_ring *ring, const shx_member *me, shx_ring_record *out,
               shx_ring_wait *wait)
{
    size_t count;
    look_after(ring, me);
    shx_err err = shx_ring_take(ring, me, out, 1, &count, wait);
    if (err == 0 && ring->most != 0) {
        shx_ring_notify(ring->room, 1);
    }
    return err;
}

shx_err
shx_queue_read(const shx_ring *ring, const shx_ring_record *record,
               shx_opened *out)
{
    uint64_t length = record->length;
    if (length < sizeof(shx_letter)) {
        return SHX_DAMAGED;
    }
    shx_letter *letter = letter_at(ring, record->at);
    uint32_t count = atomic_load(&letter->references);
    length -= sizeof *letter;
    if (count > length / sizeof(shx_reference)) {
        return SHX_DAMAGED;
    }
    const shx_reference *references = (const void *)(letter + 1);
    *out =
        (shx_opened){.letter = letter,
                     .references = references,
                     .count = count,
                     .data = references + count,
                     .length = (size_t)(length - count * sizeof(*references))};
    return 0;
}

shx_err
shx_queue_count(shx_ring *ring, const shx_member *me,
                const shx_ring_wait *wait, uint64_t *count, bool *full)
{
    bool dropped;
    shx_err err = shx_ring_lock(&ring->put, me, wait);
    if (err != 0) {
        return err;
    }
    uint64_t tail = atomic_load(&ring->in->tail);
    uint64_t head = atomic_load(&ring->in->head);
    err = count_waiting(ring, tail, count, &dropped);
    shx_ring_unlock(&ring->put, me);
    *full = (ring->most != 0 && *count >= ring->most) ||
            tail - head >= ring->capacity;
    if (err == 0 && atomic_load(shx_ring_returned(ring)) != 0) {
        shx_ring_state state;
        err = shx_ring_look(ring, me, wait, &state);
        *count = err == 0 ? state.messages : 0;
    }
    return err;
}

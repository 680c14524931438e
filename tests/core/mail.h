/* SPDX-License-Identifier: MIT */
/* What the programs on queues have in common: a queue of 4 MiB, and mail of
 * which every byte is known. The program says where `in` lies. */
#ifndef MAIL_H
#define MAIL_H

#include "core/channels/queue_words.h"
#include "messages.h"

enum { LIMIT = 1 << 22, LONG_MAIL = 1 << 20 };
#define QUEUE_MEMORY (SHX_RING_PAGE + (1 << 22))

static shx_ring ring;
static unsigned char paper[LIMIT];

/* In memory of which no page is there. */
static inline void
make_queue(const memory *in, uint32_t most)
{
    (void)memset(in->bytes, 0, SHX_RING_PAGE);
    shx_os_discard(in->bytes, in->size);
    shx_queue_content(LIMIT, most, true, (unsigned char *)in->bytes);
    CHECK(shx_queue_size(LIMIT) == in->size);
    CHECK(shx_queue_open(in->bytes, in->size, in->party, &ring) == 0);
}

static inline shx_err
post_mail(size_t length, label of, int64_t timeout)
{
    const shx_mail mail = {.data = paper, .length = length};
    shx_ring_wait wait = waits(timeout);
    shx_member me = me_in(ring.put.party);
    write_message(paper, length, of);
    return shx_queue_put(&ring, &me, &mail, &wait);
}

static inline shx_err
take_mail(shx_ring_record *out, int64_t timeout)
{
    shx_ring_wait wait = waits(timeout);
    shx_member me = me_in(ring.put.party);
    return shx_queue_take(&ring, &me, out, &wait);
}

static inline label
read_mail(const shx_ring_record *record)
{
    label of;
    shx_opened opened;
    CHECK(shx_queue_read(&ring, record, &opened) == 0);
    CHECK(read_message(opened.data, opened.length, &of));
    return of;
}

static inline void
give_mail(const shx_ring_record *record, bool done)
{
    shx_member me = me_in(ring.put.party);
    shx_queue_give(&ring, &me, record, done);
}

static inline bool
settle(bool by_us)
{
    shx_member me = me_in(ring.put.party);
    return shx_queue_settle(&ring, &me, by_us);
}

/* For the last one, and for its own words: EAGAIN if not at once. */
static inline shx_err
join_tasks(int64_t timeout)
{
    shx_ring_wait wait = timeout == 0 ? waits_for_locks() : waits(timeout);
    shx_member me = me_in(ring.put.party);
    return shx_queue_join(&ring, &me, &wait);
}

static inline uint64_t
count_mail(bool *full)
{
    uint64_t count;
    shx_ring_wait wait = waits_for_locks();
    shx_member me = me_in(ring.put.party);
    CHECK(shx_queue_count(&ring, &me, &wait, &count, full) == 0);
    return count;
}

/* Bytes of the memory that have pages. */
static inline uint64_t
bytes_held(const memory *in)
{
    shx_file info;
    CHECK(shx_os_inspect(in->fd, &info) == 0);
    return info.held;
}

/* Is the page there in which this position is? */
static inline bool
is_there(const memory *in, uint64_t position)
{
    off_t at = SHX_RING_PAGE + (off_t)(position & (ring.capacity - 1));
    return lseek(in->fd, at, SEEK_DATA) == at;
}

/* All that may be read or written: not what is too short for a record. */
static inline void
check_pages(const memory *in)
{
    uint64_t backed = atomic_load(&ring.in->backed);
    uint64_t head = atomic_load(&ring.in->head);
    uint64_t tail = atomic_load(&ring.in->tail);
    CHECK(atomic_load(&ring.in->floor) <= head && head <= tail);
    while (head != tail) {
        uint64_t word;
        CHECK(is_there(in, head));
        CHECK(shx_ring_read(&ring, head, tail, &word) == 0);
        uint64_t span = shx_span_of(word);
        bool written = !shx_is_free_record(word);
        for (uint64_t at = 0; at < span && written; at += 4096) {
            CHECK(is_there(in, head + at));
        }
        head += span;
    }
    for (uint64_t at = tail; (int64_t)(backed - at) > 0; at += 4096) {
        CHECK(is_there(in, at));
    }
}

#endif

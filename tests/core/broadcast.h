/* SPDX-License-Identifier: MIT */
/* What the programs on broadcasts have in common: one in two memories, and
 * frames each word of which is their number. */
#ifndef BROADCAST_H
#define BROADCAST_H

#include "core/channels/broadcast.h"

#include "sync.h"

static shx_broadcast cast;
static unsigned char *frames; /* the data, which may be written here */

static const shx_broadcast_shape usual = {
    .size = 16384, .readers = 4, .heirs = 2, .depth = 2};

/* Of zeros. */
static inline void
open_broadcast(const memory *control, const shx_broadcast_shape *shape)
{
    size_t control_size, data_size;
    CHECK(shx_broadcast_sizes(shape, &control_size, &data_size));
    CHECK(control_size <= control->size);
    shx_broadcast_make(control->bytes, frames, shape, now());
    CHECK(shx_broadcast_open(control->bytes, control->size, frames, data_size,
                             control->party, &cast) == 0);
}

/* Instead of the one that is open. */
static inline void
open_anew(const memory *control)
{
    if (cast.party != NULL) {
        shx_broadcast_close(&cast);
    }
    (void)memset(control->bytes, 0, control->size);
    open_broadcast(control, &usual);
}

static inline void
make_frames(const shx_broadcast_shape *shape)
{
    size_t control_size, data_size;
    CHECK(shx_broadcast_sizes(shape, &control_size, &data_size));
    frames = make_notes(data_size);
}

/* How many words a frame of that number has. */
static inline size_t
words_of(uint64_t number)
{
    return 1 + number * 37 % (usual.size / sizeof(uint64_t));
}

static inline void
fill(const shx_frame *frame, uint64_t number)
{
    uint64_t *words = shx_broadcast_bytes(&cast, frame);
    for (size_t i = 0; i < words_of(number); i++) {
        words[i] = number;
    }
}

static inline bool
is_whole(const shx_frame *frame)
{
    const uint64_t *words = shx_broadcast_bytes(&cast, frame);
    size_t count = words_of(frame->seq);
    bool whole = frame->length == count * sizeof *words;
    for (size_t i = 0; whole && i < count; i++) {
        whole = words[i] == frame->seq;
    }
    return whole;
}

/* One more frame, by whoever this process is; its number is its seq. */
static inline shx_err
reserve_next(shx_frame *out)
{
    shx_member me = me_in(cast.party);
    shx_err err = shx_broadcast_reserve(&cast, &me, usual.size, out);
    if (err == 0) {
        fill(out, cast.next);
        out->length = words_of(cast.next) * sizeof(uint64_t);
    }
    return err;
}

static inline shx_err
publish(shx_frame *frame)
{
    shx_member me = me_in(cast.party);
    return shx_broadcast_publish(&cast, &me, frame);
}

static inline void
publish_next(void)
{
    shx_frame frame;
    CHECK(reserve_next(&frame) == 0);
    CHECK(publish(&frame) == 0);
}

static inline shx_err
receive(shx_reader *reader, int64_t timeout, shx_frame *out)
{
    shx_member me = me_in(cast.party);
    shx_patience patience = shx_patience_for(timeout, NULL, NULL);
    return shx_broadcast_receive(&cast, &me, reader, out,
                                 timeout == 0 ? NULL : &patience);
}

static inline void
give(const shx_frame *frame)
{
    shx_member me = me_in(cast.party);
    shx_broadcast_give(&cast, &me, frame);
}

static inline shx_err
resign(void)
{
    shx_member me = me_in(cast.party);
    return shx_broadcast_resign(&cast, &me);
}

static shx_frame held[8];

static inline unsigned
count_held(void)
{
    return shx_broadcast_look(&cast).held;
}

/* By a reader that has had none. */
static inline shx_frame
newest(void)
{
    shx_frame frame;
    shx_reader anybody = {0};
    CHECK(receive(&anybody, 0, &frame) == 0);
    CHECK(is_whole(&frame));
    return frame;
}

static inline void
hold_all(void)
{
    for (unsigned i = 0; i < usual.readers; i++) {
        publish_next();
        held[i] = newest();
    }
}

static inline void
give_all(void)
{
    for (unsigned i = 0; i < usual.readers; i++) {
        CHECK(is_whole(&held[i]));
        give(&held[i]);
    }
}

static inline void
publish_many(void)
{
    for (int i = 0; i < 50; i++) {
        publish_next();
    }
}

#endif

/* SPDX-License-Identifier: MIT */
/* Frames out. */
#include "core/channels/broadcast_words.h"

#include <errno.h>

/* The seq after all that were published. Who published the last one may have
 * died before it said that this is the newest. */
static shx_err
go_on(shx_broadcast *cast)
{
    uint64_t last = 0;
    for (uint64_t i = 0; i < cast->shape.depth; i++) {
        uint64_t entry = atomic_load(&cast->entries[i]);
        if (entry != 0 && !shx_is_entry(cast, entry, i)) {
            return SHX_DAMAGED;
        }
        last = shx_seq_of(entry) > last ? shx_seq_of(entry) : last;
    }
    if (atomic_load(&cast->front->newest) != last) {
        atomic_store(&cast->front->newest, last);
        shx_broadcast_wake(cast);
    }
    cast->next = last + 1;
    return 0;
}

static shx_err
become_writer(shx_broadcast *cast, const shx_member *me)
{
    shx_err err = shx_lock_try(&cast->writer, me, SHX_TORN_TELLS);
    if (err != 0) {
        return err == EAGAIN ? SHX_SECOND_WRITER : err;
    }
    err = go_on(cast);
    if (err != 0) {
        (void)shx_lock_release(&cast->writer, me);
        return err;
    }
    atomic_store(&cast->writing, me->token);
    return 0;
}

/* A block of which nobody speaks, the first one: few are ever touched where
 * few are held. There is one, whatever is written there: so many words cannot
 * speak of all. */
static unsigned
find_block(const shx_broadcast *cast)
{
    uint64_t taken[SHX_MOST_BLOCKS / 64] = {0};
    unsigned block = 0;
    for (unsigned i = 0; i < cast->shape.depth; i++) {
        uint64_t entry = atomic_load(&cast->entries[i]);
        block = entry == 0 ? cast->blocks : shx_block_of(entry);
        if (block < cast->blocks) {
            taken[block / 64] |= UINT64_C(1) << block % 64;
        }
    }
    for (unsigned i = 0; i < shx_broadcast_slots(cast); i++) {
        uint64_t slot = atomic_load(&cast->slots[i]);
        block = slot == 0 ? cast->blocks : shx_held_block(slot);
        if (block < cast->blocks) {
            taken[block / 64] |= UINT64_C(1) << block % 64;
        }
    }
    for (block = 0; (taken[block / 64] >> block % 64 & 1) != 0; block++) {
    }
    return block;
}

/* Of the threads that have this handle one writes at a time. What its parent
 * writes is none of a child's. */
static bool
begin(shx_broadcast *cast, const shx_member *me)
{
    uint32_t by = atomic_load(&cast->reserving);
    return by != me->token &&
           atomic_compare_exchange_strong(&cast->reserving, &by, me->token);
}

shx_err
shx_broadcast_reserve(shx_broadcast *cast, const shx_member *me,
                      uint64_t length, shx_frame *out)
{
    if (length > cast->shape.size) {
        return EMSGSIZE;
    }
    if (!begin(cast, me)) {
        return EBUSY;
    }
    shx_err err =
        atomic_load(&cast->writing) == me->token ? 0 : become_writer(cast, me);
    if (err == 0 && cast->next >= SHX_LAST_SEQ) {
        err = SHX_DAMAGED;
    }
    if (err != 0) {
        atomic_store(&cast->reserving, 0);
        return err;
    }
    *out = (shx_frame){
        .length = length, .block = find_block(cast), .token = me->token};
    return 0;
}

bool
shx_broadcast_is_furnished(const shx_broadcast *cast, const shx_frame *frame)
{
    return (cast->furnished[frame->block / 64] >> frame->block % 64 & 1) != 0;
}

shx_err
shx_broadcast_furnish(shx_broadcast *cast, const shx_frame *frame)
{
    void *bytes = shx_broadcast_bytes(cast, frame);
    size_t size = (size_t)cast->stride;
    shx_err err = shx_os_populate(bytes, size, true);
    if (err == SHX_NO_POPULATE) {
        err = shx_os_overwrite(bytes, size);
    }
    if (err == EFAULT) { /* what little there was is for others */
        shx_os_discard(bytes, size);
        return ENOSPC;
    }
    if (err != 0 && err != ENOENT) {
        return err;
    }
    cast->furnished[frame->block / 64] |= UINT64_C(1) << frame->block % 64;
    return 0;
}

static bool
is_being_written(const shx_broadcast *cast, const shx_member *me,
                 const shx_frame *frame)
{
    return frame->token == me->token &&
           atomic_load(&cast->reserving) == me->token;
}

shx_err
shx_broadcast_publish(shx_broadcast *cast, const shx_member *me,
                      shx_frame *frame)
{
    if (!is_being_written(cast, me, frame)) {
        return SHX_NOT_OWNER;
    }
    uint64_t seq = cast->next++;
    atomic_store_explicit(&cast->lengths[frame->block], frame->length,
                          memory_order_relaxed);
    atomic_store(&cast->entries[seq % cast->shape.depth],
                 shx_entry_of(seq, frame->block));
    atomic_store(&cast->front->newest, seq);
    if (shx_is_waited(cast->watchers)) {
        shx_broadcast_wake(cast);
    }
    frame->seq = seq;
    atomic_store(&cast->reserving, 0);
    return 0;
}

void
shx_broadcast_abandon(shx_broadcast *cast, const shx_member *me,
                      const shx_frame *frame)
{
    if (is_being_written(cast, me, frame)) {
        atomic_store(&cast->reserving, 0);
    }
}

shx_err
shx_broadcast_resign(shx_broadcast *cast, const shx_member *me)
{
    if (!begin(cast, me)) {
        return EBUSY;
    }
    if (atomic_load(&cast->writing) == me->token) {
        atomic_store(&cast->writing, 0);
        (void)shx_lock_release(&cast->writer, me);
    }
    atomic_store(&cast->reserving, 0);
    return 0;
}

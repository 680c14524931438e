/* SPDX-License-Identifier: MIT */
#include "core/channels/broadcast_words.h"
#include "core/life/party_anchor.h" /* shx_party_prove_death */

static uint64_t
round_up(uint64_t size, uint64_t to)
{
    return (size + to - 1) / to * to;
}

static uint64_t
stride_of(const shx_broadcast_shape *shape)
{
    uint64_t size = shape->size == 0 ? 1 : shape->size;
    return round_up(size, SHX_BROADCAST_PAGE);
}

static unsigned
blocks_of(const shx_broadcast_shape *shape)
{
    return shape->depth + shape->readers + shape->heirs + 1;
}

/* Where each begins in the control. */
static size_t
lengths_at(const shx_broadcast_shape *shape)
{
    return SHX_BROADCAST_ENTRIES +
           (size_t)round_up(shape->depth * sizeof(uint64_t), 64);
}

static size_t
slots_at(const shx_broadcast_shape *shape)
{
    return lengths_at(shape) +
           (size_t)round_up(blocks_of(shape) * sizeof(uint64_t), 64);
}

bool
shx_broadcast_sizes(const shx_broadcast_shape *shape, size_t *control,
                    size_t *data)
{
    if (shape->readers == 0 || shape->readers >> SHX_READERS_BITS != 0 ||
        shape->heirs >> SHX_HEIRS_BITS != 0 || shape->depth == 0 ||
        shape->depth >> SHX_DEPTH_BITS != 0) {
        return false;
    }
    uint64_t most = (SIZE_MAX / 2 - SHX_BROADCAST_PAGE) / blocks_of(shape);
    if (shape->size > most || stride_of(shape) > most) {
        return false;
    }
    *control =
        slots_at(shape) + (shape->readers + shape->heirs) * sizeof(uint64_t);
    *data = SHX_BROADCAST_PAGE + (size_t)(stride_of(shape) * blocks_of(shape));
    return true;
}

static uint64_t
head_of(const shx_broadcast_shape *shape)
{
    uint32_t parameter = shape->readers | shape->heirs << SHX_READERS_BITS |
                         shape->depth << (SHX_READERS_BITS + SHX_HEIRS_BITS);
    return shx_cell_head_of(SHX_CELL_BROADCAST, parameter);
}

void
shx_broadcast_make(void *control, void *data, const shx_broadcast_shape *shape,
                   uint64_t pair)
{
    shx_broadcast_about *const abouts[] = {control, data};
    for (int i = 0; i < 2; i++) {
        atomic_store(&abouts[i]->size, shape->size);
        atomic_store(&abouts[i]->pair, pair);
        atomic_store(&abouts[i]->head, head_of(shape));
    }
}

shx_err
shx_broadcast_read(const void *data, size_t size, shx_broadcast_shape *shape,
                   uint64_t *pair)
{
    const shx_broadcast_about *about = data;
    if (size < SHX_BROADCAST_PAGE) {
        return SHX_TOO_SMALL;
    }
    shx_cell_head head = shx_cell_read(data);
    if (head.kind != SHX_CELL_BROADCAST || head.version != SHX_CELL_VERSION) {
        return SHX_FOREIGN;
    }
    unsigned rest = head.parameter >> SHX_READERS_BITS;
    shx_broadcast_shape found = {
        .size = atomic_load(&about->size),
        .readers = head.parameter & ((1u << SHX_READERS_BITS) - 1),
        .heirs = rest & ((1u << SHX_HEIRS_BITS) - 1),
        .depth = rest >> SHX_HEIRS_BITS,
    };
    size_t control_size, data_size;
    if (!shx_broadcast_sizes(&found, &control_size, &data_size)) {
        return SHX_FOREIGN;
    }
    if (data_size > size) {
        return SHX_TOO_SMALL;
    }
    *shape = found;
    *pair = atomic_load(&about->pair);
    return 0;
}

static void
place(char *control, shx_broadcast *out)
{
    const shx_broadcast_shape *shape = &out->shape;
    out->writer = (shx_site){.cell = (void *)(control + SHX_BROADCAST_WRITER),
                             .party = out->party,
                             .parameter = SHX_IGNORES_DEATH};
    out->watchers = (void *)(control + SHX_BROADCAST_WATCHERS);
    out->front = (void *)(control + SHX_BROADCAST_FRONT);
    out->entries = (void *)(control + SHX_BROADCAST_ENTRIES);
    out->lengths = (void *)(control + lengths_at(shape));
    out->slots = (void *)(control + slots_at(shape));
    out->stride = stride_of(shape);
    out->blocks = blocks_of(shape);
}

shx_err
shx_broadcast_open(void *control, size_t control_size, const void *data,
                   size_t data_size, shx_party *party, shx_broadcast *out)
{
    const shx_broadcast_about *about = control;
    shx_broadcast_shape shape;
    uint64_t pair;
    size_t needed = 0;
    shx_err err = shx_broadcast_read(data, data_size, &shape, &pair);
    if (err != 0) {
        return err;
    }
    (void)shx_broadcast_sizes(&shape, &needed, &data_size);
    if (control_size < needed) {
        return SHX_TOO_SMALL;
    }
    if (atomic_load(&about->head) != head_of(&shape) ||
        atomic_load(&about->pair) != pair) {
        return SHX_FOREIGN;
    }
    *out = (shx_broadcast){.party = party,
                           .shape = shape,
                           .data = (unsigned char *)(uintptr_t)data,
                           .bequest.tell = shx_broadcast_bequeath};
    place(control, out);
    shx_party_bequeath(party, &out->bequest);
    return 0;
}

void
shx_broadcast_close(shx_broadcast *cast)
{
    shx_party_disinherit(cast->party, &cast->bequest);
}

shx_broadcast_state
shx_broadcast_look(const shx_broadcast *cast)
{
    shx_broadcast_state state = {.newest = atomic_load(&cast->front->newest)};
    for (unsigned i = 0; i < shx_broadcast_slots(cast); i++) {
        uint64_t slot = atomic_load(&cast->slots[i]);
        state.held += slot != 0;
        state.pinned += (slot & SHX_PINNED) != 0;
    }
    return state;
}

/* Frees what the dead hold; and who had our number, and another nonce, is dead
 * as well. */
unsigned
shx_broadcast_reap(shx_broadcast *cast, const shx_member *me,
                   shx_death_proof is_dead)
{
    unsigned freed = 0;
    uint32_t alive = 0;
    for (unsigned i = 0; i < shx_broadcast_slots(cast); i++) {
        uint64_t slot = atomic_load(&cast->slots[i]);
        uint32_t token = shx_slot_token(slot);
        if (slot == 0 || (slot & SHX_PINNED) != 0 ||
            (token != 0 && token == alive)) {
            continue;
        }
        bool ours = token == me->token;
        bool dead = token == 0 || (ours ? !shx_is_hold_of(slot, me)
                                        : is_dead(cast->party, token));
        alive = dead || ours ? alive : token;
        freed +=
            dead && atomic_compare_exchange_strong(&cast->slots[i], &slot, 0);
    }
    return freed;
}

/* What the child has of that block it has once for each of ours, up to the
 * slot `last`: so it matters not that each handle of a process does it all. */
static bool
has_enough(const shx_broadcast *cast, unsigned last, const shx_member *me,
           const shx_member *child)
{
    int missing = 0;
    unsigned block = shx_held_block(atomic_load(&cast->slots[last]));
    for (unsigned i = 0; i < shx_broadcast_slots(cast); i++) {
        uint64_t slot = atomic_load(&cast->slots[i]);
        if (shx_held_block(slot) == block) {
            missing += i <= last && shx_is_hold_of(slot, me);
            missing -= shx_is_hold_of(slot, child);
        }
    }
    return missing <= 0;
}

static bool
claim_for(shx_broadcast *cast, unsigned block, const shx_member *child)
{
    unsigned hint = 0, readers = cast->shape.readers;
    uint64_t hold = shx_hold_of(child, block, SHX_HEIR);
    return shx_slots_claim(cast->slots + readers, cast->shape.heirs, hold,
                           &hint) ||
           shx_slots_claim(cast->slots, readers, hold, &hint);
}

static bool
claim_or_reap(shx_broadcast *cast, unsigned block, const shx_member *me,
              const shx_member *child)
{
    if (claim_for(cast, block, child)) {
        return true;
    }
    (void)shx_broadcast_reap(cast, me, shx_party_prove_death);
    return claim_for(cast, block, child); /* or others have freed some */
}

/* Before this process forks, with the mutex of its parties. What is given back
 * meanwhile, by another thread, is not pinned. */
void
shx_broadcast_bequeath(shx_bequest *bequest, const shx_member *me,
                       const shx_member *child)
{
    shx_broadcast *cast = (shx_broadcast *)(void *)bequest;
    for (unsigned i = 0; i < shx_broadcast_slots(cast); i++) {
        uint64_t slot = atomic_load(&cast->slots[i]);
        if (!shx_is_hold_of(slot, me) ||
            (child != NULL &&
             (has_enough(cast, i, me, child) ||
              claim_or_reap(cast, shx_held_block(slot), me, child)))) {
            continue;
        }
        (void)atomic_compare_exchange_strong(&cast->slots[i], &slot,
                                             slot | SHX_PINNED);
    }
}

/* SPDX-License-Identifier: MIT */
#include "core/sync/slots.h"

bool
shx_slots_claim(shx_slot *slots, unsigned count, uint64_t value,
                unsigned *hint)
{
    for (unsigned i = 0, at = *hint < count ? *hint : 0; i < count; i++) {
        uint64_t free_one = 0;
        if (atomic_load_explicit(&slots[at], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&slots[at], &free_one, value)) {
            *hint = at;
            return true;
        }
        at = at + 1 == count ? 0 : at + 1;
    }
    return false;
}

bool
shx_slots_drop(shx_slot *slots, unsigned count, uint64_t value, unsigned hint)
{
    for (unsigned i = 0, at = hint < count ? hint : 0; i < count; i++) {
        uint64_t ours = value;
        if (atomic_load_explicit(&slots[at], memory_order_relaxed) == value &&
            atomic_compare_exchange_strong(&slots[at], &ours, 0)) {
            return true;
        }
        at = at + 1 == count ? 0 : at + 1;
    }
    return false;
}

/* Neighbours often are one party's: it is asked once. */
unsigned
shx_slots_reap(shx_slot *slots, unsigned count, shx_party *party)
{
    unsigned freed = 0;
    uint32_t alive = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t value = atomic_load(&slots[i]);
        uint32_t token = shx_slot_token(value);
        if (value == 0 || (token != 0 && token == alive)) {
            continue;
        }
        if (token != 0 && !shx_party_is_dead(party, token)) {
            alive = token;
        }
        else if (atomic_compare_exchange_strong(&slots[i], &value, 0)) {
            freed++;
        }
    }
    return freed;
}

unsigned
shx_slots_count(const shx_slot *slots, unsigned count)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < count; i++) {
        taken += atomic_load_explicit(&slots[i], memory_order_relaxed) != 0;
    }
    return taken;
}

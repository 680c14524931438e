/* SPDX-License-Identifier: MIT */
/* Notifications: to whom they go, at first, and when that one dies. */
#include "core/sync/condition_slot.h"

bool
shx_condition_is_lost(const shx_condition *condition, uint64_t who)
{
    return (who & SHX_GONE) != 0 ||
           shx_party_is_dead(condition->at.party, shx_slot_token(who));
}

unsigned
shx_condition_lost_grant(const shx_condition *condition, unsigned slot)
{
    for (; slot < shx_condition_slots(condition); slot++) {
        uint64_t who =
            atomic_load(&shx_condition_slot_at(condition, slot)->who);
        if ((who & SHX_GRANTED) != 0 &&
            shx_condition_is_lost(condition, who)) {
            break;
        }
    }
    return slot;
}

unsigned
shx_condition_twin(const shx_condition *condition, unsigned slot,
                   uint32_t stamp)
{
    for (unsigned i = 0; i < shx_condition_slots(condition); i++) {
        shx_condition_slot *other = shx_condition_slot_at(condition, i);
        if (i != slot && (atomic_load(&other->who) & SHX_GRANTED) != 0 &&
            atomic_load(&other->stamp) == stamp) {
            return i;
        }
    }
    return SHX_NOBODY;
}

/* Who waits since before `stamp`, and longest. */
static unsigned
find_first(const shx_condition *condition, uint32_t stamp, uint64_t *who)
{
    unsigned best = SHX_NOBODY;
    uint32_t since = stamp;
    for (unsigned i = 0; i < shx_condition_slots(condition); i++) {
        shx_condition_slot *slot = shx_condition_slot_at(condition, i);
        uint64_t is = atomic_load(&slot->who);
        uint32_t order = atomic_load(&slot->order);
        if (is != 0 && (is & (SHX_GRANTED | SHX_GONE)) == 0 &&
            shx_condition_is_before(order, since)) {
            best = i;
            since = order;
            *who = is;
        }
    }
    return best;
}

/* Nobody else writes a slot while we have the lock, but who is gone: so the
 * rounds end, unless these bytes are written by somebody who has no business
 * here. */
static unsigned
most_rounds(const shx_condition *condition)
{
    return 2 * shx_condition_slots(condition) + 2;
}

/* It sleeps on the lock from now on, and whoever releases that wakes it. */
static bool
move_to_lock(const shx_condition *condition, shx_condition_slot *slot,
             uint32_t seen)
{
    bool moved = false;
    (void)shx_os_requeue(shx_slot_word(&slot->who), seen,
                         &condition->lock.cell->word, &moved);
    if (moved) {
        shx_lock_expect_waiter(&condition->lock);
    }
    return moved;
}

/* Whoever did not sleep is awake, and will see it, or is dead. */
bool
shx_condition_grant(const shx_condition *condition, uint32_t stamp,
                    unsigned from)
{
    for (unsigned rounds = most_rounds(condition); rounds > 0; rounds--) {
        uint64_t who = 0;
        unsigned best = find_first(condition, stamp, &who);
        if (best == SHX_NOBODY) {
            break;
        }
        shx_condition_slot *slot = shx_condition_slot_at(condition, best);
        atomic_store(&slot->stamp, stamp);
        if (!atomic_compare_exchange_strong(&slot->who, &who,
                                            who | SHX_GRANTED)) {
            continue;
        }
        shx_condition_clear(condition, from);
        who |= SHX_GRANTED;
        if (move_to_lock(condition, slot, (uint32_t)who) ||
            !shx_condition_is_lost(condition, atomic_load(&slot->who))) {
            return true;
        }
        from = best;
    }
    shx_condition_clear(condition, from);
    return false;
}

void
shx_condition_grant_on(const shx_condition *condition)
{
    for (unsigned slot = 0;; slot++) {
        slot = shx_condition_lost_grant(condition, slot);
        if (slot == shx_condition_slots(condition)) {
            return;
        }
        uint32_t stamp =
            atomic_load(&shx_condition_slot_at(condition, slot)->stamp);
        if (shx_condition_twin(condition, slot, stamp) != SHX_NOBODY) {
            shx_condition_clear(condition, slot);
        }
        else {
            (void)shx_condition_grant(condition, stamp, slot);
        }
    }
}

void
shx_condition_notify(const shx_condition *condition, uint64_t count)
{
    while (count > 0 &&
           shx_condition_grant(condition, shx_condition_number(condition),
                               SHX_NOBODY)) {
        count--;
    }
}

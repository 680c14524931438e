/* SPDX-License-Identifier: MIT */
#include "core/sync/condition.h"

#include <errno.h>

#include "core/sync/rlock.h"
#include "core/sync/slots.h"

#define GRANTED (UINT32_C(1) << 31)
#define GONE (UINT32_C(1) << 30)

typedef struct {
    shx_slot who;
    shx_word order;
    shx_word stamp;
} slot_type;

static const unsigned nobody = UINT32_MAX;

static unsigned
count_of(uint32_t parameter)
{
    return parameter & ~(SHX_IGNORES_DEATH | SHX_CONDITION_HAS_LOCK);
}

static unsigned
slots(const shx_condition *condition)
{
    return count_of(condition->at.parameter);
}

static slot_type *
get(const shx_condition *condition, unsigned slot)
{
    shx_cell *cell = condition->at.cell;
    return (slot_type *)(void *)(cell + 2) + slot;
}

/* Its number says when: wraps, and so is compared by the difference. */
static uint32_t
next_number(const shx_condition *condition)
{
    return atomic_fetch_add(&condition->at.cell->word, 1) + 1;
}

static bool
is_before(uint32_t one, uint32_t other)
{
    return (int32_t)(one - other) < 0;
}

size_t
shx_condition_size(uint32_t parameter)
{
    const size_t alignment = SHX_CELL_ALIGNMENT;
    unsigned count = count_of(parameter);
    if (count == 0 || count > SHX_CONDITION_MOST_WAITERS) {
        return 0;
    }
    size_t size = 2 * sizeof(shx_cell) + count * sizeof(slot_type);
    return (size + alignment - 1) / alignment * alignment;
}

shx_err
shx_condition_me(const shx_condition *condition, shx_waiter *me)
{
    shx_err err = shx_party_me(condition->at.party, &me->here);
    return err != 0 ? err : shx_party_me(condition->lock.party, &me->there);
}

uint32_t
shx_condition_depth(const shx_condition *condition, const shx_waiter *me)
{
    return condition->recursive
               ? shx_rlock_depth(&condition->lock, &me->there)
               : shx_lock_is_ours(&condition->lock, &me->there);
}

/* Grants */

static bool
is_lost(const shx_condition *condition, uint64_t who)
{
    return (who & GONE) != 0 ||
           shx_party_is_dead(condition->at.party, shx_slot_token(who));
}

/* From `slot` on, one whose notification nobody will receive: the number of
 * slots if there is none. */
static unsigned
find_lost_grant(const shx_condition *condition, unsigned slot)
{
    for (; slot < slots(condition); slot++) {
        uint64_t who = atomic_load(&get(condition, slot)->who);
        if ((who & GRANTED) != 0 && is_lost(condition, who)) {
            break;
        }
    }
    return slot;
}

/* Another one that has the same notification. */
static unsigned
find_twin(const shx_condition *condition, unsigned slot, uint32_t stamp)
{
    for (unsigned i = 0; i < slots(condition); i++) {
        slot_type *other = get(condition, i);
        if (i != slot && (atomic_load(&other->who) & GRANTED) != 0 &&
            atomic_load(&other->stamp) == stamp) {
            return i;
        }
    }
    return nobody;
}

/* Who waits since before `stamp`, and longest. */
static unsigned
find_first(const shx_condition *condition, uint32_t stamp, uint64_t *who)
{
    unsigned best = nobody;
    uint32_t since = stamp;
    for (unsigned i = 0; i < slots(condition); i++) {
        slot_type *slot = get(condition, i);
        uint64_t is = atomic_load(&slot->who);
        uint32_t order = atomic_load(&slot->order);
        if (is != 0 && (is & (GRANTED | GONE)) == 0 &&
            is_before(order, since)) {
            best = i;
            since = order;
            *who = is;
        }
    }
    return best;
}

static void
clear(const shx_condition *condition, unsigned slot)
{
    if (slot != nobody) {
        atomic_store(&get(condition, slot)->who, 0);
    }
}

/* Nobody else writes a slot while we have the lock, but who is gone: so the
 * rounds end, unless these bytes are written by somebody who has no business
 * here. */
static unsigned
most_rounds(const shx_condition *condition)
{
    return 2 * slots(condition) + 2;
}

/* It sleeps on the lock from now on, and whoever releases that wakes it. */
static bool
move_to_lock(const shx_condition *condition, slot_type *slot, uint32_t seen)
{
    bool moved = false;
    (void)shx_os_requeue(shx_slot_word(&slot->who), seen,
                         &condition->lock.cell->word, &moved);
    if (moved) {
        shx_lock_expect_waiter(&condition->lock);
    }
    return moved;
}

/* That notification to the first who waits for it, instead of to slot `from`
 * if there is that, which is free then. Whoever did not sleep is awake, and
 * will see it, or is dead. False: nobody waits for it. */
static bool
grant(const shx_condition *condition, uint32_t stamp, unsigned from)
{
    for (unsigned rounds = most_rounds(condition); rounds > 0; rounds--) {
        uint64_t who = 0;
        unsigned best = find_first(condition, stamp, &who);
        if (best == nobody) {
            break;
        }
        slot_type *slot = get(condition, best);
        atomic_store(&slot->stamp, stamp);
        if (!atomic_compare_exchange_strong(&slot->who, &who, who | GRANTED)) {
            continue;
        }
        clear(condition, from);
        who |= GRANTED;
        if (move_to_lock(condition, slot, (uint32_t)who) ||
            !is_lost(condition, atomic_load(&slot->who))) {
            return true;
        }
        from = best;
    }
    clear(condition, from);
    return false;
}

/* What the dead were granted, and did not receive, others are. */
static void
grant_on(const shx_condition *condition)
{
    for (unsigned slot = 0;; slot++) {
        slot = find_lost_grant(condition, slot);
        if (slot == slots(condition)) {
            return;
        }
        uint32_t stamp = atomic_load(&get(condition, slot)->stamp);
        if (find_twin(condition, slot, stamp) != nobody) {
            clear(condition, slot);
        }
        else {
            (void)grant(condition, stamp, slot);
        }
    }
}

void
shx_condition_notify(const shx_condition *condition, uint64_t count)
{
    while (count > 0 && grant(condition, next_number(condition), nobody)) {
        count--;
    }
}

/* Waiting */

static unsigned
find_free(const shx_condition *condition)
{
    for (unsigned i = 0; i < slots(condition); i++) {
        if (atomic_load(&get(condition, i)->who) == 0) {
            return i;
        }
    }
    return nobody;
}

/* The slots of the dead are free, and what they were granted is not lost. */
static void
reap(const shx_condition *condition)
{
    uint32_t alive = 0;
    grant_on(condition);
    for (unsigned i = 0; i < slots(condition); i++) {
        uint64_t who = atomic_load(&get(condition, i)->who);
        if (who == 0 || (who & GRANTED) != 0) {
            continue;
        }
        if ((who & GONE) == 0 && shx_slot_token(who) == alive) {
            continue;
        }
        if (is_lost(condition, who)) {
            clear(condition, i);
        }
        else {
            alive = shx_slot_token(who);
        }
    }
}

shx_err
shx_condition_enter(const shx_condition *condition, const shx_waiter *me,
                    unsigned *slot)
{
    unsigned found = find_free(condition);
    if (found == nobody) {
        reap(condition);
        found = find_free(condition);
    }
    if (found == nobody) {
        return SHX_TOO_MANY;
    }
    slot_type *mine = get(condition, found);
    atomic_store(&mine->order, next_number(condition));
    atomic_store(&mine->who, shx_slot_of(&me->here, 0));
    *slot = found;
    return 0;
}

shx_err
shx_condition_let_go(const shx_condition *condition, const shx_waiter *me,
                     uint32_t *depth)
{
    *depth = 1;
    return condition->recursive
               ? shx_rlock_release_all(&condition->lock, &me->there, depth)
               : shx_lock_release(&condition->lock, &me->there);
}

/* Is there a notification that the dead will not receive, and we may? */
static bool
may_inherit(const shx_condition *condition, unsigned slot)
{
    uint32_t since = atomic_load(&get(condition, slot)->order);
    for (unsigned i = 0;; i++) {
        i = find_lost_grant(condition, i);
        if (i == slots(condition)) {
            return false;
        }
        if (is_before(since, atomic_load(&get(condition, i)->stamp))) {
            return true;
        }
    }
}

shx_err
shx_condition_sleep(const shx_condition *condition, unsigned slot,
                    shx_patience *patience)
{
    unsigned rounds = 0;
    const shx_word *word = shx_slot_word(&get(condition, slot)->who);
    for (;;) {
        uint32_t seen = atomic_load(word);
        if ((seen & GRANTED) != 0) {
            return 0;
        }
        shx_err err =
            shx_nap(patience, word, seen, &condition->at.cell->watch);
        if (err == 0) {
            err = shx_patience_spin(patience, &rounds);
        }
        else if (err == SHX_SLICE_OVER) {
            if (may_inherit(condition, slot)) {
                return 0;
            }
            err = 0;
        }
        if (err != 0) {
            return err;
        }
    }
}

/* Has just taken the word. */
static void
own(const shx_condition *condition, const shx_waiter *me, uint32_t depth)
{
    if (condition->recursive) {
        shx_rlock_own(&condition->lock, &me->there, depth);
    }
}

shx_err
shx_condition_relock(const shx_condition *condition, const shx_waiter *me,
                     uint32_t depth, shx_patience *patience)
{
    shx_err err = shx_lock_acquire_again(&condition->lock, &me->there,
                                         SHX_TORN_REPAIRS, patience);
    if (err == 0 || err == SHX_OWNER_DIED) {
        own(condition, me, depth);
    }
    return err;
}

shx_err
shx_condition_retake(const shx_condition *condition, const shx_waiter *me,
                     uint32_t depth)
{
    if (shx_lock_is_ours(&condition->lock, &me->there)) {
        return EAGAIN; /* another thread's, or another task's */
    }
    shx_err err = shx_lock_try(&condition->lock, &me->there, SHX_TORN_REPAIRS);
    if (err == 0 || err == SHX_OWNER_DIED) {
        own(condition, me, depth);
        shx_lock_expect_waiter(&condition->lock);
    }
    return err;
}

static bool
is_ours(const shx_condition *condition, const shx_waiter *me, unsigned slot)
{
    uint64_t who = atomic_load(&get(condition, slot)->who);
    return (who & ~(uint64_t)GRANTED) == shx_slot_of(&me->here, 0);
}

static bool
is_granted(const shx_condition *condition, unsigned slot)
{
    return (atomic_load(&get(condition, slot)->who) & GRANTED) != 0;
}

shx_err
shx_condition_leave(const shx_condition *condition, const shx_waiter *me,
                    unsigned slot, shx_leaving how, bool *notified)
{
    *notified = false;
    if (!is_granted(condition, slot)) {
        grant_on(condition);
    }
    if (!is_ours(condition, me, slot)) {
        /* Somebody has written here who has no business to. */
        return how == SHX_LEAVES_NOTIFIED ? EAGAIN : 0;
    }
    if (!is_granted(condition, slot)) {
        if (how == SHX_LEAVES_NOTIFIED) {
            return EAGAIN;
        }
        clear(condition, slot);
        return 0;
    }
    uint32_t stamp = atomic_load(&get(condition, slot)->stamp);
    if (how == SHX_LEAVES_FAILED) {
        (void)grant(condition, stamp, slot);
        return 0;
    }
    /* Before ours: who is killed between must leave one of them. */
    clear(condition, find_twin(condition, slot, stamp));
    clear(condition, slot);
    *notified = true;
    return 0;
}

void
shx_condition_abandon(const shx_condition *condition, const shx_waiter *me,
                      unsigned slot)
{
    if (is_ours(condition, me, slot)) {
        atomic_fetch_or(&get(condition, slot)->who, (uint64_t)GONE);
    }
}

/* The lock again, whatever happens: who is interrupted meanwhile is not asked
 * a second time. */
static shx_err
come_back(const shx_condition *condition, const shx_waiter *me, uint32_t depth,
          shx_err slept, const shx_patience *patience)
{
    bool asks = slept != SHX_INTERRUPTED;
    shx_patience relock =
        shx_patience_for(-1, asks ? patience->poll : NULL, patience->context);
    shx_err err = shx_condition_relock(condition, me, depth, &relock);
    if (err == SHX_INTERRUPTED) {
        relock.poll = NULL;
        err = shx_condition_relock(condition, me, depth, &relock);
        if (err == 0 || err == SHX_OWNER_DIED) {
            err = SHX_INTERRUPTED;
        }
    }
    return err;
}

shx_err
shx_condition_wait(const shx_condition *condition, const shx_waiter *me,
                   shx_patience *patience)
{
    unsigned slot;
    uint32_t depth;
    bool notified;
    if (shx_condition_depth(condition, me) == 0) {
        return SHX_NOT_OWNER;
    }
    shx_err err = shx_condition_enter(condition, me, &slot);
    if (err != 0) {
        return err;
    }
    for (;;) {
        err = shx_condition_let_go(condition, me, &depth);
        if (err != 0) {
            shx_condition_abandon(condition, me, slot);
            return err;
        }
        shx_err slept = shx_condition_sleep(condition, slot, patience);
        err = come_back(condition, me, depth, slept, patience);
        if (err != 0 && err != SHX_OWNER_DIED && err != SHX_INTERRUPTED) {
            shx_condition_abandon(condition, me, slot);
            return err;
        }
        if (slept != 0 && slept != ETIMEDOUT) {
            err = slept;
        }
        shx_leaving how = err != 0     ? SHX_LEAVES_FAILED
                          : slept == 0 ? SHX_LEAVES_NOTIFIED
                                       : SHX_LEAVES;
        if (shx_condition_leave(condition, me, slot, how, &notified) == 0) {
            return err != 0 || notified ? err : ETIMEDOUT;
        }
    }
}

unsigned
shx_condition_count(const shx_condition *condition)
{
    unsigned count = 0;
    for (unsigned i = 0; i < slots(condition); i++) {
        uint64_t who = atomic_load(&get(condition, i)->who);
        count += who != 0 && (who & GONE) == 0;
    }
    return count;
}

/* SPDX-License-Identifier: MIT */
#include "core/sync/condition.h"

#include <errno.h>

#include "core/sync/condition_slot.h"
#include "core/sync/rlock.h"

size_t
shx_condition_size(uint32_t parameter)
{
    const size_t alignment = SHX_CELL_ALIGNMENT;
    unsigned count = shx_condition_slots_of(parameter);
    if (count == 0 || count > SHX_CONDITION_MOST_WAITERS) {
        return 0;
    }
    size_t size = 2 * sizeof(shx_cell) + count * sizeof(shx_condition_slot);
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

static unsigned
find_free(const shx_condition *condition)
{
    for (unsigned i = 0; i < shx_condition_slots(condition); i++) {
        if (atomic_load(&shx_condition_slot_at(condition, i)->who) == 0) {
            return i;
        }
    }
    return SHX_NOBODY;
}

/* The slots of the dead are free, and what they were granted is not lost. */
static void
reap(const shx_condition *condition)
{
    uint32_t alive = 0;
    shx_condition_grant_on(condition);
    for (unsigned i = 0; i < shx_condition_slots(condition); i++) {
        uint64_t who = atomic_load(&shx_condition_slot_at(condition, i)->who);
        if (who == 0 || (who & SHX_GRANTED) != 0) {
            continue;
        }
        if ((who & SHX_GONE) == 0 && shx_slot_token(who) == alive) {
            continue;
        }
        if (shx_condition_is_lost(condition, who)) {
            shx_condition_clear(condition, i);
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
    if (found == SHX_NOBODY) {
        reap(condition);
        found = find_free(condition);
    }
    if (found == SHX_NOBODY) {
        return SHX_TOO_MANY;
    }
    shx_condition_slot *mine = shx_condition_slot_at(condition, found);
    atomic_store(&mine->order, shx_condition_number(condition));
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
    uint32_t since =
        atomic_load(&shx_condition_slot_at(condition, slot)->order);
    for (unsigned i = 0;; i++) {
        i = shx_condition_lost_grant(condition, i);
        if (i == shx_condition_slots(condition)) {
            return false;
        }
        if (shx_condition_is_before(
                since,
                atomic_load(&shx_condition_slot_at(condition, i)->stamp))) {
            return true;
        }
    }
}

/* Who notified may be dead: before it had them moved onto the lock, or before
 * it released that. Those it notified sleep, and may do so for longer. */
static void
wake_granted(const shx_condition *condition)
{
    const shx_site *lock = &condition->lock;
    for (unsigned i = 0; i < shx_condition_slots(condition); i++) {
        shx_slot *who = &shx_condition_slot_at(condition, i)->who;
        if ((atomic_load(who) & SHX_GRANTED) != 0) {
            (void)shx_os_wake(shx_slot_word(who), 1);
        }
    }
    if (shx_party_is_dead(lock->party,
                          atomic_load(&lock->cell->word) & SHX_TOKEN)) {
        shx_lock_wake_all(lock);
    }
}

/* Whoever forks is another one in all memories. */
static bool
is_same(const shx_waiter *one, const shx_waiter *other)
{
    return shx_is_same_member(&one->here, &other->here) &&
           shx_is_same_member(&one->there, &other->there);
}

shx_err
shx_condition_sleep(const shx_condition *condition, const shx_waiter *me,
                    unsigned slot, shx_patience *patience)
{
    const shx_waiter was = *me;
    unsigned rounds = 0;
    const shx_word *word =
        shx_slot_word(&shx_condition_slot_at(condition, slot)->who);
    for (;;) {
        uint32_t seen = atomic_load(word);
        if ((seen & SHX_GRANTED) != 0) {
            return 0;
        }
        shx_err err =
            shx_nap(patience, word, seen, &condition->at.cell->watch);
        if (!is_same(&was, me)) {
            return err == SHX_INTERRUPTED ? err : SHX_FORKED;
        }
        if (err == 0) {
            err = shx_patience_spin(patience, &rounds);
        }
        else if (err == SHX_SLICE_OVER) {
            if (may_inherit(condition, slot)) {
                return 0;
            }
            wake_granted(condition);
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
    uint64_t who = atomic_load(&shx_condition_slot_at(condition, slot)->who);
    return (who & ~(uint64_t)SHX_GRANTED) == shx_slot_of(&me->here, 0);
}

static bool
is_granted(const shx_condition *condition, unsigned slot)
{
    return (atomic_load(&shx_condition_slot_at(condition, slot)->who) &
            SHX_GRANTED) != 0;
}

shx_err
shx_condition_leave(const shx_condition *condition, const shx_waiter *me,
                    unsigned slot, shx_leaving how, bool *notified)
{
    *notified = false;
    if (!is_granted(condition, slot)) {
        shx_condition_grant_on(condition);
    }
    if (!is_ours(condition, me, slot)) {
        /* Somebody has written here who has no business to. */
        return how == SHX_LEAVES_NOTIFIED ? EAGAIN : 0;
    }
    if (!is_granted(condition, slot)) {
        if (how == SHX_LEAVES_NOTIFIED) {
            return EAGAIN;
        }
        shx_condition_clear(condition, slot);
        return 0;
    }
    uint32_t stamp =
        atomic_load(&shx_condition_slot_at(condition, slot)->stamp);
    if (how == SHX_LEAVES_FAILED) {
        (void)shx_condition_grant(condition, stamp, slot);
        return 0;
    }
    /* Before ours: who is killed between must leave one of them. */
    shx_condition_clear(condition, shx_condition_twin(condition, slot, stamp));
    shx_condition_clear(condition, slot);
    *notified = true;
    return 0;
}

void
shx_condition_abandon(const shx_condition *condition, const shx_waiter *me,
                      unsigned slot)
{
    if (is_ours(condition, me, slot)) {
        atomic_fetch_or(&shx_condition_slot_at(condition, slot)->who,
                        (uint64_t)SHX_GONE);
    }
}

/* The lock again, whatever happens: who is interrupted meanwhile is not asked
 * a second time. Nobody can have it. */
static shx_err
come_back(const shx_condition *condition, const shx_waiter *me, uint32_t depth,
          shx_err slept, const shx_patience *patience)
{
    bool asks = slept != SHX_INTERRUPTED;
    shx_patience relock =
        shx_patience_for(-1, asks ? patience->poll : NULL, patience->context);
    if (me->there.token == 0) {
        return SHX_INTERRUPTED;
    }
    shx_err err = shx_condition_relock(condition, me, depth, &relock);
    if (err == SHX_INTERRUPTED && me->there.token != 0) {
        relock.poll = NULL;
        err = shx_condition_relock(condition, me, depth, &relock);
        if (err == 0 || err == SHX_OWNER_DIED) {
            err = SHX_INTERRUPTED;
        }
    }
    return err;
}

/* What one wait has. */
typedef struct {
    shx_waiter who; /* whose the slot is */
    unsigned slot;
    uint32_t order; /* its */
    uint32_t depth;
} stay;

static shx_err
enter(const shx_condition *condition, const shx_waiter *me, stay *has)
{
    shx_err err = shx_condition_enter(condition, me, &has->slot);
    if (err == 0) {
        has->who = *me;
        has->order =
            atomic_load(&shx_condition_slot_at(condition, has->slot)->order);
    }
    return err;
}

/* With the lock: does who has the slot wait as it did, and for all that we
 * know nobody was notified whom a child would come after? */
static bool
still_waits(const shx_condition *condition, const stay *has)
{
    const shx_condition_slot *slot =
        shx_condition_slot_at(condition, has->slot);
    return atomic_load(&slot->who) == shx_slot_of(&has->who.here, 0) &&
           atomic_load(&slot->order) == has->order;
}

/* A sleep is over, and this one has the lock again. EAGAIN: it sleeps on. */
static shx_err
conclude(const shx_condition *condition, const shx_waiter *me, stay *has,
         shx_err slept, shx_err err)
{
    bool notified;
    bool failed = slept != 0 && slept != ETIMEDOUT && slept != SHX_FORKED;
    if (failed) {
        err = slept;
    }
    if (!is_same(&has->who, me)) {
        if (err != 0) {
            return err;
        }
        if (slept == ETIMEDOUT || !still_waits(condition, has)) {
            return slept == ETIMEDOUT ? ETIMEDOUT : 0;
        }
        err = enter(condition, me, has);
        return err == 0 ? EAGAIN : err;
    }
    shx_leaving how = err != 0     ? SHX_LEAVES_FAILED
                      : slept == 0 ? SHX_LEAVES_NOTIFIED
                                   : SHX_LEAVES;
    if (shx_condition_leave(condition, me, has->slot, how, &notified) != 0) {
        return EAGAIN;
    }
    return err != 0 || notified ? err : ETIMEDOUT;
}

shx_err
shx_condition_wait(const shx_condition *condition, const shx_waiter *me,
                   shx_patience *patience)
{
    stay has;
    if (shx_condition_depth(condition, me) == 0) {
        return SHX_NOT_OWNER;
    }
    shx_err err = enter(condition, me, &has);
    while (err == 0) {
        err = shx_condition_let_go(condition, me, &has.depth);
        if (err != 0) {
            shx_condition_abandon(condition, me, has.slot);
            return err;
        }
        shx_err slept = shx_condition_sleep(condition, me, has.slot, patience);
        err = come_back(condition, me, has.depth, slept, patience);
        if (err != 0 && err != SHX_OWNER_DIED && err != SHX_INTERRUPTED) {
            shx_condition_abandon(condition, me, has.slot);
            return err;
        }
        err = conclude(condition, me, &has, slept, err);
        if (err != EAGAIN) {
            return err;
        }
        err = 0;
    }
    return err;
}

unsigned
shx_condition_count(const shx_condition *condition)
{
    unsigned count = 0;
    for (unsigned i = 0; i < shx_condition_slots(condition); i++) {
        uint64_t who = atomic_load(&shx_condition_slot_at(condition, i)->who);
        count += who != 0 && !shx_condition_is_lost(condition, who);
    }
    return count;
}

/* SPDX-License-Identifier: MIT */
/* A condition: processes wait, with a lock, until another one notifies them.
 *
 *   0    its cell; word: counts those who began to wait, and notifications
 *   64   the cell of an RLock, for one that has no lock from elsewhere
 *   128  slots, one for each that waits, 16 bytes:
 *
 *        who 64                                      order 32   stamp 32
 *        nonce 32 | GRANTED | GONE | 0 | token 29    since when  for which
 *
 *   0 --enter--> who --notify--> who|GRANTED --leave--> 0
 *                 |                  |
 *            (dies, or goes)    (dies, or goes)
 *                 |                  |
 *                 v                  v
 *            passed over        granted on to the next
 *
 * A waiter sleeps on the lower half of its own slot: so who notifies chooses
 * whom, the first of them, and wakes nobody else. It has the sleeper moved
 * onto the lock, whose release wakes it.
 *
 * Slots are changed by who has the lock alone; but who is gone says so without
 * it, by one bit, and from then on is as good as dead. A waiter gives its slot
 * back when it has the lock again. So a notification that was granted is one
 * of three at any time: it is received by who has the lock; its receiver lives
 * and is about to have the lock; or its receiver is dead, and the slot says
 * that. The last is granted on, in its order, by whoever next wants a slot or
 * gives one back; and a sleeper looks for it when a slice is over. It goes to
 * those alone who waited when it came: their order is below its stamp. No two
 * notifications have one stamp: two slots with one are those of somebody who
 * was killed while he granted it on, and it is received once.
 *
 * Its lock is torn if somebody dies with it, and tells. Who waits comes back
 * with the lock all the same.
 * tests/models/condition.pml is this, with a death between any two steps.
 */
#ifndef SHX_CONDITION_H
#define SHX_CONDITION_H

#include "core/sync/lock.h"

enum {
    SHX_CONDITION_MOST_WAITERS = 65535,
    SHX_CONDITION_LOCK = 64, /* where the RLock's cell is */
};

/* Beside SHX_IGNORES_DEATH in its parameter: its lock lies elsewhere. */
#define SHX_CONDITION_HAS_LOCK (UINT32_C(1) << 30)

/* Bytes of one with that parameter; 0: there is none. */
size_t shx_condition_size(uint32_t parameter);

typedef struct {
    shx_site at;
    shx_site lock;
    bool recursive; /* is that an RLock's? */
} shx_condition;

/* As who waits is known in the condition's memory, and in the lock's. */
typedef struct {
    shx_member here;
    shx_member there;
} shx_waiter;

shx_err shx_condition_me(const shx_condition *condition, shx_waiter *me);

/* How often does this thread have the lock? 0: not. */
uint32_t shx_condition_depth(const shx_condition *condition,
                             const shx_waiter *me);

/* What follows down to shx_condition_retake() is what a wait is made of, for
 * whoever cannot sleep in one call. */

/* A slot, for who has the lock. SHX_TOO_MANY wait. */
shx_err shx_condition_enter(const shx_condition *condition,
                            const shx_waiter *me, unsigned *slot);

/* Releases the lock, how often it was held. SHX_NOT_OWNER. */
shx_err shx_condition_let_go(const shx_condition *condition,
                             const shx_waiter *me, uint32_t *depth);

/* Takes nothing. 0: it is time to have the lock, and to leave. SHX_FORKED: the
 * slot is not this process's, see patience.h. Else the results of a nap that
 * ends it. */
shx_err shx_condition_sleep(const shx_condition *condition,
                            const shx_waiter *me, unsigned slot,
                            shx_patience *patience);

/* Has the lock again, as one who queued, so often. SHX_OWNER_DIED: has it, and
 * it is torn. SHX_INTERRUPTED. */
shx_err shx_condition_relock(const shx_condition *condition,
                             const shx_waiter *me, uint32_t depth,
                             shx_patience *patience);

/* The same without waiting: EAGAIN. */
shx_err shx_condition_retake(const shx_condition *condition,
                             const shx_waiter *me, uint32_t depth);

typedef enum {
    SHX_LEAVES_NOTIFIED, /* EAGAIN, and nothing has changed, if it is not */
    SHX_LEAVES,          /* notified or not */
    SHX_LEAVES_FAILED,   /* it receives none: another one does */
} shx_leaving;

/* Gives the slot back, with the lock. */
shx_err shx_condition_leave(const shx_condition *condition,
                            const shx_waiter *me, unsigned slot,
                            shx_leaving how, bool *notified);

/* Gives it back without the lock, and receives nothing. */
void shx_condition_abandon(const shx_condition *condition,
                           const shx_waiter *me, unsigned slot);

/* Waits with the lock, and comes back with it, on every error but EFAULT: its
 * page is lost. SHX_NOT_OWNER, SHX_TOO_MANY: it has not waited. ETIMEDOUT:
 * nobody notified it. SHX_INTERRUPTED; SHX_OWNER_DIED: the lock is torn.
 *
 * Who is a child by now, see patience.h, leaves its parent's slot alone: with
 * the lock, as itself, it takes one of its own, as the last, and waits on. If
 * its parent does not wait any more it may have missed what that was notified
 * of, and is as if notified. Who is nobody, and interrupted, has no lock. */
shx_err shx_condition_wait(const shx_condition *condition,
                           const shx_waiter *me, shx_patience *patience);

/* So many of those who wait, the first ones, for who has the lock. */
void shx_condition_notify(const shx_condition *condition, uint64_t count);

/* How many wait, and live. */
unsigned shx_condition_count(const shx_condition *condition);

#endif

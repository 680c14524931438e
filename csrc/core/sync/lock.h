/* SPDX-License-Identifier: MIT */
/* A lock is a word that says who owns it. Its owner is a process: any thread
 * of it may release what another has acquired.
 *
 *   31 WAITED | 30 TORN | 29 HUNGRY | 28 token 0
 *
 *   token    0: it is free
 *   WAITED   somebody may sleep on the word: who releases it wakes one
 *   TORN     its holder died inside: what it guards may be half written
 *   HUNGRY   somebody has waited for long: newcomers queue up, too
 *
 *   0 ---acquire---> token ---release---> 0
 *                      |
 *                 (dies)
 *                      |      +--<-- release, with an error -----------+
 *                      v      v                                        |
 *              found dead ---> TORN ---repair---> TORN|token ---release---> 0
 *                               |
 *                               +---acquire---> SHX_OWNER_DIED
 *
 * Invariants:
 *   1. Where there is a token its process holds the lock, or is dead. Only it
 *      changes that, or who has proven its death, by a compare-exchange from
 *      the very word that was proven: a dead token does not move.
 *   2. Who sleeps saw WAITED in the word that is compared.
 *   3. Who has slept takes the lock with WAITED, since others may sleep too.
 *   4. TORN goes when who holds it says that it has repaired, and never else.
 * tests/models/lock.pml is this, with a death between any two steps.
 *
 * A lock that ignores deaths is taken from the dead as if they had released
 * it: it is never TORN.
 *
 * Order in memory: acquire and release.
 */
#ifndef SHX_LOCK_H
#define SHX_LOCK_H

#include "core/sync/cell.h"
#include "core/sync/patience.h"

#define SHX_LOCK_WAITED (UINT32_C(1) << 31)
#define SHX_LOCK_TORN (UINT32_C(1) << 30)
#define SHX_LOCK_HUNGRY (UINT32_C(1) << 29)

/* Of the parameter of every kind that is a lock, or has one: deaths are
 * ignored. */
#define SHX_IGNORES_DEATH (UINT32_C(1) << 31)

/* Takes it if it is free, sound, and nobody waits: for nothing else. */
static inline bool
shx_lock_take(const shx_site *at, const shx_member *me)
{
    uint32_t none = 0;
    if (!atomic_compare_exchange_strong_explicit(
            &at->cell->word, &none, me->token, memory_order_acquire,
            memory_order_relaxed)) {
        return false;
    }
    atomic_store_explicit(
        &at->cell->pid,
        atomic_load_explicit(&at->party->pid, memory_order_relaxed),
        memory_order_relaxed);
    return true;
}

/* What an acquire is to do with a lock that is torn. */
typedef enum {
    SHX_TORN_TELLS,   /* SHX_OWNER_DIED, and the lock stays as it is */
    SHX_TORN_REPAIRS, /* takes it: it is held when SHX_OWNER_DIED is returned,
                       * and stays torn until it is mended */
} shx_torn;

/* Waits for it. ETIMEDOUT, SHX_INTERRUPTED; EFAULT: the page is lost. */
shx_err shx_lock_acquire(const shx_site *at, const shx_member *me,
                         shx_torn torn, shx_patience *patience);

/* The same for one who has slept already, as who was moved here: it does not
 * queue up behind the hungry, and leaves others asleep. */
shx_err shx_lock_acquire_again(const shx_site *at, const shx_member *me,
                               shx_torn torn, shx_patience *patience);

/* Waits until it may be had, and takes nothing. The rest is as above. */
shx_err shx_lock_await(const shx_site *at, const shx_member *me,
                       shx_patience *patience);

/* Does not wait. EAGAIN: it is held, by who is not proven dead. */
shx_err shx_lock_try(const shx_site *at, const shx_member *me, shx_torn torn);

/* The rest of the next: somebody may sleep, or it is not ours. */
shx_err shx_lock_release_watched(const shx_site *at, const shx_member *me);

/* SHX_NOT_OWNER: another process holds it, or nobody. What is torn stays so,
 * and everybody is told. */
static inline shx_err
shx_lock_release(const shx_site *at, const shx_member *me)
{
    uint32_t mine = me->token;
    return atomic_compare_exchange_strong_explicit(&at->cell->word, &mine, 0,
                                                   memory_order_release,
                                                   memory_order_relaxed)
               ? 0
               : shx_lock_release_watched(at, me);
}

/* The same, and it is torn from now on. */
shx_err shx_lock_release_torn(const shx_site *at, const shx_member *me);

/* As shx_lock_release(), but that all who sleep are woken: where those who
 * wait do not all take it. */
shx_err shx_lock_release_to_all(const shx_site *at, const shx_member *me);

/* Lets go for a moment, torn as it is, and wakes nobody. Who does not acquire
 * it again wakes all. */
void shx_lock_pause(const shx_site *at, const shx_member *me);
void shx_lock_wake_all(const shx_site *at);

/* Newcomers need not queue up any more. */
void shx_lock_calm(const shx_site *at);

/* Who holds it has repaired what it guards: it is sound from now on. */
static inline void
shx_lock_mend(const shx_site *at)
{
    atomic_fetch_and(&at->cell->word, ~SHX_LOCK_TORN);
}

/* Waits until it may be had, or something else has happened, for a slice at
 * most: takes nothing. The results are those of a nap. */
shx_err shx_lock_watch(const shx_site *at, shx_patience *patience);

/* Somebody sleeps on the word from now on, by shx_os_requeue(): who releases
 * it is to wake one. */
static inline void
shx_lock_expect_waiter(const shx_site *at)
{
    atomic_fetch_or(&at->cell->word, SHX_LOCK_WAITED);
}

static inline bool
shx_lock_is_ours(const shx_site *at, const shx_member *me)
{
    uint32_t word =
        atomic_load_explicit(&at->cell->word, memory_order_relaxed);
    return (word & SHX_TOKEN) == me->token;
}

static inline bool
shx_lock_is_free(const shx_site *at)
{
    uint32_t word =
        atomic_load_explicit(&at->cell->word, memory_order_relaxed);
    return (word & SHX_TOKEN) == 0;
}

/* For people: who it is that holds it, as it was at one moment. */
typedef struct {
    bool held;
    bool ours;
    bool dead; /* proven */
    bool torn;
    bool waited;     /* somebody may sleep */
    uint32_t pid;    /* of who holds it; 0: it does not say */
    uint32_t victim; /* of who died, if it is torn */
} shx_lock_state;

shx_lock_state shx_lock_look(const shx_site *at);

#endif

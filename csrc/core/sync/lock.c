/* SPDX-License-Identifier: MIT */
#include "core/sync/lock.h"

#include <errno.h>
#include <limits.h> /* UINT_MAX */

/* A look costs next to nothing, and the holder may be about to go. */
enum { SPINS = 30 };

static uint32_t
load(const shx_site *at)
{
    return atomic_load_explicit(&at->cell->word, memory_order_relaxed);
}

/* *word: what it was, on failure. */
static bool
change(const shx_site *at, uint32_t *word, uint32_t next)
{
    return atomic_compare_exchange_strong_explicit(&at->cell->word, word, next,
                                                   memory_order_acq_rel,
                                                   memory_order_relaxed);
}

static bool
ignores_death(const shx_site *at)
{
    return (at->parameter & SHX_IGNORES_DEATH) != 0;
}

static void
sign(const shx_site *at)
{
    atomic_store_explicit(&at->cell->pid, atomic_load(&at->party->pid),
                          memory_order_relaxed);
}

/* May who has slept so often take this word? */
static bool
may_take(uint32_t word, const shx_patience *patience)
{
    return (word & SHX_TOKEN) == 0 &&
           ((word & SHX_LOCK_HUNGRY) == 0 || patience->naps != 0);
}

/* False: it has changed. */
static bool
take(const shx_site *at, const shx_member *me, uint32_t word, bool slept)
{
    uint32_t next = me->token | (word & (SHX_LOCK_TORN | SHX_LOCK_WAITED)) |
                    (slept ? SHX_LOCK_WAITED : 0);
    if (!change(at, &word, next)) {
        return false;
    }
    sign(at);
    return true;
}

/* What it is for who has just taken it, or would have: `word` is the one
 * before. */
static shx_err
tell(uint32_t word)
{
    return (word & SHX_LOCK_TORN) != 0 ? SHX_OWNER_DIED : 0;
}

/* The owner in this word is dead: it is ours. It is torn from now on, unless
 * deaths are ignored. EAGAIN: it is alive, or another was faster. */
static shx_err
steal(const shx_site *at, const shx_member *me, shx_torn torn, uint32_t word)
{
    if ((word & SHX_TOKEN) == 0 || load(at) != word ||
        !shx_party_is_dead(at->party, word & SHX_TOKEN)) {
        return EAGAIN;
    }
    uint32_t victim = atomic_load(&at->cell->pid);
    uint32_t mark = ignores_death(at) ? 0 : SHX_LOCK_TORN;
    if (!change(at, &word, me->token | SHX_LOCK_WAITED | mark)) {
        return EAGAIN;
    }
    atomic_store(&at->cell->victim, victim);
    sign(at);
    if (mark == 0) {
        return 0;
    }
    if (torn == SHX_TORN_TELLS) {
        (void)shx_lock_release_torn(at, me);
    }
    return SHX_OWNER_DIED;
}

/* Who waits for nobody does not look for long. False: it was not to be had. */
static bool
spin(const shx_site *at, const shx_member *me)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t word = load(at);
        if (word == 0 && shx_lock_take(at, me)) {
            return true;
        }
        /* A queue, or another thread of ours: no use. */
        if ((word & (SHX_LOCK_WAITED | SHX_LOCK_TORN)) != 0 ||
            (word & SHX_TOKEN) == me->token) {
            break;
        }
        shx_os_relax();
    }
    return false;
}

/* The word that whoever sleeps is to see. False: it has changed. */
static bool
announce(const shx_site *at, uint32_t word, const shx_patience *patience,
         uint32_t *announced)
{
    *announced = word | SHX_LOCK_WAITED |
                 (shx_patience_is_hungry(patience) ? SHX_LOCK_HUNGRY : 0);
    return word == *announced || change(at, &word, *announced);
}

void
shx_lock_wake_all(const shx_site *at)
{
    (void)shx_os_wake(&at->cell->word, UINT_MAX);
}

/* Newcomers may sleep on a free word, behind the hungry: nobody else would
 * wake them. */
void
shx_lock_calm(const shx_site *at)
{
    uint32_t word = atomic_fetch_and(&at->cell->word, ~SHX_LOCK_HUNGRY);
    if ((word & SHX_TOKEN) == 0 && (word & SHX_LOCK_HUNGRY) != 0 &&
        (word & SHX_LOCK_WAITED) != 0) {
        shx_lock_wake_all(at);
    }
}

/* A look at the word, or a nap. EAGAIN: look again. 0: it may be taken from
 * *word; or is ours by now, and then *word says so. */
static shx_err
look(const shx_site *at, const shx_member *me, shx_torn torn,
     shx_patience *patience, uint32_t *word)
{
    uint32_t announced;
    *word = load(at);
    if ((*word & SHX_TOKEN) == 0 && (*word & SHX_LOCK_TORN) != 0 &&
        torn == SHX_TORN_TELLS) {
        return SHX_OWNER_DIED;
    }
    if (may_take(*word, patience)) {
        return 0;
    }
    if (!announce(at, *word, patience, &announced)) {
        return EAGAIN;
    }
    shx_err err =
        shx_nap(patience, &at->cell->word, announced, &at->cell->watch);
    if (err == SHX_SLICE_OVER) {
        *word = me->token;
        return steal(at, me, torn, announced);
    }
    if (err != 0) {
        shx_lock_calm(at); /* whoever else is hungry says so again */
        shx_patience_quit(patience, &at->cell->word, &at->cell->watch);
    }
    return err == 0 ? EAGAIN : err;
}

static shx_err
wait_for(const shx_site *at, const shx_member *me, shx_torn torn,
         shx_patience *patience)
{
    unsigned rounds = 0;
    for (;;) {
        uint32_t word;
        shx_err err = shx_patience_spin(patience, &rounds);
        if (err == 0) {
            err = look(at, me, torn, patience, &word);
        }
        if (err == 0 && (word & SHX_TOKEN) == me->token) {
            return 0;
        }
        if (err == 0 && take(at, me, word, patience->naps != 0)) {
            return tell(word);
        }
        if (err != 0 && err != EAGAIN) {
            return err;
        }
    }
}

shx_err
shx_lock_acquire(const shx_site *at, const shx_member *me, shx_torn torn,
                 shx_patience *patience)
{
    return shx_lock_take(at, me) || spin(at, me)
               ? 0
               : wait_for(at, me, torn, patience);
}

shx_err
shx_lock_acquire_again(const shx_site *at, const shx_member *me, shx_torn torn,
                       shx_patience *patience)
{
    patience->naps++;
    return wait_for(at, me, torn, patience);
}

shx_err
shx_lock_await(const shx_site *at, const shx_member *me,
               shx_patience *patience)
{
    unsigned rounds = 0;
    for (int i = 0; i < SPINS && (load(at) & SHX_TOKEN) != 0; i++) {
        shx_os_relax();
    }
    for (;;) {
        uint32_t word;
        shx_err err = shx_patience_spin(patience, &rounds);
        if (err == 0) {
            err = look(at, me, SHX_TORN_TELLS, patience, &word);
        }
        if (err == 0 && (word & SHX_TOKEN) == me->token) {
            (void)shx_lock_release_to_all(at, me);
            continue;
        }
        if (err != EAGAIN) {
            return err;
        }
    }
}

shx_err
shx_lock_try(const shx_site *at, const shx_member *me, shx_torn torn)
{
    enum { TRIES = 100 }; /* against a word that never rests */
    for (int tries = 0; tries < TRIES; tries++) {
        uint32_t word = load(at);
        if ((word & SHX_TOKEN) != 0) {
            return steal(at, me, torn, word);
        }
        if ((word & SHX_LOCK_TORN) != 0 && torn == SHX_TORN_TELLS) {
            return SHX_OWNER_DIED;
        }
        if (take(at, me, word, false)) {
            return tell(word);
        }
    }
    return EAGAIN;
}

/* A torn one is not hungry: nobody is to queue up for what nobody takes. */
static shx_err
release(const shx_site *at, const shx_member *me, uint32_t mark, unsigned wake)
{
    uint32_t word = load(at);
    do {
        if ((word & SHX_TOKEN) != me->token) {
            return SHX_NOT_OWNER;
        }
    } while (!change(at, &word, mark != 0 ? mark : word & SHX_LOCK_HUNGRY));
    if ((word & SHX_LOCK_WAITED) != 0) {
        (void)shx_os_wake(&at->cell->word, wake);
    }
    return 0;
}

shx_err
shx_lock_release_watched(const shx_site *at, const shx_member *me)
{
    return (load(at) & SHX_LOCK_TORN) != 0 ? shx_lock_release_torn(at, me)
                                           : release(at, me, 0, 1);
}

shx_err
shx_lock_release_to_all(const shx_site *at, const shx_member *me)
{
    return (load(at) & SHX_LOCK_TORN) != 0 ? shx_lock_release_torn(at, me)
                                           : release(at, me, 0, UINT_MAX);
}

shx_err
shx_lock_release_torn(const shx_site *at, const shx_member *me)
{
    return release(at, me, SHX_LOCK_TORN, UINT_MAX);
}

void
shx_lock_pause(const shx_site *at, const shx_member *me)
{
    uint32_t word = load(at);
    while ((word & SHX_TOKEN) == me->token &&
           !change(at, &word, word & ~SHX_TOKEN)) {
    }
}

shx_err
shx_lock_watch(const shx_site *at, shx_patience *patience)
{
    uint32_t word = load(at);
    if ((word & SHX_TOKEN) == 0) {
        return 0;
    }
    if ((word & SHX_LOCK_WAITED) == 0 &&
        !change(at, &word, word | SHX_LOCK_WAITED)) {
        return 0;
    }
    shx_patience_lengthen(patience);
    shx_err err = shx_nap(patience, &at->cell->word, word | SHX_LOCK_WAITED,
                          &at->cell->watch);
    /* Who takes nothing passes the wake-up on. */
    if (err == 0) {
        (void)shx_os_wake(&at->cell->word, 1);
    }
    return err;
}

shx_lock_state
shx_lock_look(const shx_site *at)
{
    shx_member me;
    uint32_t word = load(at), token = word & SHX_TOKEN;
    uint32_t pid = atomic_load(&at->cell->pid);
    shx_lock_state state = {.held = token != 0,
                            .torn = (word & SHX_LOCK_TORN) != 0,
                            .waited = (word & SHX_LOCK_WAITED) != 0,
                            .victim = atomic_load(&at->cell->victim)};
    state.ours =
        state.held && shx_party_me(at->party, &me) == 0 && me.token == token;
    state.dead = state.held && shx_party_is_dead(at->party, token);
    state.pid = state.held && load(at) == word ? pid : 0;
    return state;
}

/* SPDX-License-Identifier: MIT */
/* Waiting at a barrier: the steps of tests/models/barrier.pml, in its order.
 */
#include "core/sync/barrier.h"

#include <errno.h>
#include <limits.h> /* UINT_MAX */

#include "core/sync/barrier_words.h"

static shx_word *
pid_of(const shx_site *at, unsigned place)
{
    return (shx_word *)(void *)&at->cell->slots[at->parameter] + place;
}

/* The lead of that generation: never 0. */
static uint32_t
lead_of(uint32_t state)
{
    return generation_of(state) + 1;
}

static void
break_for(const shx_site *at, uint32_t seen, unsigned place)
{
    atomic_store(&at->cell->victim, atomic_load(pid_of(at, place)));
    shx_barrier_break(at, seen, BROKEN | DIED);
}

/* Is who has the slot dead, and had it when it died? */
static bool
holds_dead(const shx_site *at, const shx_visit *visit, unsigned place,
           uint64_t seen)
{
    uint32_t token = shx_slot_token(seen);
    return token != visit->me.token && shx_party_is_dead(at->party, token) &&
           atomic_load(slot_of(at, place)) == seen;
}

static void
give_back(const shx_site *at, shx_visit *visit, uint64_t value)
{
    atomic_store(slot_of(at, visit->place), value);
    visit->place = SHX_NO_PLACE;
    shx_barrier_call(at);
}

static shx_arrival
tell_broken(const shx_site *at, shx_visit *visit)
{
    visit->victim =
        (visit->state & DIED) != 0 ? atomic_load(&at->cell->victim) : 0;
    if (visit->place != SHX_NO_PLACE) {
        give_back(at, visit, 0);
    }
    return SHX_BARRIER_BROKEN;
}

/* Where one looks for a slot: each first among all. */
typedef enum { OURS, FREE, ANY, PASSES } pass;

/* May it be taken? *broken: no, a party has died. */
static bool
may_take(const shx_site *at, const shx_visit *visit, pass which,
         unsigned place, uint64_t slot, bool *broken)
{
    switch (which) {
    case OURS:
        return slot == shx_slot_of(&visit->me, IDLE);
    case FREE:
        return slot == 0;
    default:
        if (slot == 0 ||
            (flags_of(slot) != IDLE && (flags_of(slot) & OUT) == 0)) {
            return false;
        }
        bool dead = holds_dead(at, visit, place, slot);
        *broken = dead && flags_of(slot) == IDLE;
        return dead ? !*broken : flags_of(slot) == IDLE;
    }
}

/* *broken: in its generation a party has died. */
static bool
find(const shx_site *at, shx_visit *visit, bool *broken)
{
    uint64_t claimed = shx_slot_of(&visit->me, CLAIMED);
    for (int which = OURS; which < PASSES; which++) {
        for (unsigned i = 0; i < at->parameter; i++) {
            uint64_t slot = atomic_load(slot_of(at, i));
            if (may_take(at, visit, (pass)which, i, slot, broken) &&
                atomic_compare_exchange_strong(slot_of(at, i), &slot,
                                               claimed)) {
                atomic_store(pid_of(at, i), atomic_load(&at->party->pid));
                visit->place = i;
                return true;
            }
            if (*broken) {
                break_for(at, visit->state, i);
                return false;
            }
        }
    }
    return false;
}

/* The steps of a look: `false` where it is to be looked again. */

/* All are taken: whoever gives one up is to call us. */
static bool
wait_for_slot(const shx_site *at, shx_visit *visit, shx_arrival *out)
{
    *out = SHX_BARRIER_WAITS;
    if ((visit->gate & WAITED) != 0) {
        return true;
    }
    uint32_t seen = visit->gate;
    (void)atomic_compare_exchange_strong(own(at, GATE), &seen, seen | WAITED);
    return false;
}

/* While the slot has no mark, nothing can trip. */
static bool
arrive(const shx_site *at, shx_visit *visit, shx_arrival *out)
{
    uint64_t claimed = shx_slot_of(&visit->me, CLAIMED);
    visit->state = atomic_load(own(at, STATE));
    visit->arrived = in_of(visit->state);
    if ((visit->state & BROKEN) != 0 ||
        !atomic_compare_exchange_strong(
            slot_of(at, visit->place), &claimed,
            shx_slot_of(&visit->me, visit->arrived))) {
        *out = tell_broken(at, visit);
        return true;
    }
    return false;
}

static bool
enter(const shx_site *at, shx_visit *visit, shx_arrival *out)
{
    bool broken = false;
    visit->gate = atomic_load(own(at, GATE));
    visit->state = atomic_load(own(at, STATE));
    visit->resets = (visit->state & RESETS) != 0;
    if (visit->resets) {
        *out = SHX_BARRIER_WAITS;
        return true;
    }
    if ((visit->state & BROKEN) != 0) {
        *out = tell_broken(at, visit);
        return true;
    }
    if (find(at, visit, &broken)) {
        return arrive(at, visit, out);
    }
    return !broken && wait_for_slot(at, visit, out);
}

static bool
are_all_in(const shx_site *at, uint32_t flags)
{
    for (unsigned i = 0; i < at->parameter; i++) {
        if (flags_of(atomic_load(slot_of(at, i))) != flags) {
            return false;
        }
    }
    return true;
}

/* The lead is ours. Has somebody left meanwhile, or died before all were here?
 * Then it is not. */
static bool
may_lead(const shx_site *at, const shx_visit *visit)
{
    uint32_t lead = lead_of(visit->state), alive = visit->me.token;
    for (unsigned i = 0; i < at->parameter; i++) {
        uint64_t slot = atomic_load(slot_of(at, i));
        if (flags_of(slot) != visit->arrived) {
            (void)atomic_compare_exchange_strong(own(at, LEAD), &lead, 0);
            return false;
        }
        if (shx_slot_token(slot) == alive) {
            continue;
        }
        if (holds_dead(at, visit, i, slot)) {
            break_for(at, visit->state, i);
            return false;
        }
        alive = shx_slot_token(slot);
    }
    return true;
}

static bool
pass_or_stay(const shx_site *at, shx_visit *visit, shx_arrival *out)
{
    visit->state = atomic_load(own(at, STATE));
    if (in_of(visit->state) != visit->arrived) {
        visit->index = visit->place;
        give_back(at, visit, shx_slot_of(&visit->me, IDLE));
        *out = SHX_BARRIER_PASSED;
        return true;
    }
    uint64_t mine = shx_slot_of(&visit->me, visit->arrived);
    if (atomic_load(slot_of(at, visit->place)) != mine ||
        (visit->state & BROKEN) != 0) {
        *out = tell_broken(at, visit);
        return true;
    }
    *out = SHX_BARRIER_WAITS;
    uint32_t lead = atomic_load(own(at, LEAD));
    if (lead == lead_of(visit->state) || !are_all_in(at, visit->arrived)) {
        return true;
    }
    if (!atomic_compare_exchange_strong(own(at, LEAD), &lead,
                                        lead_of(visit->state)) ||
        !may_lead(at, visit)) {
        return false;
    }
    *out = SHX_BARRIER_LEADS;
    return true;
}

shx_arrival
shx_barrier_look(const shx_site *at, shx_visit *visit)
{
    shx_arrival out = SHX_BARRIER_WAITS;
    bool done = false;
    for (int tries = 0; !done && tries < TRIES; tries++) {
        done = visit->place == SHX_NO_PLACE ? enter(at, visit, &out)
                                            : pass_or_stay(at, visit, &out);
    }
    return done ? out : SHX_BARRIER_WAITS;
}

/* A slice is over. */
static void
inspect(const shx_site *at, const shx_visit *visit)
{
    uint32_t alive = visit->me.token;
    for (unsigned i = 0; i < at->parameter; i++) {
        uint64_t slot = atomic_load(slot_of(at, i));
        if (slot == 0 || shx_slot_token(slot) == alive) {
            continue;
        }
        if (!holds_dead(at, visit, i, slot)) {
            alive = shx_slot_token(slot);
        }
        else if ((flags_of(slot) & OUT) == 0) {
            break_for(at, visit->state, i);
            return;
        }
        else if (atomic_compare_exchange_strong(slot_of(at, i), &slot, 0)) {
            shx_barrier_call(at);
        }
    }
}

/* It is plainly broken, then. */
static void
end_reset_of_dead(const shx_site *at, const shx_visit *visit)
{
    uint32_t token = atomic_load(&at->cell->word) & SHX_TOKEN;
    uint32_t seen = visit->state;
    if ((token == 0 || shx_party_is_dead(at->party, token)) &&
        atomic_compare_exchange_strong(own(at, STATE), &seen,
                                       seen & ~RESETS)) {
        (void)shx_os_wake(own(at, STATE), UINT_MAX);
    }
}

shx_err
shx_barrier_nap(const shx_site *at, shx_visit *visit, shx_patience *patience)
{
    const shx_member was = visit->me;
    bool by_state = visit->place != SHX_NO_PLACE || visit->resets;
    shx_err err =
        shx_nap(patience, own(at, by_state ? STATE : GATE),
                by_state ? visit->state : visit->gate, &at->cell->watch);
    if (!shx_is_same_member(&was, &visit->me)) {
        visit->place = SHX_NO_PLACE; /* its parent's */
        return err == SHX_INTERRUPTED ? err : SHX_FORKED;
    }
    if (err == SHX_SLICE_OVER && visit->resets) {
        end_reset_of_dead(at, visit);
    }
    else if (err == SHX_SLICE_OVER) {
        inspect(at, visit);
    }
    /* Nobody woke us, nor those whose slices are longer. */
    if (err == SHX_SLICE_OVER && by_state &&
        atomic_load(own(at, STATE)) != visit->state) {
        (void)shx_os_wake(own(at, STATE), UINT_MAX);
    }
    return err;
}

/* The time is over. False: all are here, and one leads. */
static bool
is_too_late(const shx_site *at, const shx_visit *visit)
{
    return visit->place == SHX_NO_PLACE ||
           atomic_load(own(at, LEAD)) != lead_of(visit->state);
}

shx_err
shx_barrier_wait(const shx_site *at, shx_visit *visit, shx_patience *patience,
                 shx_arrival *out)
{
    bool over = false;
    int breaks = 0;
    for (;;) {
        *out = shx_barrier_look(at, visit);
        if (*out != SHX_BARRIER_WAITS) {
            return 0;
        }
        if (over && (visit->resets || breaks == TRIES)) {
            shx_barrier_take_back(at, visit);
            *out = tell_broken(at, visit);
            return 0;
        }
        if (over && is_too_late(at, visit)) {
            shx_barrier_break(at, visit->state, BROKEN);
            breaks++;
            continue;
        }
        shx_err err = shx_barrier_nap(at, visit, patience);
        if (err == ETIMEDOUT) {
            over = true;
            patience->deadline = UINT64_MAX;
        }
        else if (err != 0 && err != SHX_SLICE_OVER) {
            shx_barrier_take_back(at, visit);
            return err;
        }
    }
}

shx_arrival
shx_barrier_trip(const shx_site *at, shx_visit *visit)
{
    uint32_t seen = visit->state;
    uint32_t next = (generation_of(seen) + 1) * GENERATION;
    if (atomic_compare_exchange_strong(own(at, STATE), &seen, next) &&
        at->parameter > 1) {
        (void)shx_os_wake(own(at, STATE), UINT_MAX);
    }
    shx_arrival out = shx_barrier_look(at, visit);
    return out == SHX_BARRIER_PASSED ? out : SHX_BARRIER_BROKEN;
}

void
shx_barrier_abandon(const shx_site *at, shx_visit *visit)
{
    shx_barrier_break(at, visit->state, BROKEN);
    (void)shx_barrier_look(at, visit);
}

void
shx_barrier_take_back(const shx_site *at, shx_visit *visit)
{
    if (visit->place == SHX_NO_PLACE) {
        return;
    }
    uint64_t mine = shx_slot_of(&visit->me, visit->arrived);
    uint64_t claimed = shx_slot_of(&visit->me, CLAIMED);
    if (!atomic_compare_exchange_strong(slot_of(at, visit->place), &mine,
                                        claimed)) {
        give_back(at, visit, 0);
        return;
    }
    uint32_t lead = atomic_load(own(at, LEAD));
    visit->state = atomic_load(own(at, STATE));
    bool led = lead == lead_of(visit->state);
    if (led && in_of(visit->state) == visit->arrived) {
        shx_barrier_break(at, visit->state, BROKEN);
        visit->state = atomic_load(own(at, STATE));
    }
    bool passed = in_of(visit->state) != visit->arrived;
    if (!passed && (led || (visit->state & BROKEN) != 0 ||
                    atomic_load(slot_of(at, visit->place)) != claimed)) {
        give_back(at, visit, 0);
    }
    else {
        give_back(at, visit, shx_slot_of(&visit->me, IDLE));
    }
}

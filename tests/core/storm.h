/* SPDX-License-Identifier: MIT */
/* What the workers of storm_sync.c note, and must not see. */
#ifndef STORM_H
#define STORM_H

#include "sync.h"

enum { WORKERS = 6, PERMITS = 3, PAGE = 4096 };

static memory in;

static struct {
    _Atomic uint64_t a, b; /* what is guarded: both are the same */
    _Atomic uint64_t operations, told, torn, timeouts, given;
    _Atomic uint64_t longest;         /* that anybody has waited */
    _Atomic uint64_t inside[WORKERS]; /* stay << 32 | the token of who is */
    _Atomic uint32_t stays;
    _Atomic bool wrong;
} * notes;

static uint64_t seed;

static uint32_t
any(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16) % below;
}

static void
work(uint32_t rounds)
{
    for (volatile uint32_t i = 0; i < rounds; i++) {
    }
}

static void
must(bool condition, const char *what)
{
    if (!condition && !atomic_exchange(&notes->wrong, true)) {
        (void)fprintf(stderr, "%s\n", what);
    }
}

/* Some do not wait for as long as it takes. */
static shx_patience
some_patience(void)
{
    return shx_patience_for(any(4) != 0 ? -1 : (int64_t)any(3 * MS), NULL,
                            NULL);
}

static void
has_waited(const shx_patience *patience)
{
    uint64_t length = now() - patience->began;
    uint64_t longest = atomic_load(&notes->longest);
    while (length > longest &&
           !atomic_compare_exchange_weak(&notes->longest, &longest, length)) {
    }
}

static void
enter(int self, const shx_member *me)
{
    uint64_t stay = atomic_fetch_add(&notes->stays, 1);
    atomic_store(&notes->inside[self], stay << 32 | me->token);
}

static void
leave(int self)
{
    atomic_fetch_add(&notes->operations, 1);
    atomic_store(&notes->inside[self], 0);
}

/* How many living ones are inside at one moment, this one apart: those who
 * were before it, and are after it in the same stay. */
static int
others_inside(int self)
{
    int found = 0;
    uint64_t before[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        before[i] = i == self ? 0 : atomic_load(&notes->inside[i]);
    }
    for (int i = 0; i < WORKERS; i++) {
        uint32_t token = (uint32_t)before[i];
        found += token != 0 && !shx_party_is_dead(in.party, token) &&
                 atomic_load(&notes->inside[i]) == before[i];
    }
    return found;
}

/* Of who has it: `err` is what acquiring it said. */
static void
write_both(const shx_site *at, int self, const shx_member *me, shx_err err)
{
    enter(self, me);
    must(others_inside(self) == 0, "two had it");
    bool torn = atomic_load(&notes->a) != atomic_load(&notes->b);
    must(!torn || err == SHX_OWNER_DIED, "torn, and not told");
    atomic_fetch_add(&notes->torn, torn);
    if (torn) {
        atomic_store(&notes->b, atomic_load(&notes->a));
    }
    atomic_fetch_add(&notes->a, 1);
    work(any(200));
    atomic_fetch_add(&notes->b, 1);
    if (err == SHX_OWNER_DIED) {
        shx_lock_mend(at);
    }
    leave(self);
}

#endif

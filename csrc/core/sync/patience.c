/* SPDX-License-Identifier: MIT */
#include "core/sync/patience.h"

#include <errno.h>

#define MS UINT64_C(1000000)

static const uint64_t for_ever = UINT64_MAX;
static const uint64_t shortest = 2 * MS;
static const uint64_t longest = 64 * MS;
static const uint64_t hungry_after = 1 * MS;
enum { BUDGET = 16, SHARE = 4, CELLS = 64 };

static uint64_t
now(void)
{
    struct timespec time;
    shx_os_now(&time);
    return (uint64_t)time.tv_sec * 1000 * MS + (uint64_t)time.tv_nsec;
}

shx_patience
shx_patience_for(int64_t timeout, shx_poll poll, void *context)
{
    uint64_t begin = now();
    uint64_t left = for_ever - begin;
    uint64_t asked = timeout < 0 ? for_ever : (uint64_t)timeout;
    return (shx_patience){.began = begin,
                          .deadline = asked < left ? begin + asked : for_ever,
                          .slice = shortest,
                          .poll = poll,
                          .context = context};
}

shx_patience
shx_patience_anew(const shx_patience *patience)
{
    return (shx_patience){.began = now(),
                          .deadline = patience->deadline,
                          .slice = shortest,
                          .poll = patience->poll,
                          .context = patience->context};
}

/* Does it count up to so many at most, since the mark was another one? */
static bool
is_left(shx_word *counter, uint32_t mark, unsigned most)
{
    enum { TRIES = 16 };
    uint32_t seen = atomic_load_explicit(counter, memory_order_relaxed);
    for (int tries = 0; tries < TRIES; tries++) {
        uint32_t next = (seen & ~UINT32_C(0xff)) == mark ? seen + 1 : mark + 1;
        if ((next & 0xff) > most) {
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(counter, &seen, next,
                                                  memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return true;
}

/* Is one of the budget left in these 64 ms? Threads of one process take a few
 * at most: all of them go at once, and with what others wait for. */
static bool
is_in_budget(shx_word *watch, uint64_t at)
{
    static shx_word shares[CELLS];
    uint32_t window = (uint32_t)(at / longest);
    uintptr_t place = (uintptr_t)watch / 64;
    uint32_t cell = (uint32_t)(place / CELLS) * UINT32_C(0x9e3779b1);
    return is_left(&shares[place % CELLS], (cell + window) << 8, SHARE) &&
           is_left(watch, window << 8, BUDGET);
}

/* Of which cells does this one look whether the owner lives, when its slice is
 * over? Is it any, or is it to look anyway? */
static bool
looks_after(const shx_patience *patience, shx_watch *watches, size_t count,
            uint64_t at)
{
    bool any = count == 0 || patience->restless;
    for (size_t i = 0; i < count; i++) {
        watches[i].looks = patience->slice < longest ||
                           watches[i].watch == NULL ||
                           is_in_budget(watches[i].watch, at);
        any |= watches[i].looks;
    }
    return any;
}

/* Those who sleep longer are to wake one after another. */
static uint64_t
long_slice(uint64_t at)
{
    return 500 * MS + (at >> 4) % (500 * MS);
}

shx_err
shx_patience_ask(const shx_patience *patience)
{
    return patience->poll != NULL && patience->poll(patience->context) != 0
               ? SHX_INTERRUPTED
               : 0;
}

/* A signal may have come just before the sleep, and not ended it. */
static shx_err
end_slice(shx_patience *patience)
{
    patience->ends = 0;
    if (patience->slice < longest) {
        patience->slice *= 2;
    }
    shx_err err = patience->holding ? 0 : shx_patience_ask(patience);
    return err == 0 ? SHX_SLICE_OVER : err;
}

/* EAGAIN: it is no longer as it was seen. ETIMEDOUT: that late it is. */
static shx_err
sleep_at(shx_patience *patience, const shx_berth *berths, size_t count,
         uint64_t at, uint64_t until)
{
    uint64_t rest =
        patience->restless && until - at > shortest ? at + shortest : until;
    const struct timespec end = {(time_t)(rest / (1000 * MS)),
                                 (long)(rest % (1000 * MS))};
    shx_err err = count == 1 ? shx_os_wait(berths->word, berths->seen, &end)
                             : shx_os_wait_any(berths, count, &end);
    if (err == ENOTSUP && count != 1) {
        patience->restless = true;
        return sleep_at(patience, berths, 1, at, until);
    }
    return err == ETIMEDOUT && rest != until ? EAGAIN : err;
}

shx_err
shx_nap_any(shx_patience *patience, const shx_berth *berths, size_t count,
            shx_watch *watches, size_t watched)
{
    uint64_t at = now();
    if (at >= patience->deadline) {
        return ETIMEDOUT;
    }
    /* What wakes it for nothing, a signal or others who were faster, begins no
     * other slice: it might never be over, and few would use up what is for
     * all. */
    if (patience->ends != 0 && at >= patience->ends) {
        return end_slice(patience);
    }
    if (patience->ends == 0 && looks_after(patience, watches, watched, at)) {
        patience->ends = at + patience->slice;
    }
    bool looks = patience->ends != 0;
    uint64_t until = looks ? patience->ends : at + long_slice(at);
    if (until >= patience->deadline) {
        until = patience->deadline;
        looks = true; /* the last chance */
    }
    shx_err err = sleep_at(patience, berths, count, at, until);
    patience->naps++;
    switch (err) {
    case ETIMEDOUT:
        err = end_slice(patience);
        return err == SHX_SLICE_OVER && !looks ? 0 : err;
    case EINTR:
        return patience->holding ? EINTR : shx_patience_ask(patience);
    case EAGAIN:
        return 0;
    default:
        return err;
    }
}

shx_err
shx_nap(shx_patience *patience, const shx_word *word, uint32_t seen,
        shx_word *watch)
{
    const shx_berth here = {word, seen};
    shx_watch one = {watch, false};
    return shx_nap_any(patience, &here, 1, &one, 1);
}

void
shx_patience_lengthen(shx_patience *patience)
{
    patience->slice = longest;
}

void
shx_patience_quit(const shx_patience *patience, const shx_word *word,
                  shx_word *watch)
{
    if (patience->slice < longest) {
        return;
    }
    uint32_t seen = atomic_load_explicit(watch, memory_order_relaxed);
    if ((seen & 0xff) != 0) {
        (void)atomic_compare_exchange_strong(watch, &seen, seen - 1);
    }
    (void)shx_os_wake(word, 1);
}

bool
shx_patience_is_hungry(const shx_patience *patience)
{
    return patience->naps != 0 && now() - patience->began > hungry_after;
}

shx_err
shx_patience_spin(const shx_patience *patience, unsigned *rounds)
{
    enum { LOOK = 1000 };
    return ++*rounds % LOOK == 0 && now() >= patience->deadline ? ETIMEDOUT
                                                                : 0;
}

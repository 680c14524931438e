/* SPDX-License-Identifier: MIT */
#include "core/sync/awaited.h"

#include <errno.h>
#include <stdlib.h>

#include "core/sync/awaited_helper.h"

/* Beside the bell, or a helper's `stop`. */
enum { EACH = SHX_BERTHS - 1 };

typedef struct {
    shx_awaited *const *things;
    size_t count;
    shx_readable *readable;
    shx_patience *patience;
    shx_word bell;
    shx_berth *berths; /* the first is the bell; then one for each thing */
    shx_watch *watches;
    shx_helper *helpers;
    size_t helper_count;
    size_t turn; /* which thing's dead are looked after first */
    bool found;
    bool busy; /* of something nobody can say whether it is there */
    bool slept;
    bool unwoken; /* a slice was over */
} vigil;

static size_t
smaller(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* Helpers are for who sleeps. */
static shx_err
furnish(vigil *all, bool sleeps)
{
    bool reads = all->readable->count != 0;
    size_t groups = all->count / EACH + (all->count % EACH != 0);
    all->helper_count = (groups == 0 ? 0 : groups - 1) + reads;
    all->helper_count = sleeps ? all->helper_count : 0;
    all->berths = calloc(all->count + 1, sizeof *all->berths);
    all->watches = calloc(all->count + 1, sizeof *all->watches);
    all->helpers = calloc(all->helper_count + 1, sizeof *all->helpers);
    if (all->berths == NULL || all->watches == NULL || all->helpers == NULL) {
        return ENOMEM;
    }
    for (size_t i = 0; i < all->count; i++) {
        all->watches[i].watch = &all->things[i]->cell->watch;
    }
    if (sleeps && reads) {
        shx_helper_take(&all->helpers[all->helper_count - 1],
                        all->readable->numbers, all->readable->count);
    }
    return 0;
}

/* Says in its word that somebody sleeps, and looks again. One whose word never
 * rests is looked at again soon. */
static shx_err
mark(shx_awaited *one, shx_berth *berth)
{
    enum { TRIES = 10 };
    shx_word *word = &one->cell->word;
    for (int tries = 0; tries < TRIES; tries++) {
        uint32_t seen = atomic_load(word);
        shx_err err = one->kind->look(one);
        if (err != EAGAIN && err != EBUSY) {
            return err;
        }
        if ((seen & one->kind->mark) != 0) {
            *berth = (shx_berth){word, seen};
            return err;
        }
        (void)atomic_compare_exchange_strong(word, &seen,
                                             seen | one->kind->mark);
    }
    *berth = (shx_berth){word, atomic_load(word)};
    return EBUSY;
}

static shx_err
look_at_all(vigil *all, bool marks)
{
    all->found = all->busy = false;
    for (size_t i = 0; i < all->count; i++) {
        shx_awaited *one = all->things[i];
        shx_err err = marks && !all->found ? mark(one, &all->berths[i + 1])
                                           : one->kind->look(one);
        one->is_there = err != EAGAIN && err != EBUSY;
        all->found |= one->is_there;
        all->busy |= err == EBUSY;
    }
    shx_readable *readable = all->readable;
    if (readable->count == 0) {
        return 0;
    }
    shx_err err =
        shx_os_poll(readable->numbers, readable->count, false, &readable->any);
    all->found |= readable->any;
    return err == EINTR ? 0 : err;
}

/* Of who died while it had a lock there, and of who stops for long, each costs
 * a few milliseconds: no more than so many, and each in its turn. */
static shx_err
recover_all(vigil *all)
{
    const int64_t brief_time = 16000000;
    shx_patience brief = shx_patience_for(brief_time, all->patience->poll,
                                          all->patience->context);
    for (size_t i = 0; i < all->count; i++) {
        size_t at = (all->turn + i) % all->count;
        shx_awaited *one = all->things[at];
        if (one->kind->recover != NULL && all->watches[at].looks &&
            one->kind->recover(one, &brief) == SHX_INTERRUPTED) {
            return SHX_INTERRUPTED;
        }
    }
    all->turn++;
    return 0;
}

/* False: somebody has to look for those who cannot. */
static bool
start_helpers(vigil *all)
{
    bool sound = true;
    const shx_berth *from = all->berths + 1 + EACH;
    size_t rest = all->count > EACH ? all->count - EACH : 0;
    for (size_t i = 0; i < all->helper_count; i++) {
        shx_helper *one = &all->helpers[i];
        if (!one->reads) {
            size_t count = smaller(rest, EACH);
            bool idle = shx_helper_is_idle(one);
            for (size_t k = 0; idle && k < count; k++) {
                one->berths[k + 1] = from[k];
            }
            one->count = idle ? count + 1 : one->count;
            from += count;
            rest -= count;
        }
        sound &= shx_helper_start(one, &all->bell);
    }
    return sound;
}

static shx_err
sleep_once(vigil *all)
{
    shx_patience *patience = all->patience;
    bool was_restless = patience->restless;
    bool lame = !start_helpers(all);
    patience->restless |= lame || all->busy;
    shx_err err =
        shx_nap_any(patience, all->berths, 1 + smaller(all->count, EACH),
                    all->watches, all->count);
    if (all->busy && !lame) {
        patience->restless = was_restless;
    }
    all->slept = true;
    all->unwoken = err == SHX_SLICE_OVER;
    return all->unwoken ? recover_all(all) : err;
}

static shx_err
wait_for_any(vigil *all)
{
    for (;;) {
        uint32_t rung = atomic_load(&all->bell);
        all->berths[0] = (shx_berth){&all->bell, rung};
        shx_err err = look_at_all(all, true);
        if (err == 0 && !all->found) {
            err = sleep_once(all);
        }
        if (err != 0 || all->found) {
            return err;
        }
    }
}

/* What it found, and is not to take; where it found nothing, and was one of
 * those who look after the dead, another one is to. */
static void
leave(vigil *all)
{
    for (size_t i = 0; i < all->count; i++) {
        shx_awaited *one = all->things[i];
        if (one->is_there) {
            one->kind->pass_on(one, all->unwoken);
        }
        else if (all->watches[i].looks) {
            shx_patience_quit(all->patience, &one->cell->word,
                              &one->cell->watch);
        }
    }
}

/* Nobody else may look after the dead where all only ask now and then. */
static shx_err
ask_once(vigil *all)
{
    for (size_t i = 0; i < all->count; i++) {
        all->watches[i].looks = true;
    }
    shx_err err = recover_all(all);
    if (err == 0) {
        err = look_at_all(all, false);
    }
    return err != 0 || all->found ? err : EAGAIN;
}

/* From the first sleep to the last look. Who found something may see it gone
 * by then: somebody else was quicker. */
static shx_err
hold(vigil *all, bool waits)
{
    shx_err err = furnish(all, waits);
    if (err == 0) {
        err = waits ? wait_for_any(all) : ask_once(all);
    }
    for (size_t i = 0; all->helpers != NULL && i < all->helper_count; i++) {
        shx_helper_end(&all->helpers[i]);
    }
    if (all->slept) {
        shx_err again = look_at_all(all, false);
        err = err == ETIMEDOUT && all->found ? 0 : err == 0 ? again : err;
        leave(all);
    }
    free(all->berths);
    free(all->watches);
    free(all->helpers);
    return err;
}

shx_err
shx_await_any(shx_awaited *const *things, size_t count, shx_readable *readable,
              shx_patience *patience, bool waits)
{
    const vigil fresh = {.things = things,
                         .count = count,
                         .readable = readable,
                         .patience = patience};
    vigil all = fresh;
    shx_err err = look_at_all(&all, false);
    if (err != 0 || all.found) {
        return err;
    }
    for (;;) {
        all = fresh;
        err = hold(&all, waits);
        if (err != 0 || all.found) {
            return err;
        }
        *patience = shx_patience_anew(patience);
    }
}

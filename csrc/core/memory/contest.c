/* SPDX-License-Identifier: MIT */
#include "core/memory/contest.h"

#include <errno.h>

#include "core/os/os.h"

enum { ATTEMPTS = 9 };

static const uint64_t millisecond = 1000000, second = 1000000000;

static uint64_t
now(void)
{
    struct timespec time;
    shx_os_now(&time);
    return (uint64_t)time.tv_sec * second + (uint64_t)time.tv_nsec;
}

/* Sleeps for some time below `most`. Then, shall it go on? */
static bool
pause_below(const shx_contest *contest, uint64_t most)
{
    uint64_t length = most / 2;
    if (shx_os_random(&length, sizeof length) == 0) {
        length %= most;
    }
    const struct timespec time = {.tv_sec = (time_t)(length / second),
                                  .tv_nsec = (long)(length % second)};
    (void)shx_os_pause(&time);
    return shx_space_ask(contest->space) == 0;
}

/* About as long as an attempt takes, and twice as long each time: two that
 * begin at nearly the same moment would be in each other's way again. */
static uint64_t
longest_pause(const shx_contest *contest)
{
    uint64_t most = millisecond / 8 + contest->wanted / 2;
    for (unsigned i = 1; i < contest->attempts && most < second; i++) {
        most *= 2;
    }
    return most < second ? most : second;
}

/* Waits until there is room, as somebody who may go on. */
static shx_err
wait_for_room(const shx_contest *contest)
{
    const uint64_t start = now();
    uint64_t changed = start, seen = contest->room(contest->of);
    bool patient =
        contest->made != NULL && contest->wanted <= contest->most(contest->of);
    for (uint64_t at = start;
         at - start < 60 * second && at - changed < second / 2; at = now()) {
        bool fits = seen >= contest->wanted;
        if (!fits && !patient) {
            break;
        }
        if (!fits && contest->made(contest->of)) {
            return EEXIST;
        }
        if (!pause_below(contest,
                         fits ? longest_pause(contest) : 4 * millisecond)) {
            return SHX_INTERRUPTED;
        }
        uint64_t room = contest->room(contest->of);
        if (fits && room >= contest->wanted) {
            return 0;
        }
        changed = room == seen ? changed : now();
        seen = room;
    }
    return ENOSPC;
}

bool
shx_contest_again(shx_contest *contest, shx_err *err)
{
    if (*err == ENOSPC && ++contest->attempts < ATTEMPTS) {
        *err = wait_for_room(contest);
        return *err == 0;
    }
    return false;
}

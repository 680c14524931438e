/* SPDX-License-Identifier: MIT */
/* Who goes on after there was too little room, from a plain C program. */
#include <errno.h>
#include <stdio.h>

#include "core/memory/contest.h"

#include "check.h"

/* A room whose size is written here, look by look: the last one stays. */
typedef struct {
    uint64_t most;
    uint64_t room[4];
    int looks;
    int asked;
    bool made;
    bool stop;
} arena;

static uint64_t
room_of(const void *of)
{
    arena *self = (arena *)of;
    int look = self->looks++;
    return self->room[look < 3 ? look : 3];
}

static uint64_t
most_of(const void *of)
{
    return ((const arena *)of)->most;
}

static bool
is_made(const void *of)
{
    return ((const arena *)of)->made;
}

static int
ask(void *context)
{
    ((arena *)context)->asked++;
    return ((arena *)context)->stop;
}

static void
test_contest_goes_on_while_there_is_room(void)
{
    arena of = {.room = {9, 9, 10, 10}};
    shx_space space = {.poll = ask, .context = &of};
    shx_contest contest = {
        .space = &space, .wanted = 10, .room = room_of, .of = &of};
    shx_err err = 0;
    CHECK(!shx_contest_again(&contest, &err) && err == 0);
    err = EACCES;
    CHECK(!shx_contest_again(&contest, &err) && err == EACCES);
    CHECK(of.looks == 0);
    err = ENOSPC; /* somebody has it: at once, without a pause */
    CHECK(!shx_contest_again(&contest, &err) && err == ENOSPC);
    CHECK(of.looks == 1 && of.asked == 0);
    int attempts = 0;
    contest.attempts = 0;
    of.looks = 2;
    do { /* nobody has it: not for ever */
        attempts++;
        err = ENOSPC;
    } while (shx_contest_again(&contest, &err));
    CHECK(err == ENOSPC && attempts == 9 && of.asked == 8);
    of.stop = true;
    contest.attempts = 0;
    CHECK(!shx_contest_again(&contest, &err) && err == SHX_INTERRUPTED);
    of = (arena){.room = {10, 9, 9, 9}}; /* somebody was faster */
    contest.attempts = 0;
    err = ENOSPC;
    CHECK(!shx_contest_again(&contest, &err) && err == ENOSPC);
}

static void
test_contest_of_all_for_one_thing(void)
{
    arena of = {.most = 10, .room = {9, 8, 7, 10}};
    shx_space space = {.poll = ask, .context = &of};
    shx_contest contest = {.space = &space,
                           .wanted = 10,
                           .room = room_of,
                           .most = most_of,
                           .made = is_made,
                           .of = &of};
    shx_err err = ENOSPC; /* the winner has failed, and given back */
    CHECK(shx_contest_again(&contest, &err) && err == 0);
    CHECK(of.looks > 3);
    of = (arena){.most = 10, .room = {9, 8, 7, 7}, .made = true};
    err = ENOSPC;
    CHECK(!shx_contest_again(&contest, &err) && err == EEXIST);
    of = (arena){.most = 10,
                 .room = {9, 8, 7, 7}}; /* it has stopped changing */
    err = ENOSPC;
    CHECK(!shx_contest_again(&contest, &err) && err == ENOSPC);
    of = (arena){.most = 10, .room = {9, 8, 7, 7}, .stop = true};
    err = ENOSPC;
    CHECK(!shx_contest_again(&contest, &err) && err == SHX_INTERRUPTED);
    CHECK(of.asked == 1);
    of = (arena){.most = 9, .room = {9, 8, 7, 7}, .made = true};
    err = ENOSPC; /* nobody could have made it */
    CHECK(!shx_contest_again(&contest, &err) && err == ENOSPC);
    CHECK(of.looks == 1 && of.asked == 0);
}

int
main(int argc, char **argv)
{
    begin(argc, argv);
    test_contest_goes_on_while_there_is_room();
    test_contest_of_all_for_one_thing();
    (void)puts("all passed");
    return 0;
}

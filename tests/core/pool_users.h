/* SPDX-License-Identifier: MIT */
/* What senders and receivers of a storm on pools do, until they die. */
#ifndef POOL_USERS_H
#define POOL_USERS_H

#include <poll.h>
#include <sys/stat.h>

#include "pools.h"

enum { HANDS = 3 }; /* things that a receiver has at a time */

static int ends[2]; /* of the pipe */

static struct {
    _Atomic uint64_t sent, received, forwarded, withdrawn, copied, doubles;
    _Atomic uint64_t kept, spent, children, full;
    _Atomic uint64_t number; /* the next one */
    _Atomic uint64_t longest;
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
must(bool condition, const char *what)
{
    if (!condition && !atomic_exchange(&notes->wrong, true)) {
        (void)fprintf(stderr, "%s\n", what);
    }
}

static void
has_taken(uint64_t since)
{
    uint64_t length = now() - since, longest = atomic_load(&notes->longest);
    while (length > longest &&
           !atomic_compare_exchange_weak(&notes->longest, &longest, length)) {
    }
}

/* Between two steps. */
static void
may_die(void)
{
    if (any(2000) == 0) {
        (void)raise(SIGKILL);
    }
}

/* What is in hand. */
typedef struct {
    message about;
    shx_hold hold;
} thing;

static bool
is_whole(const thing *one)
{
    return are_words(words_in(one->about.serial, one->hold.offset),
                     one->hold.size, one->about.number);
}

static void
look_for_a_while(const thing *one)
{
    must(is_whole(one), "other bytes than were sent");
    if (any(3) == 0) {
        sleep_for(any(MS));
        must(is_whole(one), "written while it was held");
    }
}

/* It is in flight: writes it into the pipe, or takes it back. */
static void
write_message(const message *about)
{
    may_die();
    if (any(30) != 0 &&
        write(ends[1], about, sizeof *about) == (ssize_t)sizeof *about) {
        return;
    }
    if (!about->reference.kept) {
        shx_pool_unsend(&attached[about->serial].pool, about->reference.block,
                        about->reference.generation);
        atomic_fetch_add(&notes->withdrawn, 1);
    }
}

/* What is alone is written anew: nobody else has it. */
static void
send_thing(thing *one, bool alone)
{
    attached_pool *in = &attached[one->about.serial];
    shx_member me = me_of(one->about.serial);
    if (one->about.alone && any(2) == 0) {
        one->about.number = atomic_fetch_add(&notes->number, 1);
        fill_words(words_in(one->about.serial, one->hold.offset),
                   one->hold.size, one->about.number);
    }
    one->about.alone = alone;
    one->about.reference = (shx_pool_reference){.block = one->hold.block,
                                                .offset = one->hold.offset,
                                                .length = one->hold.size};
    must(shx_pool_send(&in->pool, &me, one->hold.block,
                       &one->about.reference.generation) == 0,
         "not sent");
    must(one->about.reference.generation == one->hold.generation,
         "another generation while it was held");
    write_message(&one->about);
}

static void
drop_thing(const thing *one)
{
    unsigned serial = one->about.serial;
    may_die();
    must(is_whole(one), "written while it was held for long");
    drop_in(serial, &one->hold);
    if (attached[serial].holds == 0 && ask_whether_abandoned(serial)) {
        detach(serial);
    }
}

/* What it has inherited is as its parent had it, though that lets go, or is
 * dead by then. */
static void
leave_to_child(const thing *one)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int i = 0; i < 4; i++) {
            look_for_a_while(one);
        }
        drop_in(one->about.serial, &one->hold);
        _exit(0);
    }
    atomic_fetch_add(&notes->children, 1);
}

static void
wait_for_children(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

/* Sending. */

static void
take_thing(unsigned serial, thing *one)
{
    attached_pool *in = &attached[serial];
    shx_member me = me_of(serial);
    uint64_t since = now(), size = (1 + any(4)) * (uint64_t)PAGE;
    bool fresh;
    *one = (thing){.about = {.serial = serial, .alone = true}};
    for (;;) {
        shx_err err = shx_pool_take(&in->pool, &me, size, &one->hold, &fresh);
        if (err == 0 && fresh) {
            err = shx_pool_back(&in->pool, &one->hold, in->data_fd);
        }
        if (err == 0) {
            break;
        }
        must(err == EAGAIN, "taken with an error");
        must(now() - since < SECOND, "no block for a second");
        atomic_fetch_add(&notes->full, 1);
        sleep_for(MS / 10);
    }
    has_taken(since);
    in->holds++;
    one->about.number = atomic_fetch_add(&notes->number, 1);
    fill_words(words_in(serial, one->hold.offset), one->hold.size,
               one->about.number);
    may_die();
}

/* Any number of receivers, for as long as it is held here. */
static void
keep_thing(thing *one)
{
    send_thing(one, false);
    one->about.reference.kept = true;
    for (int i = 0; i < 3; i++) {
        write_message(&one->about);
    }
    sleep_for(any(2 * MS));
}

static void
send_blocks(int self)
{
    unsigned serial = (unsigned)self;
    CHECK(attach(serial));
    shx_member me = me_of(serial);
    CHECK(shx_pool_own(&attached[serial].pool, &me) == 0);
    for (;;) {
        thing one;
        take_thing(serial, &one);
        uint32_t what = any(100);
        if (what == 0) {
            leave_to_child(&one);
        }
        else if (what < 5) {
            keep_thing(&one);
        }
        else if (what < 20) {
            send_thing(&one, false); /* the same to two */
            send_thing(&one, false);
        }
        else {
            send_thing(&one, true);
        }
        /* Who may write does so from now on. */
        drop_in(serial, &one.hold);
        atomic_fetch_add(&notes->sent, 1);
        wait_for_children();
        if (any(8) == 0) {
            sleep_for(any(MS / 2));
        }
    }
}

/* Receiving. */

static bool
read_message(message *about)
{
    struct pollfd readable = {.fd = ends[0], .events = POLLIN};
    (void)poll(&readable, 1, 10);
    return read(ends[0], about, sizeof *about) == (ssize_t)sizeof *about;
}

static void
copy_out(const message *about)
{
    static uint64_t words[4 * PAGE / sizeof(uint64_t)];
    attached_pool *in = &attached[about->serial];
    shx_err err =
        shx_pool_copy_out(&in->pool, &about->reference, in->data, words);
    must(err == 0 || (about->reference.kept && err == SHX_SPENT),
         "not copied out");
    must(err != 0 || are_words(words, about->reference.length, about->number),
         "other bytes were copied out");
    atomic_fetch_add(&notes->copied, err == 0);
}

/* False: there is none, or it is had in another way. */
static bool
receive_thing(thing *one)
{
    message *about = &one->about;
    if (!read_message(about)) {
        return false;
    }
    may_die();
    bool kept_one = about->reference.kept;
    if (!attach(about->serial)) {
        must(kept_one, "a pool is gone while something is in flight");
        return false;
    }
    if (any(20) == 0) {
        copy_out(about);
        return false;
    }
    shx_err err = claim_in(about->serial, &about->reference, &one->hold);
    must(err == 0 || (kept_one && err == SHX_SPENT), "not received");
    atomic_fetch_add(kept_one ? &notes->kept : &notes->received, err == 0);
    atomic_fetch_add(&notes->spent, err == SHX_SPENT);
    may_die();
    return err == 0;
}

/* It was received, and is in flight no more. */
static void
receive_again(const thing *one)
{
    shx_hold hold;
    must(claim_in(one->about.serial, &one->about.reference, &hold) ==
             SHX_SPENT,
         "received twice");
    atomic_fetch_add(&notes->doubles, 1);
}

static void
use_thing(thing *one)
{
    look_for_a_while(one);
    if (one->about.alone && any(10) == 0) {
        receive_again(one);
    }
    if (any(200) == 0) {
        leave_to_child(one);
    }
    else if (any(4) == 0) {
        send_thing(one, one->about.alone);
        atomic_fetch_add(&notes->forwarded, 1);
        drop_in(one->about.serial, &one->hold);
        return;
    }
    drop_thing(one);
}

static void
forget_unused(void)
{
    for (unsigned i = 0; i < atomic_load(&known->made); i++) {
        if (attached[i].attached && attached[i].holds == 0 && any(4) == 0) {
            (void)ask_whether_abandoned(i);
            detach(i);
        }
    }
}

static void
receive_blocks(int self)
{
    (void)self;
    for (;;) {
        thing hands[HANDS];
        unsigned count = 0, wanted = any(10) == 0 ? HANDS : 1;
        for (unsigned i = 0; i < wanted; i++) {
            count += receive_thing(&hands[count]);
        }
        while (count > 0) {
            use_thing(&hands[--count]);
        }
        wait_for_children();
        if (any(100) == 0) {
            forget_unused();
        }
    }
}

#endif

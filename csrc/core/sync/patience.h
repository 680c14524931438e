/* SPDX-License-Identifier: MIT */
/* How long one waits for a word, and the only thing that sleeps.
 *
 * No sleep is longer than a slice. So a wake-up that died with whoever was to
 * give it, or to pass it on, is made up for when the slice is over; and so is
 * the owner of the word, if it is dead:
 *
 *   slice   2 ms, 4, 8 .. 64 ms, 64 ms ...
 *
 * Many sleepers on one cell would spend a core on that. In any 64 ms only some
 * of them, a budget, sleep for so little, a few of each process: the others
 * for half a second to a second. They share the word of their cell that
 * counts:
 *
 *   watch   which 64 ms | how many of the budget are gone
 *
 * It is a hint: whatever is written there, nobody sleeps for longer.
 */
#ifndef SHX_PATIENCE_H
#define SHX_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "core/os/os.h"

/* Asks whoever waits whether to stop, as when a signal came: then it is not 0.
 * NULL: nobody is asked. Nothing that others wait for is held meanwhile. A
 * handler may fork, and return in the child, too: then `me` says so when this
 * returns, whatever it returns. A token of 0 is nobody, and is told to stop.
 * So a wait asks `me` anew after each nap, and keeps nothing of it. */
typedef int (*shx_poll)(void *context);

typedef struct {
    uint64_t began; /* nanoseconds of shx_os_now(), as is the next */
    uint64_t deadline;
    uint64_t slice;
    uint64_t ends; /* of the slice that runs, at whose end it looks; or 0 */
    unsigned naps;
    bool holding;  /* something that others wait for: see shx_nap() */
    bool restless; /* nobody wakes it for some of what it waits for, so that it
                    * looks every 2 ms */
    shx_poll poll;
    void *context;
} shx_patience;

/* From now on, for so many nanoseconds. Below 0: for ever. */
shx_patience shx_patience_for(int64_t timeout, shx_poll poll, void *context);

/* The same deadline, for another word: as if it had not waited yet. */
shx_patience shx_patience_anew(const shx_patience *patience);

/* Sleeps while the word is `seen`. 0: look at it again. SHX_SLICE_OVER: and
 * whether its owner lives. ETIMEDOUT, SHX_INTERRUPTED, EFAULT: give up; the
 * first not before the word was looked at once more. EINTR, of who holds
 * something: let go of it, shx_patience_ask(), and begin again. `watch` is the
 * cell's, or NULL. */
shx_err shx_nap(shx_patience *patience, const shx_word *word, uint32_t seen,
                shx_word *watch);

/* Of a cell that one waits for beside others: `looks`, when a slice is over,
 * whether this one is to look whether its owner lives. */
typedef struct {
    shx_word *watch;
    bool looks;
} shx_watch;

/* Sleeps while all of these words are as they were seen. Where the system
 * sleeps at one only it is restless. */
shx_err shx_nap_any(shx_patience *patience, const shx_berth *berths,
                    size_t count, shx_watch *watches, size_t watched);

/* For who waits in pieces, a slice each, and looks at the rest by itself: the
 * first slice is as long as any. */
void shx_patience_lengthen(shx_patience *patience);

/* Sleeps no more, and has not got what it waited for. If it was one of the
 * budget, another one is to look in its place, and is woken for that. */
void shx_patience_quit(const shx_patience *patience, const shx_word *word,
                       shx_word *watch);

/* SHX_INTERRUPTED if whoever waits is to stop. */
shx_err shx_patience_ask(const shx_patience *patience);

/* Has it waited so long that newcomers are to queue up behind it? */
bool shx_patience_is_hungry(const shx_patience *patience);

/* For loops that a word which never rests would keep busy: ETIMEDOUT, looked
 * at now and then; *rounds counts. */
shx_err shx_patience_spin(const shx_patience *patience, unsigned *rounds);

#endif

/* SPDX-License-Identifier: MIT */
/* How a method waits: what its arguments say of that, and the GIL, which is
 * kept where nothing is waited for, and let go of around the whole wait else.
 */
#ifndef SHX_PY_WAITING_H
#define SHX_PY_WAITING_H

#include "core/life/party.h"
#include "core/sync/patience.h"
#include "py/compat.h"

/* A time in seconds, or None for ever, as nanoseconds: -1 for ever; what is
 * negative is 0, as multiprocessing has it. -1 with an exception. */
int shx_parse_timeout(PyObject *timeout, int64_t *out);

/* The arguments block=True, timeout=None of a function: 0 if nothing is to be
 * waited for. `blocking` is taken for `block`, as threading calls it. */
int shx_parse_waiting(const char *function, PyObject *const *args,
                      Py_ssize_t count, PyObject *names, int64_t *timeout);

/* Called without the GIL, between the pieces of long work: `context` is the
 * PyThreadState ** of who released it. */
int shx_poll_signals(void *context);

/* How a call of the core waits without the GIL, as whom: with a poll of the
 * caller's that calls shx_wait_ask(). A handler may fork, and return in the
 * child, too: then it is that one who waits, and each `me` says so from there
 * on. What its parent has is not its own, nor is it to give that back. */
enum { SHX_WAIT_AS = 2 };
typedef struct {
    PyThreadState *saved;
    shx_err failed; /* to say who we are */
    unsigned count;
    struct {
        shx_party *party;
        shx_member *me;
        shx_member known; /* `me` may say more than this */
    } as[SHX_WAIT_AS];
} shx_wait;

/* Lets go of the GIL. */
void shx_wait_begin(shx_wait *wait);

/* As whom, in this memory: up to SHX_WAIT_AS times, before anything sleeps.
 * `me` is what shx_party_me() said just now. */
void shx_wait_as(shx_wait *wait, shx_party *party, shx_member *me);

/* Looks at the signals; not 0 if to stop. `me` is nobody, with a token of 0,
 * where it cannot be said who we are. */
int shx_wait_ask(shx_wait *wait);

/* `err`: what the core said. Returns what is to be said. */
shx_err shx_wait_end(shx_wait *wait, shx_err err);

/* The coroutine that a function of shmemext._waiting makes for the object. */
PyObject *shx_call_waiting(const char *function, PyObject *op);

#endif

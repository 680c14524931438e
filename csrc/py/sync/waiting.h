/* SPDX-License-Identifier: MIT */
/* How a method of a synchronizer waits: without the GIL, and with a look at
 * the signals, and at whether the memory is still there. */
#ifndef SHX_WAITING_H
#define SHX_WAITING_H

#include "py/waiting.h"

typedef struct {
    shx_patience patience;
    shx_wait wait;
    PyObject *op;   /* or NULL */
    PyObject *also; /* a lock that may lie elsewhere, or NULL */
} shx_waiting;

/* Signals are looked at from here on: what they raise is there afterwards, and
 * the core says SHX_INTERRUPTED. */
void shx_waiting_begin(shx_waiting *waiting, int64_t timeout);

/* The same, for who would not see by the word itself that its memory was cut
 * short, and is all zeros: looked at with the signals. So is the lock's, if
 * `waiting->also` is set to one afterwards. */
void shx_waiting_begin_whole(shx_waiting *waiting, PyObject *op,
                             int64_t timeout);

/* As whom, in the memory of this synchronizer, for who is to own something: a
 * handler may fork, see shx_wait_as(). */
void shx_waiting_as(shx_waiting *waiting, PyObject *op, shx_member *me);

/* `err`: what the core said. Returns what is to be said. */
shx_err shx_waiting_end(shx_waiting *waiting, shx_err err);

#endif

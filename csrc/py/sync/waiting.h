/* SPDX-License-Identifier: MIT */
/* How a method waits: what its arguments say of that, and the GIL, which is
 * kept where nothing is waited for, and let go of around the whole wait else.
 */
#ifndef SHX_PY_WAITING_H
#define SHX_PY_WAITING_H

#include "core/sync/patience.h"
#include "py/state.h"

/* A time in seconds, or None for ever, as nanoseconds: -1 for ever; what is
 * negative is 0, as multiprocessing has it. -1 with an exception. */
int shx_parse_timeout(PyObject *timeout, int64_t *out);

/* The arguments of acquire(block=True, timeout=None): 0 if nothing is to be
 * waited for. `blocking` is taken for `block`, as threading calls it. */
int shx_parse_acquire(PyObject *const *args, Py_ssize_t count, PyObject *names,
                      int64_t *timeout);

typedef struct {
    shx_patience patience;
    PyThreadState *saved;
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

void shx_waiting_end(shx_waiting *waiting);

/* The coroutine that a function of shmemext._waiting makes for the object. */
PyObject *shx_call_waiting(const char *function, PyObject *op);

#endif

/* SPDX-License-Identifier: MIT */
/* How a method waits: what its arguments say of that, and the GIL, which is
 * kept where nothing is waited for, and let go of around the whole wait else.
 */
#ifndef SHX_PY_WAITING_H
#define SHX_PY_WAITING_H

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

/* The coroutine that a function of shmemext._waiting makes for the object. */
PyObject *shx_call_waiting(const char *function, PyObject *op);

#endif

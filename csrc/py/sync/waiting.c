/* SPDX-License-Identifier: MIT */
#include "py/sync/waiting.h"

#include "py/sync/synchronizer.h"

void
shx_waiting_begin(shx_waiting *waiting, int64_t timeout)
{
    waiting->patience =
        shx_patience_for(timeout, shx_poll_signals, &waiting->saved);
    waiting->op = waiting->also = NULL;
    waiting->saved = PyEval_SaveThread();
}

/* Of what nobody has touched, the guard knows nothing. */
static bool
touch(PyObject *lock)
{
    (void)atomic_load(&SYNCHRONIZER(lock)->site.cell->word);
    return shx_synchronizer_is_torn(lock);
}

/* The mapping of an object that is in use does not go, nor change. */
static int
poll_whole(void *context)
{
    shx_waiting *waiting = context;
    return shx_synchronizer_is_torn(waiting->op) ||
                   (waiting->also != NULL && touch(waiting->also))
               ? 1
               : shx_poll_signals(&waiting->saved);
}

void
shx_waiting_begin_whole(shx_waiting *waiting, PyObject *op, int64_t timeout)
{
    waiting->patience = shx_patience_for(timeout, poll_whole, waiting);
    waiting->op = op;
    waiting->also = NULL;
    waiting->saved = PyEval_SaveThread();
}

void
shx_waiting_end(shx_waiting *waiting)
{
    PyEval_RestoreThread(waiting->saved);
}

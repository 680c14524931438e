/* SPDX-License-Identifier: MIT */
#include "py/sync/waiting.h"

#include "py/sync/synchronizer.h"

/* Of what nobody has touched, the guard knows nothing. */
static bool
touch(PyObject *lock)
{
    (void)atomic_load(&SYNCHRONIZER(lock)->site.cell->word);
    return shx_synchronizer_is_torn(lock);
}

/* The mapping of an object that is in use does not go, nor change. */
static int
poll(void *context)
{
    shx_waiting *waiting = context;
    return (waiting->op != NULL && shx_synchronizer_is_torn(waiting->op)) ||
                   (waiting->also != NULL && touch(waiting->also))
               ? 1
               : shx_wait_ask(&waiting->wait);
}

void
shx_waiting_begin(shx_waiting *waiting, int64_t timeout)
{
    waiting->patience = shx_patience_for(timeout, poll, waiting);
    waiting->op = waiting->also = NULL;
    shx_wait_begin(&waiting->wait);
}

void
shx_waiting_begin_whole(shx_waiting *waiting, PyObject *op, int64_t timeout)
{
    shx_waiting_begin(waiting, timeout);
    waiting->op = op;
}

void
shx_waiting_as(shx_waiting *waiting, PyObject *op, shx_member *me)
{
    shx_wait_as(&waiting->wait, SYNCHRONIZER(op)->site.party, me);
}

shx_err
shx_waiting_end(shx_waiting *waiting, shx_err err)
{
    return shx_wait_end(&waiting->wait, err);
}

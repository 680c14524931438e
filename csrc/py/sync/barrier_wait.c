/* SPDX-License-Identifier: MIT */
/* How a thread waits at a barrier, and a task. */
#include <errno.h>

#include "py/sync/barrier.h"
#include "py/sync/waiting.h"

#define SITE(op) (&SYNCHRONIZER(op)->site)

static shx_member
of_object(PyObject *op, shx_member me)
{
    me.nonce += (uint32_t)((uintptr_t)op / sizeof(shx_synchronizer));
    return me;
}

/* Who has never waited has no slots, nor has a forked child. */
void
shx_barrier_give_up(PyObject *op)
{
    const shx_party *party = SITE(op)->party;
    shx_member me;
    if (!atomic_load(&BARRIER(op)->used) || atomic_load(&party->token) == 0 ||
        atomic_load(party->belt) == 0) {
        return;
    }
    if (shx_party_me(SITE(op)->party, &me) == 0) {
        me = of_object(op, me);
        shx_barrier_leave(SITE(op), &me);
    }
}

static PyObject *
raise_broken(PyObject *op, uint32_t victim)
{
    PyObject *type = shx_import("threading", "BrokenBarrierError");
    PyObject *label = type == NULL ? NULL : shx_synchronizer_label(op);
    if (label != NULL && victim != 0) {
        PyErr_Format(type,
                     "process %u died, which had been at %U: reset() it when "
                     "there is another",
                     victim, label);
    }
    else if (label != NULL) {
        PyErr_Format(type, "%U is broken", label);
    }
    Py_XDECREF(label);
    Py_XDECREF(type);
    return NULL;
}

/* So that the process's end is not taken for a death. */
static int
be_known(PyObject *op)
{
    if (atomic_load_explicit(&BARRIER(op)->used, memory_order_relaxed)) {
        return 0;
    }
    PyObject *module = PyImport_ImportModule("shmemext._barriers");
    PyObject *result =
        module == NULL ? NULL : PyObject_CallMethod(module, "know", "O", op);
    Py_XDECREF(module);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    atomic_store(&BARRIER(op)->used, true);
    return 0;
}

static int
begin(PyObject *op, shx_visit *visit)
{
    *visit = (shx_visit){.place = SHX_NO_PLACE};
    if (be_known(op) < 0 || shx_synchronizer_me(op, &visit->me) < 0) {
        return -1;
    }
    visit->me = of_object(op, visit->me);
    return 0;
}

/* Was it the child that went on, where the process has forked? It has the
 * parent's visit, and nothing of it is to change by that. */
static bool
is_another(PyObject *op, const shx_visit *visit)
{
    shx_member me;
    if (shx_party_me(SITE(op)->party, &me) != 0) {
        return true;
    }
    me = of_object(op, me);
    return !shx_is_same_member(&me, &visit->me);
}

/* With the GIL, in one party of all that have arrived. -1 with an exception:
 * it is broken; or this is a child by now. */
static int
run_action(PyObject *op, shx_visit *visit)
{
    PyObject *action = Py_XNewRef(BARRIER(op)->action), *result = NULL;
    int is = action == NULL ? 0 : PyObject_IsTrue(action);
    if (is > 0) {
        result = PyObject_CallNoArgs(action);
    }
    bool failed = is < 0 || (is > 0 && result == NULL);
    Py_XDECREF(action);
    Py_XDECREF(result);
    if (is_another(op, visit)) {
        if (!failed) {
            (void)shx_synchronizer_raise(op, SHX_FORKED);
        }
        return -1;
    }
    if (failed) {
        shx_barrier_abandon(SITE(op), visit);
    }
    return failed ? -1 : 0;
}

static PyObject *
conclude(PyObject *op, shx_visit *visit, shx_arrival arrival)
{
    if (arrival == SHX_BARRIER_LEADS) {
        if (run_action(op, visit) < 0) {
            return NULL;
        }
        arrival = shx_barrier_trip(SITE(op), visit);
    }
    if (shx_synchronizer_is_torn(op)) {
        return shx_synchronizer_raise(op, EFAULT);
    }
    return arrival == SHX_BARRIER_PASSED ? PyLong_FromLong((long)visit->index)
                                         : raise_broken(op, visit->victim);
}

PyDoc_STRVAR(
    barrier_wait_doc,
    "wait($self, /, timeout=None)\n--\n\n"
    "Wait until as many wait as there are parties; return which one this\n"
    "is, from 0 on, different for each.\n\n"
    "timeout: seconds; None: the barrier's own\n\n"
    "BrokenBarrierError: others did not come in time; or it was aborted or\n"
    "reset; or a process died that had come, now or the last time.");

static PyObject *
barrier_wait(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"timeout", NULL};
    PyObject *asked = Py_None;
    int64_t timeout;
    shx_visit visit;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:wait", keywords,
                                     &asked) ||
        shx_parse_timeout(asked == Py_None ? BARRIER(op)->timeout : asked,
                          &timeout) < 0 ||
        begin(op, &visit) < 0) {
        return NULL;
    }
    shx_arrival arrival = shx_barrier_look(SITE(op), &visit);
    if (arrival == SHX_BARRIER_WAITS) {
        shx_waiting waiting;
        shx_waiting_begin_whole(&waiting, op, timeout);
        shx_waiting_as(&waiting, op, &visit.me);
        shx_err err =
            shx_barrier_wait(SITE(op), &visit, &waiting.patience, &arrival);
        err = shx_waiting_end(&waiting, err);
        if (err != 0) {
            return shx_synchronizer_raise(op, err);
        }
    }
    return conclude(op, &visit, arrival);
}

/* For tasks, see shmemext._waiting. A visit is a number there, so that none is
 * lost when a task is. */

static unsigned long
number_of(const shx_visit *visit)
{
    return (unsigned long)visit->place << 3 | visit->arrived >> SHX_TOKEN_BITS;
}

static int
parse_visit(PyObject *op, unsigned long number, shx_visit *visit)
{
    if (begin(op, visit) < 0) {
        return -1;
    }
    visit->place = (unsigned)(number >> 3);
    visit->arrived = (uint32_t)(number & 7) << SHX_TOKEN_BITS;
    if (visit->place != SHX_NO_PLACE && visit->place >= SITE(op)->parameter) {
        PyErr_SetString(PyExc_ValueError, "no such place");
        return -1;
    }
    return 0;
}

static shx_err
stay(const shx_site *at, shx_visit *visit, shx_patience *patience,
     shx_arrival *arrival)
{
    shx_err err = 0;
    while (err == 0 || err == SHX_SLICE_OVER) {
        *arrival = shx_barrier_look(at, visit);
        if (*arrival != SHX_BARRIER_WAITS) {
            return 0;
        }
        err = shx_barrier_nap(at, visit, patience);
    }
    return err == ETIMEDOUT ? 0 : err;
}

/* Returns (index, None), or (None, the visit) if the time is over. */
static PyObject *
barrier_stay(PyObject *op, PyObject *args)
{
    unsigned long number = (unsigned long)SHX_NO_PLACE << 3;
    PyObject *asked;
    int64_t timeout;
    shx_visit visit;
    shx_arrival arrival = SHX_BARRIER_WAITS;
    if (!PyArg_ParseTuple(args, "O|k:_stay", &asked, &number) ||
        shx_parse_timeout(asked, &timeout) < 0 ||
        parse_visit(op, number, &visit) < 0) {
        return NULL;
    }
    shx_waiting waiting;
    shx_waiting_begin(&waiting, timeout);
    shx_waiting_as(&waiting, op, &visit.me);
    shx_err err = stay(SITE(op), &visit, &waiting.patience, &arrival);
    if (err != 0) {
        shx_barrier_take_back(SITE(op), &visit);
    }
    err = shx_waiting_end(&waiting, err);
    if (err != 0) {
        return shx_synchronizer_raise(op, err);
    }
    if (arrival == SHX_BARRIER_WAITS) {
        PyObject *result = Py_BuildValue("Ok", Py_None, number_of(&visit));
        if (result == NULL) {
            shx_barrier_take_back(SITE(op), &visit);
        }
        return result;
    }
    PyObject *index = conclude(op, &visit, arrival);
    return index == NULL ? NULL : Py_BuildValue("NO", index, Py_None);
}

static PyObject *
barrier_take_back(PyObject *op, PyObject *arg)
{
    shx_visit visit;
    unsigned long number = PyLong_AsUnsignedLong(arg);
    if ((number == (unsigned long)-1 && PyErr_Occurred()) ||
        parse_visit(op, number, &visit) < 0) {
        return NULL;
    }
    shx_barrier_take_back(SITE(op), &visit);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    barrier_wait_async_doc,
    "wait_async($self, /)\n--\n\n"
    "Wait as wait() does, as a coroutine that lets other tasks run.\n\n"
    "A task that is cancelled has not come, and breaks nothing: see\n"
    "asyncio.wait_for() for a timeout. The action may run in a thread.\n\n"
    "Errors are wait()'s.");

static PyObject *
barrier_wait_async(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_call_waiting("pass_barrier", op);
}

PyMethodDef shx_barrier_wait_methods[] = {
    {"wait", (PyCFunction)(void (*)(void))barrier_wait,
     METH_VARARGS | METH_KEYWORDS, barrier_wait_doc},
    {"wait_async", barrier_wait_async, METH_NOARGS, barrier_wait_async_doc},
    {"_stay", barrier_stay, METH_VARARGS, NULL},
    {"_take_back", barrier_take_back, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

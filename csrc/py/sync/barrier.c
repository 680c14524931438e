/* SPDX-License-Identifier: MIT */
/* The type shmemext.Barrier.
 *
 * Who has passed is counted on, as long as its object lives: what a process
 * gives back when it ends normally, shmemext._barriers has it give back. So
 * slots are told apart by object, beside by process.
 */
#include "core/sync/barrier.h"

#include <errno.h>

#include "py/memory/memory.h"
#include "py/sync/barrier.h"
#include "py/sync/synchronizer.h"
#include "py/sync/waiting.h"

typedef struct {
    shx_synchronizer base;
    PyObject *action;  /* or None */
    PyObject *timeout; /* or None */
    _Atomic bool used; /* it may have slots: _barriers knows it */
} barrier;

#define BARRIER(op) ((barrier *)(op))
#define SITE(op) (&SYNCHRONIZER(op)->site)

static shx_member
of_object(PyObject *op, shx_member me)
{
    me.nonce += (uint32_t)((uintptr_t)op / sizeof(shx_synchronizer));
    return me;
}

/* At the end of a process, and of an object. No newcomer has slots. */
static void
leave(PyObject *op)
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

static int
barrier_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(BARRIER(op)->action);
    Py_VISIT(BARRIER(op)->timeout);
    return shx_synchronizer_traverse(op, visit, arg);
}

static int
barrier_clear(PyObject *op)
{
    Py_CLEAR(BARRIER(op)->action);
    Py_CLEAR(BARRIER(op)->timeout);
    return shx_synchronizer_clear(op);
}

static void
barrier_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    if (SITE(op)->party != NULL) {
        leave(op);
    }
    (void)barrier_clear(op);
    shx_synchronizer_dealloc(op);
}

/* Waiting */

static PyObject *
raise_broken(PyObject *op, uint32_t victim)
{
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *type =
        threading == NULL
            ? NULL
            : PyObject_GetAttrString(threading, "BrokenBarrierError");
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
    Py_XDECREF(threading);
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

/* With the GIL, in one party of all that have arrived. -1 with an exception:
 * it is broken. */
static int
run_action(PyObject *op, shx_visit *visit)
{
    PyObject *action = Py_XNewRef(BARRIER(op)->action), *result = NULL;
    int is = action == NULL ? 0 : PyObject_IsTrue(action);
    if (is > 0) {
        result = PyObject_CallNoArgs(action);
    }
    Py_XDECREF(action);
    if (is < 0 || (is > 0 && result == NULL)) {
        shx_barrier_abandon(SITE(op), visit);
        return -1;
    }
    Py_XDECREF(result);
    return 0;
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
    "BrokenBarrierError: others did not come within timeout seconds, by\n"
    "default the barrier's own; or it was aborted or reset; or a process\n"
    "died that had come, now or the last time.");

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
        shx_waiting_begin(&waiting, timeout);
        shx_err err =
            shx_barrier_wait(SITE(op), &visit, &waiting.patience, &arrival);
        shx_waiting_end(&waiting);
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
    shx_err err = stay(SITE(op), &visit, &waiting.patience, &arrival);
    if (err != 0) {
        shx_barrier_take_back(SITE(op), &visit);
    }
    shx_waiting_end(&waiting);
    if (err != 0) {
        return shx_synchronizer_raise(op, err);
    }
    if (arrival == SHX_BARRIER_WAITS) {
        return Py_BuildValue("Ok", Py_None, number_of(&visit));
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

PyDoc_STRVAR(barrier_wait_async_doc,
             "wait_async($self, /)\n--\n\n"
             "Wait as wait() does, as a coroutine that lets other tasks run.\n"
             "\nA task that is cancelled has not come, and breaks nothing: "
             "see\nasyncio.wait_for() for a timeout. The action may run in a "
             "thread.");

static PyObject *
barrier_wait_async(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_call_waiting("pass_barrier", op);
}

/* The rest */

PyDoc_STRVAR(barrier_abort_doc,
             "abort($self, /)\n--\n\n"
             "Break the barrier: whoever waits, or comes to wait, gets\n"
             "BrokenBarrierError until somebody resets it.");

static PyObject *
barrier_abort(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_barrier_abort(SITE(op));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(barrier_reset_doc,
             "reset($self, /)\n--\n\n"
             "Make the barrier as it was at first: nobody has come, and\n"
             "nobody is counted on. Whoever waits gets BrokenBarrierError.");

static PyObject *
barrier_reset(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_member me;
    if (shx_synchronizer_me(op, &me) < 0) {
        return NULL;
    }
    shx_waiting waiting;
    shx_waiting_begin(&waiting, -1);
    shx_err err = shx_barrier_reset(SITE(op), &me, &waiting.patience);
    shx_waiting_end(&waiting);
    if (err != 0) {
        return shx_synchronizer_raise(op, err);
    }
    Py_RETURN_NONE;
}

static PyObject *
barrier_leave(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    leave(op);
    Py_RETURN_NONE;
}

/* The action and the timeout are the object's own, and go with it. */
static PyObject *
rebuilder(PyObject *op)
{
    PyObject *plain =
        PyObject_GetAttrString((PyObject *)Py_TYPE(op), "_rebuild");
    const barrier *self = BARRIER(op);
    if (plain == NULL || self->action == NULL || self->timeout == NULL ||
        (self->action == Py_None && self->timeout == Py_None)) {
        return plain;
    }
    PyObject *functools = PyImport_ImportModule("functools");
    PyObject *rebuild =
        functools == NULL
            ? NULL
            : PyObject_CallMethod(functools, "partial", "OOO", plain,
                                  self->action, self->timeout);
    Py_XDECREF(functools);
    Py_DECREF(plain);
    return rebuild;
}

PyDoc_STRVAR(barrier_reduce_doc,
             "__reduce__($self, /)\n--\n\n"
             "Pickle by reference, but for the action and the timeout.");

static PyObject *
barrier_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_synchronizer_reduced(op, rebuilder(op));
}

static PyObject *
barrier_repr(PyObject *op)
{
    return shx_synchronizer_repr(
        op, shx_barrier_is_broken(SITE(op))
                ? PyUnicode_FromString("broken")
                : PyUnicode_FromFormat("waiters=%u/%u",
                                       shx_barrier_waiting(SITE(op)),
                                       SITE(op)->parameter));
}

static PyObject *
get_parties(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(SITE(op)->parameter);
}

static PyObject *
get_n_waiting(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(shx_barrier_waiting(SITE(op)));
}

static PyObject *
get_broken(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(shx_barrier_is_broken(SITE(op)));
}

/* Construction */

static PyObject *
describe(uint32_t parameter)
{
    return PyUnicode_FromFormat("parties=%u", parameter);
}

static const shx_synchronizer_kind kind = {SHX_CELL_BARRIER, shx_barrier_size,
                                           describe};

static int
check_parties(Py_ssize_t parties)
{
    if (parties < 1) {
        PyErr_SetString(PyExc_ValueError, "parties must be > 0");
    }
    else if (parties > SHX_BARRIER_PARTIES) {
        PyErr_Format(PyExc_ValueError, "parties must be at most %d",
                     SHX_BARRIER_PARTIES);
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* `op` is stolen; NULL: with an exception. */
static PyObject *
fill_in(PyObject *op, PyObject *action, PyObject *timeout)
{
    if (op != NULL) {
        BARRIER(op)->action = Py_NewRef(action);
        BARRIER(op)->timeout = Py_NewRef(timeout);
    }
    return op;
}

static PyObject *
barrier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"parties", "action", "timeout", "where",
                               "offset",  "mode",   NULL};
    shx_address address = {.where = Py_None};
    PyObject *action = Py_None, *timeout = Py_None;
    Py_ssize_t parties;
    int64_t parsed;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "n|OOOn$O:Barrier", keywords, &parties, &action,
            &timeout, &address.where, &address.offset, &address.mode) ||
        check_parties(parties) < 0 ||
        shx_parse_timeout(timeout, &parsed) < 0) {
        return NULL;
    }
    return fill_in(
        shx_synchronizer_make(type, &kind, &address, (uint32_t)parties),
        action, timeout);
}

/* (place...), or (action, timeout, place...) */
static PyObject *
barrier_rebuild(PyObject *type, PyObject *args)
{
    PyObject *action = Py_None, *timeout = Py_None;
    Py_ssize_t size = PyTuple_GET_SIZE(args);
    if (size == 4) {
        action = PyTuple_GET_ITEM(args, 0);
        timeout = PyTuple_GET_ITEM(args, 1);
    }
    PyObject *place = PyTuple_GetSlice(args, size == 4 ? 2 : 0, size);
    PyObject *op =
        place == NULL
            ? NULL
            : shx_synchronizer_rebuild((PyTypeObject *)type, &kind, place);
    Py_XDECREF(place);
    return fill_in(op, action, timeout);
}

PyDoc_STRVAR(barrier_size_of_doc,
             "size_of(parties)\n--\n\n"
             "Return how many bytes it takes in a memory.");

static PyObject *
barrier_size_of(PyObject *Py_UNUSED(type), PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"parties", NULL};
    Py_ssize_t parties;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n:size_of", keywords,
                                     &parties) ||
        check_parties(parties) < 0) {
        return NULL;
    }
    return PyLong_FromSize_t(shx_barrier_size((uint32_t)parties));
}

static PyMethodDef barrier_methods[] = {
    {"wait", (PyCFunction)(void (*)(void))barrier_wait,
     METH_VARARGS | METH_KEYWORDS, barrier_wait_doc},
    {"wait_async", barrier_wait_async, METH_NOARGS, barrier_wait_async_doc},
    {"abort", barrier_abort, METH_NOARGS, barrier_abort_doc},
    {"reset", barrier_reset, METH_NOARGS, barrier_reset_doc},
    {"size_of", (PyCFunction)(void (*)(void))barrier_size_of,
     METH_VARARGS | METH_KEYWORDS | METH_STATIC, barrier_size_of_doc},
    {"__reduce__", barrier_reduce, METH_NOARGS, barrier_reduce_doc},
    {"_leave", barrier_leave, METH_NOARGS, NULL},
    {"_rebuild", barrier_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {"_stay", barrier_stay, METH_VARARGS, NULL},
    {"_take_back", barrier_take_back, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef barrier_getset[] = {
    {"parties", get_parties, shx_memory_refuse,
     PyDoc_STR("How many are waited for."), "parties"},
    {"n_waiting", get_n_waiting, shx_memory_refuse,
     PyDoc_STR("How many wait, as it is at this moment."), "n_waiting"},
    {"broken", get_broken, shx_memory_refuse,
     PyDoc_STR("Is it broken, and has nobody reset it?"), "broken"},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    barrier_doc,
    "Barrier(parties, action=None, timeout=None, where=None, offset=0, *,\n"
    "        mode=None)\n--\n\n"
    "Where a number of threads, of any processes, wait for each other.\n\n"
    "When all of them have come, one runs action, a callable of its own\n"
    "object, if there is one, and then all go on. timeout is what wait()\n"
    "has by default, in seconds.\n\n"
    "Whoever has come once is counted on, until its process ends normally\n"
    "or its object is gone: if the process is killed, os._exit() too, the\n"
    "others get BrokenBarrierError, and nobody waits for the dead.\n\n"
    "where, offset and mode are Lock's; in a memory it takes\n"
    "Barrier.size_of(parties) bytes. See multiprocessing.Barrier.");

static PyType_Slot barrier_slots[] = {
    {Py_tp_doc, (void *)barrier_doc},
    {Py_tp_new, barrier_new},
    {Py_tp_traverse, barrier_traverse},
    {Py_tp_clear, barrier_clear},
    {Py_tp_dealloc, barrier_dealloc},
    {Py_tp_repr, barrier_repr},
    {Py_tp_methods, barrier_methods},
    {Py_tp_getset, barrier_getset},
    {0, NULL},
};

static PyType_Spec barrier_spec = {
    .name = "shmemext.synchronize.Barrier",
    .basicsize = sizeof(barrier),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = barrier_slots,
};

int
shx_barrier_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->barrier_type =
        shx_synchronizer_add_type(module, &barrier_spec, "Barrier");
    return state->barrier_type == NULL ? -1 : 0;
}

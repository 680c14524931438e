/* SPDX-License-Identifier: MIT */
/* How a Condition is made, with its lock, and pickled. */
#include "py/sync/condition.h"
#include "py/sync/lock.h"
#include "py/sync/rlock.h"

enum { WAITERS = 24 };

static size_t
size(uint32_t parameter)
{
    return shx_condition_size(parameter);
}

uint32_t
shx_condition_waiters(uint32_t parameter)
{
    return parameter & ~(SHX_IGNORES_DEATH | SHX_CONDITION_HAS_LOCK);
}

static PyObject *
describe(uint32_t parameter)
{
    if ((parameter & SHX_CONDITION_HAS_LOCK) != 0) {
        return PyUnicode_FromFormat("lock, waiters=%u",
                                    shx_condition_waiters(parameter));
    }
    PyObject *on_death = shx_lock_describe_parameter(parameter);
    PyObject *text =
        on_death == NULL
            ? NULL
            : PyUnicode_FromFormat("waiters=%u, %U",
                                   shx_condition_waiters(parameter), on_death);
    Py_XDECREF(on_death);
    return text;
}

static const shx_synchronizer_kind kind = {
    .kind = SHX_CELL_CONDITION, .size = size, .describe = describe};

/* Of an object that is made: its lock, which is one of ours, or NULL. */
static int
settle(PyObject *op, PyObject *lock)
{
    shx_condition_object *self = CONDITION(op);
    uint32_t parameter = self->base.site.parameter;
    self->lock = lock != NULL ? Py_NewRef(lock)
                              : shx_rlock_part(op, SHX_CONDITION_LOCK,
                                               parameter & SHX_IGNORES_DEATH);
    if (self->lock == NULL) {
        return -1;
    }
    self->core = (shx_condition){
        .at = self->base.site,
        .lock = SYNCHRONIZER(self->lock)->site,
        .recursive = SYNCHRONIZER(self->lock)->kind->kind == SHX_CELL_RLOCK,
    };
    return 0;
}

/* -1 with an exception: it is no lock of ours. *out: NULL for None. */
static int
check_lock(PyTypeObject *type, PyObject *lock, PyObject **out)
{
    shx_state *state = shx_state_of(type);
    *out = lock == Py_None ? NULL : lock;
    if (state == NULL) {
        return -1;
    }
    if (lock == Py_None || PyObject_TypeCheck(lock, state->lock_type) ||
        PyObject_TypeCheck(lock, state->rlock_type)) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError,
                 "'lock' is a shmemext Lock or RLock, or None for an RLock of "
                 "its own, not %.100s",
                 Py_TYPE(lock)->tp_name);
    return -1;
}

static int
parse_parameter(PyObject *lock, Py_ssize_t waiters, PyObject *on_death,
                uint32_t *parameter)
{
    if (shx_parse_on_death(on_death, parameter) < 0) {
        return -1;
    }
    if (lock != NULL && on_death != NULL) {
        PyErr_SetString(PyExc_ValueError,
                        "'on_death' is the lock's: it is said where that is "
                        "made");
        return -1;
    }
    if (waiters < 1 || waiters > SHX_CONDITION_MOST_WAITERS) {
        PyErr_Format(PyExc_ValueError,
                     "'waiters' is how many may wait at once, 1 to %d",
                     SHX_CONDITION_MOST_WAITERS);
        return -1;
    }
    *parameter |= (uint32_t)waiters;
    *parameter |= lock != NULL ? SHX_CONDITION_HAS_LOCK : 0;
    return 0;
}

PyObject *
shx_condition_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"lock",     "where", "offset", "waiters",
                               "on_death", "mode",  NULL};
    shx_address address = {.where = Py_None};
    PyObject *lock = Py_None, *on_death = NULL;
    Py_ssize_t waiters = WAITERS;
    uint32_t parameter;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OOn$nOO:Condition",
                                     keywords, &lock, &address.where,
                                     &address.offset, &waiters, &on_death,
                                     &address.mode) ||
        check_lock(type, lock, &lock) < 0 ||
        parse_parameter(lock, waiters, on_death, &parameter) < 0) {
        return NULL;
    }
    PyObject *op = shx_synchronizer_make(type, &kind, &address, parameter);
    if (op != NULL && settle(op, lock) < 0) {
        Py_CLEAR(op);
    }
    return op;
}

/* The arguments of synchronizers, and a lock that is elsewhere. */
PyObject *
shx_condition_rebuild(PyObject *type, PyObject *args)
{
    PyObject *lock = NULL, *place = PyTuple_GetSlice(args, 0, 2);
    PyObject *op = NULL;
    if (place == NULL) {
        return NULL;
    }
    if (PyTuple_GET_SIZE(args) <= 2 ||
        check_lock((PyTypeObject *)type, PyTuple_GET_ITEM(args, 2), &lock) ==
            0) {
        op = shx_synchronizer_rebuild((PyTypeObject *)type, &kind, place);
    }
    Py_DECREF(place);
    if (op == NULL) {
        return NULL;
    }
    uint32_t parameter = SYNCHRONIZER(op)->site.parameter;
    if (((parameter & SHX_CONDITION_HAS_LOCK) != 0) != (lock != NULL)) {
        PyErr_SetString(PyExc_ValueError, "its lock is another one");
        Py_CLEAR(op);
    }
    else if (settle(op, lock) < 0) {
        Py_CLEAR(op);
    }
    return op;
}

PyObject *
shx_condition_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    const shx_synchronizer *self = SYNCHRONIZER(op);
    bool has_lock = (self->site.parameter & SHX_CONDITION_HAS_LOCK) != 0;
    PyObject *lock = has_lock ? CONDITION(op)->lock : NULL;
    PyObject *rebuild =
        PyObject_GetAttrString((PyObject *)Py_TYPE(op), "_rebuild");
    if (rebuild == NULL) {
        return NULL;
    }
    if (self->name == NULL) {
        return lock == NULL ? Py_BuildValue("N(On)", rebuild, self->memory,
                                            self->offset)
                            : Py_BuildValue("N(OnO)", rebuild, self->memory,
                                            self->offset, lock);
    }
    PyObject *args =
        lock == NULL
            ? Py_BuildValue("OI", self->name, self->site.parameter)
            : Py_BuildValue("OIO", self->name, self->site.parameter, lock);
    PyObject *named = PyImport_ImportModule("shmemext._named");
    PyObject *result = named == NULL || args == NULL
                           ? NULL
                           : PyObject_CallMethod(named, "reduce", "OOO",
                                                 self->memory, rebuild, args);
    Py_XDECREF(named);
    Py_XDECREF(args);
    Py_DECREF(rebuild);
    return result;
}

PyObject *
shx_condition_size_of(PyObject *Py_UNUSED(type), PyObject *args,
                      PyObject *kwargs)
{
    static char *keywords[] = {"waiters", NULL};
    Py_ssize_t waiters = WAITERS;
    uint32_t parameter;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|n:size_of", keywords,
                                     &waiters) ||
        parse_parameter(NULL, waiters, NULL, &parameter) < 0) {
        return NULL;
    }
    return PyLong_FromSize_t(shx_condition_size(parameter));
}

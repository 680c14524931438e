/* SPDX-License-Identifier: MIT */
/* The type shmemext.Condition. */
#include "py/sync/condition.h"

#include <errno.h>

#include "py/memory/memory.h"
#include "py/sync/lock.h"

static int
condition_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(CONDITION(op)->lock);
    return shx_synchronizer_traverse(op, visit, arg);
}

static void
condition_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    PyObject *lock = CONDITION(op)->lock;
    CONDITION(op)->lock = NULL;
    shx_synchronizer_dealloc(op);
    Py_XDECREF(lock);
}

/* Its lock's methods */

static PyObject *
call_lock(PyObject *op, PyObject *name)
{
    PyObject *lock = CONDITION(op)->lock;
    return name == NULL ? NULL : PyObject_CallMethodNoArgs(lock, name);
}

#define STR(op, which)                                                        \
    (shx_state_of(Py_TYPE(op)) == NULL                                        \
         ? NULL                                                               \
         : shx_state_of(Py_TYPE(op))->str.which)

PyDoc_STRVAR(condition_acquire_doc,
             "acquire($self, /, block=True, timeout=None)\n--\n\n"
             "Take its lock: condition.lock.acquire().\n\n"
             "Arguments and errors are Lock.acquire()'s.");

static PyObject *
condition_acquire(PyObject *op, PyObject *const *args, Py_ssize_t count,
                  PyObject *names)
{
    PyObject *method = PyObject_GetAttrString(CONDITION(op)->lock, "acquire");
    PyObject *result =
        method == NULL
            ? NULL
            : PyObject_Vectorcall(method, args, (size_t)count, names);
    Py_XDECREF(method);
    return result;
}

PyDoc_STRVAR(condition_release_doc,
             "release($self, /)\n--\n\n"
             "Give its lock back: condition.lock.release().\n\n"
             "Errors are Lock.release()'s.");

static PyObject *
condition_release(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return call_lock(op, STR(op, release));
}

PyDoc_STRVAR(condition_locked_doc,
             "locked($self, /)\n--\n\n"
             "Return whether somebody has its lock, as it is at this moment.");

static PyObject *
condition_locked(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return call_lock(op, STR(op, locked));
}

static PyObject *
condition_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return call_lock(op, STR(op, __enter__));
}

static PyObject *
condition_exit(PyObject *op, PyObject *const *Py_UNUSED(args),
               Py_ssize_t Py_UNUSED(count))
{
    return call_lock(op, STR(op, release));
}

PyDoc_STRVAR(
    condition_acquire_async_doc,
    "acquire_async($self, /)\n--\n\n"
    "Take its lock, as a coroutine: condition.lock.acquire_async().\n\n"
    "Errors are Lock.acquire()'s.");

static PyObject *
condition_acquire_async(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return call_lock(op, STR(op, acquire_async));
}

static PyObject *
condition_aexit(PyObject *op, PyObject *const *Py_UNUSED(args),
                Py_ssize_t Py_UNUSED(count))
{
    return shx_call_waiting("release", op);
}

/* Waiting */

bool
shx_condition_is_torn(PyObject *op)
{
    return shx_synchronizer_is_torn(op) ||
           shx_synchronizer_is_torn(CONDITION(op)->lock);
}

PyObject *
shx_condition_raise(PyObject *op, shx_err err, const char *unowned)
{
    shx_condition_object *self = CONDITION(op);
    if (err == SHX_NOT_OWNER && shx_condition_is_torn(op)) {
        return shx_synchronizer_raise(op, EFAULT); /* of zeros */
    }
    if (err == SHX_NOT_OWNER) {
        PyErr_SetString(PyExc_AssertionError, unowned);
        return NULL;
    }
    if (err == SHX_OWNER_DIED) {
        return shx_synchronizer_raise(self->lock, err);
    }
    if (err != SHX_TOO_MANY) {
        return shx_synchronizer_raise(op, err);
    }
    PyObject *label = shx_synchronizer_label(op);
    PyObject *text =
        label == NULL
            ? NULL
            : PyUnicode_FromFormat(
                  "%U: %u wait already, as many as it was made for: make it "
                  "with more waiters=",
                  label, shx_condition_waiters(self->core.at.parameter));
    PyObject *error = text == NULL ? NULL
                                   : PyObject_CallFunction(PyExc_OSError, "iO",
                                                           ENOSPC, text);
    if (error != NULL) {
        PyErr_SetObject(PyExc_OSError, error);
    }
    Py_XDECREF(error);
    Py_XDECREF(text);
    Py_XDECREF(label);
    return NULL;
}

static const char wait_unowned[] =
    "must acquire() condition before using wait()";

static PyObject *
wait_for(PyObject *op, int64_t timeout)
{
    const shx_condition *core = &CONDITION(op)->core;
    shx_waiter me;
    shx_waiting waiting;
    shx_err err = shx_condition_me(core, &me);
    if (err == 0) {
        shx_condition_begin_waiting(&waiting, op, timeout, &me);
        err = shx_condition_wait(core, &me, &waiting.patience);
        err = shx_waiting_end(&waiting, err);
    }
    if ((err == 0 || err == ETIMEDOUT) && shx_condition_is_torn(op)) {
        err = EFAULT;
    }
    switch (err) {
    case 0:
        Py_RETURN_TRUE;
    case ETIMEDOUT:
        Py_RETURN_FALSE;
    default:
        return shx_condition_raise(op, err, wait_unowned);
    }
}

PyDoc_STRVAR(
    condition_wait_doc,
    "wait($self, /, timeout=None)\n--\n\n"
    "Let go of the lock until notified; return, with the lock, whether it\n"
    "was in time.\n\n"
    "It has the lock again also when it raises, and then whoever waits next\n"
    "is notified instead.\n\n"
    "timeout: seconds; None: for ever\n\n"
    "OwnerDied: who had the lock died meanwhile; it is held, and stays torn\n"
    "until condition.lock.repair(). OSError: as many wait already as it was\n"
    "made for. AssertionError: without the lock.");

static PyObject *
condition_wait(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"timeout", NULL};
    PyObject *timeout = Py_None;
    int64_t nanoseconds;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:wait", keywords,
                                     &timeout) ||
        shx_parse_timeout(timeout, &nanoseconds) < 0) {
        return NULL;
    }
    return wait_for(op, nanoseconds);
}

static int64_t
now(void)
{
    struct timespec time;
    shx_os_now(&time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

PyDoc_STRVAR(
    condition_wait_for_doc,
    "wait_for($self, /, predicate, timeout=None)\n--\n\n"
    "Wait until predicate() is true; return what it was the last time.\n\n"
    "predicate: a callable\n"
    "Other arguments and the errors are wait()'s.");

static PyObject *
wait_until(PyObject *op, PyObject *predicate, int64_t left)
{
    bool ends = left >= 0;
    int64_t end = ends ? now() + left : 0;
    for (;;) {
        PyObject *result = PyObject_CallNoArgs(predicate);
        int is_true = result == NULL ? -1 : PyObject_IsTrue(result);
        left = ends ? end - now() : -1;
        if (is_true > 0 || (is_true == 0 && ends && left <= 0)) {
            return result;
        }
        Py_XDECREF(result);
        PyObject *waited =
            is_true < 0 ? NULL
            : ends ? PyObject_CallMethod(op, "wait", "d", (double)left / 1e9)
                   : PyObject_CallMethod(op, "wait", NULL);
        if (waited == NULL) {
            return NULL;
        }
        Py_DECREF(waited);
    }
}

/* With a reference of its own: code that runs meanwhile may find the dict of
 * the keywords, and change it. */
static PyObject *
condition_wait_for(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"predicate", "timeout", NULL};
    PyObject *predicate, *timeout = Py_None;
    int64_t left;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:wait_for", keywords,
                                     &predicate, &timeout)) {
        return NULL;
    }
    Py_INCREF(predicate);
    PyObject *result = shx_parse_timeout(timeout, &left) < 0
                           ? NULL
                           : wait_until(op, predicate, left);
    Py_DECREF(predicate);
    return result;
}

static PyObject *
notify(PyObject *op, uint64_t count)
{
    const shx_condition *core = &CONDITION(op)->core;
    shx_waiter me;
    shx_err err = shx_condition_me(core, &me);
    if (err == 0 && shx_condition_depth(core, &me) == 0) {
        err = SHX_NOT_OWNER;
    }
    if (err == 0) {
        shx_condition_notify(core, count);
        err = shx_condition_is_torn(op) ? EFAULT : 0;
    }
    if (err != 0) {
        return shx_condition_raise(op, err, "lock is not owned");
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(condition_notify_doc,
             "notify($self, /, n=1)\n--\n\n"
             "Wake some of those who wait, who began to first, with the lock\n"
             "held. The dead are passed over.\n\n"
             "n: how many at most\n\n"
             "AssertionError: without the lock.");

static PyObject *
condition_notify(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"n", NULL};
    PyObject *n = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:notify", keywords,
                                     &n)) {
        return NULL;
    }
    Py_ssize_t count = n == NULL ? 1 : PyNumber_AsSsize_t(n, NULL);
    if (count == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return notify(op, count < 0 ? 0 : (uint64_t)count);
}

PyDoc_STRVAR(condition_notify_all_doc,
             "notify_all($self, /)\n--\n\n"
             "Wake all who wait, with the lock held.\n\n"
             "Errors are notify()'s.");

static PyObject *
condition_notify_all(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return notify(op, UINT64_MAX);
}

PyDoc_STRVAR(
    condition_wait_async_doc,
    "wait_async($self, /)\n--\n\n"
    "Wait as a coroutine, which lets other tasks run: True, with the lock.\n\n"
    "A task that is cancelled has the lock again when CancelledError is\n"
    "raised, and whoever waits next is notified instead. See\n"
    "asyncio.timeout() for a timeout.\n\n"
    "Errors are wait()'s.");

static PyObject *
condition_wait_async(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_call_waiting("wait", op);
}

PyDoc_STRVAR(condition_size_of_doc,
             "size_of(waiters=24)\n--\n\n"
             "Return how many bytes it takes in a memory, its own RLock\n"
             "included.\n\n"
             "Arguments are Condition's.\n\n"
             "ValueError: waiters is below 1, or above 65535.");

#define KEYWORDS(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef condition_methods[] = {
    {"acquire", KEYWORDS(condition_acquire), METH_FASTCALL | METH_KEYWORDS,
     condition_acquire_doc},
    {"release", condition_release, METH_NOARGS, condition_release_doc},
    {"locked", condition_locked, METH_NOARGS, condition_locked_doc},
    {"wait", KEYWORDS(condition_wait), METH_VARARGS | METH_KEYWORDS,
     condition_wait_doc},
    {"wait_for", KEYWORDS(condition_wait_for), METH_VARARGS | METH_KEYWORDS,
     condition_wait_for_doc},
    {"notify", KEYWORDS(condition_notify), METH_VARARGS | METH_KEYWORDS,
     condition_notify_doc},
    {"notify_all", condition_notify_all, METH_NOARGS,
     condition_notify_all_doc},
    {"acquire_async", condition_acquire_async, METH_NOARGS,
     condition_acquire_async_doc},
    {"wait_async", condition_wait_async, METH_NOARGS,
     condition_wait_async_doc},
    {"size_of", KEYWORDS(shx_condition_size_of),
     METH_VARARGS | METH_KEYWORDS | METH_STATIC, condition_size_of_doc},
    {"__enter__", condition_enter, METH_NOARGS, NULL},
    {"__exit__", KEYWORDS(condition_exit), METH_FASTCALL, NULL},
    {"__aenter__", condition_acquire_async, METH_NOARGS, NULL},
    {"__aexit__", KEYWORDS(condition_aexit), METH_FASTCALL, NULL},
    {"__reduce__", shx_condition_reduce, METH_NOARGS, NULL},
    {"_rebuild", shx_condition_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
get_lock(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(CONDITION(op)->lock);
}

static PyGetSetDef condition_getset[] = {
    {"lock", get_lock, shx_memory_refuse,
     PyDoc_STR("Its Lock or RLock: condition.lock.repair() is the way out of\n"
               "OwnerDied."),
     "lock"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyObject *
condition_repr(PyObject *op)
{
    const shx_condition *core = &CONDITION(op)->core;
    unsigned count = shx_condition_count(core);
    PyObject *lock = shx_lock_describe(&core->lock);
    PyObject *state = lock == NULL
                          ? NULL
                          : PyUnicode_FromFormat("%U, %u wait%s", lock, count,
                                                 count == 1 ? "s" : "");
    Py_XDECREF(lock);
    return shx_synchronizer_repr(op, state);
}

PyDoc_STRVAR(
    condition_doc,
    "Condition(lock=None, where=None, offset=0, *, waiters=24,\n"
    "          on_death='raise', mode=None)\n--\n\n"
    "Processes wait, with a lock, until another one notifies them.\n\n"
    "Who waits is served in order, and notify(n) wakes n of those who live:\n"
    "a waiter that died is passed over, and what one was notified of that\n"
    "died before it had the lock, another one is.\n\n"
    "lock: a Lock or RLock of shmemext, wherever that lies; None: an RLock\n"
    "    of its own, which on_death is for\n"
    "waiters: how many processes and threads may wait at once, 1 to 65535\n"
    "on_death: as of a Lock\n" SHX_WHERE_DOC "\n\n" SHX_WHERE_ERRORS "\n"
    "See multiprocessing.Condition.");

static PyType_Slot condition_slots[] = {
    {Py_tp_doc, (void *)condition_doc},
    {Py_tp_new, shx_condition_new},
    {Py_tp_traverse, condition_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, condition_dealloc},
    {Py_tp_repr, condition_repr},
    {Py_tp_methods, condition_methods},
    {Py_tp_getset, condition_getset},
    {0, NULL},
};

static PyType_Spec condition_spec = {
    .name = "shmemext.synchronize.Condition",
    .basicsize = sizeof(shx_condition_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = condition_slots,
};

int
shx_condition_add(PyObject *module)
{
    PyTypeObject *type =
        shx_synchronizer_add_type(module, &condition_spec, "Condition");
    shx_state_of_module(module)->condition_type = type;
    return type == NULL || shx_add_methods(type, shx_condition_steps) < 0 ? -1
                                                                          : 0;
}

/* SPDX-License-Identifier: MIT */
/* The methods of whatever is a lock.
 *
 * The GIL is kept where the lock is to be had at once, and let go of around
 * the whole wait else, since its holder may be a thread of ours that needs it.
 */
#include "py/sync/lock.h"

#include <errno.h>

#include "py/memory/memory.h"
#include "py/sync/waiting.h"

#define KIND(op) ((const shx_lock_kind *)(SYNCHRONIZER(op)->kind))
#define SITE(op) (&SYNCHRONIZER(op)->site)

/* It was taken, but what it lies in is not shared with anybody any more. */
static PyObject *
give_back(PyObject *op, const shx_member *me)
{
    (void)KIND(op)->release(SITE(op), me);
    return shx_synchronizer_raise(op, EFAULT);
}

/* It was not to be released: it is not ours, or nobody's any more. */
static PyObject *
refuse(PyObject *op)
{
    return shx_synchronizer_is_torn(op) ? shx_synchronizer_raise(op, EFAULT)
                                        : KIND(op)->refuse(op);
}

static PyObject *
answer(PyObject *op, const shx_member *me, shx_err err)
{
    return err == 0 && shx_synchronizer_is_torn(op)
               ? give_back(op, me)
               : shx_synchronizer_answer(op, err);
}

static shx_err
wait_for(PyObject *op, shx_member *me, shx_torn torn, int64_t timeout)
{
    shx_waiting waiting;
    shx_waiting_begin(&waiting, timeout);
    shx_waiting_as(&waiting, op, me);
    shx_err err = KIND(op)->acquire(SITE(op), me, torn, &waiting.patience);
    return shx_waiting_end(&waiting, err);
}

static PyObject *
acquire(PyObject *op, int64_t timeout)
{
    shx_member me;
    if (shx_synchronizer_me(op, &me) < 0) {
        return NULL;
    }
    if (KIND(op)->quick(SITE(op), &me)) {
        return answer(op, &me, 0);
    }
    return answer(op, &me,
                  timeout == 0
                      ? KIND(op)->attempt(SITE(op), &me, SHX_TORN_TELLS)
                      : wait_for(op, &me, SHX_TORN_TELLS, timeout));
}

PyDoc_STRVAR(
    lock_acquire_doc,
    "acquire($self, /, block=True, timeout=None)\n--\n\n"
    "Take the lock; return whether it was to be had in "
    "time.\n\n" SHX_ACQUIRE_DOC "\n\n"
    "OwnerDied: its holder died, and nobody has repaired what it guards.\n"
    "OSError: the memory was cut short.");

static PyObject *
lock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t count,
             PyObject *names)
{
    int64_t timeout;
    if (shx_parse_waiting("acquire", args, count, names, &timeout) < 0) {
        return NULL;
    }
    return acquire(op, timeout);
}

static PyObject *
lock_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return acquire(op, -1);
}

PyDoc_STRVAR(
    lock_release_doc,
    "release($self, /)\n--\n\n"
    "Give the lock back.\n\n"
    "ValueError: this process has it not. AssertionError: an RLock, which\n"
    "this thread has not.");

static PyObject *
lock_release(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_member me;
    if (shx_synchronizer_me(op, &me) < 0) {
        return NULL;
    }
    shx_err err = KIND(op)->release(SITE(op), &me);
    if (err != 0) {
        return refuse(op);
    }
    Py_RETURN_NONE;
}

static PyObject *
lock_exit(PyObject *op, PyObject *const *Py_UNUSED(args),
          Py_ssize_t Py_UNUSED(count))
{
    return lock_release(op, NULL);
}

PyDoc_STRVAR(lock_locked_doc,
             "locked($self, /)\n--\n\n"
             "Return whether somebody has it, as it is at this moment.");

static PyObject *
lock_locked(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    uint32_t word = atomic_load(&SITE(op)->cell->word);
    return shx_synchronizer_is_torn(op)
               ? shx_synchronizer_raise(op, EFAULT)
               : PyBool_FromLong((word & SHX_TOKEN) != 0);
}

PyDoc_STRVAR(
    lock_repair_doc,
    "repair($self, /, timeout=None)\n--\n\n"
    "Return a context manager that has the lock, whoever died with it.\n\n"
    "Check or rebuild what it guards inside: if the block ends without an\n"
    "exception the lock is sound again. As a value the manager gives whether\n"
    "it was not.\n\n"
    "timeout: seconds to wait for it; None: for ever\n\n"
    "TimeoutError: it was not to be had in time.");

static PyObject *
lock_repair(PyObject *op, PyObject *const *args, Py_ssize_t count,
            PyObject *names)
{
    PyObject *class = shx_import("shmemext._repair", "Repair");
    PyObject *result = NULL;
    PyObject *stack[4] = {NULL, op};
    if (count > 1 || (count == 1 && names != NULL)) {
        PyErr_SetString(PyExc_TypeError,
                        "repair() takes at most 1 argument, timeout");
    }
    else if (class != NULL) {
        if (count == 1 || names != NULL) {
            stack[2] = args[0];
        }
        result = PyObject_Vectorcall(
            class, stack + 1,
            (size_t)(1 + count) | PY_VECTORCALL_ARGUMENTS_OFFSET, names);
    }
    Py_XDECREF(class);
    return result;
}

/* What these three are for, Python says: _repair.py, _waiting.py. */

static PyObject *
lock_begin_repair(PyObject *op, PyObject *arg)
{
    shx_member me;
    int64_t timeout;
    if (shx_parse_timeout(arg, &timeout) < 0 ||
        shx_synchronizer_me(op, &me) < 0) {
        return NULL;
    }
    shx_err err = wait_for(op, &me, SHX_TORN_REPAIRS, timeout);
    if ((err == 0 || err == SHX_OWNER_DIED) && shx_synchronizer_is_torn(op)) {
        return give_back(op, &me);
    }
    switch (err) {
    case SHX_OWNER_DIED:
        Py_RETURN_TRUE;
    case 0:
        Py_RETURN_FALSE;
    case ETIMEDOUT:
        Py_RETURN_NONE;
    default:
        return shx_synchronizer_raise(op, err);
    }
}

static PyObject *
lock_end_repair(PyObject *op, PyObject *arg)
{
    shx_member me;
    int sound = PyObject_IsTrue(arg);
    if (sound < 0 || shx_synchronizer_me(op, &me) < 0) {
        return NULL;
    }
    if (sound && shx_lock_is_ours(SITE(op), &me)) {
        shx_lock_mend(SITE(op));
    }
    shx_err err = sound ? KIND(op)->release(SITE(op), &me)
                        : KIND(op)->release_torn(SITE(op), &me);
    if (err != 0) {
        return refuse(op);
    }
    Py_RETURN_NONE;
}

static PyObject *
lock_watch(PyObject *op, PyObject *arg)
{
    int64_t timeout;
    shx_waiting waiting;
    if (shx_parse_timeout(arg, &timeout) < 0) {
        return NULL;
    }
    shx_waiting_begin(&waiting, timeout);
    shx_err err = shx_lock_watch(SITE(op), &waiting.patience);
    err = shx_waiting_end(&waiting, err);
    if (err != 0 && err != SHX_SLICE_OVER && err != ETIMEDOUT) {
        return shx_synchronizer_raise(op, err);
    }
    Py_RETURN_NONE;
}

/* Of a task: all tasks of a loop are one thread, so it is not asked whether
 * that has the lock. */
static PyObject *
lock_try(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_member me;
    if (shx_synchronizer_me(op, &me) < 0) {
        return NULL;
    }
    if (shx_lock_is_ours(SITE(op), &me)) {
        Py_RETURN_FALSE;
    }
    return answer(op, &me, KIND(op)->attempt(SITE(op), &me, SHX_TORN_TELLS));
}

PyDoc_STRVAR(
    lock_acquire_async_doc,
    "acquire_async($self, /)\n--\n\n"
    "Take the lock, as a coroutine that lets other tasks run: True.\n\n"
    "Tasks of one loop are served in order. A task that is cancelled\n"
    "has it not. See asyncio.wait_for() for a timeout.\n\n"
    "Errors are acquire()'s.");

static PyObject *
lock_acquire_async(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_call_waiting("acquire", op);
}

static PyObject *
lock_aexit(PyObject *op, PyObject *const *Py_UNUSED(args),
           Py_ssize_t Py_UNUSED(count))
{
    return shx_call_waiting("release", op);
}

PyMethodDef shx_lock_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))lock_acquire,
     METH_FASTCALL | METH_KEYWORDS, lock_acquire_doc},
    {"release", lock_release, METH_NOARGS, lock_release_doc},
    {"acquire_async", lock_acquire_async, METH_NOARGS, lock_acquire_async_doc},
    {"__enter__", lock_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))lock_exit, METH_FASTCALL, NULL},
    {"__aenter__", lock_acquire_async, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))lock_aexit, METH_FASTCALL,
     NULL},
    {"_try", lock_try, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyMethodDef shx_lock_word_methods[] = {
    {"locked", lock_locked, METH_NOARGS, lock_locked_doc},
    {"repair", (PyCFunction)(void (*)(void))lock_repair,
     METH_FASTCALL | METH_KEYWORDS, lock_repair_doc},
    {"_begin_repair", lock_begin_repair, METH_O, NULL},
    {"_end_repair", lock_end_repair, METH_O, NULL},
    {"_watch", lock_watch, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
get_consistent(PyObject *op, void *Py_UNUSED(closure))
{
    const shx_lock_state state = shx_lock_look(SITE(op));
    return shx_synchronizer_is_torn(op)
               ? shx_synchronizer_raise(op, EFAULT)
               : PyBool_FromLong(!state.torn && !state.dead);
}

PyGetSetDef shx_lock_getset[] = {
    {"consistent", get_consistent, shx_memory_refuse,
     PyDoc_STR("Has nobody died with it, since it was repaired? True for one\n"
               "that ignores deaths, unless its holder is dead right now."),
     "consistent"},
    {NULL, NULL, NULL, NULL, NULL},
};

PyObject *
shx_lock_repr(PyObject *op)
{
    return shx_synchronizer_repr(op, shx_lock_describe(SITE(op)));
}

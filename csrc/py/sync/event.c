/* SPDX-License-Identifier: MIT */
#include "py/sync/event.h"

#include <errno.h>

#include "core/sync/event.h"
#include "py/awaited.h"
#include "py/memory/memory.h"
#include "py/sync/waiting.h"

#define SITE(op) (&SYNCHRONIZER(op)->site)

static size_t
size_of(uint32_t parameter)
{
    return parameter == 0 ? sizeof(shx_cell) : 0;
}

static PyObject *
describe(uint32_t Py_UNUSED(parameter))
{
    return PyUnicode_FromString("no parameters");
}

static const shx_synchronizer_kind event_kind = {
    .kind = SHX_CELL_EVENT,
    .size = size_of,
    .describe = describe,
};

static PyObject *
event_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"where", "offset", "mode", NULL};
    shx_address address = {.where = Py_None};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|On$O:Event", keywords,
                                     &address.where, &address.offset,
                                     &address.mode)) {
        return NULL;
    }
    return shx_synchronizer_make(type, &event_kind, &address, 0);
}

static PyObject *
event_rebuild(PyObject *type, PyObject *args)
{
    return shx_synchronizer_rebuild((PyTypeObject *)type, &event_kind, args);
}

/* Methods */

/* What lies in memory that was cut short nobody else sees any more. */
static PyObject *
answer(PyObject *op, shx_err err)
{
    return shx_synchronizer_answer(
        op, err == 0 && shx_synchronizer_is_torn(op) ? EFAULT : err);
}

PyDoc_STRVAR(event_is_set_doc, "is_set($self, /)\n--\n\n"
                               "Return whether it is set.\n\n"
                               "OSError: the memory was cut short.");

static PyObject *
event_is_set(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    bool set = shx_event_is_set(SITE(op));
    if (shx_synchronizer_is_torn(op)) {
        return shx_synchronizer_raise(op, EFAULT);
    }
    return PyBool_FromLong(set);
}

static PyObject *
changed(PyObject *op)
{
    if (shx_synchronizer_is_torn(op)) {
        return shx_synchronizer_raise(op, EFAULT);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(event_set_doc,
             "set($self, /)\n--\n\n"
             "Set it: all who wait go on.\n\n"
             "It waits for nobody, whoever of them died meanwhile.\n\n"
             "OSError: the memory was cut short.");

static PyObject *
event_set(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_event_set(SITE(op));
    return changed(op);
}

PyDoc_STRVAR(event_clear_doc,
             "clear($self, /)\n--\n\n"
             "It is not set from now on.\n\n"
             "Who waited when it was set goes on nevertheless.\n\n"
             "OSError: the memory was cut short.");

static PyObject *
event_clear(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_event_clear(SITE(op));
    return changed(op);
}

static PyObject *
wait_for(PyObject *op, uint32_t times, int64_t timeout)
{
    shx_waiting waiting;
    shx_waiting_begin_whole(&waiting, op, timeout);
    shx_err err = shx_event_wait(SITE(op), times, &waiting.patience);
    err = shx_waiting_end(&waiting, err);
    return answer(op, err);
}

/* wait(timeout=None). -1 with an exception. */
static int
parse_wait(PyObject *const *args, Py_ssize_t count, PyObject *names,
           int64_t *timeout)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (count + named > 1) {
        PyErr_Format(PyExc_TypeError,
                     "wait() takes at most 1 argument (%zd given)",
                     count + named);
        return -1;
    }
    if (named != 0 && PyUnicode_CompareWithASCIIString(
                          PyTuple_GET_ITEM(names, 0), "timeout") != 0) {
        PyErr_Format(PyExc_TypeError,
                     "wait() got an unexpected keyword argument %R",
                     PyTuple_GET_ITEM(names, 0));
        return -1;
    }
    return shx_parse_timeout(count + named == 0 ? NULL : args[0], timeout);
}

PyDoc_STRVAR(event_wait_doc,
             "wait($self, /, timeout=None)\n--\n\n"
             "Wait until it is set; return whether it was in time.\n\n"
             "True also if it was set since, and is clear again.\n\n"
             "timeout: seconds, 0 if it is negative; None: for ever\n\n"
             "OSError: the memory was cut short.");

static PyObject *
event_wait(PyObject *op, PyObject *const *args, Py_ssize_t count,
           PyObject *names)
{
    int64_t timeout;
    if (parse_wait(args, count, names, &timeout) < 0) {
        return NULL;
    }
    uint32_t times = shx_event_times(SITE(op));
    if (shx_event_is_set(SITE(op))) {
        return answer(op, 0);
    }
    return timeout == 0 ? answer(op, EAGAIN) : wait_for(op, times, timeout);
}

/* What these are for, _waiting.py says. */

static PyObject *
event_times(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLong(shx_event_times(SITE(op)));
}

static PyObject *
event_wait_since(PyObject *op, PyObject *args)
{
    unsigned int times;
    PyObject *seconds;
    int64_t timeout;
    if (!PyArg_ParseTuple(args, "IO:_wait_since", &times, &seconds) ||
        shx_parse_timeout(seconds, &timeout) < 0) {
        return NULL;
    }
    return wait_for(op, times, timeout);
}

PyDoc_STRVAR(
    event_wait_async_doc,
    "wait_async($self, /)\n--\n\n"
    "Wait until it is set, as a coroutine that lets other tasks run:\n"
    "True. See asyncio.wait_for() for a timeout.\n\n"
    "Errors are wait()'s.");

static PyObject *
event_wait_async(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_call_waiting("wait_event", op);
}

/* For shmemext.wait(). */
static PyObject *
event_awaited(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_py_awaited *made =
        state == NULL ? NULL
                      : shx_awaited_new(state, op, SYNCHRONIZER(op)->mapping);
    if (made != NULL) {
        shx_event_await(SITE(op), &made->core);
    }
    return (PyObject *)made;
}

PyDoc_STRVAR(event_size_of_doc,
             "size_of()\n--\n\n"
             "Return how many bytes it takes in a memory: 64.");

static PyObject *
event_size_of(PyObject *Py_UNUSED(type), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromSize_t(size_of(0));
}

static PyMethodDef event_methods[] = {
    {"is_set", event_is_set, METH_NOARGS, event_is_set_doc},
    {"set", event_set, METH_NOARGS, event_set_doc},
    {"clear", event_clear, METH_NOARGS, event_clear_doc},
    {"wait", (PyCFunction)(void (*)(void))event_wait,
     METH_FASTCALL | METH_KEYWORDS, event_wait_doc},
    {"wait_async", event_wait_async, METH_NOARGS, event_wait_async_doc},
    {"size_of", event_size_of, METH_NOARGS | METH_STATIC, event_size_of_doc},
    {"_awaited", event_awaited, METH_NOARGS, NULL},
    {"_times", event_times, METH_NOARGS, NULL},
    {"_wait_since", event_wait_since, METH_VARARGS, NULL},
    {"_rebuild", event_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
event_repr(PyObject *op)
{
    bool set = shx_event_is_set(SITE(op));
    return shx_synchronizer_repr(op,
                                 PyUnicode_FromString(set ? "set" : "unset"));
}

PyDoc_STRVAR(
    event_doc,
    "Event(where=None, offset=0, *, mode=None)\n--\n\n"
    "Is set or not, by any process, and all may wait for it.\n\n"
    "set() and clear() at once reach everybody who waits, and nobody's death\n"
    "stops them.\n\n" SHX_WHERE_DOC "\n\n" SHX_WHERE_ERRORS "\n"
    "See multiprocessing.Event.");

static PyType_Slot event_slots[] = {
    {Py_tp_doc, (void *)event_doc},
    {Py_tp_new, event_new},
    {Py_tp_traverse, shx_synchronizer_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, shx_synchronizer_dealloc},
    {Py_tp_repr, event_repr},
    {Py_tp_methods, event_methods},
    {0, NULL},
};

static PyType_Spec event_spec = {
    .name = "shmemext.synchronize.Event",
    .basicsize = sizeof(shx_synchronizer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = event_slots,
};

int
shx_event_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->event_type =
        shx_synchronizer_add_type(module, &event_spec, "Event");
    return state->event_type == NULL ? -1 : 0;
}

/* SPDX-License-Identifier: MIT */
#include "py/channels/handle.h"

#include <stddef.h> /* offsetof */

#include "py/memory/memory.h"

PyObject *
shx_handle_new(PyTypeObject *type, const shx_link_kind *kind)
{
    PyObject *op = type->tp_alloc(type, 0);
    if (op != NULL) {
        HANDLE(op)->kind = kind;
    }
    return op;
}

int
shx_handle_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(HANDLE(op)->memories);
    return 0;
}

/* Others may have it yet: what they have in hand, or while they wait. */
static void
let_go(shx_link *link)
{
    if (link != NULL && link->kind->leave != NULL) {
        link->kind->leave(link);
    }
    Py_XDECREF((PyObject *)link);
}

/* What it takes over: NULL for nothing. What it had goes. */
static void
adopt(PyObject *op, shx_link *link, PyObject *memories)
{
    shx_link *old_link;
    PyObject *old_memories;
    Py_BEGIN_CRITICAL_SECTION(op);
    old_link = HANDLE(op)->link;
    old_memories = HANDLE(op)->memories;
    HANDLE(op)->link = link;
    HANDLE(op)->memories = memories;
    Py_END_CRITICAL_SECTION();
    let_go(old_link);
    Py_XDECREF(old_memories);
}

int
shx_handle_clear(PyObject *op)
{
    adopt(op, NULL, NULL);
    return 0;
}

void
shx_handle_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (HANDLE(op)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)shx_handle_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

shx_link *
shx_handle_link(PyObject *op)
{
    PyObject *link;
    Py_BEGIN_CRITICAL_SECTION(op);
    link = Py_XNewRef((PyObject *)HANDLE(op)->link);
    Py_END_CRITICAL_SECTION();
    if (link == NULL) {
        PyErr_Format(PyExc_ValueError, "the %s is closed",
                     HANDLE(op)->kind->noun);
    }
    return (shx_link *)link;
}

/* A new reference. NULL and ValueError if __init__ has not made them. */
static PyObject *
memories_of(PyObject *op)
{
    PyObject *memories;
    Py_BEGIN_CRITICAL_SECTION(op);
    memories = Py_XNewRef(HANDLE(op)->memories);
    Py_END_CRITICAL_SECTION();
    if (memories == NULL) {
        PyErr_Format(PyExc_ValueError, "the %s was never opened",
                     HANDLE(op)->kind->noun);
    }
    return memories;
}

/* What goes wrong from here on leaves nothing behind. */
static int
open_in(PyObject *op, PyObject *memories)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_link *link =
        state == NULL ? NULL : shx_link_new(state, HANDLE(op)->kind, memories);
    if (link == NULL) {
        return -1;
    }
    adopt(op, link, Py_NewRef(memories));
    return 0;
}

static PyObject *
call(const shx_link_kind *kind, const char *function, PyObject *args,
     PyObject *kwargs)
{
    PyObject *callable = shx_import(kind->module, function);
    PyObject *result =
        callable == NULL ? NULL : PyObject_Call(callable, args, kwargs);
    Py_XDECREF(callable);
    return result;
}

PyObject *
shx_handle_call(const shx_link_kind *kind, const char *function, PyObject *op)
{
    PyObject *args = PyTuple_Pack(1, op);
    PyObject *result = args == NULL ? NULL : call(kind, function, args, NULL);
    Py_XDECREF(args);
    return result;
}

/* With an exception set: has somebody removed the name since it was found? Who
 * has made it anew, and alone, is told: somebody else may have that one. */
static bool
is_gone(PyObject *memories, PyObject *kwargs)
{
    bool gone = false;
    if (PyErr_ExceptionMatches(PyExc_FileNotFoundError)) {
        PyObject *error = PyErr_GetRaisedException();
        PyObject *first = PyTuple_GET_ITEM(memories, 0);
        PyObject *created = PyObject_GetAttrString(first, "created");
        gone = created == Py_False ||
               (kwargs != NULL &&
                PyDict_GetItemString(kwargs, "exist_ok") == Py_True);
        Py_XDECREF(created);
        PyErr_SetRaisedException(error);
    }
    return gone;
}

/* Keeps the exception that is set. */
static void
undo(const shx_link_kind *kind, PyObject *memories)
{
    PyObject *error = PyErr_GetRaisedException();
    PyObject *done = shx_handle_call(kind, "undo", memories);
    if (done == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(done);
    PyErr_SetRaisedException(error);
}

/* One that goes while it is opened was not there: the next look says what is,
 * waits for it, or makes it. */
int
shx_handle_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    enum { LOOKS = 8 };
    const shx_link_kind *kind = HANDLE(op)->kind;
    int status = -1;
    bool again = true;
    for (int looks = 1; again; looks++) {
        PyObject *memories = call(kind, "open", args, kwargs);
        status = memories == NULL ? -1 : open_in(op, memories);
        again = memories != NULL && status < 0 && looks < LOOKS &&
                is_gone(memories, kwargs);
        if (memories != NULL && status < 0) {
            undo(kind, memories);
        }
        if (again) {
            PyErr_Clear();
        }
        Py_XDECREF(memories);
    }
    return status;
}

PyObject *
shx_handle_rebuild(PyObject *type, PyObject *memories,
                   const shx_link_kind *kind)
{
    PyTypeObject *made_of = (PyTypeObject *)type;
    shx_state *state = shx_state_of(made_of);
    if (state == NULL) {
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(memories);
    bool good = count == (Py_ssize_t)kind->memories;
    for (Py_ssize_t i = 0; i < count; i++) {
        good = good && PyObject_TypeCheck(PyTuple_GET_ITEM(memories, i),
                                          state->shared_memory_type);
    }
    if (!good) {
        return PyErr_Format(PyExc_TypeError,
                            "_rebuild() takes %u SharedMemory",
                            kind->memories);
    }
    PyObject *op = shx_handle_new(made_of, kind);
    if (op != NULL && open_in(op, memories) < 0) {
        Py_CLEAR(op);
    }
    return op;
}

static PyObject *
of_one(PyObject *memory, const char *method, PyObject *options)
{
    PyObject *bound = PyObject_GetAttrString(memory, method);
    PyObject *nothing = bound == NULL ? NULL : PyTuple_New(0);
    PyObject *done =
        nothing == NULL ? NULL : PyObject_Call(bound, nothing, options);
    Py_XDECREF(nothing);
    Py_XDECREF(bound);
    return done;
}

/* Of each memory, the first one first; what goes wrong keeps none of the
 * others. `missing_ok`: of the others. */
static PyObject *
of_each(PyObject *memories, const char *method, bool missing_ok)
{
    PyObject *options = Py_BuildValue("{s:O}", "missing_ok", Py_True);
    PyObject *error = options == NULL ? PyErr_GetRaisedException() : NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(memories); i++) {
        PyObject *done = of_one(PyTuple_GET_ITEM(memories, i), method,
                                missing_ok && i != 0 ? options : NULL);
        if (done == NULL && error == NULL) {
            error = PyErr_GetRaisedException();
        }
        PyErr_Clear();
        Py_XDECREF(done);
    }
    Py_XDECREF(options);
    if (error != NULL) {
        PyErr_SetRaisedException(error);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Methods */

PyDoc_STRVAR(close_doc,
             "close($self, /)\n--\n\n"
             "Let go of it here. It stays, with what is in it, and whoever\n"
             "waits in another thread goes on. See unlink().");

static PyObject *
handle_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_link *link;
    PyObject *memories;
    Py_BEGIN_CRITICAL_SECTION(op);
    link = HANDLE(op)->link;
    HANDLE(op)->link = NULL;
    memories = Py_XNewRef(HANDLE(op)->memories);
    Py_END_CRITICAL_SECTION();
    let_go(link);
    if (memories == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *result = of_each(memories, "close", false);
    Py_DECREF(memories);
    return result;
}

PyDoc_STRVAR(unlink_doc,
             "unlink($self, /)\n--\n\n"
             "Remove the name. Who has it open goes on with it.\n\n"
             "FileNotFoundError: somebody has removed it.");

static PyObject *
handle_unlink(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *memories = memories_of(op);
    PyObject *result =
        memories == NULL ? NULL : of_each(memories, "unlink", true);
    Py_XDECREF(memories);
    return result;
}

static PyObject *
handle_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_link *link = shx_handle_link(op);
    if (link == NULL) {
        return NULL;
    }
    Py_DECREF((PyObject *)link);
    return Py_NewRef(op);
}

static PyObject *
handle_exit(PyObject *op, PyObject *Py_UNUSED(args))
{
    return PyObject_CallMethod(op, "close", NULL);
}

static PyObject *
handle_aenter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_call_waiting("enter", op);
}

static PyObject *
handle_aexit(PyObject *op, PyObject *Py_UNUSED(args))
{
    return shx_call_waiting("leave", op);
}

PyDoc_STRVAR(reduce_doc, "__reduce__($self, /)\n--\n\n"
                         "Pickle by the name.");

static PyObject *
handle_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *memories = memories_of(op);
    PyObject *rebuild =
        memories == NULL
            ? NULL
            : PyObject_GetAttrString((PyObject *)Py_TYPE(op), "_rebuild");
    PyObject *result =
        rebuild == NULL ? NULL : PyTuple_Pack(2, rebuild, memories);
    Py_XDECREF(rebuild);
    Py_XDECREF(memories);
    return result;
}

PyMethodDef shx_handle_methods[] = {
    {"close", handle_close, METH_NOARGS, close_doc},
    {"unlink", handle_unlink, METH_NOARGS, unlink_doc},
    {"__enter__", handle_enter, METH_NOARGS, NULL},
    {"__exit__", handle_exit, METH_VARARGS, NULL},
    {"__aenter__", handle_aenter, METH_NOARGS, NULL},
    {"__aexit__", handle_aexit, METH_VARARGS, NULL},
    {"__reduce__", handle_reduce, METH_NOARGS, reduce_doc},
    {NULL, NULL, 0, NULL},
};

PyMemberDef shx_handle_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(shx_handle, weakrefs),
     Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyObject *
shx_handle_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *memories = memories_of(op);
    PyObject *name =
        memories == NULL
            ? NULL
            : PyObject_GetAttrString(PyTuple_GET_ITEM(memories, 0), "name");
    Py_XDECREF(memories);
    return name;
}

PyObject *
shx_handle_get_peers(PyObject *op, void *Py_UNUSED(closure))
{
    unsigned count;
    PyObject *result = NULL;
    shx_link *link = shx_handle_link(op);
    if (link != NULL) {
        shx_err err = shx_party_count(link->party, &count);
        result = err == 0 ? PyLong_FromUnsignedLong(count == 0 ? 0 : count - 1)
                          : shx_link_raise(link, err);
    }
    Py_XDECREF((PyObject *)link);
    return result;
}

PyObject *
shx_handle_repr(PyObject *op)
{
    const char *type = HANDLE(op)->kind->type;
    PyObject *name = shx_handle_get_name(op, NULL);
    if (name == NULL) {
        PyErr_Clear();
        return PyUnicode_FromFormat("%s()", type);
    }
    bool closed;
    Py_BEGIN_CRITICAL_SECTION(op);
    closed = HANDLE(op)->link == NULL;
    Py_END_CRITICAL_SECTION();
    PyObject *text = PyUnicode_FromFormat(
        closed ? "<%s(%R), closed>" : "%s(%R)", type, name);
    Py_DECREF(name);
    return text;
}

/* SPDX-License-Identifier: MIT */
/* What the files of the glue ask of a Memory: its mapping, its buf, its
 * descriptor; and what they tell its user. */
#include "py/memory/memory.h"

PyObject *
shx_closed_error(PyObject *op, const char *so)
{
    PyErr_Format(PyExc_ValueError, "the %s is closed%s",
                 MEMORY(op)->kind->words.what, so);
    return NULL;
}

bool
shx_memory_is_closed(PyObject *op)
{
    bool closed;
    Py_BEGIN_CRITICAL_SECTION(op);
    closed = MEMORY(op)->mmap == NULL;
    Py_END_CRITICAL_SECTION();
    return closed;
}

void
shx_memory_raise(PyObject *op, shx_err err)
{
    PyObject *label;
    Py_BEGIN_CRITICAL_SECTION(op);
    label = MEMORY(op)->kind->label(op);
    Py_END_CRITICAL_SECTION();
    shx_raise(err, label);
    Py_DECREF(label);
}

shx_mapping *
shx_memory_mapping_if_any(PyObject *op, PyTypeObject *type)
{
    PyObject *mapping;
    Py_BEGIN_CRITICAL_SECTION(op);
    mapping = MEMORY(op)->mmap;
    if (mapping != NULL && !Py_IS_TYPE(mapping, type)) {
        mapping = NULL;
    }
    Py_XINCREF(mapping);
    Py_END_CRITICAL_SECTION();
    return (shx_mapping *)mapping;
}

shx_mapping *
shx_memory_mapping(PyObject *op)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL) {
        return NULL;
    }
    shx_mapping *mapping = shx_memory_mapping_if_any(op, state->mapping_type);
    if (mapping == NULL) {
        shx_closed_error(op, "");
    }
    return mapping;
}

int
shx_check_mode(int mode)
{
    if (mode < 0 || mode > 07777) {
        PyErr_SetString(PyExc_ValueError,
                        "'mode' must be permission bits, 0 to 0o7777");
        return -1;
    }
    return 0;
}

/* What is there by now: `buf`, None, or a mapping to make one of. One of the
 * results is a new reference, the other NULL. */
static void
look_for_buf(PyObject *op, PyTypeObject *type, PyObject **buf,
             PyObject **mapping)
{
    shx_memory *self = MEMORY(op);
    *buf = *mapping = NULL;
    Py_BEGIN_CRITICAL_SECTION(op);
    if (self->buf == NULL && self->mmap != NULL &&
        Py_IS_TYPE(self->mmap, type)) {
        *mapping = Py_NewRef(self->mmap);
    }
    else {
        *buf = Py_NewRef(self->buf == NULL ? Py_None : self->buf);
    }
    Py_END_CRITICAL_SECTION();
}

/* Puts `made`, which is stolen, into the object, if `mapping` is in use still
 * and nobody was faster. */
static void
keep_buf(PyObject *op, PyObject *mapping, PyObject *made)
{
    shx_memory *self = MEMORY(op);
    PyObject *unused = made;
    Py_BEGIN_CRITICAL_SECTION(op);
    if (self->buf == NULL && self->mmap == mapping) {
        self->buf = made;
        unused = NULL;
    }
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(unused);
}

/* `buf` is made when it is first asked for, and is the same object from then
 * on. Programs that put something else in `_mmap` get None. While it is made,
 * other code may run, a finalizer in a collection or another thread: it may
 * close this object, or ask for `buf` itself. Then that is looked at again. */
PyObject *
shx_memory_buf(PyObject *op)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL) {
        return NULL;
    }
    shx_guard_glance(); /* a forked child may ask for nothing else */
    for (;;) {
        PyObject *buf, *mapping;
        look_for_buf(op, state->mapping_type, &buf, &mapping);
        if (buf != NULL) {
            return buf;
        }
        PyObject *made = PyMemoryView_FromObject(mapping);
        if (made != NULL) {
            shx_pin_views(made);
            keep_buf(op, mapping, made);
        }
        Py_DECREF(mapping);
        if (made == NULL) {
            return NULL;
        }
    }
}

/* functools.partial(type(op), **keywords) */
PyObject *
shx_memory_maker(PyObject *op, PyObject *keywords)
{
    if (PyDict_GET_SIZE(keywords) == 0) {
        return Py_NewRef((PyObject *)Py_TYPE(op));
    }
    PyObject *partial = shx_import("functools", "partial");
    PyObject *args = PyTuple_Pack(1, (PyObject *)Py_TYPE(op));
    PyObject *result = NULL;
    if (partial != NULL && args != NULL) {
        result = PyObject_Call(partial, args, keywords);
    }
    Py_XDECREF(partial);
    Py_XDECREF(args);
    return result;
}

bool
shx_memory_is_readonly(PyObject *op)
{
    bool readonly;
    Py_BEGIN_CRITICAL_SECTION(op);
    readonly = MEMORY(op)->readonly;
    Py_END_CRITICAL_SECTION();
    return readonly;
}

int
shx_memory_refuse(PyObject *op, PyObject *value, void *name)
{
    PyErr_Format(PyExc_AttributeError,
                 "property '%s' of '%.100s' object has no %s", (char *)name,
                 Py_TYPE(op)->tp_name, value == NULL ? "deleter" : "setter");
    return -1;
}

/* SPDX-License-Identifier: MIT */
/* The type shmemext.ShareableList: everything that reads or writes items. Its
 * constructor and the stdlib's private names are put on it by
 * shmemext/shareable_list.py. It has no Python subclass for that: iteration
 * goes by sq_item, which a subclass would find by name each time.
 *
 * One object's items are guarded by its critical section, so its threads see
 * whole values. Two objects on one segment share no lock, whether they are in
 * one process or in two: see core/list/list.h for what is whole then.
 */
#include "py/list/shareable_list.h"

#include <stddef.h> /* offsetof */

#include "py/list/values.h"

static int
list_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(LIST(op)->shm);
    Py_VISIT(LIST(op)->dict);
    return 0;
}

static int
list_clear(PyObject *op)
{
    Py_CLEAR(LIST(op)->shm);
    Py_CLEAR(LIST(op)->dict);
    return 0;
}

static void
list_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (LIST(op)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)list_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

shx_mapping *
shx_list_acquire(PyObject *op)
{
    PyObject *shm;
    PyTypeObject *type;
    Py_BEGIN_CRITICAL_SECTION(op);
    shm = Py_XNewRef(LIST(op)->shm);
    type = LIST(op)->mapping_type;
    Py_END_CRITICAL_SECTION();
    if (shm == NULL) {
        PyErr_Format(PyExc_AttributeError,
                     "'%.100s' object has no attribute 'shm'",
                     Py_TYPE(op)->tp_name);
        return NULL;
    }
    shx_mapping *mapping = shx_memory_mapping_if_any(shm, type);
    Py_DECREF(shm);
    if (mapping == NULL && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_TypeError,
                        "a bytes-like object is required, not 'NoneType'");
    }
    return mapping;
}

shx_mapping *
shx_list_acquire_writable(PyObject *op)
{
    shx_mapping *mapping = shx_list_acquire(op);
    if (mapping != NULL && !mapping->segment.writable) {
        PyErr_SetString(PyExc_TypeError,
                        "cannot modify items: the list's shm is read-only");
        Py_CLEAR(mapping);
    }
    return mapping;
}

int
shx_list_open_locked(PyObject *op, shx_mapping *mapping)
{
    shx_list *list = &LIST(op)->list;
    const shx_segment *segment = &mapping->segment;
    const shx_segment *opened = &LIST(op)->segment;
    if (list->memory == (char *)segment->address &&
        opened->size == segment->size &&
        shx_same_file(&opened->identity, &segment->identity)) {
        return 0;
    }
    list->memory = NULL;
    shx_err err = shx_list_open(segment->address, segment->size, list);
    if (err != 0) {
        shx_raise(err, NULL);
        return -1;
    }
    LIST(op)->segment = *segment;
    return 0;
}

static int
index_error(const char *text)
{
    PyErr_SetString(PyExc_IndexError, text);
    return -1;
}

/* What `position if position >= 0 else ...` and list[position] say of
 * positions that are no plain ints. */
static int
strange_position(shx_state *state, PyObject *position, Py_ssize_t *out,
                 const char *text)
{
    int sign = PyObject_RichCompareBool(position, state->zero, Py_GE);
    if (sign < 0) {
        return -1;
    }
    if (!PyIndex_Check(position)) {
        PyErr_Format(PyExc_TypeError,
                     "list indices must be integers or slices, not %.200s",
                     Py_TYPE(position)->tp_name);
        return -1;
    }
    *out = PyNumber_AsSsize_t(position, PyExc_IndexError);
    if (*out == -1 && PyErr_Occurred()) {
        return PyErr_ExceptionMatches(PyExc_IndexError) ? index_error(text)
                                                        : -1;
    }
    return 0;
}

static int
as_position(PyObject *op, PyObject *position, Py_ssize_t *out,
            const char *text)
{
    if (PyLong_CheckExact(position)) {
        *out = PyLong_AsSsize_t(position);
        if (*out == -1 && PyErr_Occurred()) {
            PyErr_Clear();
            return index_error(text);
        }
        return 0;
    }
    shx_state *state = shx_state_of(Py_TYPE(op));
    return state == NULL ? -1 : strange_position(state, position, out, text);
}

static bool
in_range(const shx_list *list, Py_ssize_t *position)
{
    Py_ssize_t length = (Py_ssize_t)list->length;
    if (*position < 0) {
        *position += length;
    }
    return *position >= 0 && *position < length;
}

PyObject *
shx_list_item_at(PyObject *op, Py_ssize_t position)
{
    shx_mapping *mapping = shx_list_acquire(op);
    if (mapping == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    shx_copy copy;
    int status = -1;
    Py_BEGIN_CRITICAL_SECTION(op);
    shx_shareable_list *self = LIST(op);
    if (shx_list_open_locked(op, mapping) == 0) {
        if (!in_range(&self->list, &position)) {
            index_error("index out of range");
        }
        else {
            status = shx_copy_item(&self->list, (size_t)position, &copy);
        }
    }
    Py_END_CRITICAL_SECTION();
    if (status == 0) {
        result = shx_value_to_python(&copy);
    }
    Py_DECREF(mapping);
    return result;
}

static PyObject *
list_subscript(PyObject *op, PyObject *key)
{
    Py_ssize_t position;
    if (as_position(op, key, &position, "index out of range") < 0) {
        return NULL;
    }
    return shx_list_item_at(op, position);
}

/* For iteration, which never asks for a negative one. */
static PyObject *
list_item(PyObject *op, Py_ssize_t position)
{
    if (position < 0) {
        index_error("index out of range");
        return NULL;
    }
    return shx_list_item_at(op, position);
}

static int
set_locked(PyObject *op, shx_mapping *mapping, Py_ssize_t position,
           const shx_value *value)
{
    shx_list *list = &LIST(op)->list;
    if (shx_list_open_locked(op, mapping) < 0) {
        return -1;
    }
    if (!in_range(list, &position)) {
        return index_error("assignment index out of range");
    }
    shx_err err = shx_list_set(list, (size_t)position, value);
    if (err != 0) {
        shx_raise(err, NULL);
        return -1;
    }
    return 0;
}

static int
check_range(PyObject *op, shx_mapping *mapping, Py_ssize_t position)
{
    int status;
    Py_BEGIN_CRITICAL_SECTION(op);
    status = shx_list_open_locked(op, mapping);
    if (status == 0 && !in_range(&LIST(op)->list, &position)) {
        status = index_error("assignment index out of range");
    }
    Py_END_CRITICAL_SECTION();
    return status;
}

static int
list_ass_subscript(PyObject *op, PyObject *key, PyObject *item)
{
    if (item == NULL) {
        PyErr_SetString(PyExc_AttributeError, "__delitem__");
        return -1;
    }
    Py_ssize_t position;
    shx_mapping *mapping = NULL;
    PyObject *plain = NULL;
    shx_value value;
    int status = -1;
    if (as_position(op, key, &position, "assignment index out of range") < 0) {
        return -1;
    }
    mapping = shx_list_acquire_writable(op);
    if (mapping == NULL) {
        return -1;
    }
    if (check_range(op, mapping, position) < 0) {
        goto done;
    }
    plain = shx_plain_item(item);
    if (plain == NULL || shx_value_from_python(plain, &value) < 0) {
        goto done;
    }
    Py_BEGIN_CRITICAL_SECTION(op);
    status = set_locked(op, mapping, position, &value);
    Py_END_CRITICAL_SECTION();
done:
    Py_XDECREF(plain);
    Py_DECREF(mapping);
    return status;
}

static Py_ssize_t
list_length(PyObject *op)
{
    shx_mapping *mapping = shx_list_acquire(op);
    if (mapping == NULL) {
        return -1;
    }
    size_t length = 0;
    int status;
    Py_BEGIN_CRITICAL_SECTION(op);
    status = shx_list_open_locked(op, mapping);
    if (status == 0) {
        shx_err err = shx_list_length_now(&LIST(op)->list,
                                          mapping->segment.size, &length);
        if (err != 0) {
            shx_raise(err, NULL);
            status = -1;
        }
    }
    Py_END_CRITICAL_SECTION();
    Py_DECREF(mapping);
    return status < 0 ? -1 : (Py_ssize_t)length;
}

static PyObject *
list_get_shm(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *shm;
    Py_BEGIN_CRITICAL_SECTION(op);
    shm = Py_XNewRef(LIST(op)->shm);
    Py_END_CRITICAL_SECTION();
    if (shm == NULL) {
        PyErr_Format(PyExc_AttributeError,
                     "'%.100s' object has no attribute 'shm'",
                     Py_TYPE(op)->tp_name);
    }
    return shm;
}

static int
list_set_shm(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL) {
        return -1;
    }
    if (value != NULL &&
        !PyObject_TypeCheck(value, state->shared_memory_type)) {
        PyErr_Format(PyExc_TypeError,
                     "shm must be a shmemext.SharedMemory, not '%.200s'",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    PyObject *old;
    Py_BEGIN_CRITICAL_SECTION(op);
    old = LIST(op)->shm;
    LIST(op)->shm = Py_XNewRef(value);
    LIST(op)->mapping_type = state->mapping_type;
    LIST(op)->list.memory = NULL;
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(old);
    return 0;
}

/* Stays after shm.close(), as the stdlib's does. */
static PyObject *
list_get_len(PyObject *op, void *Py_UNUSED(closure))
{
    shx_mapping *mapping = shx_list_acquire(op);
    if (mapping == NULL) {
        PyErr_Clear();
    }
    int status = 0;
    Py_ssize_t length;
    Py_BEGIN_CRITICAL_SECTION(op);
    if (mapping != NULL) {
        status = shx_list_open_locked(op, mapping);
    }
    length = (Py_ssize_t)LIST(op)->list.length;
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(mapping);
    return status < 0 ? NULL : PyLong_FromSsize_t(length);
}

static PyGetSetDef list_getset[] = {
    {"shm", list_get_shm, list_set_shm,
     PyDoc_STR("The SharedMemory that the list is in."), NULL},
    {"format", shx_list_get_format, NULL,
     PyDoc_STR("The struct packing format used by all currently stored "
               "items."),
     NULL},
    {"_list_len", list_get_len, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef list_members[] = {
    {"__dictoffset__", Py_T_PYSSIZET, offsetof(shx_shareable_list, dict),
     Py_READONLY, NULL},
    {"__weaklistoffset__", Py_T_PYSSIZET,
     offsetof(shx_shareable_list, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot list_slots[] = {
    {Py_tp_traverse, list_traverse},
    {Py_tp_clear, list_clear},
    {Py_tp_dealloc, list_dealloc},
    {Py_tp_getset, list_getset},
    {Py_tp_members, list_members},
    {Py_mp_length, list_length},
    {Py_mp_subscript, list_subscript},
    {Py_mp_ass_subscript, list_ass_subscript},
    {Py_sq_length, list_length},
    {Py_sq_item, list_item},
    {0, NULL},
};

static PyType_Spec shareable_list_spec = {
    .name = "shmemext.shared_memory.ShareableList",
    .basicsize = sizeof(shx_shareable_list),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = list_slots,
};

int
shx_shareable_list_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    PyTypeObject *type =
        shx_add_type(module, &shareable_list_spec, NULL, "ShareableList");
    state->shareable_list_type = type;
    return type == NULL ||
                   shx_add_methods(type, shx_list_search_methods) < 0 ||
                   shx_add_methods(type, shx_list_layout_methods) < 0
               ? -1
               : 0;
}

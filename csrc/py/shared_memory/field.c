/* SPDX-License-Identifier: MIT */
#include "py/shared_memory/field.h"

typedef struct {
    PyObject_HEAD
    const shx_field_def *def;
    PyTypeObject *owner;
    PyObject *fallback;
} field_object;

#define FIELD(op) ((field_object *)(op))

static int
field_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(FIELD(op)->owner);
    Py_VISIT(FIELD(op)->fallback);
    return 0;
}

static int
field_clear(PyObject *op)
{
    Py_CLEAR(FIELD(op)->owner);
    Py_CLEAR(FIELD(op)->fallback);
    return 0;
}

static void
field_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)field_clear(op);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyObject **
slot_of(field_object *self, PyObject *instance)
{
    return (PyObject **)((char *)instance + self->def->offset);
}

static int
check_instance(field_object *self, PyObject *instance)
{
    if (self->owner != NULL && PyObject_TypeCheck(instance, self->owner)) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError,
                 "attribute '%s' does not apply to a '%.100s' object",
                 self->def->name, Py_TYPE(instance)->tp_name);
    return -1;
}

static PyObject *
field_get(PyObject *op, PyObject *instance, PyObject *type)
{
    field_object *self = FIELD(op);
    PyObject *value = NULL;
    if (instance != NULL) {
        if (check_instance(self, instance) < 0) {
            return NULL;
        }
        if (self->def->get != NULL) {
            return self->def->get(instance);
        }
        Py_BEGIN_CRITICAL_SECTION(instance);
        value = Py_XNewRef(*slot_of(self, instance));
        Py_END_CRITICAL_SECTION();
    }
    if (value == NULL) {
        value = Py_XNewRef(self->fallback);
    }
    if (value == NULL && instance != NULL) {
        PyErr_Format(PyExc_AttributeError,
                     "'%.100s' object has no attribute '%s'",
                     Py_TYPE(instance)->tp_name, self->def->name);
    }
    else if (value == NULL && type != NULL && PyType_Check(type)) {
        PyErr_Format(PyExc_AttributeError,
                     "type object '%.100s' has no attribute '%s'",
                     ((PyTypeObject *)type)->tp_name, self->def->name);
    }
    else if (value == NULL) {
        PyErr_Format(PyExc_TypeError, "__get__(None, type) needs a type: '%s'",
                     self->def->name);
    }
    return value;
}

/* Deleting brings the default back. */
static int
field_set(PyObject *op, PyObject *instance, PyObject *value)
{
    field_object *self = FIELD(op);
    if (check_instance(self, instance) < 0) {
        return -1;
    }
    if (self->def->set != NULL) {
        return self->def->set(instance, value);
    }
    PyObject *old;
    Py_BEGIN_CRITICAL_SECTION(instance);
    old = *slot_of(self, instance);
    *slot_of(self, instance) = Py_XNewRef(value);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(old);
    return 0;
}

static PyType_Slot field_slots[] = {
    {Py_tp_traverse, field_traverse}, {Py_tp_clear, field_clear},
    {Py_tp_dealloc, field_dealloc},   {Py_tp_descr_get, field_get},
    {Py_tp_descr_set, field_set},     {0, NULL},
};

static PyType_Spec field_spec = {
    .name = "shmemext._shmemext.field",
    .basicsize = sizeof(field_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = field_slots,
};

int
shx_field_add(shx_state *state, PyTypeObject *owner, const shx_field_def *def,
              PyObject *fallback)
{
    field_object *field = PyObject_GC_New(field_object, state->field_type);
    if (field == NULL) {
        return -1;
    }
    field->def = def;
    field->owner = (PyTypeObject *)Py_NewRef(owner);
    field->fallback = Py_XNewRef(fallback);
    PyObject_GC_Track(field);
    int status = PyObject_SetAttrString((PyObject *)owner, def->name,
                                        (PyObject *)field);
    Py_DECREF(field);
    return status;
}

int
shx_field_type_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->field_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &field_spec, NULL);
    return state->field_type == NULL ? -1 : 0;
}

/* SPDX-License-Identifier: MIT */
/* How the glue takes part in who uses a segment: what happens when a mapping
 * goes, and how a process that is being started comes to be a user. */
#include "py/shared_memory/users.h"

#include <errno.h>  /* ENOMEM */
#include <fcntl.h>  /* O_RDONLY */
#include <stdlib.h> /* malloc, free */

#include "core/life/users.h"
#include "py/memory/memory.h"
#include "py/shared_memory/attributes.h"

typedef struct {
    shx_farewell base;
    shx_user *user;
    shx_record *record; /* our family's, of this segment; or NULL */
} farewell;

#define FAREWELL(base) ((farewell *)(base))

static shx_farewell *make(const char *name, shx_record *record);

static shx_farewell *
another(const shx_farewell *base)
{
    const farewell *self = (const farewell *)base;
    return make(self->user->name, self->record);
}

static void
begin(shx_farewell *base, const shx_segment *segment)
{
    shx_user_enter(FAREWELL(base)->user, &segment->identity, segment->address,
                   shx_segment_span(segment));
}

/* The record says what was true of the name: it goes when that is over. */
static void
end(shx_farewell *base, const shx_segment *segment)
{
    farewell *self = FAREWELL(base);
    const shx_user user = *self->user;
    shx_user_forget(self->user);
    if (segment->address != NULL) {
        shx_segment_detach(segment);
    }
    bool over = shx_user_leave(self->user);
    if (over && user.address != NULL && self->record != NULL) {
        shx_family_strike(self->record, user.identity.inode);
    }
    else if (over && user.address != NULL) {
        shx_family_forget(user.name, user.identity.inode);
    }
    free(self);
}

static shx_farewell *
make(const char *name, shx_record *record)
{
    farewell *self = malloc(sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    *self = (farewell){.base = {another, begin, end}, .record = record};
    if (shx_user_new(name, &self->user) != 0) {
        free(self);
        return NULL;
    }
    return &self->base;
}

static void
expect_nothing(shx_mapping *mapping)
{
    static const shx_segment none = {.address = NULL};
    shx_farewell *old = mapping->farewell;
    mapping->farewell = NULL;
    if (old != NULL) {
        old->end(old, &none);
    }
}

int
shx_users_expect(shx_mapping *mapping, const char *name)
{
    expect_nothing(mapping);
    mapping->farewell = make(name, NULL);
    if (mapping->farewell == NULL) {
        shx_raise(ENOMEM, NULL);
        return -1;
    }
    return 0;
}

int
shx_users_begin(shx_mapping *mapping, const char *name, shx_record *record)
{
    shx_segment *segment = &mapping->segment;
    if (!segment->users) {
        expect_nothing(mapping);
        return 0;
    }
    if (mapping->farewell == NULL && shx_users_expect(mapping, name) < 0) {
        Py_BEGIN_ALLOW_THREADS
        shx_segment_detach(segment);
        (void)shx_users_leave(name, &segment->identity);
        Py_END_ALLOW_THREADS
        segment->address = NULL;
        return -1;
    }
    FAREWELL(mapping->farewell)->record = record;
    mapping->farewell->begin(mapping->farewell, segment);
    return 0;
}

/* Return a descriptor that holds a share of the use of a segment of users,
 * for a process that is being started, and None if shm is of no such kind, or
 * closed, or its name is gone. */
PyDoc_STRVAR(use_doc, "_use($module, shm, /)\n--\n\n");

/* Opened anew: it is to end with its descriptors, whatever becomes of us. */
static shx_err
open_share(const char *name, const shx_identity *identity, int *out)
{
    int fd;
    shx_err err = shx_segment_open(name, identity, O_RDONLY, &fd);
    if (err != 0) {
        return err;
    }
    err = shx_os_use(fd, SHX_LOCK_SHARED, false);
    if (err != 0) {
        shx_os_close(fd);
        return err;
    }
    *out = fd;
    return 0;
}

static PyObject *
users_use(PyObject *module, PyObject *op)
{
    const shx_state *state = shx_state_of_module(module);
    const char *bare;
    int fd = -1;
    if (!PyObject_TypeCheck(op, state->shared_memory_type)) {
        return PyErr_Format(PyExc_TypeError, "not a SharedMemory");
    }
    shx_mapping *mapping = shx_memory_mapping_if_any(op, state->mapping_type);
    if (mapping == NULL || !mapping->segment.users) {
        Py_XDECREF(mapping);
        Py_RETURN_NONE;
    }
    PyObject *name = PyObject_GetAttr(op, state->str._name);
    shx_err err = 0;
    if (name != NULL && shx_bare_name(name, "shm_open", &bare) == 0) {
        Py_BEGIN_ALLOW_THREADS
        err = open_share(bare, &mapping->segment.identity, &fd);
        Py_END_ALLOW_THREADS
    }
    if (err != 0 && err != SHX_GONE) {
        shx_raise(err, name);
    }
    Py_XDECREF(name);
    Py_DECREF(mapping);
    if (PyErr_Occurred()) {
        return NULL;
    }
    return fd < 0 ? Py_NewRef(Py_None) : PyLong_FromLong(fd);
}

/* Only who is being started can be given a descriptor: Python knows. */
static PyObject *
reduce_users(PyObject *op, PyObject *reduced, const shx_identity *identity)
{
    PyObject *module = PyImport_ImportModule("shmemext._users");
    if (module == NULL) {
        return NULL;
    }
    PyObject *result =
        PyObject_CallMethod(module, "reduce", "OO(KKK)", op, reduced,
                            (unsigned long long)identity->device,
                            (unsigned long long)identity->inode,
                            (unsigned long long)identity->born);
    Py_DECREF(module);
    return result;
}

PyObject *
shx_users_reduce(PyObject *op, PyObject *reduced)
{
    const shx_state *state = shx_state_of(Py_TYPE(op));
    shx_mapping *mapping =
        state == NULL ? NULL
                      : shx_memory_mapping_if_any(op, state->mapping_type);
    if (mapping == NULL || !mapping->segment.users) {
        Py_XDECREF(mapping);
        return reduced;
    }
    PyObject *result = reduce_users(op, reduced, &mapping->segment.identity);
    Py_DECREF(mapping);
    Py_DECREF(reduced);
    return result;
}

/* Return what is to be pickled for what uses shm and would be pickled as
 * (callable, arguments): for a process that is being started a share of the
 * use rides along. */
PyDoc_STRVAR(ride_doc, "_ride($module, shm, reduced, /)\n--\n\n");

static PyObject *
users_ride(PyObject *module, PyObject *args)
{
    PyObject *op, *reduced;
    PyTypeObject *type = shx_state_of_module(module)->shared_memory_type;
    if (!PyArg_ParseTuple(args, "O!O!:_ride", type, &op, &PyTuple_Type,
                          &reduced)) {
        return NULL;
    }
    return shx_users_reduce(op, Py_NewRef(reduced));
}

static PyMethodDef users_methods[] = {
    {"_ride", users_ride, METH_VARARGS, ride_doc},
    {"_use", users_use, METH_O, use_doc},
    {NULL, NULL, 0, NULL},
};

int
shx_users_add(PyObject *module)
{
    return PyModule_AddFunctions(module, users_methods);
}

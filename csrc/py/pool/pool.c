/* SPDX-License-Identifier: MIT */
#include "py/pool/pool.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDONLY */
#include <stdio.h>  /* snprintf */
#include <string.h> /* memcpy, strlen */

#include "py/memory/memory.h"

static void
pool_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    shx_py_pool *self = POOL(op);
    if (self->opened) {
        shx_pool_close(&self->pool);
    }
    if (self->party != NULL) {
        shx_party_leave(self->party);
    }
    PyMem_Free((void *)self->shared);
    PyMem_Free((void *)self->written);
    Py_XDECREF((PyObject *)self->control);
    Py_XDECREF((PyObject *)self->data);
    Py_XDECREF(self->memories);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Where somebody has removed its name nobody finds it: it is left. */
shx_err
shx_py_pool_open(shx_py_pool *self, int flags, int *fd)
{
    shx_err err = shx_segment_open(self->name, &self->identity, flags, fd);
    if (err == SHX_GONE || err == ENOENT) {
        atomic_store(&self->lost, true);
    }
    return err;
}

PyObject *
shx_py_pool_raise(const shx_py_pool *self, shx_err err)
{
    PyObject *name = PyUnicode_FromString(self->name);
    if (name != NULL) {
        (void)shx_raise(err, name);
        Py_DECREF(name);
    }
    return NULL;
}

void
shx_py_pool_copy(void *into, const void *from, size_t length)
{
    if (length > SHX_POOL_LONG) {
        Py_BEGIN_ALLOW_THREADS
        memcpy(into, from, length);
        Py_END_ALLOW_THREADS
    }
    else if (length != 0) {
        memcpy(into, from, length);
    }
}

/* How it comes to be */

/* Where it is not mapped it has the name that Python gave it: see _pools.py.
 */
static shx_err
look_at_data(shx_py_pool *self)
{
    int fd;
    shx_file file;
    if (self->data != NULL) {
        self->identity = self->data->segment.identity;
        self->size = self->data->segment.size;
        return 0;
    }
    shx_err err = shx_os_open(self->name, O_RDONLY, &fd);
    if (err == 0) {
        err = shx_os_inspect(fd, &file);
        shx_os_close(fd);
    }
    if (err == 0) {
        self->identity = file.identity;
        self->size = file.size;
    }
    return err;
}

/* Keeps the mappings, and the name of the data. */
static int
take_memories(shx_py_pool *self, shx_state *state)
{
    PyObject *control = PyTuple_GET_ITEM(self->memories, 0);
    PyObject *data = PyTuple_GET_ITEM(self->memories, 1);
    PyObject *name = PyObject_GetAttr(control, state->str.name);
    const char *text = name == NULL ? NULL : PyUnicode_AsUTF8(name);
    if (text != NULL) {
        (void)snprintf(self->name, sizeof self->name, "%s.data", text);
        self->control = shx_memory_mapping(control);
    }
    if (self->control != NULL && data != Py_None) {
        self->data = shx_memory_mapping(data);
    }
    Py_XDECREF(name);
    return self->control == NULL || (self->data == NULL && data != Py_None)
               ? -1
               : 0;
}

static shx_err
check_size(const shx_py_pool *self, const shx_pool_shape *shape)
{
    size_t needed;
    return !shx_pool_size(shape, &needed)         ? SHX_FOREIGN
           : self->control->segment.size < needed ? SHX_TOO_SMALL
                                                  : 0;
}

/* `blocks`: not 0 to make it, of memories that nobody else knows of. */
static shx_err
settle(shx_py_pool *self, unsigned blocks)
{
    shx_member me;
    const shx_segment *control = &self->control->segment;
    if (!control->writable) {
        return EACCES; /* all who use it write into it */
    }
    shx_err err = look_at_data(self);
    if (err == 0 && blocks != 0) {
        const shx_pool_shape shape = {self->size, blocks};
        err = check_size(self, &shape);
        self->written =
            PyMem_Calloc((size_t)self->size / SHX_POOL_GRAIN + 1, 1);
        err = err == 0 && self->written == NULL ? ENOMEM : err;
        if (err == 0) {
            shx_pool_make(control->address, &shape, self->pair);
        }
    }
    if (err == 0) {
        err = shx_memory_join(PyTuple_GET_ITEM(self->memories, 0),
                              &control->identity, SHX_FD_NONE, &self->party);
    }
    if (err == 0) {
        err = shx_pool_open(control->address, control->size, self->size,
                            self->party, &self->pool);
        self->opened = err == 0;
        err = err == 0 && self->pool.pair != self->pair ? SHX_FOREIGN : err;
    }
    if (err == 0 && blocks != 0) {
        err = shx_party_me(self->party, &me);
        err = err == 0 ? shx_pool_own(&self->pool, &me) : err;
        self->made = err == 0;
    }
    return err == 0 ? shx_py_pool_check(self) : err;
}

static PyObject *
pool_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    unsigned long long pair;
    unsigned blocks;
    PyObject *control, *data;
    shx_state *state = shx_state_of(type);
    if (state == NULL ||
        !PyArg_ParseTuple(args, "O!OKI:_Pool", state->shared_memory_type,
                          &control, &data, &pair, &blocks)) {
        return NULL;
    }
    if (data != Py_None &&
        !PyObject_TypeCheck(data, state->shared_memory_type)) {
        return PyErr_Format(PyExc_TypeError, "_Pool() takes SharedMemory");
    }
    PyObject *op = type->tp_alloc(type, 0);
    if (op == NULL) {
        return NULL;
    }
    shx_py_pool *self = POOL(op);
    shx_count_at_once(op);
    self->pair = pair;
    self->memories = PyTuple_Pack(2, control, data);
    self->shared = PyMem_Calloc(SHX_POOL_MOST_BLOCKS, sizeof *self->shared);
    if (self->memories == NULL || self->shared == NULL ||
        take_memories(self, state) < 0) {
        if (!PyErr_Occurred()) {
            (void)PyErr_NoMemory();
        }
        Py_DECREF(op);
        return NULL;
    }
    shx_err err = settle(self, blocks);
    if (err != 0) {
        (void)shx_py_pool_raise(self, err);
        Py_CLEAR(op);
    }
    return op;
}

/* How it goes */

/* Remove its names, if they are there. */
PyDoc_STRVAR(unlink_doc, "unlink($self, /)\n--\n\n");

/* The control first: who finds that finds the data. */
static int
unlink_names(shx_py_pool *self)
{
    for (Py_ssize_t i = 0; i < 2; i++) {
        PyObject *memory = PyTuple_GET_ITEM(self->memories, i);
        if (memory == Py_None) {
            (void)shx_segment_unlink(self->name, &self->identity);
            continue;
        }
        PyObject *done = PyObject_CallMethod(memory, "unlink", "O", Py_True);
        if (done == NULL) {
            return -1;
        }
        Py_DECREF(done);
    }
    return 0;
}

static PyObject *
pool_unlink(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_py_pool *self = POOL(op);
    if (!atomic_exchange(&self->gone, true) && unlink_names(self) < 0) {
        atomic_store(&self->gone, false); /* an audit hook's doing */
        return NULL;
    }
    Py_RETURN_NONE;
}

static bool
is_own(shx_py_pool *self)
{
    shx_member me;
    return self->made && shx_party_me(self->party, &me) == 0 &&
           shx_pool_is_own(&self->pool, &me);
}

/* One that another interpreter of this process has made is not; one that was
 * cut short is of no use to anybody. */
static bool
is_abandoned(shx_py_pool *self)
{
    shx_member me;
    return atomic_load(&self->gone) || shx_py_pool_check(self) != 0 ||
           (shx_party_me(self->party, &me) == 0 &&
            (self->made || !shx_pool_is_own(&self->pool, &me)) &&
            shx_pool_is_abandoned(&self->pool, &me));
}

/* Is its owner dead, or this process, and has nobody else anything of it?
 * Then nobody will. */
PyDoc_STRVAR(is_abandoned_doc, "is_abandoned($self, /)\n--\n\n");

static PyObject *
pool_is_abandoned(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(is_abandoned(POOL(op)));
}

void
shx_py_pool_look_after(shx_py_pool *self)
{
    if (is_own(self) || atomic_load(&self->gone) || !is_abandoned(self)) {
        return;
    }
    PyObject *error = PyErr_GetRaisedException();
    Py_XDECREF(pool_unlink((PyObject *)self, NULL));
    PyErr_Clear(); /* whoever looks next removes them */
    PyErr_SetRaisedException(error);
}

/* Attributes */

static PyObject *
get_own(PyObject *op, void *Py_UNUSED(closure))
{
    shx_py_pool *self = POOL(op);
    return PyBool_FromLong(!atomic_load(&self->gone) &&
                           !atomic_load(&self->lost) &&
                           shx_py_pool_check(self) == 0 && is_own(self));
}

static PyObject *
get_pair(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(POOL(op)->pair);
}

static PyObject *
get_leases(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(atomic_load(&POOL(op)->leases));
}

static PyGetSetDef pool_getset[] = {
    {"leases", get_leases, NULL,
     PyDoc_STR("How many blocks of it are held by leases here."), NULL},
    {"own", get_own, NULL,
     PyDoc_STR("Is it this process's own, and to be used?"), NULL},
    {"pair", get_pair, NULL, PyDoc_STR("Its number, which names it."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* How it is: bytes and counts, by name. */
PyDoc_STRVAR(look_doc, "look($self, /)\n--\n\n");

static PyObject *
pool_look(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_pool_state state = shx_pool_look(&POOL(op)->pool);
    return Py_BuildValue(
        "{s:K,s:K,s:K,s:I,s:I,s:I,s:I,s:I}", "size",
        (unsigned long long)state.size, "used", (unsigned long long)state.used,
        "idle", (unsigned long long)state.idle, "blocks", state.blocks,
        "in_flight", state.in_flight, "held", state.held, "places",
        state.places, "pinned", state.pinned);
}

/* Bytes of the control of one with data of so many bytes, and so many blocks.
 */
PyDoc_STRVAR(size_of_doc, "size_of(size, blocks, /)\n--\n\n");

static PyObject *
pool_size_of(PyObject *Py_UNUSED(type), PyObject *args)
{
    Py_ssize_t size;
    size_t control;
    shx_pool_shape shape;
    if (!PyArg_ParseTuple(args, "nI:size_of", &size, &shape.blocks)) {
        return NULL;
    }
    shape.size = size < 0 ? 0 : (uint64_t)size;
    if (!shx_pool_size(&shape, &control)) {
        return PyErr_Format(PyExc_ValueError, "no pool has that shape");
    }
    return PyLong_FromSize_t(control);
}

static PyMethodDef pool_methods[] = {
    {"is_abandoned", pool_is_abandoned, METH_NOARGS, is_abandoned_doc},
    {"look", pool_look, METH_NOARGS, look_doc},
    {"size_of", pool_size_of, METH_VARARGS | METH_STATIC, size_of_doc},
    {"unlink", pool_unlink, METH_NOARGS, unlink_doc},
    {NULL, NULL, 0, NULL},
};

/* A pool of blocks in two SharedMemory. blocks: how many, to make one of
 * memories that are new; 0: it is there. */
PyDoc_STRVAR(pool_doc, "_Pool(control, data, pair, blocks, /)\n--\n\n");

static PyType_Slot pool_slots[] = {
    {Py_tp_doc, (void *)pool_doc}, {Py_tp_new, pool_new},
    {Py_tp_dealloc, pool_dealloc}, {Py_tp_methods, pool_methods},
    {Py_tp_getset, pool_getset},   {0, NULL},
};

/* Not collected: of the memories nobody else knows. */
static PyType_Spec pool_spec = {
    .name = "shmemext._shmemext._Pool",
    .basicsize = sizeof(shx_py_pool),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = pool_slots,
};

int
shx_py_pool_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->pool_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &pool_spec, NULL);
    return state->pool_type == NULL ||
                   PyModule_AddType(module, state->pool_type) < 0
               ? -1
               : 0;
}

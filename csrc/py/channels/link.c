/* SPDX-License-Identifier: MIT */
#include "py/channels/link.h"

#include <errno.h>
#include <string.h> /* memcpy */

#include "py/memory/memory.h"

static void
link_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    shx_link *self = LINK(op);
    if (self->opened && self->kind->close != NULL) {
        self->kind->close(self);
    }
    if (self->party != NULL) {
        shx_party_leave(self->party);
    }
    /* The name first, with which what has none goes: see _broadcasts.py. */
    Py_XDECREF((PyObject *)self->data);
    Py_XDECREF((PyObject *)self->mapping);
    Py_XDECREF(self->name);
    type->tp_free(op);
    Py_DECREF(type);
}

static shx_err
settle(shx_link *self, PyObject *memory)
{
    const shx_segment *segment = &self->mapping->segment;
    if (!segment->writable) {
        return EACCES; /* all who use it write into it */
    }
    shx_err err =
        shx_memory_join(memory, &segment->identity, SHX_FD_NONE, &self->party);
    if (err == 0) {
        err = self->kind->open(self);
        self->opened = err == 0;
    }
    return err;
}

shx_link *
shx_link_new(shx_state *state, const shx_link_kind *kind, PyObject *memories)
{
    PyObject *op = state->link_type->tp_alloc(state->link_type, 0);
    if (op == NULL) {
        return NULL;
    }
    shx_link *self = LINK(op);
    PyObject *first = PyTuple_GET_ITEM(memories, 0);
    PyObject *last =
        PyTuple_GET_ITEM(memories, PyTuple_GET_SIZE(memories) - 1);
    shx_count_at_once(op);
    self->kind = kind;
    self->name = PyObject_GetAttr(first, state->str.name);
    self->data = self->name == NULL ? NULL : shx_memory_mapping(first);
    self->mapping = self->data == NULL ? NULL : shx_memory_mapping(last);
    if (self->mapping == NULL) {
        Py_DECREF(op);
        return NULL;
    }
    shx_err err = shx_link_check(self, settle(self, last));
    if (err == SHX_FOREIGN || err == SHX_TOO_SMALL) {
        PyErr_Format(PyExc_ValueError,
                     "%s(%R): what is there is none, or not all of one: "
                     "unlink() it, and create another one",
                     kind->type, self->name);
    }
    else if (err != 0) {
        (void)shx_link_raise(self, err);
    }
    if (err != 0) {
        Py_DECREF(op);
        return NULL;
    }
    return self;
}

void
shx_link_give(shx_link *self, const shx_item *item, bool seen)
{
    shx_member me;
    if (shx_party_me(self->party, &me) == 0) {
        self->kind->give(self, &me, item, seen);
    }
}

void
shx_link_finish(shx_link *self, shx_item *item, bool keep)
{
    shx_member me;
    if (shx_party_me(self->party, &me) == 0) {
        self->kind->finish(self, &me, item, keep);
    }
}

int
shx_link_me(shx_link *self, shx_member *me)
{
    shx_err err = shx_party_me(self->party, me);
    if (err != 0) {
        (void)shx_link_raise(self, err);
    }
    return err == 0 ? 0 : -1;
}

/* An exception of the module `queue`. */
static PyObject *
raise_of_queue(const char *which)
{
    PyObject *type = shx_import("queue", which);
    if (type != NULL) {
        PyErr_SetNone(type);
    }
    Py_XDECREF(type);
    return NULL;
}

/* queue.ShutDown is of Python 3.13. */
static PyObject *
raise_shut_down(shx_link *self)
{
    PyObject *type = shx_import("shmemext._channels", "ShutDown");
    if (type != NULL) {
        PyErr_Format(type, "%s(%R) was shut down", self->kind->type,
                     self->name);
    }
    Py_XDECREF(type);
    return NULL;
}

PyObject *
shx_link_raise(shx_link *self, shx_err err)
{
    if (err == SHX_INTERRUPTED && PyErr_Occurred()) {
        return NULL; /* whoever asked to stop has raised */
    }
    if (err == SHX_SHUT_DOWN) {
        return raise_shut_down(self);
    }
    if (err == EFAULT) {
        return shx_raise_unsupported(
            EFAULT,
            "the memory was cut short by another process: what is there says "
            "nothing any more. unlink() it, and create another one",
            self->name);
    }
    return shx_raise(err, self->name);
}

PyObject *
shx_link_raise_or(shx_link *self, shx_err err, const char *which)
{
    return err == EAGAIN || err == ETIMEDOUT ? raise_of_queue(which)
                                             : shx_link_raise(self, err);
}

void
shx_link_copy(void *into, const void *from, size_t length)
{
    if (length > SHX_LONG) {
        Py_BEGIN_ALLOW_THREADS
        memcpy(into, from, length);
        Py_END_ALLOW_THREADS
    }
    else if (length != 0) {
        memcpy(into, from, length);
    }
}

static int
poll(void *context)
{
    shx_link_wait *wait = context;
    return shx_link_check(wait->link, 0) != 0 ? -1 : shx_wait_ask(&wait->asks);
}

void
shx_link_begin(shx_link_wait *wait, shx_link *self, shx_member *me,
               int64_t timeout)
{
    const int64_t for_locks = timeout == 0 ? 1000000000 : 4000000;
    wait->wait.blocks = shx_link_blocks(timeout);
    wait->wait.patience =
        shx_patience_for(wait->wait.blocks ? timeout : for_locks, poll, wait);
    wait->link = self;
    shx_wait_begin(&wait->asks);
    shx_wait_as(&wait->asks, self->party, me);
}

shx_err
shx_link_end(shx_link_wait *wait, shx_err err)
{
    return shx_wait_end(&wait->asks, err);
}

static PyType_Slot link_slots[] = {
    {Py_tp_dealloc, link_dealloc},
    {0, NULL},
};

static PyType_Spec link_spec = {
    .name = "shmemext._shmemext.Link",
    .basicsize = sizeof(shx_link),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = link_slots,
};

int
shx_link_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->link_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &link_spec, NULL);
    return state->link_type == NULL ? -1 : 0;
}

/* SPDX-License-Identifier: MIT */
#include "py/channels/reservation.h"

typedef struct {
    PyObject_HEAD
    shx_link *link;
    shx_item item;
    PyObject *view; /* inside its `with` */
    bool over;      /* sent, or dropped */
} reservation;

#define RESERVATION(op) ((reservation *)(op))

PyObject *
shx_reservation_new(shx_state *state, shx_link *link, const shx_item *item)
{
    PyTypeObject *type = state->reservation_type;
    PyObject *op = type->tp_alloc(type, 0);
    if (op == NULL) {
        shx_item dropped = *item;
        shx_link_finish(link, &dropped, false);
        return NULL;
    }
    RESERVATION(op)->link = (shx_link *)Py_NewRef((PyObject *)link);
    RESERVATION(op)->item = *item;
    return op;
}

/* Once. *view: a reference for the caller. */
static bool
end(PyObject *op, PyObject **view)
{
    reservation *self = RESERVATION(op);
    bool first;
    Py_BEGIN_CRITICAL_SECTION(op);
    first = !self->over;
    self->over = true;
    *view = self->view;
    self->view = NULL;
    Py_END_CRITICAL_SECTION();
    return first;
}

static void
reservation_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    reservation *self = RESERVATION(op);
    if (!self->over) {
        shx_link_finish(self->link, &self->item, false);
    }
    Py_XDECREF(self->view);
    Py_DECREF((PyObject *)self->link);
    type->tp_free(op);
    Py_DECREF(type);
}

static int
reservation_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    reservation *self = RESERVATION(op);
    bool over;
    Py_BEGIN_CRITICAL_SECTION(op);
    over = self->over;
    Py_END_CRITICAL_SECTION();
    if (over) {
        view->obj = NULL;
        PyErr_Format(PyExc_ValueError,
                     "the %s was sent: reserve() another one",
                     self->link->kind->item);
        return -1;
    }
    return PyBuffer_FillInfo(view, op, self->item.bytes,
                             (Py_ssize_t)self->item.length, 0, flags);
}

static PyObject *
reservation_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *view = PyMemoryView_FromObject(op), *old;
    if (view == NULL) {
        return NULL;
    }
    Py_BEGIN_CRITICAL_SECTION(op);
    old = RESERVATION(op)->view;
    RESERVATION(op)->view = Py_NewRef(view);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(old);
    return view;
}

/* Arrays over it may live on: they are of the memory, and whoever writes by
 * one now writes into what others read. */
static void
release(PyObject *view)
{
    PyObject *done = PyObject_CallMethod(view, "release", NULL);
    if (done == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(done);
    Py_DECREF(view);
}

static PyObject *
reservation_exit(PyObject *op, PyObject *args)
{
    PyObject *kind, *value, *traceback, *view;
    if (!PyArg_ParseTuple(args, "OOO:__exit__", &kind, &value, &traceback)) {
        return NULL;
    }
    bool first = end(op, &view);
    if (view != NULL) {
        release(view);
    }
    if (first) {
        shx_link_finish(RESERVATION(op)->link, &RESERVATION(op)->item,
                        kind == Py_None);
    }
    Py_RETURN_NONE;
}

static PyMethodDef reservation_methods[] = {
    {"__enter__", reservation_enter, METH_NOARGS, NULL},
    {"__exit__", reservation_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    reservation_doc,
    "Room for a message: what Channel.reserve() returns; for a frame, where\n"
    "it is Broadcast.reserve().\n\n"
    "    with channel.reserve(nbytes) as view:\n"
    "        camera.readinto(view)\n\n"
    "It is sent at the end of the 'with', and dropped if that ends with an\n"
    "exception. Do not write by an array over it after that: its bytes are\n"
    "its readers'.");

static PyType_Slot reservation_slots[] = {
    {Py_tp_doc, (void *)reservation_doc},
    {Py_tp_dealloc, reservation_dealloc},
    {Py_tp_methods, reservation_methods},
    {Py_bf_getbuffer, reservation_getbuffer},
    {0, NULL},
};

static PyType_Spec reservation_spec = {
    .name = "shmemext.channels.Reservation",
    .basicsize = sizeof(reservation),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = reservation_slots,
};

int
shx_reservation_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->reservation_type =
        shx_add_type(module, &reservation_spec, NULL, "Reservation");
    return state->reservation_type == NULL ? -1 : 0;
}

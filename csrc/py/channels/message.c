/* SPDX-License-Identifier: MIT */
#include "py/channels/message.h"

typedef struct {
    PyObject_HEAD
    shx_link *link;
    shx_item item;
    _Atomic bool seen; /* by whoever has it in hand */
} delivery;

typedef struct {
    PyObject_HEAD
    const shx_link_kind *kind;
    delivery *delivery; /* NULL: given back */
    Py_ssize_t length;
    uint64_t number; /* deliveries, or the seq */
    bool lent;       /* to who may keep it, and not its buffer */
} message;

#define DELIVERY(op) ((delivery *)(op))
#define MESSAGE(op) ((message *)(op))

static void
delivery_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    delivery *self = DELIVERY(op);
    shx_link_give(self->link, &self->item, self->seen);
    Py_DECREF((PyObject *)self->link);
    type->tp_free(op);
    Py_DECREF(type);
}

static int
delivery_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    delivery *self = DELIVERY(op);
    self->seen = true;
    return PyBuffer_FillInfo(view, op, self->item.bytes,
                             (Py_ssize_t)self->item.length, 1, flags);
}

PyObject *
shx_message_new(shx_state *state, PyTypeObject *type, shx_link *link,
                const shx_item *item, uint64_t number)
{
    PyTypeObject *inner = state->delivery_type;
    PyObject *op = type->tp_alloc(type, 0);
    PyObject *made = op == NULL ? NULL : inner->tp_alloc(inner, 0);
    if (made == NULL) {
        shx_link_give(link, item, false);
        Py_XDECREF(op);
        return NULL;
    }
    shx_count_at_once(made);
    DELIVERY(made)->link = (shx_link *)Py_NewRef((PyObject *)link);
    DELIVERY(made)->item = *item;
    MESSAGE(op)->kind = link->kind;
    MESSAGE(op)->delivery = DELIVERY(made);
    MESSAGE(op)->length = (Py_ssize_t)item->length;
    MESSAGE(op)->number = number;
    return op;
}

/* New reference; NULL if it was given back. `lend`: it is not, from now on. */
static PyObject *
delivery_of(PyObject *op, bool lend)
{
    PyObject *found;
    Py_BEGIN_CRITICAL_SECTION(op);
    found = Py_XNewRef((PyObject *)MESSAGE(op)->delivery);
    MESSAGE(op)->lent = MESSAGE(op)->lent || lend;
    Py_END_CRITICAL_SECTION();
    if (found == NULL) {
        PyErr_Format(PyExc_ValueError,
                     "the %s was given back: use it inside its 'with', or "
                     "copy it",
                     MESSAGE(op)->kind->item);
    }
    return found;
}

static void
give_back(PyObject *op)
{
    PyObject *taken = NULL;
    Py_BEGIN_CRITICAL_SECTION(op);
    if (!MESSAGE(op)->lent) {
        taken = (PyObject *)MESSAGE(op)->delivery;
        MESSAGE(op)->delivery = NULL;
    }
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(taken);
}

static void
message_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    Py_XDECREF((PyObject *)MESSAGE(op)->delivery);
    type->tp_free(op);
    Py_DECREF(type);
}

/* The view is of the delivery, so that it outlives the message. Only
 * numpy.ndarray(buffer=message) asks for any order, and then keeps the message
 * and no view. */
static int
message_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    const int any_order = PyBUF_ANY_CONTIGUOUS & ~PyBUF_STRIDES;
    PyObject *of = delivery_of(op, (flags & any_order) != 0);
    if (of == NULL) {
        view->obj = NULL;
        return -1;
    }
    int status = PyObject_GetBuffer(of, view, flags);
    Py_DECREF(of);
    return status;
}

/* Where a type has this, numpy.frombuffer() keeps a view. The views are of the
 * delivery, so nothing calls it. */
static void
message_releasebuffer(PyObject *Py_UNUSED(op), Py_buffer *Py_UNUSED(view))
{
}

static Py_ssize_t
message_length(PyObject *op)
{
    return MESSAGE(op)->length;
}

static PyObject *
message_subscript(PyObject *op, PyObject *key)
{
    PyObject *view = PyMemoryView_FromObject(op);
    PyObject *item = view == NULL ? NULL : PyObject_GetItem(view, key);
    Py_XDECREF(view);
    return item;
}

static PyObject *
message_iter(PyObject *op)
{
    PyObject *view = PyMemoryView_FromObject(op);
    PyObject *items = view == NULL ? NULL : PyObject_GetIter(view);
    Py_XDECREF(view);
    return items;
}

/* By its bytes, as a memoryview is: what was given back is only itself. */
static PyObject *
message_compare(PyObject *op, PyObject *other, int how)
{
    if (how != Py_EQ && how != Py_NE) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    PyObject *view = PyMemoryView_FromObject(op);
    if (view == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return NULL;
        }
        PyErr_Clear();
        Py_RETURN_NOTIMPLEMENTED;
    }
    PyObject *result = PyObject_RichCompare(view, other, how);
    Py_DECREF(view);
    return result;
}

static PyObject *
message_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *of = delivery_of(op, false);
    if (of == NULL) {
        return NULL;
    }
    DELIVERY(of)->seen = true;
    Py_DECREF(of);
    return Py_NewRef(op);
}

static PyObject *
message_exit(PyObject *op, PyObject *Py_UNUSED(args))
{
    give_back(op);
    Py_RETURN_NONE;
}

static PyObject *
message_repr(PyObject *op)
{
    bool over;
    Py_BEGIN_CRITICAL_SECTION(op);
    over = MESSAGE(op)->delivery == NULL;
    Py_END_CRITICAL_SECTION();
    return PyUnicode_FromFormat("<%s: %zd bytes%s>", MESSAGE(op)->kind->held,
                                MESSAGE(op)->length,
                                over ? ", given back" : "");
}

static PyObject *
get_number(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(MESSAGE(op)->number);
}

static PyGetSetDef message_getset[] = {
    {"deliveries", get_number, NULL,
     PyDoc_STR("How often it was delivered, this time included: more than 1\n"
               "if a reader that had it was killed. 16 is that or more."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyGetSetDef frame_getset[] = {
    {"seq", get_number, NULL,
     PyDoc_STR("Its number: one more than that of the frame before it,\n"
               "whoever wrote that. The first one is 1."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef message_methods[] = {
    {"__enter__", message_enter, METH_NOARGS, NULL},
    {"__exit__", message_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    message_doc,
    "A message that is read where it lies: what Channel.receive() returns.\n\n"
    "    with channel.receive() as message:\n"
    "        numpy.frombuffer(message, \"u1\")\n\n"
    "It is a readonly buffer of len(message) bytes, and can be indexed,\n"
    "sliced, iterated and compared as a memoryview. It is given back at the\n"
    "end of the 'with', or when the last view or array over it goes, if that\n"
    "is later. If the process is killed before that, another reader gets\n"
    "it.");

/* clang-format off */
#define MESSAGE_SLOTS                                                         \
    {Py_tp_dealloc, message_dealloc},                                         \
    {Py_tp_repr, message_repr},                                               \
    {Py_tp_richcompare, message_compare},                                     \
    {Py_tp_iter, message_iter},                                               \
    {Py_tp_hash, PyObject_HashNotImplemented},                                \
    {Py_tp_methods, message_methods},                                         \
    {Py_mp_length, message_length},                                           \
    {Py_mp_subscript, message_subscript},                                     \
    {Py_bf_getbuffer, message_getbuffer},                                     \
    {Py_bf_releasebuffer, message_releasebuffer}
/* clang-format on */

static PyType_Slot message_slots[] = {
    {Py_tp_doc, (void *)message_doc},
    {Py_tp_getset, message_getset},
    MESSAGE_SLOTS,
    {0, NULL},
};

static PyType_Spec message_spec = {
    .name = "shmemext.channels.Message",
    .basicsize = sizeof(message),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = message_slots,
};

PyDoc_STRVAR(
    frame_doc,
    "A frame that is read where it lies: what Broadcast.receive() returns.\n\n"
    "    with cast.receive() as frame:\n"
    "        show(numpy.frombuffer(frame, \"u1\"))\n\n"
    "It is a readonly buffer of len(frame) bytes, and can be indexed,\n"
    "sliced and iterated as a memoryview. Nobody writes there until it is\n"
    "given back: at the end of the 'with', or when the last view or array\n"
    "over it goes, if that is later.");

static PyType_Slot frame_slots[] = {
    {Py_tp_doc, (void *)frame_doc},
    {Py_tp_getset, frame_getset},
    MESSAGE_SLOTS,
    {0, NULL},
};

static PyType_Spec frame_spec = {
    .name = "shmemext.channels.Frame",
    .basicsize = sizeof(message),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = frame_slots,
};

static PyType_Slot delivery_slots[] = {
    {Py_tp_dealloc, delivery_dealloc},
    {Py_bf_getbuffer, delivery_getbuffer},
    {0, NULL},
};

static PyType_Spec delivery_spec = {
    .name = "shmemext._shmemext.Delivery",
    .basicsize = sizeof(delivery),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = delivery_slots,
};

int
shx_message_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->message_type = shx_add_type(module, &message_spec, NULL, "Message");
    state->frame_type = shx_add_type(module, &frame_spec, NULL, "Frame");
    state->delivery_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &delivery_spec, NULL);
    return state->message_type == NULL || state->frame_type == NULL ||
                   state->delivery_type == NULL
               ? -1
               : 0;
}

/* SPDX-License-Identifier: MIT */
#include "py/channels/channel.h"

#include <errno.h>
#include <stddef.h> /* offsetof */

#include "py/memory/memory.h"

static int
channel_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(CHANNEL(op)->memory);
    return 0;
}

/* What it takes over: NULL for nothing. What it had goes. */
static void
adopt(PyObject *op, shx_link *link, PyObject *memory)
{
    PyObject *old_link, *old_memory;
    Py_BEGIN_CRITICAL_SECTION(op);
    old_link = (PyObject *)CHANNEL(op)->link;
    old_memory = CHANNEL(op)->memory;
    CHANNEL(op)->link = link;
    CHANNEL(op)->memory = memory;
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(old_link);
    Py_XDECREF(old_memory);
}

static int
channel_clear(PyObject *op)
{
    adopt(op, NULL, NULL);
    return 0;
}

static void
channel_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (CHANNEL(op)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)channel_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

shx_link *
shx_channel_link(PyObject *op)
{
    PyObject *link;
    Py_BEGIN_CRITICAL_SECTION(op);
    link = Py_XNewRef((PyObject *)CHANNEL(op)->link);
    Py_END_CRITICAL_SECTION();
    if (link == NULL) {
        PyErr_SetString(PyExc_ValueError, "the channel is closed");
    }
    return (shx_link *)link;
}

/* A new reference. NULL and ValueError if __init__ has not made it. */
static PyObject *
memory_of(PyObject *op)
{
    PyObject *memory;
    Py_BEGIN_CRITICAL_SECTION(op);
    memory = Py_XNewRef(CHANNEL(op)->memory);
    Py_END_CRITICAL_SECTION();
    if (memory == NULL) {
        PyErr_SetString(PyExc_ValueError, "the channel was never opened");
    }
    return memory;
}

/* What goes wrong from here on leaves nothing behind. */
static int
open_in(PyObject *op, PyObject *memory)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_link *link = state == NULL ? NULL : shx_link_new(state, memory);
    if (link == NULL) {
        return -1;
    }
    adopt(op, link, Py_NewRef(memory));
    return 0;
}

/* The memory, made or attached by shmemext._channels. */
static PyObject *
call(const char *function, PyObject *args, PyObject *kwargs)
{
    PyObject *module = PyImport_ImportModule("shmemext._channels");
    PyObject *callable =
        module == NULL ? NULL : PyObject_GetAttrString(module, function);
    PyObject *result =
        callable == NULL ? NULL : PyObject_Call(callable, args, kwargs);
    Py_XDECREF(callable);
    Py_XDECREF(module);
    return result;
}

static PyObject *
call_with(const char *function, PyObject *op)
{
    PyObject *args = PyTuple_Pack(1, op);
    PyObject *result = args == NULL ? NULL : call(function, args, NULL);
    Py_XDECREF(args);
    return result;
}

static int
channel_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    PyObject *memory = call("open", args, kwargs);
    if (memory == NULL) {
        return -1;
    }
    int status = open_in(op, memory);
    if (status < 0) {
        PyObject *error = PyErr_GetRaisedException();
        PyObject *done = call_with("undo", memory);
        if (done == NULL) {
            PyErr_Clear();
        }
        Py_XDECREF(done);
        PyErr_SetRaisedException(error);
    }
    Py_DECREF(memory);
    return status;
}

static PyObject *
channel_rebuild(PyObject *type, PyObject *memory)
{
    PyTypeObject *made_of = (PyTypeObject *)type;
    shx_state *state = shx_state_of(made_of);
    if (state == NULL) {
        return NULL;
    }
    if (!PyObject_TypeCheck(memory, state->shared_memory_type)) {
        return PyErr_Format(PyExc_TypeError, "not a SharedMemory");
    }
    PyObject *checked = call_with("check", memory);
    if (checked == NULL) {
        return NULL;
    }
    Py_DECREF(checked);
    PyObject *op = made_of->tp_alloc(made_of, 0);
    if (op != NULL && open_in(op, memory) < 0) {
        Py_CLEAR(op);
    }
    return op;
}

/* Methods */

PyDoc_STRVAR(close_doc,
             "close($self, /)\n--\n\n"
             "Let go of it here. The channel stays, with its messages, and\n"
             "whoever waits in another thread goes on. See unlink().");

static PyObject *
channel_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *link, *memory;
    Py_BEGIN_CRITICAL_SECTION(op);
    link = (PyObject *)CHANNEL(op)->link;
    CHANNEL(op)->link = NULL;
    memory = Py_XNewRef(CHANNEL(op)->memory);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(link);
    if (memory == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *result = PyObject_CallMethod(memory, "close", NULL);
    Py_DECREF(memory);
    return result;
}

PyDoc_STRVAR(unlink_doc,
             "unlink($self, /)\n--\n\n"
             "Remove the name. Who has it open goes on with it.\n\n"
             "FileNotFoundError: somebody has removed it.");

static PyObject *
channel_unlink(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *memory = memory_of(op);
    PyObject *result =
        memory == NULL ? NULL : PyObject_CallMethod(memory, "unlink", NULL);
    Py_XDECREF(memory);
    return result;
}

PyDoc_STRVAR(messages_doc,
             "messages($self, /)\n--\n\n"
             "Iterate over messages that are read in place, one after the\n"
             "other, until the channel is shut down and empty.\n\n"
             "    for message in channel.messages():\n"
             "        work_on(message)\n\n"
             "Each is given back when the next one is asked for, or when the\n"
             "last array over it goes, if that is later. See receive().");

static PyObject *
channel_messages(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return call_with("messages", op);
}

static PyObject *
channel_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_link *link = shx_channel_link(op);
    if (link == NULL) {
        return NULL;
    }
    Py_DECREF((PyObject *)link);
    return Py_NewRef(op);
}

static PyObject *
channel_exit(PyObject *op, PyObject *Py_UNUSED(args))
{
    return PyObject_CallMethod(op, "close", NULL);
}

PyDoc_STRVAR(reduce_doc, "__reduce__($self, /)\n--\n\n"
                         "Pickle by the name.");

static PyObject *
channel_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *memory = memory_of(op);
    PyObject *rebuild =
        memory == NULL
            ? NULL
            : PyObject_GetAttrString((PyObject *)Py_TYPE(op), "_rebuild");
    PyObject *result =
        rebuild == NULL ? NULL : Py_BuildValue("O(O)", rebuild, memory);
    Py_XDECREF(rebuild);
    Py_XDECREF(memory);
    return result;
}

static PyMethodDef channel_methods[] = {
    {"close", channel_close, METH_NOARGS, close_doc},
    {"unlink", channel_unlink, METH_NOARGS, unlink_doc},
    {"messages", channel_messages, METH_NOARGS, messages_doc},
    {"__enter__", channel_enter, METH_NOARGS, NULL},
    {"__exit__", channel_exit, METH_VARARGS, NULL},
    {"__reduce__", channel_reduce, METH_NOARGS, reduce_doc},
    {"_rebuild", channel_rebuild, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
get_name(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *memory = memory_of(op);
    PyObject *name =
        memory == NULL ? NULL : PyObject_GetAttrString(memory, "name");
    Py_XDECREF(memory);
    return name;
}

static PyObject *
get_size(PyObject *op, void *Py_UNUSED(closure))
{
    shx_link *link = shx_channel_link(op);
    PyObject *size =
        link == NULL ? NULL : PyLong_FromUnsignedLongLong(link->ring.capacity);
    Py_XDECREF((PyObject *)link);
    return size;
}

static PyObject *
get_peers(PyObject *op, void *Py_UNUSED(closure))
{
    unsigned count;
    PyObject *result = NULL;
    shx_link *link = shx_channel_link(op);
    if (link != NULL) {
        shx_err err = shx_party_count(link->party, &count);
        result = err == 0 ? PyLong_FromUnsignedLong(count == 0 ? 0 : count - 1)
                          : shx_link_raise(link, err);
    }
    Py_XDECREF((PyObject *)link);
    return result;
}

static PyGetSetDef channel_getset[] = {
    {"name", get_name, shx_memory_refuse, PyDoc_STR("Its name."), "name"},
    {"size", get_size, shx_memory_refuse,
     PyDoc_STR("Bytes for messages, each with 16 to 31 more: a power of two.\n"
               "A message has the half of it at most."),
     "size"},
    {"peers", get_peers, shx_memory_refuse,
     PyDoc_STR("How many other living processes have it open."), "peers"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef channel_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(shx_channel, weakrefs),
     Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyObject *
channel_repr(PyObject *op)
{
    PyObject *name = get_name(op, NULL);
    if (name == NULL) {
        PyErr_Clear();
        return PyUnicode_FromString("Channel()");
    }
    bool closed;
    Py_BEGIN_CRITICAL_SECTION(op);
    closed = CHANNEL(op)->link == NULL;
    Py_END_CRITICAL_SECTION();
    PyObject *text = PyUnicode_FromFormat(
        closed ? "<Channel(%R), closed>" : "Channel(%R)", name);
    Py_DECREF(name);
    return text;
}

static PyObject *
channel_iter(PyObject *op)
{
    return Py_NewRef(op);
}

PyDoc_STRVAR(
    channel_doc,
    "Channel(name=None, create=False, size=1048576, *, exist_ok=False,\n"
    "        timeout=None, mode=None, track=None, lifetime='family')\n"
    "--\n\n"
    "Messages of bytes between processes that know a name: any number of\n"
    "writers and readers, each message to one of them.\n\n"
    "It lies in a segment of that name; see SharedMemory for the arguments.\n"
    "size is how many bytes of messages it holds, rounded up to a power of\n"
    "two: put() waits while it is full, and a message has the half of it at\n"
    "most.\n\n"
    "Nobody's death stops the others: a message whose put() returned is\n"
    "delivered, get() gives none out twice, and what a reader that is killed\n"
    "has received in place is delivered again.\n\n"
    "ValueError: there is a segment of that name that is no channel.\n"
    "Otherwise exceptions are SharedMemory's.");

static PyType_Slot channel_slots[] = {
    {Py_tp_doc, (void *)channel_doc},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, channel_init},
    {Py_tp_traverse, channel_traverse},
    {Py_tp_clear, channel_clear},
    {Py_tp_dealloc, channel_dealloc},
    {Py_tp_repr, channel_repr},
    {Py_tp_iter, channel_iter},
    {Py_tp_iternext, shx_channel_next},
    {Py_am_aiter, channel_iter},
    {Py_am_anext, shx_channel_next_async},
    {Py_tp_methods, channel_methods},
    {Py_tp_getset, channel_getset},
    {Py_tp_members, channel_members},
    {0, NULL},
};

static PyType_Spec channel_spec = {
    .name = "shmemext.channels.Channel",
    .basicsize = sizeof(shx_channel),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = channel_slots,
};

/* channel_layout(size): the head and the bytes of a channel's memory. */
static PyObject *
channel_layout(PyObject *Py_UNUSED(module), PyObject *arg)
{
    unsigned long long size = PyLong_AsUnsignedLongLong(arg);
    if (size == (unsigned long long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    size_t whole = shx_ring_size(size);
    if (whole == 0) {
        return PyErr_Format(PyExc_ValueError,
                            "a channel of %llu bytes: no memory is as large",
                            size);
    }
    return Py_BuildValue("Kn", (unsigned long long)shx_ring_head_of(size),
                         (Py_ssize_t)whole);
}

static PyMethodDef layout_methods[] = {
    {"_channel_layout", channel_layout, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int
shx_channel_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    PyTypeObject *type = shx_add_type(module, &channel_spec, NULL, "Channel");
    state->channel_type = type;
    return type == NULL || PyModule_AddFunctions(module, layout_methods) < 0 ||
                   shx_add_methods(type, shx_channel_state_methods) < 0 ||
                   shx_add_methods(type, shx_channel_put_methods) < 0 ||
                   shx_add_methods(type, shx_channel_take_methods) < 0
               ? -1
               : 0;
}

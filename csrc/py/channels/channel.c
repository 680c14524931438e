/* SPDX-License-Identifier: MIT */
#include "py/channels/channel.h"

#include "py/memory/memory.h"

static shx_err
open_ring(shx_link *link)
{
    const shx_segment *segment = &link->mapping->segment;
    return shx_ring_open(segment->address, segment->size, link->party,
                         &link->ring);
}

static void
give(shx_link *link, const shx_member *me, const shx_item *item, bool seen)
{
    if (seen) {
        shx_ring_give(&link->ring, me, &item->record, 1);
    }
    else {
        shx_ring_return(&link->ring, me, &item->record);
    }
}

static void
finish(shx_link *link, const shx_member *me, shx_item *item, bool keep)
{
    shx_ring_commit(&link->ring, me, &item->record, keep);
}

static const shx_link_kind channel_kind = {
    .type = "Channel",
    .noun = "channel",
    .item = "message",
    .held = "Message",
    .module = "shmemext._channels",
    .memories = 1,
    .open = open_ring,
    .give = give,
    .finish = finish,
};

static PyObject *
channel_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
            PyObject *Py_UNUSED(kwargs))
{
    return shx_handle_new(type, &channel_kind);
}

static PyObject *
channel_rebuild(PyObject *type, PyObject *memories)
{
    return shx_handle_rebuild(type, memories, &channel_kind);
}

PyDoc_STRVAR(messages_doc,
             "messages($self, /)\n--\n\n"
             "Iterate over messages that are read in place, one after the\n"
             "other, until the channel is shut down and empty.\n\n"
             "    for message in channel.messages():\n"
             "        work_on(message)\n\n"
             "Each is given back when the next one is asked for, or when the\n"
             "last array over it goes, if that is later. See receive().\n\n"
             "Errors are get()'s, but for queue.Empty, queue.ShutDown.");

static PyObject *
channel_messages(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_handle_call(&channel_kind, "messages", op);
}

static PyMethodDef channel_methods[] = {
    {"messages", channel_messages, METH_NOARGS, messages_doc},
    {"_rebuild", channel_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
get_size(PyObject *op, void *Py_UNUSED(closure))
{
    shx_link *link = shx_handle_link(op);
    PyObject *size =
        link == NULL ? NULL : PyLong_FromUnsignedLongLong(link->ring.capacity);
    Py_XDECREF((PyObject *)link);
    return size;
}

static PyGetSetDef channel_getset[] = {
    {"name", shx_handle_get_name, shx_memory_refuse, PyDoc_STR("Its name."),
     "name"},
    {"size", get_size, shx_memory_refuse,
     PyDoc_STR("Bytes for messages, each with 16 to 31 more: a power of two.\n"
               "A message has the half of it at most."),
     "size"},
    {"peers", shx_handle_get_peers, shx_memory_refuse,
     PyDoc_STR("How many other living processes have it open."), "peers"},
    {NULL, NULL, NULL, NULL, NULL},
};

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
    "It lies in a segment of that name. Nobody's death stops the others: a\n"
    "message whose put() returned is delivered, get() gives none out twice,\n"
    "and what a reader that is killed has received in place is delivered\n"
    "again.\n\n"
    "size: bytes of messages that it holds, rounded up to a power of two;\n"
    "    a message has the half of it at most\n"
    "Other arguments are SharedMemory's.\n\n"
    "ValueError: there is a segment of that name that is no channel. Errors\n"
    "are SharedMemory's, too.");

static PyType_Slot channel_slots[] = {
    {Py_tp_doc, (void *)channel_doc},
    {Py_tp_new, channel_new},
    {Py_tp_init, shx_handle_init},
    {Py_tp_traverse, shx_handle_traverse},
    {Py_tp_clear, shx_handle_clear},
    {Py_tp_dealloc, shx_handle_dealloc},
    {Py_tp_repr, shx_handle_repr},
    {Py_tp_iter, channel_iter},
    {Py_tp_iternext, shx_channel_next},
    {Py_am_aiter, channel_iter},
    {Py_am_anext, shx_channel_next_async},
    {Py_tp_methods, channel_methods},
    {Py_tp_getset, channel_getset},
    {Py_tp_members, shx_handle_members},
    {0, NULL},
};

static PyType_Spec channel_spec = {
    .name = "shmemext.channels.Channel",
    .basicsize = sizeof(shx_handle),
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
                   shx_add_methods(type, shx_handle_methods) < 0 ||
                   shx_add_methods(type, shx_channel_state_methods) < 0 ||
                   shx_add_methods(type, shx_channel_put_methods) < 0 ||
                   shx_add_methods(type, shx_channel_take_methods) < 0
               ? -1
               : 0;
}

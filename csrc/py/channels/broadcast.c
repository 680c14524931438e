/* SPDX-License-Identifier: MIT */
#include "py/channels/broadcast.h"

#include "py/memory/memory.h"

static shx_err
open_cast(shx_link *link)
{
    const shx_segment *control = &link->mapping->segment;
    const shx_segment *data = &link->data->segment;
    return shx_broadcast_open(control->address, control->size, data->address,
                              data->size, link->party, &link->cast.broadcast);
}

static void
resign(shx_link *link, const shx_member *me)
{
    (void)shx_broadcast_resign(&link->cast.broadcast, me);
}

static void
close_cast(shx_link *link)
{
    shx_member me;
    if (shx_party_me(link->party, &me) == 0) {
        resign(link, &me);
    }
    shx_broadcast_close(&link->cast.broadcast);
}

/* Who writes a frame meanwhile resigns after it. */
static void
leave(shx_link *link)
{
    shx_member me;
    atomic_store(&link->left, true);
    if (shx_party_me(link->party, &me) == 0) {
        resign(link, &me);
    }
}

static void
give(shx_link *link, const shx_member *me, const shx_item *item,
     bool Py_UNUSED(seen))
{
    shx_broadcast_give(&link->cast.broadcast, me, &item->frame);
}

static void
finish(shx_link *link, const shx_member *me, shx_item *item, bool keep)
{
    shx_broadcast *cast = &link->cast.broadcast;
    if (keep) {
        (void)shx_broadcast_publish(cast, me, &item->frame);
    }
    else {
        shx_broadcast_abandon(cast, me, &item->frame);
    }
    if (atomic_load(&link->left)) {
        resign(link, me);
    }
}

static const shx_link_kind broadcast_kind = {
    .type = "Broadcast",
    .noun = "broadcast",
    .item = "frame",
    .held = "Frame",
    .module = "shmemext._broadcasts",
    .memories = 2,
    .open = open_cast,
    .close = close_cast,
    .leave = leave,
    .give = give,
    .finish = finish,
};

static PyObject *
broadcast_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
              PyObject *Py_UNUSED(kwargs))
{
    return shx_handle_new(type, &broadcast_kind);
}

static PyObject *
broadcast_rebuild(PyObject *type, PyObject *memories)
{
    return shx_handle_rebuild(type, memories, &broadcast_kind);
}

static PyMethodDef broadcast_methods[] = {
    {"_rebuild", broadcast_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

/* What numbers there are to ask for. */
typedef enum { SIZE, READERS, DEPTH, SEQ, MISSED } number;

static PyObject *
get_number(PyObject *op, number which)
{
    shx_link *link = shx_handle_link(op);
    if (link == NULL) {
        return NULL;
    }
    const shx_broadcast *cast = &link->cast.broadcast;
    const uint64_t numbers[] = {
        [SIZE] = cast->shape.size,
        [READERS] = cast->shape.readers,
        [DEPTH] = cast->shape.depth,
        [SEQ] = atomic_load(&cast->front->newest),
        [MISSED] = atomic_load(&link->cast.reader.missed),
    };
    PyObject *result = NULL;
    if (shx_link_check(link, 0) != 0) {
        (void)shx_link_raise(link, EFAULT);
    }
    else {
        result = PyLong_FromUnsignedLongLong(numbers[which]);
    }
    Py_DECREF((PyObject *)link);
    return result;
}

static PyObject *
get_size(PyObject *op, void *Py_UNUSED(closure))
{
    return get_number(op, SIZE);
}

static PyObject *
get_readers(PyObject *op, void *Py_UNUSED(closure))
{
    return get_number(op, READERS);
}

static PyObject *
get_depth(PyObject *op, void *Py_UNUSED(closure))
{
    return get_number(op, DEPTH);
}

static PyObject *
get_seq(PyObject *op, void *Py_UNUSED(closure))
{
    return get_number(op, SEQ);
}

static PyObject *
get_missed(PyObject *op, void *Py_UNUSED(closure))
{
    return get_number(op, MISSED);
}

/* 0: there is none. One that is gone while it is looked at has no pid: another
 * look says who is there then, or that nobody stays for as long as that. */
static uint32_t
writer_of(const shx_broadcast *cast)
{
    enum { LOOKS = 8 };
    shx_lock_state state = {.held = true};
    for (int i = 0; i < LOOKS && state.held && state.pid == 0; i++) {
        state = shx_broadcast_writer(cast);
    }
    return state.held && !state.dead ? state.pid : 0;
}

static PyObject *
get_writer(PyObject *op, void *Py_UNUSED(closure))
{
    shx_link *link = shx_handle_link(op);
    if (link == NULL) {
        return NULL;
    }
    uint32_t pid = writer_of(&link->cast.broadcast);
    shx_err err = shx_link_check(link, 0);
    PyObject *result = err != 0   ? shx_link_raise(link, err)
                       : pid != 0 ? PyLong_FromUnsignedLong(pid)
                                  : Py_NewRef(Py_None);
    Py_DECREF((PyObject *)link);
    return result;
}

static PyGetSetDef broadcast_getset[] = {
    {"name", shx_handle_get_name, shx_memory_refuse, PyDoc_STR("Its name."),
     "name"},
    {"size", get_size, shx_memory_refuse,
     PyDoc_STR("Bytes of the longest frame."), "size"},
    {"readers", get_readers, shx_memory_refuse,
     PyDoc_STR("How many frames all readers together may hold at a time."),
     "readers"},
    {"depth", get_depth, shx_memory_refuse,
     PyDoc_STR("How many of the last frames are kept."), "depth"},
    {"seq", get_seq, shx_memory_refuse,
     PyDoc_STR("The number of the newest frame; 0: there is none yet."),
     "seq"},
    {"missed", get_missed, shx_memory_refuse,
     PyDoc_STR("How many frames passed between those that receive() returned\n"
               "here."),
     "missed"},
    {"writer", get_writer, shx_memory_refuse,
     PyDoc_STR("The pid of the process that writes, as that one knows it, if\n"
               "it lives; None: there is no writer. A writer is who has\n"
               "written a frame, and has not closed it since."),
     "writer"},
    {"peers", shx_handle_get_peers, shx_memory_refuse,
     PyDoc_STR("How many other living processes have it open."), "peers"},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    broadcast_doc,
    "Broadcast(name=None, create=False, size=0, *, readers=8, depth=2,\n"
    "          exist_ok=False, timeout=None, mode=None, track=None,\n"
    "          lifetime='family')\n--\n\n"
    "Frames of up to size bytes, which one process writes and any number of\n"
    "others read in place, each of them the newest.\n\n"
    "It lies in a segment of that name, and in a small one that controls it.\n"
    "Who may read the one may write the other, and takes part. Memory is\n"
    "taken as it is written: for depth frames, those that are held, and one\n"
    "more.\n\n"
    "The writer never waits. Nobody's death stops the others: what a dead\n"
    "reader held is written again, and after a dead writer comes no frame\n"
    "until another one goes on, with the next seq. See writer.\n\n"
    "size: bytes of the longest frame\n"
    "readers: how many frames they all may hold at a time, 1 to 1023\n"
    "depth: how many of the last frames are kept, 1 to 255\n"
    "Other arguments are SharedMemory's.\n\n"
    "ValueError: there is a segment of that name that is no broadcast, or\n"
    "with exist_ok one for smaller frames, or fewer of them. Errors are\n"
    "SharedMemory's, too.");

static PyType_Slot broadcast_slots[] = {
    {Py_tp_doc, (void *)broadcast_doc},
    {Py_tp_new, broadcast_new},
    {Py_tp_init, shx_handle_init},
    {Py_tp_traverse, shx_handle_traverse},
    {Py_tp_clear, shx_handle_clear},
    {Py_tp_dealloc, shx_handle_dealloc},
    {Py_tp_repr, shx_handle_repr},
    {Py_tp_methods, broadcast_methods},
    {Py_tp_getset, broadcast_getset},
    {Py_tp_members, shx_handle_members},
    {0, NULL},
};

static PyType_Spec broadcast_spec = {
    .name = "shmemext.channels.Broadcast",
    .basicsize = sizeof(shx_handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = broadcast_slots,
};

static PyObject *
describe(const shx_broadcast_shape *shape, uint64_t pair)
{
    shx_broadcast_about abouts[2] = {0};
    size_t control, data;
    if (!shx_broadcast_sizes(shape, &control, &data)) {
        return PyErr_Format(PyExc_ValueError,
                            "frames of %llu bytes: no memory is as large",
                            (unsigned long long)shape->size);
    }
    shx_broadcast_make(&abouts[0], &abouts[1], shape, pair);
    return Py_BuildValue("y#nn", (const char *)abouts,
                         (Py_ssize_t)sizeof abouts[0], (Py_ssize_t)control,
                         (Py_ssize_t)data);
}

/* broadcast_layout(size, readers, depth, pair): what both memories begin with,
 * and how many bytes they are. */
static PyObject *
broadcast_layout(PyObject *Py_UNUSED(module), PyObject *args)
{
    const Py_ssize_t most_readers = (1 << SHX_READERS_BITS) - 1;
    const Py_ssize_t most_depth = (1 << SHX_DEPTH_BITS) - 1;
    Py_ssize_t size, readers, depth;
    unsigned long long pair;
    if (!PyArg_ParseTuple(args, "nnnK:_broadcast_layout", &size, &readers,
                          &depth, &pair)) {
        return NULL;
    }
    if (size <= 0) {
        return PyErr_Format(PyExc_ValueError,
                            "'size' must be a positive number of bytes");
    }
    if (readers < 1 || readers > most_readers) {
        return PyErr_Format(PyExc_ValueError, "'readers' must be 1 to %zd",
                            most_readers);
    }
    if (depth < 1 || depth > most_depth) {
        return PyErr_Format(PyExc_ValueError, "'depth' must be 1 to %zd",
                            most_depth);
    }
    /* What is held is held by forked children, too, once each at most. */
    const shx_broadcast_shape shape = {.size = (uint64_t)size,
                                       .readers = (unsigned)readers,
                                       .heirs = (unsigned)readers,
                                       .depth = (unsigned)depth};
    return describe(&shape, pair);
}

static PyMethodDef layout_methods[] = {
    {"_broadcast_layout", broadcast_layout, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int
shx_broadcast_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    PyTypeObject *type =
        shx_add_type(module, &broadcast_spec, NULL, "Broadcast");
    state->broadcast_type = type;
    return type == NULL || PyModule_AddFunctions(module, layout_methods) < 0 ||
                   shx_add_methods(type, shx_handle_methods) < 0 ||
                   shx_add_methods(type, shx_broadcast_frame_methods) < 0
               ? -1
               : 0;
}

/* SPDX-License-Identifier: MIT */
#include "py/channels/queue.h"

#include "core/channels/queue.h"
#include "py/channels/channel.h"
#include "py/channels/hand.h"
#include "py/memory/memory.h"

static shx_err
open_queue(shx_link *link)
{
    const shx_segment *segment = &link->mapping->segment;
    return shx_queue_open(segment->address, segment->size, link->party,
                          &link->ring);
}

static const shx_link_kind queue_kind = {
    .type = "Queue",
    .noun = "queue",
    .item = "message",
    .held = "Message",
    .module = "shmemext._queues",
    .memories = 1,
    .open = open_queue,
    .leave = shx_hand_leave_all,
};

static PyObject *
queue_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
          PyObject *Py_UNUSED(kwargs))
{
    return shx_handle_new(type, &queue_kind);
}

static PyObject *
queue_rebuild(PyObject *type, PyObject *memories)
{
    return shx_handle_rebuild(type, memories, &queue_kind);
}

static PyObject *
raise_for_put(shx_link *link, shx_err err)
{
    if (err == ENOSPC) {
        return shx_raise_unsupported(
            ENOSPC,
            "there is no room in /dev/shm for what is put: make it larger, or "
            "remove what nobody uses there, see `python -m shmemext gc`",
            link->name);
    }
    return shx_link_raise_or(link, err, "Full");
}

static shx_err
put(shx_link *link, shx_member *me, const shx_mail *mail, int64_t timeout)
{
    shx_err err = EBUSY;
    if (mail->length <= SHX_LONG) {
        err = shx_queue_put(&link->ring, me, mail, NULL);
    }
    if (err == EBUSY || (err == EAGAIN && shx_link_blocks(timeout))) {
        shx_link_wait wait;
        shx_link_begin(&wait, link, me, timeout);
        err = shx_queue_put(&link->ring, me, mail, &wait.wait);
        err = shx_link_end(&wait, err);
    }
    return shx_link_check(link, err);
}

static PyObject *
refuse_long(shx_link *link, const shx_mail *mail)
{
    return PyErr_Format(
        PyExc_ValueError,
        "a pickle of %zu bytes is longer than the longest of Queue(%R), which "
        "has %llu: create it with a larger 'size'",
        mail->length, link->name,
        (unsigned long long)shx_queue_longest(&link->ring));
}

/* None if it is in; False if there is no room at once, and nothing is to be
 * waited for. */
static PyObject *
put_mail(shx_link *link, const shx_mail *mail, int64_t timeout)
{
    shx_member me;
    uint64_t whole = mail->length + mail->count * sizeof(shx_reference);
    if (whole > shx_queue_longest(&link->ring)) {
        return refuse_long(link, mail);
    }
    if (shx_link_me(link, &me) < 0) {
        return NULL;
    }
    shx_err err = put(link, &me, mail, timeout);
    return err == 0                        ? Py_NewRef(Py_None)
           : err == EAGAIN && timeout == 0 ? Py_NewRef(Py_False)
                                           : raise_for_put(link, err);
}

/* Numbers of references, six each. They are numbers of our own. */
static shx_reference *
read_references(PyObject *list, uint32_t *count)
{
    Py_ssize_t size = PyList_GET_SIZE(list);
    shx_reference *read = PyMem_Calloc((size_t)size + 1, sizeof *read);
    if (read == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < size * SHX_REFERENCE_WORDS; i++) {
        PyObject *one = PyList_GET_ITEM(list, i / SHX_REFERENCE_WORDS);
        bool fits =
            PyTuple_Check(one) && PyTuple_GET_SIZE(one) == SHX_REFERENCE_WORDS;
        PyObject *number =
            fits ? PyTuple_GET_ITEM(one, i % SHX_REFERENCE_WORDS) : Py_None;
        unsigned long long word = PyLong_AsUnsignedLongLong(number);
        if (word == (unsigned long long)-1 && PyErr_Occurred()) {
            PyMem_Free(read);
            return NULL;
        }
        read[i / SHX_REFERENCE_WORDS].words[i % SHX_REFERENCE_WORDS] = word;
    }
    *count = (uint32_t)size;
    return read;
}

/* Put a pickle, and what it refers to, a list that is empty then: see
 * Queue.put(). False if there is no room, and nothing is waited for. */
PyDoc_STRVAR(queue_put_doc,
             "_put($self, data, references=None, timeout=0, /)\n--\n\n");

static PyObject *
queue_put(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer view;
    int64_t timeout = 0;
    shx_mail mail = {.count = 0};
    shx_reference *references = NULL;
    PyObject *result = NULL;
    PyObject *list = count > 1 && args[1] != Py_None ? args[1] : NULL;
    if (count < 1 || count > 3 || (list != NULL && !PyList_CheckExact(list))) {
        PyErr_SetString(PyExc_TypeError, "_put(data, list, timeout)");
        return NULL;
    }
    if ((count > 2 && shx_parse_timeout(args[2], &timeout) < 0) ||
        PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    if (list != NULL) {
        references = read_references(list, &mail.count);
        mail.references = references;
    }
    shx_link *link =
        list != NULL && references == NULL ? NULL : shx_handle_link(op);
    if (link != NULL) {
        mail.data = view.buf;
        mail.length = (size_t)view.len;
        result = put_mail(link, &mail, timeout);
    }
    if (result == Py_None && list != NULL &&
        PyList_SetSlice(list, 0, PyList_GET_SIZE(list), NULL) < 0) {
        Py_CLEAR(result);
    }
    Py_XDECREF((PyObject *)link);
    PyMem_Free(references);
    PyBuffer_Release(&view);
    return result;
}

static shx_err
take(shx_link *link, shx_member *me, int64_t timeout, shx_ring_record *record)
{
    shx_err err = shx_queue_take(&link->ring, me, record, NULL);
    if (err == EBUSY || (err == EAGAIN && shx_link_blocks(timeout))) {
        shx_link_wait wait;
        shx_link_begin(&wait, link, me, timeout);
        err = shx_queue_take(&link->ring, me, record, &wait.wait);
        err = shx_link_end(&wait, err);
    }
    return shx_link_check(link, err);
}

static PyObject *
reference_of(const shx_reference *from)
{
    const uint64_t *words = from->words;
    return Py_BuildValue("KKKKKK", words[0], words[1], words[2], words[3],
                         words[4], words[5]);
}

/* NULL without an exception: there are none. */
static PyObject *
references_of(const shx_opened *opened)
{
    PyObject *made =
        opened->count == 0 ? NULL : PyTuple_New((Py_ssize_t)opened->count);
    for (uint32_t i = 0; made != NULL && i < opened->count; i++) {
        PyObject *one = reference_of(&opened->references[i]);
        if (one == NULL) {
            Py_CLEAR(made);
        }
        else {
            PyTuple_SET_ITEM(made, (Py_ssize_t)i, one);
        }
    }
    return made;
}

static PyObject *
copy(const shx_opened *opened)
{
    PyObject *made =
        PyBytes_FromStringAndSize(NULL, (Py_ssize_t)opened->length);
    if (made != NULL) {
        shx_link_copy(PyBytes_AS_STRING(made), opened->data, opened->length);
    }
    return made;
}

/* Of what was taken: the pickle, with a tuple of references if it has any. On
 * error it goes back. *over: it was done with by one who died, and is free. */
static PyObject *
open_mail(shx_link *link, shx_hand *hand, const shx_member *me,
          const shx_ring_record *record, bool *over)
{
    shx_opened opened;
    shx_err err = shx_queue_read(&link->ring, record, &opened);
    PyObject *result = NULL;
    PyObject *references = err == 0 ? references_of(&opened) : NULL;
    *over = err == 0 && atomic_load(&opened.letter->done) != 0;
    if (*over && !PyErr_Occurred()) {
        shx_hand_finish(link, me, record, references, true);
        Py_XDECREF(references);
        return NULL;
    }
    PyObject *data = err == 0 && !PyErr_Occurred() ? copy(&opened) : NULL;
    if (data != NULL) {
        err = shx_link_check(link, 0);
        result = err != 0             ? NULL
                 : references == NULL ? Py_NewRef(data)
                                      : PyTuple_Pack(2, data, references);
    }
    Py_XDECREF(data);
    if (result != NULL) {
        shx_hand_hold(hand, link, record, references);
        return result;
    }
    *over = false;
    Py_XDECREF(references);
    if (err == SHX_DAMAGED) { /* the next one is not to find it, too */
        shx_queue_give(&link->ring, me, record, true);
    }
    else {
        shx_ring_return(&link->ring, me, record);
    }
    return PyErr_Occurred() ? NULL : shx_link_raise(link, err);
}

static PyObject *
get(shx_state *state, shx_link *link, int64_t timeout)
{
    shx_member me;
    shx_ring_record record;
    bool over = true;
    PyObject *result = NULL;
    shx_hand *hand = shx_hand_of(state, link);
    if (hand == NULL) {
        return NULL;
    }
    (void)shx_hand_empty(hand, link, false);
    while (over && shx_link_me(link, &me) == 0) {
        shx_err err = take(link, &me, timeout, &record);
        over = false;
        if (err != 0) {
            (void)shx_link_raise_or(link, err, "Empty");
        }
        else {
            result = open_mail(link, hand, &me, &record, &over);
        }
    }
    Py_DECREF((PyObject *)hand);
    return result;
}

/* The next pickle, or that and a tuple of references: see Queue.get(). */
PyDoc_STRVAR(queue_get_doc,
             "_get($self, /, block=True, timeout=None)\n--\n\n");

static PyObject *
queue_get(PyObject *op, PyObject *const *args, Py_ssize_t count,
          PyObject *names)
{
    int64_t timeout;
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL ||
        shx_parse_waiting("get", args, count, names, &timeout) < 0) {
        return NULL;
    }
    shx_link *link = shx_handle_link(op);
    PyObject *result = link == NULL ? NULL : get(state, link, timeout);
    Py_XDECREF((PyObject *)link);
    return result;
}

static PyMethodDef queue_methods[] = {
    {"_put", (PyCFunction)(void (*)(void))queue_put, METH_FASTCALL,
     queue_put_doc},
    {"_get", (PyCFunction)(void (*)(void))queue_get,
     METH_FASTCALL | METH_KEYWORDS, queue_get_doc},
    {"_rebuild", queue_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
get_number(PyObject *op, void *most)
{
    shx_link *link = shx_handle_link(op);
    PyObject *number =
        link == NULL
            ? NULL
            : PyLong_FromUnsignedLongLong(most != NULL ? link->ring.most
                                                       : link->ring.capacity);
    Py_XDECREF((PyObject *)link);
    return number;
}

static PyObject *
get_refers(PyObject *op, void *Py_UNUSED(closure))
{
    shx_link *link = shx_handle_link(op);
    PyObject *result =
        link == NULL ? NULL : PyBool_FromLong(shx_queue_refers(&link->ring));
    Py_XDECREF((PyObject *)link);
    return result;
}

static PyGetSetDef queue_getset[] = {
    {"_refers", get_refers, NULL, NULL, NULL},
    {"name", shx_handle_get_name, shx_memory_refuse, PyDoc_STR("Its name."),
     "name"},
    {"size", get_number, shx_memory_refuse,
     PyDoc_STR("Bytes of messages at most, with what is added to each: a\n"
               "power of two. Memory is taken for what is in it."),
     NULL},
    {"maxsize", get_number, shx_memory_refuse,
     PyDoc_STR("How many messages may wait. 0: any number."), "maxsize"},
    {"peers", shx_handle_get_peers, shx_memory_refuse,
     PyDoc_STR("How many other living processes have it open."), "peers"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_new, queue_new},
    {Py_tp_init, shx_handle_init},
    {Py_tp_traverse, shx_handle_traverse},
    {Py_tp_clear, shx_handle_clear},
    {Py_tp_dealloc, shx_handle_dealloc},
    {Py_tp_repr, shx_handle_repr},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_members, shx_handle_members},
    {0, NULL},
};

static PyType_Spec queue_spec = {
    .name = "shmemext._shmemext._Queue",
    .basicsize = sizeof(shx_handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = queue_slots,
};

/* queue_layout(size, maxsize, refers): what its memory begins with, and its
 * bytes. */
static PyObject *
queue_layout(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned long long size;
    unsigned int most;
    int refers;
    unsigned char content[SHX_QUEUE_CONTENT];
    if (!PyArg_ParseTuple(args, "KIp:_queue_layout", &size, &most, &refers)) {
        return NULL;
    }
    size_t whole = shx_queue_size(size);
    if (whole == 0) {
        return PyErr_Format(PyExc_ValueError,
                            "a queue of %llu bytes: no memory is as large",
                            size);
    }
    shx_queue_content(size, most, refers != 0, content);
    return Py_BuildValue("y#n", content, (Py_ssize_t)sizeof content,
                         (Py_ssize_t)whole);
}

static PyMethodDef layout_methods[] = {
    {"_queue_layout", queue_layout, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int
shx_queue_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    PyTypeObject *type = shx_add_type(module, &queue_spec, NULL, "_Queue");
    state->queue_type = type;
    return type == NULL || PyModule_AddFunctions(module, layout_methods) < 0 ||
                   shx_add_methods(type, shx_handle_methods) < 0 ||
                   shx_add_methods(type, shx_channel_state_methods) < 0 ||
                   shx_add_methods(type, shx_queue_task_methods) < 0
               ? -1
               : 0;
}

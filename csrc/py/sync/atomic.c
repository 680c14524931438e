/* SPDX-License-Identifier: MIT */
#include "py/sync/atomic.h"

#include <errno.h>
#include <limits.h> /* UINT_MAX */

#include "core/sync/atomic.h"
#include "py/memory/memory.h"
#include "py/sync/number.h"
#include "py/sync/waiting.h"

/* It has no cell, and so no party: its bytes are those of the number. */
typedef struct {
    shx_synchronizer base;
    shx_atomic at;
    const shx_number_type *type;
} atomic_number;

#define ATOMIC(op) ((atomic_number *)(op))
#define AT(op) (&ATOMIC(op)->at)

static const shx_synchronizer_kind no_kind = {.size = NULL};

/* Its own bytes in a memory that is mapped. -1 with an exception. */
static int
place(PyObject *op)
{
    const shx_synchronizer *self = SYNCHRONIZER(op);
    size_t size = AT(op)->wide ? 8 : 4;
    Py_ssize_t have = shx_mapping_size((PyObject *)self->mapping);
    if (self->offset < 0 || self->offset > have ||
        (size_t)(have - self->offset) < size ||
        (size_t)self->offset % size != 0) {
        PyObject *label = shx_synchronizer_label(op);
        if (label != NULL) {
            PyErr_Format(PyExc_ValueError,
                         "%U takes %zu bytes, from an offset that is a "
                         "multiple of that, and the memory has %zd",
                         label, size, have);
            Py_DECREF(label);
        }
        return -1;
    }
    AT(op)->place = shx_mapping_byte((PyObject *)self->mapping, self->offset);
    return 0;
}

/* Steals the mapping, also where it is NULL and there is an exception. */
static PyObject *
make(PyTypeObject *type, PyObject *memory, shx_mapping *mapping,
     Py_ssize_t offset, PyObject *letter)
{
    const shx_number_type *number =
        mapping == NULL ? NULL : shx_number_find(letter);
    PyObject *op = number == NULL ? NULL : type->tp_alloc(type, 0);
    if (op == NULL) {
        Py_XDECREF((PyObject *)mapping);
        return NULL;
    }
    SYNCHRONIZER(op)->kind = &no_kind;
    SYNCHRONIZER(op)->mapping = mapping;
    SYNCHRONIZER(op)->memory = Py_NewRef(memory);
    SYNCHRONIZER(op)->offset = offset;
    ATOMIC(op)->type = number;
    AT(op)->wide = number->wide;
    if (place(op) < 0) {
        Py_CLEAR(op);
    }
    return op;
}

/* In the process's own memory. */
static PyObject *
make_own(PyTypeObject *type, const shx_state *state, PyObject *letter)
{
    shx_own_place place;
    if (shx_synchronizer_take(state, SHX_CELL_ALIGNMENT, &place) < 0) {
        return NULL;
    }
    PyObject *op =
        make(type, place.memory, place.mapping, place.offset, letter);
    Py_DECREF(place.memory);
    return op;
}

static PyObject *
atomic_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"where", "offset", "type", NULL};
    PyObject *where = Py_None, *letter = NULL, *op = NULL;
    Py_ssize_t offset = 0;
    shx_state *state = shx_state_of(type);
    if (state == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "|OnO:Atomic", keywords,
                                     &where, &offset, &letter)) {
        return NULL;
    }
    letter = letter == NULL ? PyUnicode_FromString("q") : Py_NewRef(letter);
    if (letter == NULL) {
        return NULL;
    }
    if (PyObject_TypeCheck(where, state->memory_type)) {
        op = make(type, where, shx_memory_mapping(where), offset, letter);
    }
    else if (where != Py_None) {
        PyErr_Format(PyExc_TypeError,
                     "'where' is a SharedMemory, MappedFile or "
                     "AnonymousMemory, or None, not %.100s",
                     Py_TYPE(where)->tp_name);
    }
    else if (offset != 0) {
        PyErr_SetString(PyExc_ValueError,
                        "an 'offset' is of a memory: pass that as 'where'");
    }
    else {
        op = make_own(type, state, letter);
    }
    Py_DECREF(letter);
    return op;
}

/* What lies in memory that was cut short nobody else sees any more. */
static PyObject *
answer(PyObject *op, uint64_t bits)
{
    return shx_synchronizer_is_torn(op)
               ? shx_synchronizer_raise(op, EFAULT)
               : shx_number_object(ATOMIC(op)->type, bits);
}

static int
check_writable(PyObject *op)
{
    if (SYNCHRONIZER(op)->mapping->segment.writable) {
        return 0;
    }
    PyErr_SetString(PyExc_TypeError,
                    "cannot modify it: the memory is readonly. load() and "
                    "wait() work");
    return -1;
}

/* Methods */

PyDoc_STRVAR(atomic_load_doc, "load($self, /)\n--\n\n"
                              "Return the number.");

static PyObject *
atomic_load_number(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return answer(op, shx_atomic_load(AT(op)));
}

PyDoc_STRVAR(
    atomic_store_doc,
    "store($self, value, /)\n--\n\n"
    "Put a number there.\n\n"
    "value: the new one\n\n"
    "OverflowError: out of the type's range. TypeError: the memory is\n"
    "readonly.");

static PyObject *
atomic_store_number(PyObject *op, PyObject *value)
{
    uint64_t bits;
    if (shx_number_bits(ATOMIC(op)->type, value, false, &bits) < 0 ||
        check_writable(op) < 0) {
        return NULL;
    }
    shx_atomic_store(AT(op), bits);
    if (shx_synchronizer_is_torn(op)) {
        return shx_synchronizer_raise(op, EFAULT);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    atomic_add_doc,
    "add($self, value, /)\n--\n\n"
    "Add to the number; return the one before, as fetch_add of C11 and "
    "Rust.\n\n"
    "value: what to add; it wraps around, modulo 2**64 or 2**32: -1 takes\n"
    "    one off, of types without a sign, too\n\n"
    "Errors are store()'s.");

static PyObject *
atomic_add(PyObject *op, PyObject *value)
{
    uint64_t bits;
    if (shx_number_bits(ATOMIC(op)->type, value, true, &bits) < 0 ||
        check_writable(op) < 0) {
        return NULL;
    }
    return answer(op, shx_atomic_add(AT(op), bits));
}

PyDoc_STRVAR(atomic_exchange_doc,
             "exchange($self, value, /)\n--\n\n"
             "Put a number there; return the one before.\n\n"
             "Arguments and errors are store()'s.");

static PyObject *
atomic_exchange_number(PyObject *op, PyObject *value)
{
    uint64_t bits;
    if (shx_number_bits(ATOMIC(op)->type, value, false, &bits) < 0 ||
        check_writable(op) < 0) {
        return NULL;
    }
    return answer(op, shx_atomic_exchange(AT(op), bits));
}

PyDoc_STRVAR(atomic_compare_exchange_doc,
             "compare_exchange($self, expected, new, /)\n--\n\n"
             "Put a new number there if the expected one is; return the one "
             "before: if\n"
             "it is the expected one, it was done.\n\n"
             "expected: what is to be there\n"
             "new: what to put there\n\n"
             "Errors are store()'s.");

static PyObject *
atomic_compare_exchange(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
    uint64_t expected, bits;
    if (count != 2) {
        return PyErr_Format(PyExc_TypeError,
                            "compare_exchange expected 2 arguments, got %zd",
                            count);
    }
    if (shx_number_bits(ATOMIC(op)->type, args[0], false, &expected) < 0 ||
        shx_number_bits(ATOMIC(op)->type, args[1], false, &bits) < 0 ||
        check_writable(op) < 0) {
        return NULL;
    }
    return answer(op, shx_atomic_compare_exchange(AT(op), expected, bits));
}

PyDoc_STRVAR(
    atomic_wait_doc,
    "wait($self, /, value, timeout=None)\n--\n\n"
    "Wait while this number is there; return whether it was another in "
    "time.\n\n"
    "Who puts another there calls notify() afterwards. Also of readonly\n"
    "memory.\n\n"
    "value: the number\n"
    "timeout: seconds, 0 if it is negative; None: for ever\n\n"
    "OverflowError: out of the type's range.");

static PyObject *
atomic_wait(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"value", "timeout", NULL};
    PyObject *value, *seconds = Py_None;
    uint64_t bits;
    int64_t timeout;
    shx_waiting waiting;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:wait", keywords,
                                     &value, &seconds)) {
        return NULL;
    }
    Py_INCREF(seconds); /* of a dict that code may find and change */
    int status = shx_number_bits(ATOMIC(op)->type, value, false, &bits);
    status = status < 0 ? status : shx_parse_timeout(seconds, &timeout);
    Py_DECREF(seconds);
    if (status < 0) {
        return NULL;
    }
    if (!ATOMIC(op)->type->wide) {
        bits = (uint32_t)bits;
    }
    shx_waiting_begin_whole(&waiting, op, timeout);
    shx_err err = shx_atomic_wait(AT(op), bits, &waiting.patience);
    err = shx_waiting_end(&waiting, err);
    return shx_synchronizer_answer(
        op, err == 0 && shx_synchronizer_is_torn(op) ? EFAULT : err);
}

static PyObject *
notify(PyObject *op, unsigned count)
{
    if (check_writable(op) < 0) {
        return NULL;
    }
    return PyLong_FromUnsignedLong(shx_atomic_notify(AT(op), count));
}

PyDoc_STRVAR(atomic_notify_doc,
             "notify($self, /, n=1)\n--\n\n"
             "Wake some who wait; return how many it were.\n\n"
             "n: how many at most\n\n"
             "ValueError: n is below 0.");

static PyObject *
atomic_notify(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"n", NULL};
    int count = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|i:notify", keywords,
                                     &count)) {
        return NULL;
    }
    if (count < 0) {
        PyErr_SetString(PyExc_ValueError, "n must not be negative");
        return NULL;
    }
    return notify(op, (unsigned)count);
}

PyDoc_STRVAR(atomic_notify_all_doc,
             "notify_all($self, /)\n--\n\n"
             "Wake all who wait; return how many it were.");

static PyObject *
atomic_notify_all(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return notify(op, UINT_MAX);
}

PyDoc_STRVAR(atomic_size_of_doc,
             "size_of(type='q')\n--\n\n"
             "Return how many bytes one of that type takes in a memory.\n\n"
             "Arguments are Atomic's.\n\n"
             "ValueError: there is no such type.");

static PyObject *
atomic_size_of(PyObject *Py_UNUSED(self), PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"type", NULL};
    PyObject *letter = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:size_of", keywords,
                                     &letter)) {
        return NULL;
    }
    const shx_number_type *type =
        letter == NULL ? &shx_number_types[0] : shx_number_find(letter);
    return type == NULL ? NULL : PyLong_FromLong(type->wide ? 8 : 4);
}

PyDoc_STRVAR(atomic_reduce_doc,
             "__reduce__($self, /)\n--\n\n"
             "Pickle by reference: to the memory and the offset in it.");

static PyObject *
atomic_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *rebuild =
        PyObject_GetAttrString((PyObject *)Py_TYPE(op), "_rebuild");
    return rebuild == NULL
               ? NULL
               : Py_BuildValue("N(OnC)", rebuild, SYNCHRONIZER(op)->memory,
                               SYNCHRONIZER(op)->offset,
                               ATOMIC(op)->type->letter);
}

static PyObject *
atomic_rebuild(PyObject *type, PyObject *args)
{
    PyObject *memory, *letter;
    Py_ssize_t offset;
    shx_state *state = shx_state_of((PyTypeObject *)type);
    if (state == NULL || !PyArg_ParseTuple(args, "O!nO", state->memory_type,
                                           &memory, &offset, &letter)) {
        return NULL;
    }
    return make((PyTypeObject *)type, memory, shx_memory_mapping(memory),
                offset, letter);
}

static PyMethodDef atomic_methods[] = {
    {"load", atomic_load_number, METH_NOARGS, atomic_load_doc},
    {"store", atomic_store_number, METH_O, atomic_store_doc},
    {"add", atomic_add, METH_O, atomic_add_doc},
    {"exchange", atomic_exchange_number, METH_O, atomic_exchange_doc},
    {"compare_exchange", (PyCFunction)(void (*)(void))atomic_compare_exchange,
     METH_FASTCALL, atomic_compare_exchange_doc},
    {"wait", (PyCFunction)(void (*)(void))atomic_wait,
     METH_VARARGS | METH_KEYWORDS, atomic_wait_doc},
    {"notify", (PyCFunction)(void (*)(void))atomic_notify,
     METH_VARARGS | METH_KEYWORDS, atomic_notify_doc},
    {"notify_all", atomic_notify_all, METH_NOARGS, atomic_notify_all_doc},
    {"size_of", (PyCFunction)(void (*)(void))atomic_size_of,
     METH_VARARGS | METH_KEYWORDS | METH_STATIC, atomic_size_of_doc},
    {"__reduce__", atomic_reduce, METH_NOARGS, atomic_reduce_doc},
    {"_rebuild", atomic_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
atomic_repr(PyObject *op)
{
    PyObject *value =
        shx_number_object(ATOMIC(op)->type, shx_atomic_load(AT(op)));
    PyObject *state =
        value == NULL
            ? NULL
            : PyUnicode_FromFormat("%c %S", ATOMIC(op)->type->letter, value);
    Py_XDECREF(value);
    return shx_synchronizer_repr(op, state);
}

PyDoc_STRVAR(
    atomic_doc,
    "Atomic(where=None, offset=0, type='q')\n--\n\n"
    "A number in shared memory that many may change at once: every method\n"
    "is one step, and all see these steps in one order (C11's seq_cst).\n\n"
    "where: a Memory: any bytes will do, an item of an array, too; None: 0 "
    "at\n"
    "    first, for threads, and for children, which it is passed to\n"
    "offset: bytes, a multiple of the number's size\n"
    "type: as in the struct module and numpy: q and Q of 8 bytes, with a "
    "sign\n"
    "    and without, i and I of 4\n\n"
    "ValueError: the offset is no such multiple, or beyond the memory; or\n"
    "there is no such type. TypeError: a method would write to readonly\n"
    "memory. OSError: the memory was cut short.");

static PyType_Slot atomic_slots[] = {
    {Py_tp_doc, (void *)atomic_doc},
    {Py_tp_new, atomic_new},
    {Py_tp_traverse, shx_synchronizer_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, shx_synchronizer_dealloc},
    {Py_tp_repr, atomic_repr},
    {Py_tp_methods, atomic_methods},
    {0, NULL},
};

static PyType_Spec atomic_spec = {
    .name = "shmemext.synchronize.Atomic",
    .basicsize = sizeof(atomic_number),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = atomic_slots,
};

int
shx_atomic_add_type(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->atomic_type =
        shx_synchronizer_add_type(module, &atomic_spec, "Atomic");
    return state->atomic_type == NULL ? -1 : 0;
}

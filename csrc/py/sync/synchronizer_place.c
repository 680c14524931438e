/* SPDX-License-Identifier: MIT */
/* Where a synchronizer is to be: the bytes, and who this process is there. */
#include <errno.h>

#include "py/memory/memory.h"
#include "py/sync/synchronizer.h"

/* The memory of one whose `where` is a name: new reference. */
static PyObject *
open_named(const shx_synchronizer_kind *kind, const shx_address *address,
           uint32_t parameter)
{
    size_t size = kind->size(parameter);
    PyObject *named = PyImport_ImportModule("shmemext._named");
    PyObject *memory =
        named == NULL
            ? NULL
            : PyObject_CallMethod(
                  named, "open", "OKnO", address->where,
                  (unsigned long long)shx_cell_head_of(kind->kind, parameter),
                  (Py_ssize_t)size,
                  address->mode == NULL ? Py_None : address->mode);
    Py_XDECREF(named);
    return memory;
}

static PyObject *
raise_short(PyObject *op, size_t size, Py_ssize_t have)
{
    PyObject *label = shx_synchronizer_label(op);
    if (label != NULL) {
        PyErr_Format(PyExc_ValueError,
                     "%U takes %zu bytes, from an offset that is a multiple "
                     "of %d, and the memory has %zd",
                     label, size, SHX_CELL_ALIGNMENT, have);
        Py_DECREF(label);
    }
    return NULL;
}

/* Are there so many bytes that it may write to? */
static int
check_bytes(PyObject *op, size_t size)
{
    const shx_synchronizer *self = SYNCHRONIZER(op);
    Py_ssize_t have = shx_mapping_size((PyObject *)self->mapping);
    if (!self->mapping->segment.writable) {
        const char *name = shx_cell_name((unsigned)self->kind->kind);
        PyErr_Format(PyExc_TypeError,
                     "%s %s needs memory that it can write to: this is "
                     "readonly",
                     shx_article(name), name);
        return -1;
    }
    if (self->offset < 0 || self->offset % SHX_CELL_ALIGNMENT != 0 ||
        self->offset > have || (size_t)(have - self->offset) < size) {
        raise_short(op, size, have);
        return -1;
    }
    return 0;
}

/* "Lock(on_death='raise')"; or, `apart` from another kind, "a Lock". */
static PyObject *
describe(const shx_synchronizer_kind *kind, const shx_cell_head *head,
         bool apart)
{
    const char *name = shx_cell_name(head->kind);
    if (head->version != SHX_CELL_VERSION || name == NULL) {
        return PyUnicode_FromFormat("a synchronizer of another version, %u",
                                    head->version);
    }
    if (apart) {
        return PyUnicode_FromFormat("%s %s", shx_article(name), name);
    }
    PyObject *parameter = kind->describe(head->parameter);
    PyObject *text = parameter == NULL
                         ? NULL
                         : PyUnicode_FromFormat("%s(%U)", name, parameter);
    Py_XDECREF(parameter);
    return text;
}

static void
raise_foreign(PyObject *op, uint32_t parameter)
{
    const shx_synchronizer *self = SYNCHRONIZER(op);
    const shx_cell_head head = shx_cell_read(self->site.cell);
    const shx_cell_head ours = {self->kind->kind, SHX_CELL_VERSION, parameter};
    PyObject *label = shx_synchronizer_label(op);
    bool apart = head.kind != ours.kind || head.version != ours.version;
    PyObject *there = describe(self->kind, &head, apart);
    PyObject *asked = describe(self->kind, &ours, apart);
    if (label != NULL && there != NULL && asked != NULL) {
        PyErr_Format(PyExc_ValueError,
                     "%U: there is %U already, and not %U: all who use it say "
                     "the same",
                     label, there, asked);
    }
    Py_XDECREF(label);
    Py_XDECREF(there);
    Py_XDECREF(asked);
}

/* A named one was published with its head: what has none is no synchronizer,
 * and nothing is written to it. */
static shx_err
make_cell(PyObject *op, size_t size, uint32_t parameter)
{
    const shx_synchronizer *self = SYNCHRONIZER(op);
    shx_cell *cell = self->site.cell;
    if (self->name != NULL && shx_cell_read(cell).kind == 0) {
        return SHX_IN_USE;
    }
    return shx_cell_make(cell, size, self->kind->kind, parameter);
}

static void
raise_in_use(PyObject *op, size_t size)
{
    PyObject *label = shx_synchronizer_label(op);
    if (label != NULL) {
        PyErr_Format(PyExc_ValueError,
                     "%U: the %zu bytes there are in use, and no "
                     "synchronizer: it takes zeros, which nobody else writes "
                     "to",
                     label, size);
        Py_DECREF(label);
    }
}

/* `fd`: the memory's, if it is known. */
static int
settle(PyObject *op, uint32_t parameter, int fd)
{
    shx_synchronizer *self = SYNCHRONIZER(op);
    size_t size = self->kind->size(parameter);
    if (check_bytes(op, size) < 0) {
        return -1;
    }
    self->site.cell = (shx_cell *)(void *)shx_mapping_byte(
        (PyObject *)self->mapping, self->offset);
    self->site.parameter = parameter;
    shx_err err = shx_memory_join(
        self->memory, &self->mapping->segment.identity, fd, &self->site.party);
    if (err == 0) {
        err = make_cell(op, size, parameter);
    }
    if (err == 0 && shx_synchronizer_is_torn(op)) {
        err = EFAULT;
    }
    if (err == SHX_FOREIGN) {
        raise_foreign(op, parameter);
    }
    else if (err == SHX_IN_USE) {
        raise_in_use(op, size);
    }
    else if (err != 0) {
        shx_synchronizer_raise(op, err);
    }
    return err == 0 ? 0 : -1;
}

/* Steals the mapping, also where it is NULL and there is an exception. */
static PyObject *
new_at(PyTypeObject *type, const shx_synchronizer_kind *kind, PyObject *memory,
       shx_mapping *mapping, Py_ssize_t offset)
{
    PyObject *op = mapping == NULL ? NULL : type->tp_alloc(type, 0);
    if (op == NULL) {
        Py_XDECREF((PyObject *)mapping);
        return NULL;
    }
    shx_synchronizer *self = SYNCHRONIZER(op);
    self->kind = kind;
    self->mapping = mapping;
    self->memory = Py_NewRef(memory);
    self->offset = offset;
    return op;
}

static PyObject *
make_own(PyTypeObject *type, const shx_synchronizer_kind *kind,
         const shx_state *state, uint32_t parameter)
{
    shx_own_place place;
    if (shx_synchronizer_take(state, kind->size(parameter), &place) < 0) {
        return NULL;
    }
    PyObject *op =
        new_at(type, kind, place.memory, place.mapping, place.offset);
    Py_DECREF(place.memory);
    if (op != NULL && settle(op, parameter, place.fd) < 0) {
        Py_CLEAR(op);
    }
    return op;
}

/* `name` is NULL, or what the memory was opened by. */
static PyObject *
make_in(PyTypeObject *type, const shx_synchronizer_kind *kind,
        PyObject *memory, PyObject *name, Py_ssize_t offset,
        uint32_t parameter)
{
    PyObject *op =
        new_at(type, kind, memory, shx_memory_mapping(memory), offset);
    if (op != NULL) {
        SYNCHRONIZER(op)->name = Py_XNewRef(name);
        if (settle(op, parameter, SHX_FD_NONE) < 0) {
            Py_CLEAR(op);
        }
    }
    return op;
}

/* As segments' names: with one or without it is the same. New reference. */
static PyObject *
without_slash(PyObject *name)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(name), first = 0;
    while (first < length && PyUnicode_READ_CHAR(name, first) == '/') {
        first++;
    }
    return PyUnicode_Substring(name, first, length);
}

static PyObject *
make_named(PyTypeObject *type, const shx_synchronizer_kind *kind,
           const shx_address *address, uint32_t parameter)
{
    PyObject *op = NULL, *name = without_slash(address->where);
    PyObject *memory =
        name == NULL ? NULL : open_named(kind, address, parameter);
    if (memory != NULL) {
        op = make_in(type, kind, memory, name, 0, parameter);
    }
    Py_XDECREF(memory);
    Py_XDECREF(name);
    return op;
}

/* The standard library's SharedMemory has our name: its module tells. */
static PyObject *
refuse_place(PyObject *where)
{
    PyObject *type = (PyObject *)Py_TYPE(where);
    PyObject *module = PyObject_GetAttrString(type, "__module__");
    PyObject *name =
        module == NULL ? NULL : PyObject_GetAttrString(type, "__qualname__");
    if (name != NULL) {
        PyErr_Format(PyExc_TypeError,
                     "'where' is shmemext's SharedMemory, MappedFile or "
                     "AnonymousMemory, a name, or None, not %S.%S",
                     module, name);
    }
    Py_XDECREF(module);
    Py_XDECREF(name);
    return NULL;
}

PyObject *
shx_synchronizer_make(PyTypeObject *type, const shx_synchronizer_kind *kind,
                      const shx_address *address, uint32_t parameter)
{
    shx_state *state = shx_state_of(type);
    PyObject *where = address->where;
    if (state == NULL) {
        return NULL;
    }
    bool is_name = PyUnicode_Check(where);
    bool is_memory = PyObject_TypeCheck(where, state->memory_type);
    if (!is_memory && !is_name && where != Py_None) {
        return refuse_place(where);
    }
    if (!is_memory && address->offset != 0) {
        PyErr_SetString(PyExc_ValueError,
                        "an 'offset' is of a memory: pass that as 'where'");
        return NULL;
    }
    if (!is_name && address->mode != NULL && address->mode != Py_None) {
        PyErr_SetString(PyExc_ValueError,
                        "a 'mode' is of a name: memory has its own");
        return NULL;
    }
    return is_memory
               ? make_in(type, kind, where, NULL, address->offset, parameter)
           : is_name ? make_named(type, kind, address, parameter)
                     : make_own(type, kind, state, parameter);
}

PyObject *
shx_synchronizer_make_part(PyTypeObject *type,
                           const shx_synchronizer_kind *kind, PyObject *whole,
                           Py_ssize_t skip, uint32_t parameter)
{
    const shx_synchronizer *of = SYNCHRONIZER(whole);
    PyObject *op = type->tp_alloc(type, 0);
    if (op == NULL) {
        return NULL;
    }
    shx_synchronizer *self = SYNCHRONIZER(op);
    self->kind = kind;
    self->mapping = (shx_mapping *)Py_NewRef((PyObject *)of->mapping);
    self->memory = Py_NewRef(of->memory);
    self->offset = of->offset + skip;
    if (settle(op, parameter, SHX_FD_NONE) < 0) {
        Py_CLEAR(op);
    }
    return op;
}

/* What a memory says is there: 0 if it is none of that kind. */
static int
read_parameter(PyObject *op, uint32_t *parameter)
{
    const shx_synchronizer *self = SYNCHRONIZER(op);
    if (check_bytes(op, sizeof(shx_cell)) < 0) {
        return -1;
    }
    const shx_cell *cell = (const shx_cell *)(const void *)shx_mapping_byte(
        (PyObject *)self->mapping, self->offset);
    const shx_cell_head head = shx_cell_read(cell);
    if (head.kind != (unsigned)self->kind->kind ||
        head.version != SHX_CELL_VERSION ||
        self->kind->size(head.parameter) == 0) {
        PyObject *label = shx_synchronizer_label(op);
        if (label != NULL) {
            PyErr_Format(PyExc_ValueError, "%U is not there any more", label);
            Py_DECREF(label);
        }
        return -1;
    }
    *parameter = head.parameter;
    return 0;
}

PyObject *
shx_synchronizer_rebuild(PyTypeObject *type, const shx_synchronizer_kind *kind,
                         PyObject *args)
{
    PyObject *where;
    long long number;
    uint32_t parameter;
    shx_state *state = shx_state_of(type);
    if (state == NULL || !PyArg_ParseTuple(args, "OL", &where, &number)) {
        return NULL;
    }
    if (PyUnicode_Check(where)) {
        const shx_address address = {.where = where};
        if (number < 0 || number > UINT32_MAX ||
            kind->size((uint32_t)number) == 0) {
            PyErr_SetString(PyExc_ValueError, "no such parameter");
            return NULL;
        }
        return shx_synchronizer_make(type, kind, &address, (uint32_t)number);
    }
    if (!PyObject_TypeCheck(where, state->memory_type)) {
        return PyErr_Format(PyExc_TypeError, "not a Memory");
    }
    PyObject *op = new_at(type, kind, where, shx_memory_mapping(where),
                          (Py_ssize_t)number);
    if (op != NULL && (read_parameter(op, &parameter) < 0 ||
                       settle(op, parameter, SHX_FD_NONE) < 0)) {
        Py_CLEAR(op);
    }
    return op;
}

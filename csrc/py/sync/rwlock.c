/* SPDX-License-Identifier: MIT */
/* The type shmemext.RWLock: where it lies, and its two sides. */
#include "py/sync/rwlock.h"

#include "py/memory/memory.h"

typedef struct {
    shx_synchronizer base;
    PyObject *read;
    PyObject *write;
} rwlock;

#define RWLOCK(op) ((rwlock *)(op))

enum { READERS = 48 };

size_t
shx_rwlock_size(uint32_t parameter)
{
    size_t readers = shx_rwlock_readers(parameter);
    size_t size = sizeof(shx_cell) + readers * sizeof(shx_slot);
    return readers == 0 || readers > SHX_RWLOCK_READERS
               ? 0
               : (size + SHX_CELL_ALIGNMENT - 1) / SHX_CELL_ALIGNMENT *
                     SHX_CELL_ALIGNMENT;
}

PyObject *
shx_rwlock_describe_parameter(uint32_t parameter)
{
    return PyUnicode_FromFormat(
        "readers=%u, on_death='%s'", shx_rwlock_readers(parameter),
        (parameter & SHX_IGNORES_DEATH) != 0 ? "ignore" : "raise");
}

static const shx_synchronizer_kind kind = {.kind = SHX_CELL_RWLOCK,
                                           .size = shx_rwlock_size,
                                           .describe =
                                               shx_rwlock_describe_parameter};

/* The sides of one that has its place. The reference is stolen; NULL: with an
 * exception. */
static PyObject *
add_sides(PyObject *op)
{
    if (op == NULL) {
        return NULL;
    }
    RWLOCK(op)->read = shx_read_lock_make(op);
    if (RWLOCK(op)->read != NULL) {
        RWLOCK(op)->write = shx_write_lock_make(op, RWLOCK(op)->read);
    }
    if (RWLOCK(op)->write == NULL) {
        Py_CLEAR(op);
    }
    return op;
}

/* -1 with an exception. */
static int
parse_readers(Py_ssize_t readers, uint32_t *parameter)
{
    if (readers < 1 || readers > SHX_RWLOCK_READERS) {
        PyErr_Format(PyExc_ValueError,
                     "'readers' is how many may read at a time, 1 to %d, not "
                     "%zd",
                     SHX_RWLOCK_READERS, readers);
        return -1;
    }
    *parameter |= (uint32_t)readers;
    return 0;
}

static PyObject *
rwlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"where",    "offset", "readers",
                               "on_death", "mode",   NULL};
    shx_address address = {.where = Py_None};
    PyObject *on_death = NULL;
    Py_ssize_t readers = READERS;
    uint32_t parameter;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|On$nOO:RWLock", keywords,
                                     &address.where, &address.offset, &readers,
                                     &on_death, &address.mode) ||
        shx_parse_on_death(on_death, &parameter) < 0 ||
        parse_readers(readers, &parameter) < 0) {
        return NULL;
    }
    return add_sides(shx_synchronizer_make(type, &kind, &address, parameter));
}

PyObject *
shx_rwlock_rebuild(shx_state *state, PyObject *args)
{
    return add_sides(
        shx_synchronizer_rebuild(state->rwlock_type, &kind, args));
}

static PyObject *
rwlock_rebuild(PyObject *type, PyObject *args)
{
    return add_sides(
        shx_synchronizer_rebuild((PyTypeObject *)type, &kind, args));
}

static int
rwlock_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(RWLOCK(op)->read);
    Py_VISIT(RWLOCK(op)->write);
    return shx_synchronizer_traverse(op, visit, arg);
}

static void
rwlock_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    Py_XDECREF(RWLOCK(op)->write);
    Py_XDECREF(RWLOCK(op)->read);
    shx_synchronizer_dealloc(op);
}

PyObject *
shx_rwlock_describe(const shx_site *at)
{
    const shx_rwlock_state state = shx_rwlock_look(at);
    PyObject *word = shx_lock_describe(at);
    if (word == NULL || state.readers == 0) {
        return word;
    }
    bool is_free = PyUnicode_CompareWithASCIIString(word, "free") == 0;
    PyObject *readers = PyUnicode_FromFormat(
        "%u reader%s%s", state.readers, state.readers == 1 ? "" : "s",
        state.ours == state.readers ? " here" : "");
    if (readers != NULL && state.dead != 0) {
        Py_SETREF(readers, PyUnicode_FromFormat("%U, %u of them dead", readers,
                                                state.dead));
    }
    PyObject *text = readers == NULL ? NULL
                     : is_free       ? Py_NewRef(readers)
                               : PyUnicode_FromFormat("%U, %U", readers, word);
    Py_XDECREF(readers);
    Py_DECREF(word);
    return text;
}

static PyObject *
rwlock_repr(PyObject *op)
{
    return shx_synchronizer_repr(op,
                                 shx_rwlock_describe(&SYNCHRONIZER(op)->site));
}

PyDoc_STRVAR(rwlock_size_of_doc,
             "size_of(readers=48)\n--\n\n"
             "Return how many bytes it takes in a memory: 448.\n\n"
             "Arguments are RWLock's.\n\n"
             "ValueError: readers is below 1, or above 4096.");

static PyObject *
rwlock_size_of(PyObject *Py_UNUSED(type), PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"readers", NULL};
    Py_ssize_t readers = READERS;
    uint32_t parameter = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|n:size_of", keywords,
                                     &readers) ||
        parse_readers(readers, &parameter) < 0) {
        return NULL;
    }
    return PyLong_FromSize_t(shx_rwlock_size(parameter));
}

static PyMethodDef rwlock_methods[] = {
    {"size_of", (PyCFunction)(void (*)(void))rwlock_size_of,
     METH_VARARGS | METH_KEYWORDS | METH_STATIC, rwlock_size_of_doc},
    {"_rebuild", rwlock_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *
get_read(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(RWLOCK(op)->read);
}

static PyObject *
get_write(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(RWLOCK(op)->write);
}

static PyGetSetDef rwlock_getset[] = {
    {"read", get_read, shx_memory_refuse,
     PyDoc_STR("A lock that readers share among themselves."), "read"},
    {"write", get_write, shx_memory_refuse,
     PyDoc_STR("A lock that is shared with nobody."), "write"},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    rwlock_doc,
    "RWLock(where=None, offset=0, *, readers=48, on_death='raise', "
    "mode=None)\n"
    "--\n\n"
    "A lock for many readers or one writer:\n"
    "with rw.read: ..., with rw.write: ...\n\n"
    "Writers come first: while one waits, who comes to read waits, too, but\n"
    "for a thread that reads already, by this object. One that reads and\n"
    "wants to write would wait for itself: RuntimeError.\n\n"
    "Readers that die are forgotten. If a writer dies, readers and writers\n"
    "get OwnerDied until somebody has it repaired by rw.write.repair().\n\n"
    "readers: how many may read at a time, 1 to 4096: more wait; the same\n"
    "    for all who use it\n"
    "on_death: as of a Lock: \"ignore\": the next one has it, if a writer "
    "dies\n" SHX_WHERE_DOC "\n\n" SHX_WHERE_ERRORS);

static PyType_Slot rwlock_slots[] = {
    {Py_tp_doc, (void *)rwlock_doc},
    {Py_tp_new, rwlock_new},
    {Py_tp_traverse, rwlock_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, rwlock_dealloc},
    {Py_tp_repr, rwlock_repr},
    {Py_tp_methods, rwlock_methods},
    {Py_tp_getset, rwlock_getset},
    {0, NULL},
};

static PyType_Spec rwlock_spec = {
    .name = "shmemext.synchronize.RWLock",
    .basicsize = sizeof(rwlock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = rwlock_slots,
};

int
shx_rwlock_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->rwlock_type =
        shx_synchronizer_add_type(module, &rwlock_spec, "RWLock");
    return state->rwlock_type == NULL ? -1 : shx_rwlock_sides_add(module);
}

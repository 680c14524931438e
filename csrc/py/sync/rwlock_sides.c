/* SPDX-License-Identifier: MIT */
/* The types of RWLock.read and RWLock.write: locks, with the methods of all
 * locks. */
#include <errno.h>
#include <stddef.h> /* offsetof */

#include "py/sync/rwlock.h"
#include "py/sync/waiting.h"

/* The reader's is the owner of what both remember. */
typedef struct {
    shx_synchronizer base;
    shx_rwlock_memory *memory;
    PyObject *read; /* of a writer's */
} side;

#define SIDE(op) ((side *)(op))
#define SITE(op) (&SYNCHRONIZER(op)->site)

/* The kinds' functions are told the site alone. */
static shx_rwlock_memory *
memory_of(const shx_site *at)
{
    const char *object = (const char *)at - offsetof(shx_synchronizer, site);
    return ((const side *)(const void *)object)->memory;
}

static int
side_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(SIDE(op)->read);
    return shx_synchronizer_traverse(op, visit, arg);
}

static void
side_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    if (SIDE(op)->read == NULL) {
        PyMem_Free(SIDE(op)->memory);
    }
    Py_XDECREF(SIDE(op)->read);
    shx_synchronizer_dealloc(op);
}

static PyObject *
side_repr(PyObject *op)
{
    return shx_synchronizer_repr(op, shx_rwlock_describe(SITE(op)));
}

static PyObject *
make(PyTypeObject *type, const shx_synchronizer_kind *kind, PyObject *rwlock)
{
    PyObject *op = shx_synchronizer_make_part(
        type, kind, rwlock, 0, SYNCHRONIZER(rwlock)->site.parameter);
    if (op != NULL) {
        SYNCHRONIZER(op)->name = Py_XNewRef(SYNCHRONIZER(rwlock)->name);
    }
    return op;
}

/* One side of what is unpickled. */
static PyObject *
rebuild(PyObject *type, PyObject *args, const char *which)
{
    shx_state *state = shx_state_of((PyTypeObject *)type);
    PyObject *whole = state == NULL ? NULL : shx_rwlock_rebuild(state, args);
    PyObject *op = whole == NULL ? NULL : PyObject_GetAttrString(whole, which);
    Py_XDECREF(whole);
    return op;
}

/* The type ReadLock */

static bool
read_quick(const shx_site *at, const shx_member *me)
{
    return shx_rwlock_take_read(at, memory_of(at), me);
}

static shx_err
read_acquire(const shx_site *at, const shx_member *me,
             shx_torn Py_UNUSED(torn), shx_patience *patience)
{
    return shx_rwlock_read(at, memory_of(at), me, patience);
}

static shx_err
read_attempt(const shx_site *at, const shx_member *me,
             shx_torn Py_UNUSED(torn))
{
    return shx_rwlock_try_read(at, memory_of(at), me);
}

static shx_err
read_release(const shx_site *at, const shx_member *me)
{
    return shx_rwlock_release_read(at, memory_of(at), me);
}

static PyObject *
read_refuse(PyObject *op)
{
    PyObject *label = shx_synchronizer_label(op);
    if (label != NULL) {
        PyErr_Format(PyExc_ValueError,
                     "%U was not acquired by this object in this process, or "
                     "was released as often",
                     label);
        Py_DECREF(label);
    }
    return NULL;
}

static const shx_lock_kind read_kind = {
    .base = {.kind = SHX_CELL_RWLOCK,
             .size = shx_rwlock_size,
             .describe = shx_rwlock_describe_parameter,
             .called = "RWLock",
             .way = "rw.write.repair()"},
    .quick = read_quick,
    .acquire = read_acquire,
    .attempt = read_attempt,
    .release = read_release,
    .refuse = read_refuse,
};

PyDoc_STRVAR(read_locked_doc,
             "locked($self, /)\n--\n\n"
             "Return whether anybody reads, as it is at this moment.");

static PyObject *
read_locked(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    bool read = !shx_rwlock_is_drained(SITE(op));
    return shx_synchronizer_is_torn(op) ? shx_synchronizer_raise(op, EFAULT)
                                        : PyBool_FromLong(read);
}

/* What the two sides wait for, without taking it: _waiting.py. */
static PyObject *
watch(PyObject *op, PyObject *arg,
      shx_err (*look)(const shx_site *at, shx_patience *patience))
{
    int64_t timeout;
    shx_waiting waiting;
    if (shx_parse_timeout(arg, &timeout) < 0) {
        return NULL;
    }
    shx_waiting_begin(&waiting, timeout);
    shx_err err = look(SITE(op), &waiting.patience);
    err = shx_waiting_end(&waiting, err);
    if (err != 0 && err != SHX_SLICE_OVER && err != ETIMEDOUT) {
        return shx_synchronizer_raise(op, err);
    }
    Py_RETURN_NONE;
}

static PyObject *
read_watch(PyObject *op, PyObject *arg)
{
    return watch(op, arg, shx_rwlock_watch_read);
}

static PyObject *
read_rebuild(PyObject *type, PyObject *args)
{
    return rebuild(type, args, "read");
}

static PyMethodDef read_methods[] = {
    {"locked", read_locked, METH_NOARGS, read_locked_doc},
    {"_watch", read_watch, METH_O, NULL},
    {"_rebuild", read_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    read_doc,
    "An RWLock's read: a lock that readers share among themselves.\n\n"
    "It is released as often as it was acquired, by any thread, by the "
    "object\n"
    "that acquired it. A thread that reads may read again, also while a\n"
    "writer waits. RuntimeError: it writes, and would wait for itself.\n"
    "OwnerDied: a writer died, see RWLock.write.repair(). What a killed\n"
    "process read it has not any more.");

static PyType_Slot read_slots[] = {
    {Py_tp_doc, (void *)read_doc},
    {Py_tp_traverse, side_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, side_dealloc},
    {Py_tp_repr, side_repr},
    {Py_tp_methods, read_methods},
    {Py_tp_getset, shx_lock_getset},
    {0, NULL},
};

static PyType_Spec read_spec = {
    .name = "shmemext.synchronize.ReadLock",
    .basicsize = sizeof(side),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = read_slots,
};

PyObject *
shx_read_lock_make(PyObject *rwlock)
{
    shx_state *state = shx_state_of(Py_TYPE(rwlock));
    PyObject *op = state == NULL
                       ? NULL
                       : make(state->read_lock_type, &read_kind.base, rwlock);
    if (op == NULL) {
        return NULL;
    }
    SIDE(op)->memory = PyMem_Calloc(
        1, shx_rwlock_memory_size(SYNCHRONIZER(op)->site.parameter));
    if (SIDE(op)->memory == NULL) {
        Py_DECREF(op);
        return PyErr_NoMemory();
    }
    return op;
}

/* The type WriteLock */

static bool
write_quick(const shx_site *at, const shx_member *me)
{
    return shx_rwlock_take_write(at, me);
}

static shx_err
write_acquire(const shx_site *at, const shx_member *me, shx_torn torn,
              shx_patience *patience)
{
    return shx_rwlock_write(at, memory_of(at), me, torn, patience);
}

static shx_err
write_attempt(const shx_site *at, const shx_member *me, shx_torn torn)
{
    return shx_rwlock_try_write(at, me, torn);
}

static PyObject *
write_refuse(PyObject *op)
{
    const shx_lock_state state = shx_lock_look(SITE(op));
    if (!state.held) {
        return shx_synchronizer_raise(op, SHX_TOO_MANY);
    }
    PyObject *label = shx_synchronizer_label(op);
    if (label != NULL) {
        PyErr_Format(PyExc_ValueError,
                     "%U is held by process %u: only the process that "
                     "acquired it may release it",
                     label, state.pid);
        Py_DECREF(label);
    }
    return NULL;
}

static const shx_lock_kind write_kind = {
    .base = {.kind = SHX_CELL_RWLOCK,
             .size = shx_rwlock_size,
             .describe = shx_rwlock_describe_parameter,
             .called = "RWLock",
             .way = "rw.write.repair()"},
    .quick = write_quick,
    .acquire = write_acquire,
    .attempt = write_attempt,
    .release = shx_rwlock_release_write,
    .release_torn = shx_rwlock_release_write_torn,
    .refuse = write_refuse,
};

/* A task's: the word first, then the readers. See _waiting.py. */

static PyObject *
write_claim(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    shx_member me;
    if (shx_synchronizer_me(op, &me) < 0) {
        return NULL;
    }
    if (shx_lock_is_ours(SITE(op), &me)) {
        Py_RETURN_FALSE;
    }
    return shx_synchronizer_answer(op, shx_rwlock_claim_write(SITE(op), &me));
}

static PyObject *
write_is_drained(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (shx_synchronizer_is_torn(op)) {
        return shx_synchronizer_raise(op, EFAULT);
    }
    return PyBool_FromLong(shx_rwlock_is_drained(SITE(op)));
}

static PyObject *
write_watch_drain(PyObject *op, PyObject *arg)
{
    return watch(op, arg, shx_rwlock_watch_drain);
}

static PyObject *
write_acquire_async(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_call_waiting("write", op);
}

static PyObject *
write_rebuild(PyObject *type, PyObject *args)
{
    return rebuild(type, args, "write");
}

PyDoc_STRVAR(
    write_acquire_async_doc,
    "acquire_async($self, /)\n--\n\n"
    "Take the lock, as a coroutine that lets other tasks run: True.\n\n"
    "Tasks of one loop are served in order. A task that is cancelled\n"
    "has it not. See asyncio.wait_for() for a timeout.\n\n"
    "Errors are acquire()'s.");

static PyMethodDef write_methods[] = {
    {"acquire_async", write_acquire_async, METH_NOARGS,
     write_acquire_async_doc},
    {"__aenter__", write_acquire_async, METH_NOARGS, NULL},
    {"_claim", write_claim, METH_NOARGS, NULL},
    {"_is_drained", write_is_drained, METH_NOARGS, NULL},
    {"_watch_drain", write_watch_drain, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef write_class_methods[] = {
    {"_rebuild", write_rebuild, METH_VARARGS | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    write_doc,
    "An RWLock's write: a lock that is shared with nobody.\n\n"
    "Its methods are Lock's. It comes before readers that come later.\n"
    "RuntimeError: this thread reads or writes by this object, and would\n"
    "wait for itself.");

static PyType_Slot write_slots[] = {
    {Py_tp_doc, (void *)write_doc},
    {Py_tp_traverse, side_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, side_dealloc},
    {Py_tp_repr, side_repr},
    {Py_tp_methods, write_class_methods},
    {Py_tp_getset, shx_lock_getset},
    {0, NULL},
};

static PyType_Spec write_spec = {
    .name = "shmemext.synchronize.WriteLock",
    .basicsize = sizeof(side),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = write_slots,
};

PyObject *
shx_write_lock_make(PyObject *rwlock, PyObject *read)
{
    shx_state *state = shx_state_of(Py_TYPE(rwlock));
    PyObject *op =
        state == NULL ? NULL
                      : make(state->write_lock_type, &write_kind.base, rwlock);
    if (op != NULL) {
        SIDE(op)->memory = SIDE(read)->memory;
        SIDE(op)->read = Py_NewRef(read);
    }
    return op;
}

int
shx_rwlock_sides_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->read_lock_type =
        shx_synchronizer_add_type(module, &read_spec, "ReadLock");
    state->write_lock_type =
        shx_synchronizer_add_type(module, &write_spec, "WriteLock");
    PyTypeObject *read = state->read_lock_type;
    PyTypeObject *write = state->write_lock_type;
    return read == NULL || write == NULL ||
                   shx_add_methods(read, shx_lock_methods) < 0 ||
                   shx_add_methods(write, shx_lock_methods) < 0 ||
                   shx_add_methods(write, shx_lock_word_methods) < 0 ||
                   shx_add_methods(write, write_methods) < 0
               ? -1
               : 0;
}

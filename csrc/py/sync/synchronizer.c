/* SPDX-License-Identifier: MIT */
/* The type shmemext.synchronize.Synchronizer, and what its kinds say. */
#include "py/sync/synchronizer.h"

#include <errno.h>
#include <stddef.h> /* offsetof */
#include <string.h> /* strrchr */

#include "core/sync/lock.h"
#include "py/memory/memory.h"

int
shx_synchronizer_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(SYNCHRONIZER(op)->memory);
    return 0;
}

/* The rest is needed for as long as anybody may call a method. */
int
shx_synchronizer_clear(PyObject *Py_UNUSED(op))
{
    return 0;
}

/* Whoever is the last to have it held leaves it with a dead owner. */
void
shx_synchronizer_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    shx_synchronizer *self = SYNCHRONIZER(op);
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    if (self->site.party != NULL) {
        shx_party_leave(self->site.party);
    }
    Py_XDECREF((PyObject *)self->mapping);
    Py_XDECREF(self->memory);
    Py_XDECREF(self->name);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Labels and exceptions */

static const char *
name_of(PyTypeObject *type)
{
    const char *dot = strrchr(type->tp_name, '.');
    return dot == NULL ? type->tp_name : dot + 1;
}

const char *
shx_article(const char *name)
{
    return strchr("AER", name[0]) != NULL ? "an" : "a";
}

/* Of a memory that has a name or a path: as its repr() shows that, without
 * the slash that names in /dev/shm have. */
static PyObject *
label_by_name(const shx_synchronizer *self, const char *type, PyObject *label)
{
    Py_ssize_t skip = MEMORY(self->memory)->kind->slash &&
                              PyUnicode_Check(label) &&
                              PyUnicode_GET_LENGTH(label) > 1 &&
                              PyUnicode_READ_CHAR(label, 0) == '/'
                          ? 1
                          : 0;
    PyObject *shown =
        skip == 0
            ? Py_NewRef(label)
            : PyUnicode_Substring(label, skip, PyUnicode_GET_LENGTH(label));
    PyObject *text =
        shown == NULL
            ? NULL
            : PyUnicode_FromFormat("%s at %zd of %s(%R)", type, self->offset,
                                   name_of(Py_TYPE(self->memory)), shown);
    Py_XDECREF(shown);
    return text;
}

static PyObject *
label_as(PyObject *op, const char *type)
{
    const shx_synchronizer *self = SYNCHRONIZER(op);
    PyObject *memory = self->memory, *label = NULL, *text = NULL;
    if (self->name != NULL) {
        return PyUnicode_FromFormat("%s(%R)", type, self->name);
    }
    Py_BEGIN_CRITICAL_SECTION(memory);
    label = MEMORY(memory)->kind->label(memory);
    Py_END_CRITICAL_SECTION();
    if (label != NULL && label != Py_None) {
        text = label_by_name(self, type, label);
    }
    else if (label != NULL) {
        text = PyUnicode_FromFormat("%s at %zd of %s", type, self->offset,
                                    MEMORY(memory)->kind->words.what);
    }
    Py_XDECREF(label);
    return text;
}

PyObject *
shx_synchronizer_label(PyObject *op)
{
    return label_as(op, name_of(Py_TYPE(op)));
}

PyObject *
shx_synchronizer_repr(PyObject *op, PyObject *state)
{
    PyObject *label = state == NULL ? NULL : shx_synchronizer_label(op);
    PyObject *text = NULL;
    if (label != NULL) {
        text = shx_synchronizer_is_torn(op)
                   ? PyUnicode_FromFormat("<%U, which was cut short>", label)
                   : PyUnicode_FromFormat("<%U: %U>", label, state);
    }
    Py_XDECREF(label);
    Py_XDECREF(state);
    return text;
}

PyObject *
shx_lock_describe(const shx_site *at)
{
    const shx_lock_state state = shx_lock_look(at);
    const char *sleepers = state.waited ? ", others may wait" : "";
    if (state.ours) {
        return PyUnicode_FromFormat(
            "held here%s%s", state.torn ? ", being repaired" : "", sleepers);
    }
    if (state.dead) {
        return PyUnicode_FromFormat("its holder, process %u, died%s",
                                    state.pid, sleepers);
    }
    if (state.held) {
        return PyUnicode_FromFormat("held by process %u, alive%s%s", state.pid,
                                    state.torn ? ", being repaired" : "",
                                    sleepers);
    }
    return state.torn ? PyUnicode_FromFormat("its holder, process %u, died",
                                             state.victim)
                      : PyUnicode_FromString("free");
}

static PyObject *
raise_owner_died(PyObject *op)
{
    const shx_synchronizer *self = SYNCHRONIZER(op);
    const shx_synchronizer_kind *kind = self->kind;
    const char *called =
        kind->called == NULL ? name_of(Py_TYPE(op)) : kind->called;
    shx_state *state = shx_state_of(Py_TYPE(op));
    PyObject *label = state == NULL ? NULL : label_as(op, called);
    if (label == NULL) {
        return NULL;
    }
    uint32_t victim = atomic_load(&self->site.cell->victim);
    PyObject *text = PyUnicode_FromFormat(
        "process %u died while it held %U: what it guards may be half "
        "written. Check or rebuild it inside 'with %s:', or make the lock "
        "with on_death='ignore'",
        victim, label, kind->way == NULL ? "lock.repair()" : kind->way);
    PyObject *error = NULL, *pid = PyLong_FromUnsignedLong(victim);
    if (text != NULL && pid != NULL) {
        error = PyObject_CallFunction((PyObject *)state->owner_died_type, "iO",
                                      EOWNERDEAD, text);
    }
    if (error != NULL && PyObject_SetAttrString(error, "pid", pid) == 0) {
        PyErr_SetObject((PyObject *)state->owner_died_type, error);
    }
    Py_XDECREF(error);
    Py_XDECREF(pid);
    Py_XDECREF(text);
    Py_DECREF(label);
    return NULL;
}

PyObject *
shx_synchronizer_raise(PyObject *op, shx_err err)
{
    if (err == SHX_INTERRUPTED && PyErr_Occurred()) {
        return NULL; /* whoever asked to stop has raised */
    }
    if (err == SHX_INTERRUPTED) {
        err = EFAULT; /* see shx_waiting_begin_whole() */
    }
    if (err == SHX_OWNER_DIED) {
        return raise_owner_died(op);
    }
    PyObject *label = shx_synchronizer_label(op);
    if (label == NULL) {
        return NULL;
    }
    if (err == EFAULT) {
        shx_raise_unsupported(
            EFAULT,
            "the memory was cut short by another process: what is there says "
            "nothing any more. Attach anew, once it is whole",
            label);
    }
    else if (err == EBUSY) {
        shx_raise_unsupported(
            EBUSY,
            "somebody has locked all of the memory's file, to infinity: lock "
            "[0, size) with lockf(3), or use flock(2)",
            label);
    }
    else if (err == EDEADLK) {
        PyErr_Format(PyExc_RuntimeError,
                     "%U: this thread has it already, to read or to write: it "
                     "would wait for itself. Release that first",
                     label);
    }
    else if (err == SHX_FORKED) {
        PyErr_Format(PyExc_RuntimeError, "%U: %s", label, shx_error_text(err));
    }
    else if (err == SHX_NO_LOCKS) {
        shx_raise_unsupported(
            ENOTSUP,
            "the system, or a sandbox, lacks locks of open files "
            "(F_OFD_SETLK of fcntl(2), Linux 3.15), so nobody could say "
            "whether a holder lives: multiprocessing's locks do without",
            label);
    }
    else if (err == SHX_TOO_MANY) {
        PyErr_SetString(PyExc_ValueError, shx_error_text(err));
    }
    else {
        shx_raise(err, label);
    }
    Py_DECREF(label);
    return NULL;
}

PyObject *
shx_synchronizer_answer(PyObject *op, shx_err err)
{
    switch (err) {
    case 0:
        Py_RETURN_TRUE;
    case EAGAIN:
    case ETIMEDOUT:
        if (shx_synchronizer_is_torn(op)) {
            return shx_synchronizer_raise(op, EFAULT);
        }
        Py_RETURN_FALSE;
    default:
        return shx_synchronizer_raise(op, err);
    }
}

/* Methods */

PyDoc_STRVAR(synchronizer_reduce_doc,
             "__reduce__($self, /)\n--\n\n"
             "Pickle by reference: to the memory and the offset in it, or to\n"
             "the name.");

PyObject *
shx_synchronizer_reduced(PyObject *op, PyObject *rebuild)
{
    const shx_synchronizer *self = SYNCHRONIZER(op);
    if (rebuild == NULL) {
        return NULL;
    }
    if (self->name == NULL) {
        return Py_BuildValue("N(On)", rebuild, self->memory, self->offset);
    }
    PyObject *named = PyImport_ImportModule("shmemext._named");
    PyObject *result =
        named == NULL
            ? NULL
            : PyObject_CallMethod(named, "reduce", "OO(OI)", self->memory,
                                  rebuild, self->name, self->site.parameter);
    Py_XDECREF(named);
    Py_DECREF(rebuild);
    return result;
}

static PyObject *
synchronizer_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return shx_synchronizer_reduced(
        op, PyObject_GetAttrString((PyObject *)Py_TYPE(op), "_rebuild"));
}

static PyMethodDef synchronizer_methods[] = {
    {"__reduce__", synchronizer_reduce, METH_NOARGS, synchronizer_reduce_doc},
    {NULL, NULL, 0, NULL},
};

static PyObject *
get_name(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *name = SYNCHRONIZER(op)->name;
    return Py_NewRef(name == NULL ? Py_None : name);
}

static PyObject *
get_memory(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(SYNCHRONIZER(op)->memory);
}

static PyObject *
get_offset(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(SYNCHRONIZER(op)->offset);
}

static PyGetSetDef synchronizer_getset[] = {
    {"name", get_name, shx_memory_refuse,
     PyDoc_STR("The name that it was made with; None: it lies in a memory."),
     "name"},
    {"memory", get_memory, shx_memory_refuse,
     PyDoc_STR("The Memory that it lies in."), "memory"},
    {"offset", get_offset, shx_memory_refuse,
     PyDoc_STR("Where in it, in bytes."), "offset"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef synchronizer_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(shx_synchronizer, weakrefs),
     Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(synchronizer_doc,
             "What locks, events and the like share: where they lie, and how\n"
             "they are pickled. It cannot be made.");

static PyType_Slot synchronizer_slots[] = {
    {Py_tp_doc, (void *)synchronizer_doc},
    {Py_tp_traverse, shx_synchronizer_traverse},
    {Py_tp_clear, shx_synchronizer_clear},
    {Py_tp_dealloc, shx_synchronizer_dealloc},
    {Py_tp_methods, synchronizer_methods},
    {Py_tp_getset, synchronizer_getset},
    {Py_tp_members, synchronizer_members},
    {0, NULL},
};

static PyType_Spec synchronizer_spec = {
    .name = "shmemext.synchronize.Synchronizer",
    .basicsize = sizeof(shx_synchronizer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = synchronizer_slots,
};

PyDoc_STRVAR(owner_died_doc,
             "The process that held a lock died: what it guards may be half\n"
             "written.\n\n"
             "An OSError with errno EOWNERDEAD; pid is of who died. Every\n"
             "acquire raises it until somebody has the lock repaired:\n"
             "with lock.repair(): ...");

PyTypeObject *
shx_synchronizer_add_type(PyObject *module, PyType_Spec *spec,
                          const char *name)
{
    shx_state *state = shx_state_of_module(module);
    return shx_add_type(module, spec, state->synchronizer_type, name);
}

int
shx_synchronizer_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    PyObject *pid = Py_BuildValue("{sO}", "pid", Py_None);
    PyObject *error =
        pid == NULL
            ? NULL
            : PyErr_NewExceptionWithDoc("shmemext.synchronize.OwnerDied",
                                        owner_died_doc, PyExc_OSError, pid);
    Py_XDECREF(pid);
    state->owner_died_type = (PyTypeObject *)error;
    if (error == NULL ||
        PyModule_AddObjectRef(module, "OwnerDied", error) < 0) {
        return -1;
    }
    state->synchronizer_type =
        shx_add_type(module, &synchronizer_spec, NULL, "Synchronizer");
    return state->synchronizer_type == NULL ? -1 : 0;
}

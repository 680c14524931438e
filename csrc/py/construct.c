/* SPDX-License-Identifier: MIT */
/* SharedMemory.__init__: checks in the stdlib's order, then create or attach.
 *
 * Whatever can fail without touching the system is done first: the Mapping
 * object and the size are made before the segment has a name, so that a name,
 * once it is there, has an owner.
 */
#include "shared_memory.h"

#include <errno.h>
#include <fcntl.h>  /* O_CREAT, O_EXCL, O_RDWR */
#include <limits.h> /* INT_MAX */

/* What a construction has got hold of. */
typedef struct {
    shx_mapping *mapping; /* made before the segment it will own */
    shx_record *record;   /* the family's, if it owns the name */
} opened;

/* What Python does with `not size >= 0` and `size == 0`. */
static int
compare_with_zero(shx_state *state, PyObject *size, int how)
{
    return PyObject_RichCompareBool(size, state->zero, how);
}

static int
value_error(const char *text)
{
    PyErr_SetString(PyExc_ValueError, text);
    return -1;
}

int
shx_int_attribute(PyObject *op, PyObject *attribute, int *out)
{
    PyObject *value = PyObject_GetAttr(op, attribute);
    if (value == NULL) {
        return -1;
    }
    *out = PyLong_AsInt(value);
    Py_DECREF(value);
    return *out == -1 && PyErr_Occurred() ? -1 : 0;
}

/* The checks that come before any name is looked at. Returns whether to
 * create, or -1. */
static int
check(shx_state *state, PyObject *op, const shx_call *call, int *flags)
{
    int fits = compare_with_zero(state, call->size, Py_GE);
    if (fits <= 0) {
        return fits < 0 ? -1
                        : value_error("'size' must be a positive integer");
    }
    int create = PyObject_IsTrue(call->create);
    if (create < 0) {
        return -1;
    }
    if (create) {
        PyObject *value = PyLong_FromLong(O_CREAT | O_EXCL | O_RDWR);
        int status = value == NULL
                         ? -1
                         : PyObject_SetAttr(op, state->str._flags, value);
        Py_XDECREF(value);
        int zero = compare_with_zero(state, call->size, Py_EQ);
        if (status < 0 || zero < 0) {
            return -1;
        }
        if (zero) {
            return value_error(
                "'size' must be a positive number different from zero");
        }
    }
    if (shx_int_attribute(op, state->str._flags, flags) < 0) {
        return -1;
    }
    if (call->name == Py_None && (*flags & O_EXCL) == 0) {
        return value_error("'name' can only be None if create=True");
    }
    return create;
}

/* "/" + name, as the stdlib writes it. New reference. */
static PyObject *
with_slash(shx_state *state, PyObject *op, PyObject *name)
{
    int prepend = shx_attribute_is_true(op, state->str._prepend_leading_slash);
    if (prepend < 0) {
        return NULL;
    }
    if (!prepend) {
        return Py_NewRef(name);
    }
    if (PyUnicode_CheckExact(name)) {
        return PyUnicode_FromFormat("/%U", name);
    }
    PyObject *slash = PyUnicode_FromString("/");
    PyObject *whole = slash == NULL ? NULL : PyNumber_Add(slash, name);
    Py_XDECREF(slash);
    return whole;
}

/* A size that cannot be converted is the second complaint: the stdlib opens
 * the name first, and says FileExistsError if it is taken. */
static int
size_as_number(PyObject *size, const char *bare, PyObject *name, size_t *out)
{
    long number = PyLong_AsLong(size);
    if (number == -1 && PyErr_Occurred()) {
        shx_file file;
        if (shx_os_inspect_name(bare, &file) == 0) {
            PyErr_Clear();
            shx_raise(EEXIST, name);
        }
        return -1;
    }
    *out = (size_t)number;
    return 0;
}

/* Called without the GIL, between the pieces of a long reservation. */
static int
poll_signals(void *context)
{
    PyThreadState **saved = context;
    PyEval_RestoreThread(*saved);
    int status = PyErr_CheckSignals();
    *saved = PyEval_SaveThread();
    return status;
}

static int
raise_create(const shx_create *request, shx_err err, PyObject *name)
{
    if (err == ENOSPC && request->step == SHX_STEP_RESERVE) {
        shx_raise_full(name, request->size);
    }
    else {
        shx_raise(err, request->step == SHX_STEP_MAP ? NULL : name);
    }
    return -1;
}

/* track=None: the name is our process family's. */
static int
find_owner(PyObject *op, const shx_call *call, shx_family **owner)
{
    if (call->track != Py_None) {
        *owner = NULL;
        return 0;
    }
    PyObject *module = PyType_GetModuleByDef(Py_TYPE(op), &shx_module);
    return module == NULL ? -1 : shx_family_to_own(module, owner);
}

/* 1: the name is taken and was not the caller's choice, try another. */
static int
create_segment(shx_state *state, PyObject *op, const shx_call *call,
               PyObject *name, opened *out)
{
    shx_create request = {.poll = poll_signals};
    int mode, reserve = PyObject_IsTrue(call->reserve);
    if (reserve < 0 || shx_bare_name(name, "shm_open", &request.name) < 0 ||
        shx_int_attribute(op, state->str._mode, &mode) < 0 ||
        size_as_number(call->size, request.name, name, &request.size) < 0 ||
        find_owner(op, call, &request.owner) < 0) {
        return -1;
    }
    request.mode = (unsigned)mode & 07777u;
    request.reserve = reserve;
    if (PySys_Audit("shmemext.create", "sn", request.name,
                    (Py_ssize_t)request.size) < 0) {
        return -1;
    }
    PyThreadState *saved = PyEval_SaveThread();
    request.context = &saved;
    shx_err err = shx_segment_create(&request, &out->mapping->segment);
    PyEval_RestoreThread(saved);
    if (err == 0) {
        out->record = request.record;
        shx_mapping_guard(out->mapping, request.name);
    }
    if (err == EEXIST && call->name == Py_None) {
        return 1;
    }
    return err == 0 ? 0 : raise_create(&request, err, name);
}

static int
attach_segment(const shx_call *call, int flags, PyObject *name, opened *out)
{
    shx_segment *segment = &out->mapping->segment;
    const char *bare;
    shx_step step;
    if (shx_bare_name(name, "shm_open", &bare) < 0) {
        return -1;
    }
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_segment_attach(bare, flags, segment, &step);
    Py_END_ALLOW_THREADS
    if (err == EEXIST && call->name == Py_None) {
        return 1;
    }
    if (err != 0) {
        shx_raise(err, step == SHX_STEP_MAP ? NULL : name);
        return -1;
    }
    shx_mapping_guard(out->mapping, bare);
    return PySys_Audit("shmemext.attach", "sn", bare,
                       (Py_ssize_t)segment->size);
}

/* Opens under a name, or under generated ones until one is free. Returns the
 * name, a new reference. */
static PyObject *
open_segment(shx_state *state, PyObject *op, const shx_call *call, int create,
             int flags, opened *out)
{
    for (;;) {
        PyObject *name = call->name == Py_None
                             ? shx_make_filename(state)
                             : with_slash(state, op, call->name);
        if (name == NULL) {
            return NULL;
        }
        int status = create ? create_segment(state, op, call, name, out)
                            : attach_segment(call, flags, name, out);
        if (status == 0) {
            return name;
        }
        Py_DECREF(name);
        if (status < 0 || PyErr_CheckSignals() < 0) {
            return NULL;
        }
    }
}

/* The object takes the segment over, and lets go of one it may have had. */
static void
adopt(PyObject *op, PyObject *name, PyObject *size, const opened *segment)
{
    shx_shared_memory *self = SHARED_MEMORY(op);
    shx_leftovers taken;
    PyObject *old_name, *old_size;
    Py_BEGIN_CRITICAL_SECTION(op);
    taken = shx_take_locked(self);
    old_name = self->name;
    old_size = self->size;
    self->name = name;
    self->size = size;
    self->mmap = (PyObject *)segment->mapping;
    self->fd = SHX_FD_UNASKED;
    self->record = segment->record;
    self->identity = segment->mapping->segment.identity;
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(old_name);
    Py_XDECREF(old_size);
    shx_drop(&taken);
}

/* Registers with the stdlib's tracker if asked to. */
static int
track(const shx_call *call, PyObject *name)
{
    int tracked = PyObject_IsTrue(call->track);
    return tracked > 0 ? shx_tracker_call("register", name) : tracked;
}

/* Takes back a create whose last step failed. An exception is set and stays;
 * the name was encoded before, so encoding it again cannot fail. */
static void
undo_create(PyObject *name, const opened *segment)
{
    const char *bare;
    if (shx_segment_name(PyUnicode_AsUTF8(name), &bare) == 0) {
        (void)shx_segment_unlink(bare);
    }
    if (segment->record != NULL) {
        shx_family_strike(segment->record,
                          segment->mapping->segment.identity.inode);
    }
}

static int
construct(shx_state *state, PyObject *op, const shx_call *call, int create,
          int flags)
{
    opened segment = {shx_mapping_new(state), NULL};
    if (segment.mapping == NULL) {
        return -1;
    }
    PyObject *size = NULL;
    PyObject *name = open_segment(state, op, call, create, flags, &segment);
    if (name == NULL) {
        goto failed;
    }
    size = PyLong_FromSize_t(segment.mapping->segment.size);
    if (size == NULL || track(call, name) < 0) {
        if (create) {
            undo_create(name, &segment);
        }
        goto failed;
    }
    adopt(op, name, size, &segment);
    return 0;
failed:
    Py_XDECREF(size);
    Py_XDECREF(name);
    Py_DECREF(segment.mapping);
    return -1;
}

int
shx_shared_memory_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    shx_call call = {NULL, NULL, NULL, NULL, NULL};
    if (state == NULL || shx_parse_call(state, op, args, kwargs, &call) < 0) {
        return -1;
    }
    int flags;
    int create = check(state, op, &call, &flags);
    if (create < 0 ||
        PyObject_SetAttr(op, state->str._track, call.track) < 0) {
        return -1;
    }
    return construct(state, op, &call, create, flags);
}

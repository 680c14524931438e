/* SPDX-License-Identifier: MIT */
/* Caveat: the user is warned of lost bytes by Py_AddPendingCall(), called in
 * the handler of the signal, since nothing else reaches the interpreter from
 * there. It takes a lock. The thread that touched the memory never holds that,
 * so it does not wait for itself, nor for another that is here: see guard.c.
 * But since 3.13 a thread that waits for it lets go of the GIL, or may be
 * stopped where there is none: in the middle of whatever C code touched the
 * memory. It would have to meet, within some nanoseconds, somebody else's
 * pending call that is added or, without a GIL, taken out. Once per segment
 * that is torn, that is taken for better than a warning that comes late.
 */
#include "py/memory/mapping.h"

#include <errno.h> /* ENOMEM */

/* A pending call: in the main thread, as soon as it runs Python code. */
static int
warn_of_tears(void *Py_UNUSED(context))
{
    char name[SHX_GUARD_NAME];
    int status = 0;
    while (status == 0 && shx_guard_tell(name)) {
        status = PyErr_WarnFormat(
            PyExc_RuntimeWarning, 1,
            "shared memory '%s' was cut short by another process, or %s is "
            "full: bytes that are lost read as 0 here, and what is written "
            "to them reaches nobody",
            name, name[0] == '/' ? "its file system" : shx_os_directory);
    }
    return status;
}

/* In the signal handler. */
static bool
notify(void)
{
    return Py_AddPendingCall(warn_of_tears, NULL) == 0;
}

shx_mapping *
shx_mapping_new(shx_state *state)
{
    shx_mapping *self = PyObject_New(shx_mapping, state->mapping_type);
    if (self != NULL) {
        self->segment = (shx_segment){.address = NULL};
        self->guard = (shx_guard){.address = NULL};
        self->farewell = NULL;
        self->base = NULL;
        self->strips = (shx_strips){0};
        self->position = 0;
        self->closed = false;
        shx_count_at_once((PyObject *)self);
    }
    return self;
}

shx_mapping *
shx_mapping_new_longer(shx_state *state, shx_mapping *old)
{
    shx_mapping *self = shx_mapping_new(state);
    const shx_farewell *farewell = shx_mapping_root(old)->farewell;
    if (self != NULL && farewell != NULL) {
        self->farewell = farewell->another(farewell);
        if (self->farewell == NULL) {
            Py_DECREF(self);
            shx_raise(ENOMEM, NULL);
            return NULL;
        }
    }
    return self;
}

void
shx_mapping_guard(shx_mapping *self, const char *name)
{
    shx_guard_add(&self->guard, name, self->segment.address,
                  self->segment.size, self->segment.writable);
}

void
shx_mapping_guard_longer(shx_mapping *self, shx_mapping *old)
{
    if (!self->segment.shares) {
        shx_mapping_guard(self, shx_mapping_root(old)->guard.name);
        if (self->farewell != NULL) {
            self->farewell->begin(self->farewell, &self->segment);
        }
        return;
    }
    shx_mapping *root = shx_mapping_root(old);
    self->base = Py_NewRef((PyObject *)root);
    shx_guard_extend(&root->guard, self->segment.size);
}

/* Unmapping a large segment takes its page tables apart: others may run. A
 * small one is unmapped faster than the GIL changes hands. */
static void
detach(const shx_segment *segment)
{
    if (segment->size < (1u << 20)) {
        shx_segment_detach(segment);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    shx_segment_detach(segment);
    Py_END_ALLOW_THREADS
}

static void
mapping_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    shx_segment segment = MAPPING(op)->segment;
    shx_farewell *farewell = MAPPING(op)->farewell;
    PyObject *base = MAPPING(op)->base;
    shx_guard_remove(&MAPPING(op)->guard);
    PyObject_Free(op);
    Py_DECREF(type);
    if (farewell != NULL) {
        Py_BEGIN_ALLOW_THREADS
        farewell->end(farewell, &segment);
        Py_END_ALLOW_THREADS
    }
    else if (segment.address != NULL) {
        detach(&segment);
    }
    Py_XDECREF(base);
}

static PyObject *
mapping_get_closed(PyObject *op, void *Py_UNUSED(closure))
{
    bool closed;
    Py_BEGIN_CRITICAL_SECTION(op);
    closed = MAPPING(op)->closed;
    Py_END_CRITICAL_SECTION();
    return PyBool_FromLong(closed);
}

/* Programs tell by isinstance(shm.buf.obj, mmap.mmap) who owns the memory.
 * They get the answer that they would in the stdlib, by what isinstance() asks
 * beside the type: an mmap.mmap cannot be, it counts its exports and unmaps in
 * close(). Nobody asks who has not imported mmap. */
static PyObject *
mapping_get_class(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *class = NULL;
    shx_state *state = PyType_GetModuleState(Py_TYPE(op));
    PyObject *module = PyImport_GetModule(state->mmap_module);
    if (module != NULL) {
        class = PyObject_GetAttr(module, state->str.mmap);
        Py_DECREF(module);
    }
    if (class != NULL && PyType_Check(class)) {
        return class;
    }
    PyErr_Clear();
    Py_XDECREF(class);
    return Py_NewRef((PyObject *)Py_TYPE(op));
}

static PyGetSetDef mapping_getset[] = {
    {"__class__", mapping_get_class, NULL,
     PyDoc_STR("mmap.mmap, which it stands for; type() tells what it is."),
     NULL},
    {"closed", mapping_get_closed, NULL, "True after close().", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static int
mapping_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    shx_guard_look();
    return PyBuffer_FillInfo(view, op, shx_mapping_byte(op, 0),
                             shx_mapping_size(op),
                             !MAPPING(op)->segment.writable, flags);
}

PyDoc_STRVAR(mapping_doc,
             "The memory of one segment, unmapped when nothing refers to it\n"
             "any more. Made by SharedMemory only.");

static PyType_Slot mapping_slots[] = {
    {Py_tp_doc, (void *)mapping_doc},
    {Py_tp_dealloc, mapping_dealloc},
    {Py_tp_methods, shx_mapping_methods},
    {Py_tp_getset, mapping_getset},
    {Py_sq_length, shx_mapping_size},
    {Py_bf_getbuffer, mapping_getbuffer},
    {0, NULL},
};

/* Not collected: it refers to nothing but its type. */
static PyType_Spec mapping_spec = {
    .name = "shmemext.Mapping",
    .basicsize = sizeof(shx_mapping),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = mapping_slots,
};

int
shx_mapping_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->mapping_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &mapping_spec, NULL);
    if (state->mapping_type == NULL) {
        return -1;
    }
    shx_err err = shx_guard_install(notify); /* once for the process */
    if (err != 0) {
        shx_raise(err, NULL);
    }
    return err == 0 ? 0 : -1;
}

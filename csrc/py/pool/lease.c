/* SPDX-License-Identifier: MIT */
#include "py/pool/lease.h"

#include <errno.h>
#include <fcntl.h> /* O_RDONLY */

#include "py/pool/reference.h"

shx_lease *
shx_lease_new(shx_state *state, shx_py_pool *pool)
{
    PyObject *op = state->lease_type->tp_alloc(state->lease_type, 0);
    if (op != NULL) {
        shx_count_at_once(op);
        LEASE(op)->pool = POOL(Py_NewRef((PyObject *)pool));
    }
    return LEASE(op);
}

void
shx_lease_begin(shx_lease *self, uint64_t offset, uint64_t length,
                unsigned flags)
{
    shx_py_pool *pool = self->pool;
    self->held = true;
    self->bytes = shx_mapping_byte((PyObject *)pool->data, 0) + offset;
    self->length = (size_t)length;
    self->shared = (flags & SHX_SHARED) != 0;
    self->readonly =
        (flags & SHX_READONLY) != 0 || !pool->data->segment.writable;
    (void)atomic_fetch_add(&pool->leases, 1);
    if (self->shared) {
        (void)atomic_fetch_add(&pool->shared[self->hold.block], 1);
    }
}

shx_err
shx_lease_open_window(shx_lease *self)
{
    shx_py_pool *pool = self->pool;
    uint64_t offset =
        (uint64_t)(self->bytes - shx_mapping_byte((PyObject *)pool->data, 0));
    size_t before = (size_t)(offset % shx_os_page_size());
    shx_window *window = PyMem_Calloc(1, sizeof *window);
    int fd;
    if (window == NULL) {
        return ENOMEM;
    }
    shx_err err = shx_py_pool_open(pool, O_RDONLY, &fd);
    if (err == 0) {
        window->size = self->length + before;
        err = shx_os_map_private(fd, offset - before, window->size,
                                 &window->address);
        shx_os_close(fd);
    }
    if (err != 0) {
        PyMem_Free(window);
        return err;
    }
    shx_guard_add(&window->guard, pool->name, window->address, window->size,
                  true);
    self->window = window;
    self->bytes = (char *)window->address + before;
    self->readonly = false;
    return 0;
}

static void
close_window(shx_window *window)
{
    shx_guard_remove(&window->guard);
    if (window->size < (1u << 20)) {
        shx_os_unmap(window->address, window->size);
    }
    else { /* as of a Mapping: it takes a while */
        Py_BEGIN_ALLOW_THREADS
        shx_os_unmap(window->address, window->size);
        Py_END_ALLOW_THREADS
    }
    PyMem_Free(window);
}

/* Is it the last one of its pool? */
static bool
let_go(shx_lease *self)
{
    shx_member me;
    shx_py_pool *pool = self->pool;
    if (self->shared) {
        (void)atomic_fetch_sub(&pool->shared[self->hold.block], 1);
    }
    if (shx_party_me(pool->party, &me) == 0) {
        shx_pool_drop(&pool->pool, &me, &self->hold);
    }
    return atomic_fetch_sub(&pool->leases, 1) == 1;
}

static void
lease_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    shx_py_pool *pool = LEASE(op)->pool;
    if (LEASE(op)->window != NULL) {
        close_window(LEASE(op)->window);
    }
    bool last = LEASE(op)->held && let_go(LEASE(op));
    type->tp_free(op);
    Py_DECREF(type);
    if (last) {
        shx_py_pool_look_after(pool);
    }
    Py_DECREF((PyObject *)pool);
}

/* A reference to its bytes, which is in flight from now on. */
PyDoc_STRVAR(send_doc, "send($self, /)\n--\n\n");

static PyObject *
lease_send(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    const shx_lease *self = LEASE(op);
    shx_pool_reference reference = {
        .block = self->hold.block,
        .offset = self->hold.offset,
        .length = self->length,
    };
    unsigned flags = (self->readonly ? SHX_READONLY : 0u) |
                     (self->shared ? SHX_SHARED : 0u);
    return shx_reference_send(self->pool, &reference, flags);
}

static PyMethodDef lease_methods[] = {
    {"send", lease_send, METH_NOARGS, send_doc},
    {NULL, NULL, 0, NULL},
};

static Py_ssize_t
lease_length(PyObject *op)
{
    return (Py_ssize_t)LEASE(op)->length;
}

static int
lease_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    shx_guard_look();
    return PyBuffer_FillInfo(view, op, LEASE(op)->bytes, lease_length(op),
                             LEASE(op)->readonly, flags);
}

PyDoc_STRVAR(lease_doc,
             "Bytes of a block of a pool, which is held until the last view\n"
             "of them goes.");

static PyType_Slot lease_slots[] = {
    {Py_tp_doc, (void *)lease_doc},     {Py_tp_dealloc, lease_dealloc},
    {Py_tp_methods, lease_methods},     {Py_sq_length, lease_length},
    {Py_bf_getbuffer, lease_getbuffer}, {0, NULL},
};

/* Not collected: it refers to nothing that refers to it. */
static PyType_Spec lease_spec = {
    .name = "shmemext._shmemext.Lease",
    .basicsize = sizeof(shx_lease),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = lease_slots,
};

int
shx_lease_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->lease_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &lease_spec, NULL);
    return state->lease_type == NULL ||
                   PyModule_AddType(module, state->lease_type) < 0
               ? -1
               : 0;
}

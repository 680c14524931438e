/* SPDX-License-Identifier: MIT */
#include "py/pool/block.h"

#include <errno.h>
#include <fcntl.h> /* O_RDWR */

#include "py/pool/fill.h"
#include "py/pool/lease.h"
#include "py/pool/reference.h"

/* Without the GIL. Its pages are there after that, and *fd is open if they are
 * new: who writes all of them does so by it, without a fault for each. */
static shx_err
furnish(shx_py_pool *self, const shx_member *me, const shx_hold *hold, int *fd)
{
    shx_err err = shx_py_pool_open(self, O_RDWR, fd);
    if (err != 0) {
        shx_pool_drop(&self->pool, me, hold);
        return err;
    }
    err = shx_pool_back(&self->pool, hold, *fd);
    if (err != 0) {
        shx_os_close(*fd);
        *fd = -1;
    }
    return err;
}

/* Without the GIL: what is not used goes back to the system. */
static void
trim(shx_py_pool *self)
{
    int fd;
    if (shx_py_pool_open(self, O_RDWR, &fd) == 0) {
        (void)shx_pool_trim(&self->pool, fd);
        shx_os_close(fd);
    }
}

/* A block of so many bytes, that are whatever they were. NULL without an
 * exception: there is none to be had. */
static shx_lease *
acquire(shx_py_pool *self, size_t size, unsigned flags, int *fd)
{
    shx_member me;
    bool fresh = false;
    *fd = -1;
    shx_state *state = shx_state_of(Py_TYPE(self));
    shx_lease *lease = state == NULL ? NULL : shx_lease_new(state, self);
    if (lease == NULL) {
        return NULL;
    }
    shx_err err = size == 0 ? EINVAL : shx_py_pool_check(self);
    err = err == 0 ? shx_party_me(self->party, &me) : err;
    if (err == 0) {
        err = shx_pool_take(&self->pool, &me, size, &lease->hold, &fresh);
    }
    if (err == 0 && fresh) {
        Py_BEGIN_ALLOW_THREADS
        err = furnish(self, &me, &lease->hold, fd);
        Py_END_ALLOW_THREADS
    }
    if (err == 0 && shx_pool_is_fat(&self->pool)) {
        Py_BEGIN_ALLOW_THREADS
        trim(self);
        Py_END_ALLOW_THREADS
    }
    if (err != 0) {
        Py_DECREF((PyObject *)lease);
        return NULL;
    }
    shx_lease_begin(lease, lease->hold.offset, size, flags);
    return lease;
}

/* A lease of a block of so many bytes, which are whatever they were, that is
 * shared by all who get a reference to it. None: there is none to be had. */
PyDoc_STRVAR(make_doc, "make($self, size, /)\n--\n\n");

static PyObject *
pool_make(PyObject *op, PyObject *arg)
{
    int fd;
    Py_ssize_t size = PyNumber_AsSsize_t(arg, PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (size <= 0) {
        Py_RETURN_NONE;
    }
    shx_lease *lease = acquire(POOL(op), (size_t)size, SHX_SHARED, &fd);
    if (fd >= 0) {
        shx_os_close(fd);
    }
    return lease == NULL && !PyErr_Occurred() ? Py_NewRef(Py_None)
                                              : (PyObject *)lease;
}

/* A lease of a block with a copy of these bytes. None: there is none to be
 * had. */
PyDoc_STRVAR(store_doc, "store($self, buffer, /)\n--\n\n");

static PyObject *
pool_store(PyObject *op, PyObject *buffer)
{
    int fd;
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    shx_lease *lease = acquire(POOL(op), (size_t)view.len,
                               view.readonly ? SHX_READONLY : 0, &fd);
    if (lease != NULL && shx_fill(lease, view.buf, fd) != 0) {
        Py_CLEAR(lease);
    }
    PyBuffer_Release(&view);
    return lease == NULL && !PyErr_Occurred() ? Py_NewRef(Py_None)
                                              : (PyObject *)lease;
}

/* Instead of a lease: the bytes, once `take` has copied them. */
typedef shx_err (*taker)(shx_py_pool *self,
                         const shx_pool_reference *reference, void *into);

static PyObject *
copy_out(shx_py_pool *self, const shx_pool_reference *reference,
         unsigned flags, taker take)
{
    if (reference->length > self->size) {
        return shx_py_pool_raise(self, SHX_DAMAGED);
    }
    bool readonly = (flags & SHX_READONLY) != 0;
    Py_ssize_t length = (Py_ssize_t)reference->length;
    PyObject *copy = readonly ? PyBytes_FromStringAndSize(NULL, length)
                              : PyByteArray_FromStringAndSize(NULL, length);
    if (copy == NULL) {
        return NULL;
    }
    shx_err err;
    void *into =
        readonly ? PyBytes_AS_STRING(copy) : PyByteArray_AS_STRING(copy);
    Py_BEGIN_ALLOW_THREADS
    err = take(self, reference, into);
    Py_END_ALLOW_THREADS
    if (err != 0) {
        Py_DECREF(copy);
        return shx_py_pool_raise(self, err);
    }
    return copy;
}

/* Where no place is to be had. */
static shx_err
take_in_flight(shx_py_pool *self, const shx_pool_reference *reference,
               void *into)
{
    return shx_pool_copy_out(&self->pool, reference,
                             self->data->segment.address, into);
}

/* Of what is held, where it is not mapped. */
static shx_err
take_by_descriptor(shx_py_pool *self, const shx_pool_reference *reference,
                   void *into)
{
    int fd;
    shx_err err = shx_py_pool_open(self, O_RDONLY, &fd);
    if (err == 0) {
        err = shx_os_read(fd, into, (size_t)reference->length,
                          reference->offset);
        shx_os_close(fd);
    }
    return err;
}

/* The same. Of what is shared a copy would not be. */
static PyObject *
copy_held(shx_py_pool *self, const shx_member *me,
          const shx_pool_reference *reference, unsigned flags,
          const shx_hold *hold)
{
    PyObject *copy =
        (flags & SHX_SHARED) != 0
            ? shx_py_pool_raise(self, ENOMEM)
            : copy_out(self, reference, flags, take_by_descriptor);
    shx_pool_drop(&self->pool, me, hold);
    return copy;
}

/* What is nobody else's may be written: what was kept for others, or cannot be
 * written where it lies, in a window, or where there is none to be had in a
 * copy. */
static PyObject *
make_private(shx_lease *lease)
{
    if (shx_lease_open_window(lease) == 0) {
        return (PyObject *)lease;
    }
    PyObject *copy =
        PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)lease->length);
    if (copy != NULL) {
        shx_py_pool_copy(PyByteArray_AS_STRING(copy), lease->bytes,
                         lease->length);
    }
    Py_DECREF((PyObject *)lease);
    return copy;
}

/* The bytes of a reference to this pool: a lease, or where no place is to be
 * had a copy.
 *
 * LookupError: it was received before. OSError: damaged. */
PyDoc_STRVAR(receive_doc, "receive($self, reference, private, /)\n--\n\n");

static PyObject *
pool_receive(PyObject *op, PyObject *args)
{
    shx_member me;
    uint64_t pair;
    int private;
    unsigned flags;
    PyObject *tuple;
    shx_pool_reference reference;
    shx_py_pool *self = POOL(op);
    shx_state *state = shx_state_of(Py_TYPE(op));
    if (state == NULL ||
        !PyArg_ParseTuple(args, "Op:receive", &tuple, &private) ||
        shx_reference_read(tuple, &pair, &reference, &flags) < 0) {
        return NULL;
    }
    shx_lease *lease = shx_lease_new(state, self);
    if (lease == NULL) {
        return NULL;
    }
    shx_err err = pair == self->pair ? shx_py_pool_check(self) : SHX_SPENT;
    err = err == 0 ? shx_party_me(self->party, &me) : err;
    if (err == 0) {
        err = shx_pool_claim(&self->pool, &me, &reference, &lease->hold);
    }
    if (err != 0) {
        Py_DECREF((PyObject *)lease);
        return err == SHX_TOO_MANY && self->data != NULL
                   ? copy_out(self, &reference, flags, take_in_flight)
                   : shx_py_pool_raise(self, err);
    }
    if (self->data == NULL) {
        PyObject *copy = copy_held(self, &me, &reference, flags, &lease->hold);
        Py_DECREF((PyObject *)lease);
        return copy;
    }
    shx_lease_begin(lease, reference.offset, reference.length, flags);
    bool own = (flags & (SHX_READONLY | SHX_SHARED)) == 0;
    return own && (private || reference.kept || lease->readonly)
               ? make_private(lease)
               : (PyObject *)lease;
}

/* It is not in flight any more. */
PyDoc_STRVAR(withdraw_doc, "withdraw($self, reference, /)\n--\n\n");

static PyObject *
pool_withdraw(PyObject *op, PyObject *tuple)
{
    uint64_t pair;
    unsigned flags;
    shx_pool_reference reference;
    if (shx_reference_read(tuple, &pair, &reference, &flags) < 0) {
        return NULL;
    }
    if (pair == POOL(op)->pair) {
        shx_pool_unsend(&POOL(op)->pool, reference.block,
                        reference.generation);
    }
    Py_RETURN_NONE;
}

static PyMethodDef block_methods[] = {
    {"make", pool_make, METH_O, make_doc},
    {"receive", pool_receive, METH_VARARGS, receive_doc},
    {"store", pool_store, METH_O, store_doc},
    {"withdraw", pool_withdraw, METH_O, withdraw_doc},
    {NULL, NULL, 0, NULL},
};

int
shx_block_add(PyObject *module)
{
    return shx_add_methods(shx_state_of_module(module)->pool_type,
                           block_methods);
}

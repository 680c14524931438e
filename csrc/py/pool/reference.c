/* SPDX-License-Identifier: MIT */
#include "py/pool/reference.h"

#include <errno.h>

PyObject *
shx_reference_send(shx_py_pool *pool, shx_pool_reference *reference,
                   unsigned flags)
{
    shx_member me;
    shx_err err = shx_party_me(pool->party, &me);
    if (err == 0) {
        err = shx_pool_send(&pool->pool, &me, reference->block,
                            &reference->generation);
    }
    if (err != 0) {
        return shx_py_pool_raise(pool, err);
    }
    PyObject *tuple = Py_BuildValue(
        "(KIKKKI)", (unsigned long long)pool->pair, reference->block,
        (unsigned long long)reference->generation,
        (unsigned long long)reference->offset,
        (unsigned long long)reference->length, flags);
    if (tuple == NULL) {
        shx_pool_unsend(&pool->pool, reference->block, reference->generation);
    }
    return tuple;
}

int
shx_reference_read(PyObject *tuple, uint64_t *pair,
                   shx_pool_reference *reference, unsigned *flags)
{
    unsigned long long numbers[4];
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "a reference is a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(tuple, "KIKKKI:reference", &numbers[0],
                          &reference->block, &numbers[1], &numbers[2],
                          &numbers[3], flags)) {
        return -1;
    }
    *pair = numbers[0];
    reference->kept = (*flags & SHX_KEPT) != 0;
    reference->generation = numbers[1];
    reference->offset = numbers[2];
    reference->length = numbers[3];
    return 0;
}

/* Which of the pools has these bytes, in a block that is shared here, and
 * where. NULL: none. Whoever has the bytes holds the block. */
static shx_py_pool *
find(PyObject *pools, const char *bytes, size_t length,
     shx_pool_reference *out)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(pools); i++) {
        shx_py_pool *pool = POOL(PyTuple_GET_ITEM(pools, i));
        if (pool->data == NULL) {
            continue;
        }
        uint64_t offset =
            (uintptr_t)bytes - (uintptr_t)pool->data->segment.address;
        if (offset >= pool->size || length > pool->size - offset) {
            continue;
        }
        out->offset = offset;
        out->length = length;
        return !atomic_load(&pool->gone) && !atomic_load(&pool->lost) &&
                       shx_pool_find(&pool->pool, offset, length,
                                     &out->block) == 0 &&
                       atomic_load(&pool->shared[out->block]) != 0
                   ? pool
                   : NULL;
    }
    return NULL;
}

/* The arguments of both: pools, buffer. */
static int
parse(PyObject *module, PyObject *const *args, Py_ssize_t count, int flags,
      Py_buffer *view)
{
    PyTypeObject *type = shx_state_of_module(module)->pool_type;
    bool good = count == 2 && PyTuple_Check(args[0]);
    for (Py_ssize_t i = 0; good && i < PyTuple_GET_SIZE(args[0]); i++) {
        good = Py_IS_TYPE(PyTuple_GET_ITEM(args[0], i), type);
    }
    if (!good) {
        PyErr_SetString(PyExc_TypeError, "a tuple of pools, and a buffer");
        return -1;
    }
    return PyObject_GetBuffer(args[1], view, flags);
}

/* A reference to the buffer, if it lies in a block of one of the pools that
 * is shared here: in flight from now on. Else None. */
PyDoc_STRVAR(share_doc, "_pool_share($module, pools, buffer, /)\n--\n\n");

static PyObject *
pool_share(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer view;
    shx_pool_reference reference = {0};
    if (parse(module, args, count, PyBUF_SIMPLE, &view) < 0) {
        return NULL;
    }
    shx_py_pool *pool = find(args[0], view.buf, (size_t)view.len, &reference);
    PyObject *result =
        pool == NULL ? Py_NewRef(Py_None)
                     : shx_reference_send(
                           pool, &reference,
                           SHX_SHARED | (view.readonly ? SHX_READONLY : 0u));
    PyBuffer_Release(&view);
    return result;
}

/* Does it lie in a block of one of them that is shared here? */
PyDoc_STRVAR(is_shared_doc,
             "_pool_is_shared($module, pools, buffer, /)\n--\n\n");

/* What is in pieces is in the block that its first byte is in. What is in one
 * piece may be any that somebody has put together. */
static PyObject *
pool_is_shared(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer view;
    shx_pool_reference reference = {0};
    if (parse(module, args, count, PyBUF_STRIDED_RO, &view) < 0) {
        return NULL;
    }
    size_t length = PyBuffer_IsContiguous(&view, 'C') && view.len > 0
                        ? (size_t)view.len
                        : 1;
    bool found = find(args[0], view.buf, length, &reference) != NULL;
    PyBuffer_Release(&view);
    return PyBool_FromLong(found);
}

static PyMethodDef reference_functions[] = {
    {"_pool_share", (PyCFunction)(void (*)(void))pool_share, METH_FASTCALL,
     share_doc},
    {"_pool_is_shared", (PyCFunction)(void (*)(void))pool_is_shared,
     METH_FASTCALL, is_shared_doc},
    {NULL, NULL, 0, NULL},
};

int
shx_reference_add(PyObject *module)
{
    return PyModule_AddFunctions(module, reference_functions);
}

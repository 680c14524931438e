/* SPDX-License-Identifier: MIT */
/* Places for synchronizers that are given none. */
#include "py/sync/store.h"

#include "core/sync/store.h"
#include "py/memory/memory.h"
#include "py/sync/synchronizer.h"

/* Return where in the memory of that synchronizer, which holds nothing but
 * cells, as many bytes are from now on the caller's; None if it is full. */
PyDoc_STRVAR(take_doc, "_take($module, count, size, /)\n--\n\n");

static PyObject *
take(PyObject *module, PyObject *args)
{
    PyObject *op;
    Py_ssize_t size;
    const shx_state *state = shx_state_of_module(module);
    if (!PyArg_ParseTuple(args, "O!n:_take", state->synchronizer_type, &op,
                          &size)) {
        return NULL;
    }
    size_t offset;
    const shx_segment *memory = &SYNCHRONIZER(op)->mapping->segment;
    bool taken = memory->writable && size > 0 &&
                 shx_store_take(memory->address, memory->size, (size_t)size,
                                &offset) == 0;
    return taken ? PyLong_FromSize_t(offset) : Py_NewRef(Py_None);
}

/* Return what tells the memory's file from every other. */
PyDoc_STRVAR(identity_doc, "_identity($module, memory, /)\n--\n\n");

static PyObject *
identity(PyObject *module, PyObject *op)
{
    const shx_state *state = shx_state_of_module(module);
    if (!PyObject_TypeCheck(op, state->memory_type)) {
        return PyErr_Format(PyExc_TypeError, "not a Memory");
    }
    shx_mapping *mapping = shx_memory_mapping(op);
    if (mapping == NULL) {
        return NULL;
    }
    const shx_identity is = mapping->segment.identity;
    Py_DECREF(mapping);
    return Py_BuildValue("KKK", (unsigned long long)is.device,
                         (unsigned long long)is.inode,
                         (unsigned long long)is.born);
}

static PyMethodDef store_methods[] = {
    {"_identity", identity, METH_O, identity_doc},
    {"_take", take, METH_VARARGS, take_doc},
    {NULL, NULL, 0, NULL},
};

int
shx_store_add(PyObject *module)
{
    return PyModule_AddFunctions(module, store_methods);
}

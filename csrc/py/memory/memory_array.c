/* SPDX-License-Identifier: MIT */
/* What numpy makes of a Memory: its ndarray(). Of numpy nothing is known here:
 * a Python function makes the array, and is looked up when it is called. It is
 * given the mapping, which the array keeps: whatever becomes of the memory. */
#include "py/memory/memory.h"

PyDoc_STRVAR(
    memory_ndarray_doc,
    "ndarray($self, /, shape, dtype='f8', offset=0)\n--\n\n"
    "Return a numpy.ndarray of this memory.\n\n"
    "It is C-ordered, writable unless the memory is readonly, and begins "
    "with\n"
    "what is there. It keeps the memory mapped, also after close().\n\n"
    "shape: an int or several\n"
    "dtype: what numpy takes for one, without Python objects\n"
    "offset: bytes, of its first item\n\n"
    "ValueError: closed, or there are fewer bytes than it takes, or shape or\n"
    "offset is negative. TypeError: dtype is none, or has Python objects.\n"
    "ImportError: numpy is not installed.");

/* Looking the function up runs any code, which may change the dict of the
 * keywords: so all of it is held by then. */
static PyObject *
memory_ndarray(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"shape", "dtype", "offset", NULL};
    shx_state *state = shx_state_of(Py_TYPE(op));
    /* numpy's None is the same as "f8" */
    PyObject *shape, *dtype = Py_None;
    PyObject *offset = state == NULL ? NULL : state->zero;
    if (state == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO:ndarray", keywords,
                                     &shape, &dtype, &offset)) {
        return NULL;
    }
    Py_INCREF(shape);
    Py_INCREF(dtype);
    Py_INCREF(offset);
    PyObject *array = NULL, *make = NULL;
    shx_mapping *mapping = shx_memory_mapping(op);
    if (mapping != NULL) {
        make = shx_import("shmemext._array_memory", "over");
    }
    if (make != NULL) {
        array = PyObject_CallFunctionObjArgs(make, op, (PyObject *)mapping,
                                             shape, dtype, offset, NULL);
    }
    Py_XDECREF(make);
    Py_XDECREF(mapping);
    Py_DECREF(offset);
    Py_DECREF(dtype);
    Py_DECREF(shape);
    return array;
}

PyMethodDef shx_memory_array_methods[] = {
    {"ndarray", (PyCFunction)(void (*)(void))memory_ndarray,
     METH_VARARGS | METH_KEYWORDS, memory_ndarray_doc},
    {NULL, NULL, 0, NULL},
};

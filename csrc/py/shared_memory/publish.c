/* SPDX-License-Identifier: MIT */
/* A segment that nobody sees before it has its content: what is written into
 * one that has a name may never be, if whoever was to write it is killed. */
#include "py/shared_memory/publish.h"

#include "py/shared_memory/construct.h"
#include "py/state.h"

PyDoc_STRVAR(
    publish_doc,
    "_publish($module, name, content, size, mode, /)\n--\n\n"
    "Return the segment of its users that has this name. If there is\n"
    "none, one is created, of that size and mode, that begins with\n"
    "this content from the moment on when it has its name.\n"
    "FileExistsError: the name is that of something else.");

static PyObject *
construct(PyTypeObject *type, PyObject *keywords, const Py_buffer *content)
{
    PyObject *nothing = PyTuple_New(0);
    PyObject *segment =
        nothing == NULL ? NULL : type->tp_new(type, nothing, NULL);
    if (segment != NULL &&
        shx_shared_memory_init_with(segment, nothing, keywords, content->buf,
                                    (size_t)content->len) < 0) {
        Py_CLEAR(segment);
    }
    Py_XDECREF(nothing);
    return segment;
}

static PyObject *
publish(PyObject *module, PyObject *args)
{
    PyObject *name, *segment = NULL;
    Py_buffer content;
    Py_ssize_t size;
    int mode;
    if (!PyArg_ParseTuple(args, "Uy*ni:_publish", &name, &content, &size,
                          &mode)) {
        return NULL;
    }
    PyObject *keywords = NULL;
    if (content.len > size) {
        PyErr_SetString(PyExc_ValueError, "the content is longer than size");
    }
    else {
        keywords = Py_BuildValue("{sOsOsOsnsiss}", "name", name, "create",
                                 Py_True, "exist_ok", Py_True, "size", size,
                                 "mode", mode, "lifetime", "users");
    }
    if (keywords != NULL) {
        segment = construct(shx_state_of_module(module)->shared_memory_type,
                            keywords, &content);
        Py_DECREF(keywords);
    }
    PyBuffer_Release(&content);
    return segment;
}

static PyMethodDef publish_methods[] = {
    {"_publish", publish, METH_VARARGS, publish_doc},
    {NULL, NULL, 0, NULL},
};

int
shx_publish_add(PyObject *module)
{
    return PyModule_AddFunctions(module, publish_methods);
}

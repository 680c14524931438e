/* SPDX-License-Identifier: MIT */
/* A segment that nobody sees before it has its content: what is written into
 * one that has a name may never be, if whoever was to write it is killed. */
#include "py/shared_memory/publish.h"

#include "py/shared_memory/construct.h"
#include "py/state.h"

/* Return SharedMemory(**arguments). If it is created it begins with this
 * content from the moment on when it has its name. meets: of its users. If
 * there is one it is attached, whoever made it and has died since.
 * FileExistsError: the name is that of something else. */
PyDoc_STRVAR(publish_doc,
             "_publish($module, content, meets, /, **arguments)\n--\n\n");

static PyObject *
publish(PyObject *module, PyObject *args, PyObject *kwargs)
{
    PyTypeObject *type = shx_state_of_module(module)->shared_memory_type;
    Py_buffer content;
    int meets;
    if (!PyArg_ParseTuple(args, "y*p:_publish", &content, &meets)) {
        return NULL;
    }
    PyObject *nothing = PyTuple_New(0);
    PyObject *segment =
        nothing == NULL ? NULL : type->tp_new(type, nothing, NULL);
    if (segment != NULL &&
        shx_shared_memory_init_with(segment, nothing, kwargs, &content,
                                    meets != 0) < 0) {
        Py_CLEAR(segment);
    }
    Py_XDECREF(nothing);
    PyBuffer_Release(&content);
    return segment;
}

static PyMethodDef publish_methods[] = {
    {"_publish", (PyCFunction)(void (*)(void))publish,
     METH_VARARGS | METH_KEYWORDS, publish_doc},
    {NULL, NULL, 0, NULL},
};

int
shx_publish_add(PyObject *module)
{
    return PyModule_AddFunctions(module, publish_methods);
}

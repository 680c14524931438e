/* SPDX-License-Identifier: MIT */
#include "py/state.h"

#include <string.h> /* strlen */

#define X(n) #n "\0"
static const char all_names[] = SHX_NAMES(X);
#undef X

int
shx_state_init(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    const char *name = all_names;
    for (size_t i = 0; i < SHX_NAME_COUNT; i++, name += strlen(name) + 1) {
        state->names[i] = PyUnicode_InternFromString(name);
        if (state->names[i] == NULL) {
            return -1;
        }
    }
    state->zero = PyLong_FromLong(0);
    state->public_module = PyUnicode_FromString("shmemext.shared_memory");
    state->tracker_module =
        PyUnicode_FromString("multiprocessing.resource_tracker");
    state->mmap_module = PyUnicode_FromString("mmap");
    state->register_name = PyUnicode_InternFromString("register");
    return state->zero == NULL || state->public_module == NULL ||
                   state->tracker_module == NULL ||
                   state->mmap_module == NULL || state->register_name == NULL
               ? -1
               : 0;
}

PyObject *
shx_import(const char *module, const char *name)
{
    PyObject *found = PyImport_ImportModule(module);
    PyObject *result =
        found == NULL ? NULL : PyObject_GetAttrString(found, name);
    Py_XDECREF(found);
    return result;
}

int
shx_add_methods(PyTypeObject *type, PyMethodDef *methods)
{
    for (PyMethodDef *def = methods; def->ml_name != NULL; def++) {
        PyObject *method = PyDescr_NewMethod(type, def);
        if (method == NULL ||
            PyObject_SetAttrString((PyObject *)type, def->ml_name, method) <
                0) {
            Py_XDECREF(method);
            return -1;
        }
        Py_DECREF(method);
    }
    return 0;
}

PyTypeObject *
shx_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base,
             const char *name)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    PyObject *text = type == NULL ? NULL : PyUnicode_FromString(name);
    if (text == NULL || PyObject_SetAttrString(type, "__name__", text) < 0 ||
        PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    Py_XDECREF(text);
    return (PyTypeObject *)type;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    shx_state *state = shx_state_of_module(module);
    for (size_t i = 0; i < SHX_TYPE_COUNT; i++) {
        Py_VISIT(state->types[i]);
    }
    Py_VISIT(state->make_filename);
    return 0;
}

static int
module_clear(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    for (size_t i = 0; i < SHX_TYPE_COUNT; i++) {
        Py_CLEAR(state->types[i]);
    }
    Py_CLEAR(state->zero);
    Py_CLEAR(state->public_module);
    Py_CLEAR(state->tracker_module);
    Py_CLEAR(state->mmap_module);
    Py_CLEAR(state->register_name);
    Py_CLEAR(state->make_filename);
    for (size_t i = 0; i < SHX_NAME_COUNT; i++) {
        Py_CLEAR(state->names[i]);
    }
    return 0;
}

static void
module_free(void *module)
{
    (void)module_clear(module);
}

PyModuleDef shx_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_shmemext",
    .m_doc = PyDoc_STR("The C side of shmemext. Import shmemext instead."),
    .m_size = sizeof(shx_state),
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

/* SPDX-License-Identifier: MIT */
/* The module shmemext._shmemext: state, types, slots. */
#include "py/module.h"

#include "py/memory/memory.h"
#include "py/list/shareable_list.h"

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

/* A type that goes by its last name in messages, as a Python class does. */
static PyTypeObject *
add_public_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base,
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
add_memory_types(PyObject *module, shx_state *state)
{
    PyTypeObject *base =
        add_public_type(module, &shx_memory_spec, NULL, "Memory");
    state->memory_type = base;
    if (base == NULL || shx_add_methods(base, shx_memory_grow_methods) < 0 ||
        shx_add_methods(base, shx_memory_copy_methods) < 0) {
        return -1;
    }
    state->shared_memory_type =
        add_public_type(module, &shx_shared_memory_spec, base, "SharedMemory");
    state->mapped_file_type =
        add_public_type(module, &shx_mapped_file_spec, base, "MappedFile");
    state->anonymous_memory_type = add_public_type(
        module, &shx_anonymous_memory_spec, base, "AnonymousMemory");
    if (state->shared_memory_type == NULL || state->mapped_file_type == NULL ||
        state->anonymous_memory_type == NULL) {
        return -1;
    }
    if (shx_add_methods(state->anonymous_memory_type,
                        shx_anonymous_seal_methods) < 0) {
        return -1;
    }
    return shx_shared_memory_add_fields(state, state->shared_memory_type);
}

static int
add_public_types(PyObject *module, shx_state *state)
{
    if (add_memory_types(module, state) < 0) {
        return -1;
    }
    state->shareable_list_type = add_public_type(
        module, &shx_shareable_list_spec, NULL, "ShareableList");
    if (state->shareable_list_type == NULL ||
        shx_list_search_add(state->shareable_list_type) < 0) {
        return -1;
    }
    return shx_list_layout_add(state->shareable_list_type);
}

static int
add_make_filename(PyObject *module, shx_state *state)
{
    state->make_filename = PyCFunction_New(&shx_make_filename_method, module);
    return state->make_filename == NULL
               ? -1
               : PyModule_AddObjectRef(module, "_make_filename",
                                       state->make_filename);
}

static int
module_exec(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
#define X(n)                                                                  \
    state->str.n = PyUnicode_InternFromString(#n);                            \
    if (state->str.n == NULL) {                                               \
        return -1;                                                            \
    }
    SHX_NAMES(X)
#undef X
    state->zero = PyLong_FromLong(0);
    state->process_module = PyUnicode_FromString("multiprocessing.process");
    state->public_module = PyUnicode_FromString("shmemext.shared_memory");
    state->mapping_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &shx_mapping_spec, NULL);
    state->field_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &shx_field_spec, NULL);
    if (state->zero == NULL || state->public_module == NULL ||
        state->process_module == NULL || state->mapping_type == NULL ||
        state->field_type == NULL) {
        return -1;
    }
    if (add_make_filename(module, state) < 0 || shx_mapping_watch() < 0) {
        return -1;
    }
    return add_public_types(module, state);
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    shx_state *state = shx_state_of_module(module);
    Py_VISIT(state->mapping_type);
    Py_VISIT(state->field_type);
    Py_VISIT(state->memory_type);
    Py_VISIT(state->shared_memory_type);
    Py_VISIT(state->mapped_file_type);
    Py_VISIT(state->anonymous_memory_type);
    Py_VISIT(state->shareable_list_type);
    Py_VISIT(state->authkey);
    Py_VISIT(state->make_filename);
    return 0;
}

static int
module_clear(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    Py_CLEAR(state->mapping_type);
    Py_CLEAR(state->field_type);
    Py_CLEAR(state->memory_type);
    Py_CLEAR(state->shared_memory_type);
    Py_CLEAR(state->mapped_file_type);
    Py_CLEAR(state->anonymous_memory_type);
    Py_CLEAR(state->shareable_list_type);
    Py_CLEAR(state->zero);
    Py_CLEAR(state->process_module);
    Py_CLEAR(state->public_module);
    Py_CLEAR(state->authkey);
    Py_CLEAR(state->make_filename);
#define X(n) Py_CLEAR(state->str.n);
    SHX_NAMES(X)
#undef X
    return 0;
}

static void
module_free(void *module)
{
    (void)module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    SHX_MODULE_SLOTS{0, NULL},
};

PyDoc_STRVAR(module_doc, "The C side of shmemext. Import shmemext instead.");

PyModuleDef shx_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_shmemext",
    .m_doc = module_doc,
    .m_size = sizeof(shx_state),
    .m_methods = shx_lifetime_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__shmemext(void)
{
    return PyModuleDef_Init(&shx_module);
}

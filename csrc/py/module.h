/* SPDX-License-Identifier: MIT */
/* What the files of the glue share: the module's state, the type specs, and
 * the one translator of errors. Nothing else belongs here. */
#ifndef SHX_MODULE_H
#define SHX_MODULE_H

#include "compat.h"

#include "../core/segment.h"

/* Names that are looked up at run time, interned once per module. */
#define SHX_NAMES(X)                                                          \
    X(_flags)                                                                 \
    X(_make_filename)                                                         \
    X(_mode)                                                                  \
    X(_prepend_leading_slash)                                                 \
    X(_track)                                                                 \
    X(close)                                                                  \
    X(create)                                                                 \
    X(name)                                                                   \
    X(reserve)                                                                \
    X(size)                                                                   \
    X(track)

typedef struct {
    PyTypeObject *mapping_type;
    PyTypeObject *field_type;
    PyTypeObject *shared_memory_type;
    PyObject *zero;
    PyObject *public_module; /* the name "shmemext.shared_memory" */
    struct {
#define X(n) PyObject *n;
        SHX_NAMES(X)
#undef X
    } str;
} shx_state;

extern PyModuleDef shx_module;
extern PyType_Spec shx_mapping_spec;
extern PyType_Spec shx_field_spec;
extern PyType_Spec shx_shared_memory_spec;

static inline shx_state *
shx_state_of_module(PyObject *module)
{
    return (shx_state *)PyModule_GetState(module);
}

/* For slots, which are not told the defining class: walks the MRO, so that
 * subclasses find it too. NULL with an exception set on a foreign type. */
static inline shx_state *
shx_state_of(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &shx_module);
    return module == NULL ? NULL : shx_state_of_module(module);
}

/* Raises what `err` stands for and returns NULL. `filename` may be NULL. */
PyObject *shx_raise(shx_err err, PyObject *filename);

/* Raises ENOSPC: which segment, how much was asked, how much is there, and
 * what to do. Returns NULL. */
PyObject *shx_raise_full(PyObject *filename, size_t asked);

#endif

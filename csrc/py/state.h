/* SPDX-License-Identifier: MIT */
/* What the files of the glue share: the module's state, the type specs, and
 * the one translator of errors. Nothing else belongs here. */
#ifndef SHX_MODULE_H
#define SHX_MODULE_H

#include "py/compat.h"

#include <sys/types.h> /* uid_t */

#include "core/memory/segment.h"

/* Names that are looked up at run time, interned once per module. */
#define SHX_NAMES(X)                                                          \
    X(_SHM_NAME_PREFIX)                                                       \
    X(_SHM_SAFE_NAME_LENGTH)                                                  \
    X(_config)                                                                \
    X(_current_process)                                                       \
    X(_flags)                                                                 \
    X(_make_filename)                                                         \
    X(_mode)                                                                  \
    X(_prepend_leading_slash)                                                 \
    X(_track)                                                                 \
    X(authkey)                                                                \
    X(close)                                                                  \
    X(create)                                                                 \
    X(current_process)                                                        \
    X(exist_ok)                                                               \
    X(mode)                                                                   \
    X(name)                                                                   \
    X(path)                                                                   \
    X(readonly)                                                               \
    X(reserve)                                                                \
    X(size)                                                                   \
    X(timeout)                                                                \
    X(track)

typedef struct {
    PyTypeObject *mapping_type;
    PyTypeObject *field_type;
    PyTypeObject *memory_type;
    PyTypeObject *shared_memory_type;
    PyTypeObject *mapped_file_type;
    PyTypeObject *anonymous_memory_type;
    PyTypeObject *shareable_list_type;
    /* Which family we are in, and by what: guarded by the module's lock. */
    PyObject *authkey;
    uid_t euid;
    shx_family *family;
    PyObject *zero;
    PyObject *make_filename;  /* our own, to tell a patched one from it */
    PyObject *process_module; /* the name "multiprocessing.process" */
    PyObject *public_module;  /* the name "shmemext.shared_memory" */
    struct {
#define X(n) PyObject *n;
        SHX_NAMES(X)
#undef X
    } str;
} shx_state;

extern PyModuleDef shx_module;
extern PyType_Spec shx_mapping_spec;
extern PyType_Spec shx_field_spec;
extern PyType_Spec shx_memory_spec;
extern PyType_Spec shx_shared_memory_spec;
extern PyType_Spec shx_mapped_file_spec;
extern PyType_Spec shx_anonymous_memory_spec;
extern PyType_Spec shx_shareable_list_spec;

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

/* The caller's family, joined if need be: its authkey or euid may have changed
 * since the last call. Raises OSError. `module` is ours. */
int shx_family_of_caller(PyObject *module, shx_family **out);

/* The same, before a create. */
int shx_family_to_own(PyObject *module, shx_family **out);

/* An attribute that has to be a C int. */
int shx_int_attribute(PyObject *op, PyObject *attribute, int *out);

/* A generated name: what shmemext.shared_memory._make_filename() gives, which
 * programs patch. */
PyObject *shx_make_filename(shx_state *state);
extern PyMethodDef shx_make_filename_method;

/* Module functions of lifetime.c. */
extern PyMethodDef shx_lifetime_methods[];

/* Raises what `err` stands for and returns NULL. `filename` may be NULL. */
PyObject *shx_raise(shx_err err, PyObject *filename);

/* Raises OSError with a sentence instead of the system's, and returns NULL.
 * `text` is stolen; NULL: an exception is set already. */
PyObject *shx_raise_text(int code, PyObject *text, PyObject *filename);

/* The same, of something that the system cannot do. */
PyObject *shx_raise_unsupported(int code, const char *text,
                                PyObject *filename);

/* Puts methods on a type that is there already. */
int shx_add_methods(PyTypeObject *type, PyMethodDef *methods);

#endif

/* SPDX-License-Identifier: MIT */
/* A field is an attribute that lives in the instance's struct but, read on
 * the class, gives the class's default: what `_flags = os.O_RDWR` in the body
 * of a Python class does.
 *
 *   SharedMemory._flags      -> 2, the default
 *   shm._flags               -> the struct's, or the default while unset
 *   class Sub(SharedMemory):
 *       _flags = os.O_RDONLY -> hides the field, as it would in Python
 *
 * Reading and writing happen under the object's own critical section.
 */
#ifndef SHX_FIELD_H
#define SHX_FIELD_H

#include "py/state.h"

typedef struct {
    const char *name;
    Py_ssize_t offset;            /* of a PyObject * in the instance */
    PyObject *(*get)(PyObject *); /* instead of the plain slot, or NULL */
    int (*set)(PyObject *, PyObject *);
} shx_field_def;

/* Makes the type; it is state->field_type. */
int shx_field_type_add(PyObject *module);

/* `fallback` NULL: there is no default, unset is AttributeError. */
int shx_field_add(shx_state *state, PyTypeObject *owner,
                  const shx_field_def *def, PyObject *fallback);

#endif

/* SPDX-License-Identifier: MIT */
/* The type Lock, and the methods of whatever is a lock. */
#ifndef SHX_PY_LOCK_H
#define SHX_PY_LOCK_H

#include "core/sync/lock.h"
#include "py/sync/synchronizer.h"

/* A kind whose objects are locks. `quick` takes it where that is at once to be
 * had; it asks nobody. */
typedef struct {
    shx_synchronizer_kind base;
    bool (*quick)(const shx_site *at, const shx_member *me);
    shx_err (*acquire)(const shx_site *at, const shx_member *me, shx_torn torn,
                       shx_patience *patience);
    shx_err (*attempt)(const shx_site *at, const shx_member *me,
                       shx_torn torn);
    shx_err (*release)(const shx_site *at, const shx_member *me);
    shx_err (*release_torn)(const shx_site *at, const shx_member *me);
    /* Whoever has it not, and releases it. Returns NULL. */
    PyObject *(*refuse)(PyObject *op);
} shx_lock_kind;

/* Methods of whatever is taken and released, and of what is one word that one
 * may have. */
extern PyMethodDef shx_lock_methods[];
extern PyMethodDef shx_lock_word_methods[];
extern PyGetSetDef shx_lock_getset[];
PyObject *shx_lock_repr(PyObject *op);

/* What on_death= says, as a bit of the parameter. -1 with an exception. */
int shx_parse_on_death(PyObject *on_death, uint32_t *parameter);

/* The rest of the two types' __new__, and of their kinds. */
PyObject *shx_lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs,
                       const shx_lock_kind *kind, const char *format);
size_t shx_lock_size(uint32_t parameter);
PyObject *shx_lock_describe_parameter(uint32_t parameter);

/* Makes the type. */
int shx_lock_add(PyObject *module);

#endif

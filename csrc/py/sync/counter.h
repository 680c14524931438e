/* SPDX-License-Identifier: MIT */
/* What counts, and is taken and given back by ones: the methods that Semaphore
 * and BoundedSemaphore share. */
#ifndef SHX_PY_COUNTER_H
#define SHX_PY_COUNTER_H

#include "py/sync/synchronizer.h"
#include "py/sync/waiting.h"

/* What differs between the kinds. All but the last without an exception. */
typedef struct {
    shx_synchronizer_kind base;
    /* Takes one that is at once to be had: asks nobody. */
    bool (*take)(PyObject *op);
    /* The same, and asks whether who has one is dead: without the GIL. NULL:
     * nobody has any. */
    shx_err (*attempt)(PyObject *op);
    shx_err (*acquire)(PyObject *op, shx_waiting *waiting);
    shx_err (*release)(PyObject *op, uint32_t count);
    /* Waits until one may be had, and takes none. */
    shx_err (*watch)(const shx_site *at, shx_patience *patience);
    uint32_t (*count)(const shx_site *at);
    /* Frees those of the dead, without the GIL; or NULL. */
    void (*reap)(const shx_site *at);
    /* What a release that failed says. Returns NULL. */
    PyObject *(*refuse)(PyObject *op, shx_err err);
} shx_counter_kind;

extern PyMethodDef shx_counter_methods[];

/* The rest of the two types' __new__: their value, which `check` has refused
 * with -1 and an exception, and where they are to be. */
PyObject *shx_counter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs,
                          const shx_counter_kind *kind, const char *format,
                          int (*check)(int value));

/* "value=3" */
PyObject *shx_counter_describe(uint32_t parameter);

/* The number that a semaphore begins with, as multiprocessing has it: OSError
 * and EINVAL below 0. */
int shx_check_value(int value);

#endif

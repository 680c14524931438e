/* SPDX-License-Identifier: MIT */
/* The type Condition. */
#ifndef SHX_PY_CONDITION_H
#define SHX_PY_CONDITION_H

#include "core/sync/condition.h"
#include "py/sync/synchronizer.h"
#include "py/sync/waiting.h"

/* Its lock is an object of its own: of the cell behind its own, or anybody's
 * Lock or RLock. */
typedef struct {
    shx_synchronizer base;
    PyObject *lock;
    shx_condition core;
} shx_condition_object;

#define CONDITION(op) ((shx_condition_object *)(op))

/* condition_steps.c: what a wait is made of, for tasks. */
extern PyMethodDef shx_condition_steps[];

/* For both kinds of wait: as whom, in both memories. */
void shx_condition_begin_waiting(shx_waiting *waiting, PyObject *op,
                                 int64_t timeout, shx_waiter *me);

/* condition_construct.c: the call, what pickles it, and what unpickles. */
PyObject *shx_condition_new(PyTypeObject *type, PyObject *args,
                            PyObject *kwargs);
PyObject *shx_condition_reduce(PyObject *op, PyObject *ignored);
PyObject *shx_condition_rebuild(PyObject *type, PyObject *args);
PyObject *shx_condition_size_of(PyObject *type, PyObject *args,
                                PyObject *kwargs);

/* How many may wait, by its parameter. */
uint32_t shx_condition_waiters(uint32_t parameter);

/* Raises what `err` stands for; `unowned` is said for SHX_NOT_OWNER. Returns
 * NULL. */
PyObject *shx_condition_raise(PyObject *op, shx_err err, const char *unowned);

/* Was the memory cut short, the lock's or its own? */
bool shx_condition_is_torn(PyObject *op);

/* Makes the type. */
int shx_condition_add(PyObject *module);

#endif

/* SPDX-License-Identifier: MIT */
/* The type Barrier.
 *
 * Who has passed is counted on, as long as its object lives: what a process
 * gives back when it ends normally, shmemext._barriers has it give back. So
 * slots are told apart by object, beside by process.
 */
#ifndef SHX_PY_BARRIER_H
#define SHX_PY_BARRIER_H

#include "core/sync/barrier.h"
#include "py/sync/synchronizer.h"

typedef struct {
    shx_synchronizer base;
    PyObject *action;  /* or None */
    PyObject *timeout; /* or None */
    _Atomic bool used; /* it may have slots: _barriers knows it */
} shx_barrier;

#define BARRIER(op) ((shx_barrier *)(op))

/* barrier_wait.c: its methods that wait. */
extern PyMethodDef shx_barrier_wait_methods[];

/* At the end of a process, and of an object: it is not counted on. */
void shx_barrier_give_up(PyObject *op);

/* Makes the type. */
int shx_barrier_add(PyObject *module);

#endif

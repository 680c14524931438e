/* SPDX-License-Identifier: MIT */
#ifndef SHX_CONSTRUCT_H
#define SHX_CONSTRUCT_H

#include "py/compat.h"

/* What __init__ does. */
int shx_shared_memory_init(PyObject *op, PyObject *args, PyObject *kwargs);

/* The same, of a segment that begins with these bytes before anybody can see
 * it, if it is created. `meets`: it is attached where there is one, whoever
 * made it and has died since. FileExistsError: what is there is no segment of
 * its users. */
int shx_shared_memory_init_with(PyObject *op, PyObject *args, PyObject *kwargs,
                                const Py_buffer *content, bool meets);

#endif

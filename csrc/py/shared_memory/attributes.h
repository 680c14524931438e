/* SPDX-License-Identifier: MIT */
/* Attributes as Python code has them: what a subclass says, or a program has
 * put there. */
#ifndef SHX_ATTRIBUTES_H
#define SHX_ATTRIBUTES_H

#include "py/compat.h"

/* The truth of one: -1 on error. */
int shx_attribute_is_true(PyObject *op, PyObject *attribute);

/* One that has to be a C int. */
int shx_int_attribute(PyObject *op, PyObject *attribute, int *out);

/* `_name` in the system's terms: *bare points into `name`, which must live as
 * long. Raises what shm_open() would. */
int shx_bare_name(PyObject *name, const char *function, const char **bare);

#endif

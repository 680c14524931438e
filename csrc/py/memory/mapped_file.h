/* SPDX-License-Identifier: MIT */
#ifndef SHX_PY_MAPPED_FILE_H
#define SHX_PY_MAPPED_FILE_H

#include "py/memory/memory.h"

typedef struct {
    shx_memory base;
    PyObject *path;    /* absolute: an exact str, or NULL */
    PyObject *encoded; /* the same in the system's terms: bytes */
} shx_mapped_file;

#define MAPPED_FILE(op) ((shx_mapped_file *)(op))

/* mapped_file_construct.c: what __init__ does. */
int shx_mapped_file_init(PyObject *op, PyObject *args, PyObject *kwargs);

/* Makes the type; it is state->mapped_file_type. */
int shx_mapped_file_add(PyObject *module);

#endif

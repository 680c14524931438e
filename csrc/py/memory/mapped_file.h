/* SPDX-License-Identifier: MIT */
#ifndef SHX_PY_MAPPED_FILE_H
#define SHX_PY_MAPPED_FILE_H

#include "py/memory/memory.h"

/* Makes the type; it is state->mapped_file_type. */
int shx_mapped_file_add(PyObject *module);

#endif

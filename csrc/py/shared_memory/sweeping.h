/* SPDX-License-Identifier: MIT */
#ifndef SHX_SWEEPING_H
#define SHX_SWEEPING_H

#include "py/state.h"

/* Functions of the module. */
int shx_sweeping_add(PyObject *module);

#endif

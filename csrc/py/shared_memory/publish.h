/* SPDX-License-Identifier: MIT */
#ifndef SHX_PUBLISH_H
#define SHX_PUBLISH_H

#include "py/compat.h"

/* Functions of the module. */
int shx_publish_add(PyObject *module);

#endif

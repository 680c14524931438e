/* SPDX-License-Identifier: MIT */
#ifndef SHX_TRACKER_H
#define SHX_TRACKER_H

#include "py/compat.h"

/* multiprocessing.resource_tracker's function, looked up at each call, so
 * that programs which patch it are honoured. */
int shx_tracker_call(const char *function, PyObject *name);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SHX_UNLINK_H
#define SHX_UNLINK_H

#include "py/state.h"

/* Removes the name, and what the family or the tracker know of it. */
int shx_unlink_name(shx_state *state, PyObject *op, PyObject *name,
                    int missing_ok);

#endif

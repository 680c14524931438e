/* SPDX-License-Identifier: MIT */
#ifndef SHX_FIELDS_H
#define SHX_FIELDS_H

#include "py/state.h"

/* The attributes that are properties. */
extern PyGetSetDef shx_shared_memory_getset[];

/* The private ones, which programs set. */
int shx_shared_memory_add_fields(shx_state *state, PyTypeObject *type);

#endif

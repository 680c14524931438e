/* SPDX-License-Identifier: MIT */
#ifndef SHX_LIFETIME_H
#define SHX_LIFETIME_H

#include "py/state.h"

/* The caller's family, joined if need be, before a create: its authkey or
 * euid may have changed since the last call. Raises OSError. `module` is
 * ours. */
int shx_family_to_own(PyObject *module, shx_family **out);

/* Functions of the module. */
int shx_lifetime_add(PyObject *module);

#endif

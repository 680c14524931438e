/* SPDX-License-Identifier: MIT */
#ifndef SHX_LIFETIME_H
#define SHX_LIFETIME_H

#include "core/life/family.h"
#include "py/state.h"

/* The caller's family, with a reaper, before a create; and with an attendant
 * before one of a users' segment. *err, and no family: it cannot be founded,
 * which is raised by who knows for which name it was. */
int shx_family_to_own(bool users, shx_family **out, shx_err *err);

/* Functions of the module. */
int shx_lifetime_add(PyObject *module);

#endif

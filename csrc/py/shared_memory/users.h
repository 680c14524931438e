/* SPDX-License-Identifier: MIT */
#ifndef SHX_PY_USERS_H
#define SHX_PY_USERS_H

#include "core/life/family.h"
#include "py/memory/mapping.h"

/* What a mapping of a users' segment ends with: core/life/users.h. One that
 * the mapping has already is replaced. MemoryError. */
int shx_users_expect(shx_mapping *mapping, const char *name);

/* The segment is mapped: its use begins, if it is of that kind, else nothing
 * was to be expected. Where there is no memory, it is unmapped again. `record`
 * is the family's, or NULL. */
int shx_users_begin(shx_mapping *mapping, const char *name,
                    shx_record *record);

/* What the object is pickled as, (callable, arguments), which is stolen: the
 * same, or for a process that is being started one with a share beside. */
PyObject *shx_users_reduce(PyObject *op, PyObject *reduced);

/* Functions of the module. */
int shx_users_add(PyObject *module);

#endif

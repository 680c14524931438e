/* SPDX-License-Identifier: MIT */
/* The object behind shmemext.SharedMemory.
 *
 * All members are guarded by the object's critical section. A NULL member is
 * unset: reading its field gives the class's default.
 */
#ifndef SHX_OBJECT_H
#define SHX_OBJECT_H

#include "core/life/family.h"
#include "py/memory/memory.h"

typedef struct {
    shx_memory base;
    PyObject *name;     /* with its slash, as the stdlib keeps it */
    PyObject *own_name; /* the one it was made with: programs set `_name` */
    PyObject *flags;
    PyObject *mode;
    PyObject *prepend;
    PyObject *track;
    shx_record *record; /* our family's, of this segment; or NULL */
    bool created;       /* by this very object */
    bool drawn;         /* likewise, under a name that nobody else knows of */
    bool unlinked;      /* likewise: the name is not its any more */
} shx_shared_memory;

#define SHARED_MEMORY(op) ((shx_shared_memory *)(op))

#endif

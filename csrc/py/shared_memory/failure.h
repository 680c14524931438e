/* SPDX-License-Identifier: MIT */
/* What a construction that fails says. Type, errno, file name and words are
 * the stdlib's. Where they leave unsaid what was asked of what, or hide the
 * way out, a note says it; where they are enough there is none, since doctest
 * and whoever reads the last line of a traceback sees the note. */
#ifndef SHX_FAILURE_H
#define SHX_FAILURE_H

#include "core/memory/segment.h"
#include "py/shared_memory/arguments.h"

/* A size that cannot be converted is the second complaint: the stdlib opens
 * the name first, and says FileExistsError if it is taken. */
int shx_size_as_number(PyObject *size, const char *bare, PyObject *name,
                       size_t *out);

/* Adds to the exception of such an error what ails /dev/shm itself, if
 * anything does, and the way out: it is missing, read-only, somebody else's,
 * full; or there are no more descriptors. Else there is no note. */
void shx_note_place(shx_err err);

/* OSError of what is done to /dev/shm, not to a name in it. Returns NULL. */
PyObject *shx_raise_place(shx_err err);

/* Both return -1. */
int shx_raise_create(PyObject *op, const shx_create *request, shx_err err,
                     PyObject *name);
int shx_raise_attach(const shx_call *call, const shx_attach *request,
                     shx_err err, PyObject *name);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef SHX_FILENAME_H
#define SHX_FILENAME_H

#include "py/state.h"

/* A generated name: what shmemext.shared_memory._make_filename() gives, which
 * programs patch. *drawn: it is our own, and so by chance. */
PyObject *shx_make_filename(shx_state *state, bool *drawn);

/* Puts our own into the module: state->make_filename. */
int shx_filename_add(PyObject *module);

#endif

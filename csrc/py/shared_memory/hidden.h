/* SPDX-License-Identifier: MIT */
/* A subclass may have the stdlib's class defaults of its own:
 *
 *   class Own(SharedMemory):
 *       _name = None
 *       _fd = -1
 *
 * They hide our fields: what is assigned to self._name lies in the instance's
 * __dict__ then, as it would in the stdlib, and not in the struct. So whoever
 * wants a field's value asks for the attribute, except of an object of our
 * very own type; and what a construction fills in, and close() takes back, is
 * filled in and taken back there too.
 */
#ifndef SHX_HIDDEN_H
#define SHX_HIDDEN_H

#include "py/memory/memory.h"

/* A construction is over: tells the attributes that hide a field. */
int shx_hidden_fill(shx_state *state, PyObject *op);

/* Takes out what close() ends, of attributes that hide a field. */
int shx_hidden_take(PyObject *op, shx_leftovers *out);

#endif

/* SPDX-License-Identifier: MIT */
/* The type Channel: messages between processes that know a name.
 *
 * An object has a SharedMemory, and while it is open a link to the ring in it:
 * see handle.h.
 */
#ifndef SHX_CHANNEL_H
#define SHX_CHANNEL_H

#include "py/channels/handle.h"

/* channel_state.c, channel_put.c and channel_take.c. */
extern PyMethodDef shx_channel_state_methods[];
extern PyMethodDef shx_channel_put_methods[];
extern PyMethodDef shx_channel_take_methods[];
PyObject *shx_channel_next(PyObject *op);
PyObject *shx_channel_next_async(PyObject *op);

int shx_channel_add(PyObject *module);

#endif

/* SPDX-License-Identifier: MIT */
/* The type Broadcast: frames that one process writes, and others read.
 *
 * An object has two SharedMemory: that of its name, with the frames, which
 * those who may only read it read, and the one that controls it, which all of
 * them write. Its reader is its own: two objects have each frame once. See
 * handle.h.
 */
#ifndef SHX_PY_BROADCAST_H
#define SHX_PY_BROADCAST_H

#include "py/channels/handle.h"

/* broadcast_frames.c */
extern PyMethodDef shx_broadcast_frame_methods[];

int shx_broadcast_add(PyObject *module);

#endif

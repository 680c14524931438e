/* SPDX-License-Identifier: MIT */
/* The type shmemext.synchronize.Event: core/sync/event.h as an object. */
#ifndef SHX_PY_EVENT_H
#define SHX_PY_EVENT_H

#include "py/sync/synchronizer.h"

/* Makes the type; it is state->event_type. */
int shx_event_add(PyObject *module);

#endif

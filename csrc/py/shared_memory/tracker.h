/* SPDX-License-Identifier: MIT */
#ifndef SHX_TRACKER_H
#define SHX_TRACKER_H

#include "py/state.h"

/* multiprocessing.resource_tracker's function, looked up at each call, so
 * that programs which patch it are honoured. */
int shx_tracker_call(const char *function, PyObject *name);

/* Has a program put a function of its own in place of register()? That is how
 * a segment was kept from the tracker before there was track=False. One that
 * says by __wrapped__ what it passes calls on to replaces nothing. */
int shx_tracker_is_replaced(shx_state *state);

#endif

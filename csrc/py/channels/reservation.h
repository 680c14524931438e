/* SPDX-License-Identifier: MIT */
/* Room for a message or a frame that is written where it is read. */
#ifndef SHX_RESERVATION_H
#define SHX_RESERVATION_H

#include "py/channels/link.h"

/* Of an item that was reserved: it is the reservation's from then on, on error
 * it is dropped. */
PyObject *shx_reservation_new(shx_state *state, shx_link *link,
                              const shx_item *item);

int shx_reservation_add(PyObject *module);

#endif

/* SPDX-License-Identifier: MIT */
/* A message or a frame in hand, that is read where it lies.
 *
 *   Message, Frame  --->  Delivery  --->  Link
 *                            ^
 *   memoryview --------------+
 *   numpy array -------------+
 *
 * A delivery gives it back when the last reference to it goes: views and
 * arrays hold one, and the message until the end of its `with`. A message that
 * nobody has looked at goes to another reader.
 */
#ifndef SHX_MESSAGE_H
#define SHX_MESSAGE_H

#include "py/channels/link.h"

/* Of an item that was taken: it is the message's from then on, on error it is
 * given back as not seen. `type` is that of messages or of frames; `number`
 * its deliveries, or its seq. */
PyObject *shx_message_new(shx_state *state, PyTypeObject *type, shx_link *link,
                          const shx_item *item, uint64_t number);

int shx_message_add(PyObject *module);

#endif

/* SPDX-License-Identifier: MIT */
/* A message in hand, that is read where it lies.
 *
 *   Message  --->  Delivery  --->  Link
 *                     ^
 *   memoryview -------+
 *   numpy array ------+
 *
 * A delivery gives the message back when the last reference to it goes: views
 * and arrays hold one, and the message until the end of its `with`. One that
 * nobody has looked at goes to another reader.
 */
#ifndef SHX_MESSAGE_H
#define SHX_MESSAGE_H

#include "py/channels/link.h"

/* Of a record that was taken: it is the message's from then on, on error it is
 * back in the channel. */
PyObject *shx_message_new(shx_state *state, shx_link *link,
                          const shx_ring_record *record);

int shx_message_add(PyObject *module);

#endif

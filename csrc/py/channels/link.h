/* SPDX-License-Identifier: MIT */
/* A link is what a Channel has of its memory while it is open: the ring, and
 * who this process is there.
 *
 *   Channel -----+
 *   Message -----+--->  Link  --->  Mapping  --->  pages  --->  ring
 *   Reservation -+        |
 *                         +------>  party
 *
 * It never changes, so it needs no lock. Messages in hand, and a thread that
 * waits, hold it too: close() disturbs none of them.
 */
#ifndef SHX_LINK_H
#define SHX_LINK_H

#include "core/channels/ring.h"
#include "py/errors.h"
#include "py/memory/mapping.h"
#include "py/waiting.h"

typedef struct {
    PyObject_HEAD
    shx_ring ring;
    shx_party *party; /* NULL until it has joined */
    shx_mapping *mapping;
    PyObject *name; /* of the channel, for messages */
} shx_link;

#define LINK(op) ((shx_link *)(op))

/* Of a SharedMemory in which there is a channel. OSError, ValueError. */
shx_link *shx_link_new(shx_state *state, PyObject *memory);

/* Who are we there? -1 with an exception. */
int shx_link_me(shx_link *self, shx_member *me);

/* Raises what `err` stands for. Returns NULL. */
PyObject *shx_link_raise(shx_link *self, shx_err err);

/* The same of queue.Full or queue.Empty where there was nothing to be had:
 * `which`. */
PyObject *shx_link_raise_or(shx_link *self, shx_err err, const char *which);

/* Is the memory still there? What is read from one that was cut short says
 * nothing. */
static inline shx_err
shx_link_check(shx_link *self, shx_err err)
{
    return shx_mapping_tears(self->mapping) != 0 ? EFAULT : err;
}

/* Calls of the core without the GIL, which ask for signals now and then. A
 * handler may fork, and return in the child: then it is that one who waits,
 * and `me` says so from there on. */
typedef struct {
    shx_ring_wait wait;
    shx_link *link;
    shx_member *me;
    shx_err failed; /* to say who we are */
    PyThreadState *saved;
} shx_link_wait;

/* For so long: 0 waits for locks alone, that are held for moments. It ends,
 * too, where the memory was cut short: nobody would wake who sleeps there. */
void shx_link_begin(shx_link_wait *wait, shx_link *self, shx_member *me,
                    int64_t timeout);

/* `err`: what the core said. Returns what is to be said. */
shx_err shx_link_end(shx_link_wait *wait, shx_err err);

int shx_link_add(PyObject *module);

#endif

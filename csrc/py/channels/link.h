/* SPDX-License-Identifier: MIT */
/* A link is what a Channel or a Broadcast has of its memories while it is
 * open: what lies in them, and who this process is there.
 *
 *   Channel, Broadcast -+
 *   Message, Frame -----+--->  Link  --->  Mapping  --->  pages
 *   Reservation --------+        |
 *                                +------>  party
 *
 * It never changes, so it needs no lock. Messages in hand, and a thread that
 * waits, hold it too: close() disturbs none of them.
 */
#ifndef SHX_LINK_H
#define SHX_LINK_H

#include "core/channels/broadcast.h"
#include "core/channels/ring.h"
#include "py/errors.h"
#include "py/memory/mapping.h"
#include "py/waiting.h"

#include <errno.h> /* EFAULT */

typedef struct shx_link shx_link;

/* A message or a frame in hand: which of them, the link's kind says. */
typedef struct {
    union {
        shx_ring_record record;
        shx_frame frame;
    };
    void *bytes;
    size_t length;
} shx_item;

/* What differs between the two. A child that a fork made has nothing of what
 * its parent has in hand: the core sees to that. */
typedef struct {
    const char *type;   /* "Channel" */
    const char *noun;   /* "channel" */
    const char *item;   /* "message": what there is of it */
    const char *held;   /* "Message": one in hand */
    const char *module; /* whose open() makes or attaches the memories */
    unsigned memories;  /* how many */
    /* What lies in them, for who is a party. */
    shx_err (*open)(shx_link *link);
    /* Of what was opened, when nobody has it any more. NULL: nothing. */
    void (*close)(shx_link *link);
    /* The object lets go of it; who has something in hand does not. Or NULL.
     */
    void (*leave)(shx_link *link);
    /* Done with one that was received. `seen`: it was looked at. */
    void (*give)(shx_link *link, const shx_member *me, const shx_item *item,
                 bool seen);
    /* Done with one that was reserved. `keep`: others are to have it. */
    void (*finish)(shx_link *link, const shx_member *me, shx_item *item,
                   bool keep);
} shx_link_kind;

/* What is in the memories. */
typedef struct {
    shx_broadcast broadcast;
    shx_reader reader;
} shx_link_cast;

struct shx_link {
    PyObject_HEAD
    const shx_link_kind *kind;
    bool opened;
    shx_party *party;     /* NULL until it has joined */
    shx_mapping *mapping; /* whose file the party is of */
    shx_mapping *data;    /* of a broadcast: its frames; else the same */
    PyObject *name;       /* of the first memory, for messages */
    PyObject *hands;      /* of a queue, no reference: hand.h */
    _Atomic bool left;    /* the object has let go of it */
    union {
        shx_ring ring;
        shx_link_cast cast;
    };
};

#define LINK(op) ((shx_link *)(op))

/* Of a tuple of SharedMemory: what has the name, and, of a broadcast, what
 * controls it. OSError, ValueError. */
shx_link *shx_link_new(shx_state *state, const shx_link_kind *kind,
                       PyObject *memories);

/* Who are we there? -1 with an exception. */
int shx_link_me(shx_link *self, shx_member *me);

/* Done with what is in hand: see the kind. */
void shx_link_give(shx_link *self, const shx_item *item, bool seen);
void shx_link_finish(shx_link *self, shx_item *item, bool keep);

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
    return shx_mapping_tears(self->mapping) != 0 ||
                   shx_mapping_tears(self->data) != 0
               ? EFAULT
               : err;
}

/* What is copied without the GIL: more takes longer than it is let go of in.
 */
enum { SHX_LONG = 1 << 16 };
void shx_link_copy(void *into, const void *from, size_t length);

/* Calls of the core without the GIL, which ask for signals now and then. A
 * handler may fork: see shx_wait. */
typedef struct {
    shx_ring_wait wait;
    shx_link *link;
    shx_wait asks;
} shx_link_wait;

/* As a timeout: what is there at once, and locks are waited for no longer than
 * it takes to see whether who has one is dead. For tasks, whose loop is not to
 * stop where that one has. */
enum { SHX_SOON = -2 };

static inline bool
shx_link_blocks(int64_t timeout)
{
    return timeout != 0 && timeout != SHX_SOON;
}

/* For so long: 0 waits for locks alone, that are held for moments. It ends,
 * too, where the memory was cut short: nobody would wake who sleeps there. */
void shx_link_begin(shx_link_wait *wait, shx_link *self, shx_member *me,
                    int64_t timeout);

/* `err`: what the core said. Returns what is to be said. */
shx_err shx_link_end(shx_link_wait *wait, shx_err err);

int shx_link_add(PyObject *module);

#endif

/* SPDX-License-Identifier: MIT */
/* What a thread has in hand of a queue: the message that it got last. It is
 * given back when this thread gets the next one, or says that the task is
 * done, when it ends, when the queue is closed here, and when the process
 * ends. Who is killed before that gives it to another one.
 *
 *   thread's dict  --->  Hand  --->  Link
 *                          ^           |
 *                          +-----------+   `hands`, which hold no reference
 *
 * The dict goes with the thread. What a link's object lets go of is emptied
 * for all threads, so that a queue which is forgotten keeps nothing: then a
 * hand has no link, until its thread uses one again that lies where that lay.
 *
 * The link's critical section guards its list, and what is in these hands.
 */
#ifndef SHX_HAND_H
#define SHX_HAND_H

#include "py/channels/link.h"

typedef struct shx_hand shx_hand;

/* Of this thread, for that queue, made if there is none: a new reference. */
shx_hand *shx_hand_of(shx_state *state, shx_link *link);

/* From now on it has this in hand; if the queue was closed meanwhile it is
 * given back. `references`: a tuple that is taken over, or NULL. */
void shx_hand_hold(shx_hand *hand, shx_link *link,
                   const shx_ring_record *record, PyObject *references);

/* Gives back what is in it. False: there was nothing. `done`: the task is,
 * too. */
bool shx_hand_empty(shx_hand *hand, shx_link *link, bool done);

/* The same of one of all threads' that has something. */
bool shx_hand_empty_any(shx_link *link, bool done);

/* Gives back what all threads have. */
void shx_hand_empty_all(shx_link *link);

/* And lets go of the link: its object has gone. */
void shx_hand_leave_all(shx_link *link);

/* What is marked as done, or is about to be: withdraws the rest of what it
 * refers to, then it is free. */
void shx_hand_finish(shx_link *link, const shx_member *me,
                     const shx_ring_record *record, PyObject *references,
                     bool done);

int shx_hand_add(PyObject *module);

#endif

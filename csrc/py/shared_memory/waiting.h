/* SPDX-License-Identifier: MIT */
/* timeout=: an attach that waits for the name.
 *
 * In the system, asleep until it comes, without the GIL. But where the program
 * has put a function of its own in the place of time.sleep(), as gevent and
 * eventlet do, a thread that sleeps in the system would keep all others of
 * theirs from running: then in slices, by that function.
 */
#ifndef SHX_WAITING_H
#define SHX_WAITING_H

#include "core/memory/segment.h"
#include "py/compat.h"

/* SHX_INTERRUPTED: an exception is set. */
shx_err shx_attach_or_wait(shx_attach *request, double timeout,
                           shx_segment *segment);

#endif

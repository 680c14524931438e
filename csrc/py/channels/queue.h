/* SPDX-License-Identifier: MIT */
/* The type _Queue: what shmemext.Queue is made of. It has a ring of pickles,
 * and is else a channel: see channel.h. What is pickled, and how, is Python's:
 * _queues.py. */
#ifndef SHX_PY_QUEUE_H
#define SHX_PY_QUEUE_H

#include "py/channels/handle.h"

/* queue_tasks.c */
extern PyMethodDef shx_queue_task_methods[];

int shx_queue_add(PyObject *module);

#endif

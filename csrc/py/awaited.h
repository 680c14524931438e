/* SPDX-License-Identifier: MIT */
/* Waiting for several things at a time: what each of them gives for that, and
 * the wait.
 *
 *   shmemext.wait() ---> thing._awaited() ---> Awaited --->  mapping
 *                                                 |
 *                                                 +------->  owner
 *
 * An Awaited is made for one wait, by the thread that waits. What its core
 * speaks of lies in the memory and in the owner, which it keeps.
 */
#ifndef SHX_PY_AWAITED_H
#define SHX_PY_AWAITED_H

#include "core/life/party.h"
#include "core/sync/awaited.h"
#include "py/memory/mapping.h"

typedef struct {
    PyObject_HEAD
    shx_awaited core;
    shx_party *party; /* of which core.me is; NULL: that is nothing to it */
    shx_mapping *mapping;
    PyObject *owner;
} shx_py_awaited;

/* New, with a core that whoever asks for it sets. */
shx_py_awaited *shx_awaited_new(shx_state *state, PyObject *owner,
                                shx_mapping *mapping);

int shx_awaited_add(PyObject *module);

#endif

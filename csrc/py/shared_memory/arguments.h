/* SPDX-License-Identifier: MIT */
/* The arguments of SharedMemory(...). */
#ifndef SHX_ARGUMENTS_H
#define SHX_ARGUMENTS_H

#include "py/state.h"

/* Each argument, in order, with its default. The first three may be
 * positional. Another one is a row here; how it is checked is in arguments.c,
 * what it does in construct.c. */
#define SHX_ARGUMENTS(X)                                                      \
    X(name, Py_None)                                                          \
    X(create, Py_False)                                                       \
    X(size, state->zero)                                                      \
    X(track, Py_None)                                                         \
    X(reserve, Py_True)                                                       \
    X(readonly, Py_False)                                                     \
    X(mode, Py_None)                                                          \
    X(exist_ok, Py_False)                                                     \
    X(timeout, Py_None)                                                       \
    X(lifetime, state->str.family)

/* What a construction was called with: references of its own, since code that
 * runs meanwhile may find the dict of the keywords, and change it. */
typedef struct {
#define X(name, fallback) PyObject *name;
    SHX_ARGUMENTS(X)
#undef X
    /* What the checks make of it. */
    int flags;
    bool is_readonly;
    bool may_exist;
    bool of_users;  /* the name goes with its last user */
    double seconds; /* to wait; 0: none */
    /* No arguments: what it begins with; NULL: nothing. And see publish.c. */
    const void *content;
    size_t content_size;
    bool meets;
} shx_call;

/* On success the call is to be cleared. */
int shx_parse_call(shx_state *state, PyObject *op, PyObject *args,
                   PyObject *kwargs, shx_call *call);
void shx_clear_call(shx_call *call);

/* The checks that come before any name is looked at. Returns whether to
 * create, or -1. */
int shx_check_call(shx_state *state, PyObject *op, shx_call *call);

/* mode=, or what a subclass says. ValueError. */
int shx_mode_of(shx_state *state, PyObject *op, const shx_call *call,
                int *mode);

#endif

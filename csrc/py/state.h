/* SPDX-License-Identifier: MIT */
/* The ground of the glue: the module's state, which all types share, and how
 * a type gets there. It knows none of them. */
#ifndef SHX_STATE_H
#define SHX_STATE_H

#include "py/compat.h"

/* Names that are looked up at run time, interned once per module. */
#define SHX_NAMES(X)                                                          \
    X(_SHM_NAME_PREFIX)                                                       \
    X(_SHM_SAFE_NAME_LENGTH)                                                  \
    X(_buf)                                                                   \
    X(_fd)                                                                    \
    X(_flags)                                                                 \
    X(_make_filename)                                                         \
    X(_mmap)                                                                  \
    X(_mode)                                                                  \
    X(_name)                                                                  \
    X(__enter__)                                                              \
    X(__wrapped__)                                                            \
    X(acquire_async)                                                          \
    X(_prepend_leading_slash)                                                 \
    X(_resource_tracker)                                                      \
    X(_shmemext_hands)                                                        \
    X(_size)                                                                  \
    X(_track)                                                                 \
    X(close)                                                                  \
    X(family)                                                                 \
    X(locked)                                                                 \
    X(mmap)                                                                   \
    X(name)                                                                   \
    X(path)                                                                   \
    X(readonly)                                                               \
    X(release)                                                                \
    X(size)                                                                   \
    X(track)

/* The types, which the rooms make: state->mapping_type and so on. */
#define SHX_TYPES(X)                                                          \
    X(mapping)                                                                \
    X(field)                                                                  \
    X(memory)                                                                 \
    X(shared_memory)                                                          \
    X(mapped_file)                                                            \
    X(anonymous_memory)                                                       \
    X(shareable_list)                                                         \
    X(owner_died)                                                             \
    X(awaited)                                                                \
    X(synchronizer)                                                           \
    X(lock)                                                                   \
    X(condition)                                                              \
    X(rlock)                                                                  \
    X(barrier)                                                                \
    X(semaphore)                                                              \
    X(bounded_semaphore)                                                      \
    X(event)                                                                  \
    X(atomic)                                                                 \
    X(read_lock)                                                              \
    X(write_lock)                                                             \
    X(rwlock)                                                                 \
    X(link)                                                                   \
    X(delivery)                                                               \
    X(message)                                                                \
    X(frame)                                                                  \
    X(reservation)                                                            \
    X(channel)                                                                \
    X(broadcast)                                                              \
    X(hand)                                                                   \
    X(queue)                                                                  \
    X(pool)                                                                   \
    X(lease)

#define SHX_ONE(n) +1
enum { SHX_TYPE_COUNT = 0 SHX_TYPES(SHX_ONE) };
enum { SHX_NAME_COUNT = 0 SHX_NAMES(SHX_ONE) };
#undef SHX_ONE

/* By name for who uses one, by number for who makes or clears them all. */
typedef struct {
    union {
        struct {
#define X(n) PyTypeObject *n##_type;
            SHX_TYPES(X)
#undef X
        };
        PyTypeObject *types[SHX_TYPE_COUNT];
    };
    PyObject *zero;
    PyObject *make_filename;  /* our own, to tell a patched one from it */
    PyObject *public_module;  /* the name "shmemext.shared_memory" */
    PyObject *tracker_module; /* "multiprocessing.resource_tracker" */
    PyObject *mmap_module;    /* "mmap" */
    PyObject *register_name;  /* "register", a keyword of C */
    union {
        struct {
#define X(n) PyObject *n;
            SHX_NAMES(X)
#undef X
        } str;
        PyObject *names[SHX_NAME_COUNT];
    };
} shx_state;

/* What types look their module up by. It is empty but for the state: the roof
 * adds what makes the types. */
extern PyModuleDef shx_module;

static inline shx_state *
shx_state_of_module(PyObject *module)
{
    return (shx_state *)PyModule_GetState(module);
}

/* For slots, which are not told the defining class: walks the MRO, so that
 * subclasses find it too. NULL with an exception set on a foreign type. */
static inline shx_state *
shx_state_of(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &shx_module);
    return module == NULL ? NULL : shx_state_of_module(module);
}

/* Interns the names: the first step of making a module. */
int shx_state_init(PyObject *module);

/* Makes a type and puts it into the module, by the last part of its name, as
 * a Python class goes by. NULL with an exception; else what the state keeps.
 */
PyTypeObject *shx_add_type(PyObject *module, PyType_Spec *spec,
                           PyTypeObject *base, const char *name);

/* What a module has by that name: a new reference, or NULL with an exception.
 */
PyObject *shx_import(const char *module, const char *name);

/* Puts methods on a type that is there already. */
int shx_add_methods(PyTypeObject *type, PyMethodDef *methods);

#endif

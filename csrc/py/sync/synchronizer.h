/* SPDX-License-Identifier: MIT */
/* What all synchronizers share: the type Synchronizer.
 *
 *   Lock, Event, ...  --->  Mapping  --->  pages  --->  cell
 * (core/sync/cell.h)
 *          |
 *          +------------->  Memory    to be pickled with, and named
 *          +------------->  party     who this process is there
 *
 * An object is made by its type's __new__, whole, and never changes: so it
 * needs no lock of its own, with a GIL or without. It holds the mapping, not
 * only the Memory: close(), grow() and unlink() of that disturb nobody.
 */
#ifndef SHX_SYNCHRONIZER_H
#define SHX_SYNCHRONIZER_H

#include "core/sync/cell.h"
#include "py/memory/mapping.h"

/* What differs between the kinds. */
typedef struct {
    shx_cell_kind kind;
    /* Bytes of a cell with that parameter, a multiple of its alignment; 0:
     * there is no such parameter. */
    size_t (*size)(uint32_t parameter);
    /* The parameter as the call has it, "value=3": for who finds another. New
     * reference. */
    PyObject *(*describe)(uint32_t parameter);
    /* Of whom OwnerDied tells, if not of its type; and what it is repaired by,
     * if that is not "lock.repair()". */
    const char *called;
    const char *way;
} shx_synchronizer_kind;

typedef struct {
    PyObject_HEAD
    const shx_synchronizer_kind *kind;
    shx_site site; /* party: NULL until it has joined */
    shx_mapping *mapping;
    PyObject *memory;
    PyObject *name; /* of one that has one of its own; or NULL */
    Py_ssize_t offset;
    PyObject *weakrefs;
} shx_synchronizer;

#define SYNCHRONIZER(op) ((shx_synchronizer *)(op))

/* Where the call says that it is to be: a Memory, a name or None; at which
 * offset of the first; with which mode the second. Borrowed; NULL: unsaid. */
typedef struct {
    PyObject *where;
    Py_ssize_t offset;
    PyObject *mode;
} shx_address;

/* Where one is that is given no place: shmemext/_cells.py finds it. New
 * references. All threads use that memory and know nothing of it, so nothing
 * that is done there waits for the object's lock: without a GIL a forked child
 * may inherit that locked for ever. */
typedef struct {
    PyObject *memory;
    shx_mapping *mapping;
    Py_ssize_t offset;
    int fd; /* the memory's, if nobody has closed it */
} shx_own_place;

/* synchronizer_own.c: so many bytes. -1 with an exception. */
int shx_synchronizer_take(const shx_state *state, size_t size,
                          shx_own_place *out);

/* synchronizer_place.c: makes an object of the type, and its cell if there is
 * none. TypeError, ValueError, OSError. */
PyObject *shx_synchronizer_make(PyTypeObject *type,
                                const shx_synchronizer_kind *kind,
                                const shx_address *address,
                                uint32_t parameter);

/* The same for a part of another one, `skip` bytes from its cell on. */
PyObject *shx_synchronizer_make_part(PyTypeObject *type,
                                     const shx_synchronizer_kind *kind,
                                     PyObject *whole, Py_ssize_t skip,
                                     uint32_t parameter);

/* What unpickles one calls: finds what is there. `args` are those of
 * shx_synchronizer_reduced(). */
PyObject *shx_synchronizer_rebuild(PyTypeObject *type,
                                   const shx_synchronizer_kind *kind,
                                   PyObject *args);

/* What it is pickled as, for that: `rebuild`, which is stolen, is called with
 * these two in the end. NULL: with an exception. */
PyObject *shx_synchronizer_reduced(PyObject *op, PyObject *rebuild);

/* For the slots of the derived types. */
int shx_synchronizer_traverse(PyObject *op, visitproc visit, void *arg);
int shx_synchronizer_clear(PyObject *op);
void shx_synchronizer_dealloc(PyObject *op);

/* How messages call it: "Lock at 64 of SharedMemory('cfg')", "Lock('gpu')".
 * New reference. */
PyObject *shx_synchronizer_label(PyObject *op);

/* "an" before "Event" and "RLock", "a" before "Lock". */
const char *shx_article(const char *name);

/* "<label: state>", of which the text is stolen; NULL: with an exception. */
PyObject *shx_synchronizer_repr(PyObject *op, PyObject *state);

/* The state of a lock word, for that. New reference. */
PyObject *shx_lock_describe(const shx_site *at);

/* Raises what `err` stands for, of this one: OwnerDied for SHX_OWNER_DIED.
 * Returns NULL. */
PyObject *shx_synchronizer_raise(PyObject *op, shx_err err);

/* Was the memory cut short? Then its pages may be zeros of this process alone,
 * and a word there says nothing. */
static inline bool
shx_synchronizer_is_torn(PyObject *op)
{
    return shx_mapping_tears(SYNCHRONIZER(op)->mapping) != 0;
}

/* Who are we there? -1 with an exception. */
static inline int
shx_synchronizer_me(PyObject *op, shx_member *me)
{
    shx_err err = shx_party_me(SYNCHRONIZER(op)->site.party, me);
    if (err != 0) {
        shx_synchronizer_raise(op, err);
    }
    return err == 0 ? 0 : -1;
}

/* What a method says that has tried to take something: True; False where it
 * was not to be had (ETIMEDOUT, EAGAIN); else an exception. */
PyObject *shx_synchronizer_answer(PyObject *op, shx_err err);

/* Makes the type; it is state->synchronizer_type. Makes OwnerDied. */
int shx_synchronizer_add(PyObject *module);

/* The same for a derived type, which is immutable and in `synchronize`. */
PyTypeObject *shx_synchronizer_add_type(PyObject *module, PyType_Spec *spec,
                                        const char *name);

/* What docstrings say of arguments that many have: lines of their paragraphs.
 */
#define SHX_WHERE_DOC                                                         \
    "where: a Memory: size_of() bytes of zeros, or one of these, are there\n" \
    "    at offset; or a name, which any program may know, and which goes\n"  \
    "    with the last one that has it; or None: for threads, and for\n"      \
    "    children, which it is passed to\n"                                   \
    "offset: bytes, a multiple of 64\n"                                       \
    "mode: permission bits of a new name; None: 0o600"
#define SHX_WHERE_ERRORS                                                      \
    "ValueError: these bytes are in use, too few, or another synchronizer.\n" \
    "TypeError: the memory is readonly. OSError ENOTSUP: it is on a file\n"   \
    "system whose locks say nothing, a network's."
#define SHX_ACQUIRE_DOC                                                       \
    "block: False: do not wait; blocking is another name of it\n"             \
    "timeout: seconds, 0 if it is negative; None: for ever"

#endif

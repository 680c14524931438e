/* SPDX-License-Identifier: MIT */
/* What SharedMemory, MappedFile and AnonymousMemory share: the type Memory.
 *
 *   Memory  <--+-- SharedMemory      by name, in /dev/shm
 *              +-- MappedFile        by path, on a disk
 *              +-- AnonymousMemory   by descriptor
 *
 * An object uses one mapping at a time. close() drops it, and grow() and
 * refresh() replace it; whoever has a view of the old one keeps that alive.
 *
 * All members are guarded by the object's critical section. A NULL member is
 * unset.
 */
#ifndef SHX_MEMORY_H
#define SHX_MEMORY_H

#include "core/life/party.h"
#include "py/memory/mapping.h"

/* Values of `fd` that are no descriptors. */
enum { SHX_FD_NONE = -1, SHX_FD_UNASKED = -2 };

/* What an object lets go of, taken out under the lock and dropped after it:
 * releasing runs other code. */
typedef struct {
    PyObject *buf;
    PyObject *mmap;
    PyObject *size;
    int fd; /* ours to close, or < 0 */
} shx_leftovers;

/* What differs between the kinds. */
typedef struct {
    shx_words words;
    bool slash;    /* the label has one before the name */
    bool durable;  /* what is there survives a power failure */
    inquiry clear; /* the type's own tp_clear */
    /* How messages call it: its name or path. New reference, never NULL. With
     * the lock. */
    PyObject *(*label)(PyObject *op);
    /* The path that its file has: in *text, a new reference. With the lock.
     * What it says instead is for who asks for a file. */
    shx_err (*find)(PyObject *op, PyObject **text, const char **path);
    /* The very file, by that path: SHX_GONE if it is another by now. Without
     * the lock, and where it is durable without the GIL. */
    shx_err (*open)(const char *path, const shx_identity *identity, int flags,
                    int *fd);
    shx_err (*inspect)(const char *path, shx_file *out);
    /* Without the lock: what close() ends beside the members, of attributes
     * that a subclass has instead of ours. NULL if there are none. */
    int (*take_hidden)(PyObject *op, shx_leftovers *out);
} shx_memory_kind;

typedef struct {
    PyObject_HEAD
    const shx_memory_kind *kind;
    PyObject *size;  /* stays after close */
    PyObject *mmap;  /* a Mapping, unless a program put something else */
    PyObject *buf;   /* made from mmap when first asked for */
    PyObject **pins; /* what our own buffer was asked from: see getbuffer */
    Py_ssize_t pin_count;
    PyObject *dict;
    PyObject *weakrefs;
    int fd;
    shx_identity fd_identity; /* of the file that it was opened of */
    bool readonly;
    bool unreserved;       /* as it was created: so it grows */
    shx_identity identity; /* of the file: it stays after close */
    unsigned long grower;  /* the thread that replaced the mapping, or 0 */
    Py_ssize_t asked;      /* how long that one asked it to be */
} shx_memory;

#define MEMORY(op) ((shx_memory *)(op))

/* For the slots of the derived types. */
PyObject *shx_memory_new(PyTypeObject *type, const shx_memory_kind *kind);
int shx_memory_traverse(PyObject *op, visitproc visit, void *arg);
int shx_memory_clear(PyObject *op);
void shx_memory_dealloc(PyObject *op);

/* Is it one of our types, and no class made in Python? That one is ended by
 * Python first. */
static inline bool
shx_memory_is_plain(PyTypeObject *type)
{
    return type->tp_dealloc == shx_memory_dealloc;
}

/* memory_access.c, from here to the tables of methods. */

/* `buf`, made when it is first asked for. New reference. */
PyObject *shx_memory_buf(PyObject *op);

/* Raises what `err` stands for, of this memory. */
void shx_memory_raise(PyObject *op, shx_err err);

/* A property's words when it is set or deleted: `name` is a const char *. */
int shx_memory_refuse(PyObject *op, PyObject *value, void *name);

/* Can it only be read here? */
bool shx_memory_is_readonly(PyObject *op);

/* functools.partial(type(op), **keywords): what unpickles an object that was
 * not made with the defaults. */
PyObject *shx_memory_maker(PyObject *op, PyObject *keywords);

/* ValueError: "the <what> is closed<so>". Returns NULL. */
PyObject *shx_closed_error(PyObject *op, const char *so);

/* Has it no mapping? */
bool shx_memory_is_closed(PyObject *op);

/* The mapping in use: a new reference. NULL and ValueError if it is closed. */
shx_mapping *shx_memory_mapping(PyObject *op);

/* The same, of a type that is known. NULL without an exception. */
shx_mapping *shx_memory_mapping_if_any(PyObject *op, PyTypeObject *type);

/* Permission bits: ValueError if they are more than that. */
int shx_check_mode(int mode);

/* memory_place.c: how the file is found, taken with the lock to be used
 * without it, by who holds a mapping and so knows which file is meant. */
typedef struct {
    const shx_memory_kind *kind;
    PyObject *name;   /* what `path` lies in: a new reference, or NULL */
    const char *path; /* its name or path, unless there is an err */
    shx_err err;
    int fd;          /* that is kept, or < 0 */
    bool duplicated; /* another one: ours to close */
} shx_place;

void shx_place_take_locked(PyObject *op, shx_place *out);
void shx_place_take_to_open_locked(PyObject *op, shx_place *out);
void shx_place_leave(shx_place *place);

/* With the GIL, which they let go of where a disk may be waited for. SHX_GONE:
 * the file is not to be found any more. */
shx_err shx_place_open(const shx_place *place, const shx_identity *identity,
                       int flags, int *fd);
shx_err shx_place_inspect(const shx_place *place, const shx_identity *identity,
                          shx_file *out);

/* The descriptor that fileno() returns: opened the first time it is asked for.
 * -1 without an exception where there is none. */
int shx_memory_fd(PyObject *op);

/* Is there one that still is the memory's? A program that closes every
 * descriptor and opens others reuses the numbers. With the lock. */
bool shx_memory_has_fd(PyObject *op);

/* memory_party.c: this process as a party in that file, which is the memory's:
 * to be left by the caller. `known`: a descriptor of it, or SHX_FD_NONE. With
 * the GIL. */
shx_err shx_memory_join(PyObject *memory, const shx_identity *identity,
                        int known, shx_party **out);

/* Makes the type; it is state->memory_type. */
int shx_memory_add(PyObject *module);

/* Methods of memory_grow.c, how the mapping is replaced, memory_copy.c, how
 * bytes go in and out in bulk, and memory_array.c, what numpy makes of it. */
extern PyMethodDef shx_memory_grow_methods[];
extern PyMethodDef shx_memory_copy_methods[];
extern PyMethodDef shx_memory_array_methods[];

/* memory_close.c: how an object lets go. */
shx_leftovers shx_take(PyObject *op);
shx_leftovers shx_take_locked(PyObject *op);
void shx_drop(shx_leftovers *taken);
int shx_memory_close(shx_state *state, PyObject *op);
void shx_memory_finalize(PyObject *op);

/* The object takes over a mapping, its size and a descriptor or SHX_FD_*:
 * references to both are stolen. What it had is returned. */
shx_leftovers shx_take_over_locked(PyObject *op, shx_mapping *mapping,
                                   PyObject *size, int fd);

#endif

/* SPDX-License-Identifier: MIT */
/* How the file of a memory is found: by its name, or by the descriptor that
 * is kept. Either may come to mean another file, at any moment: so what is
 * opened is compared with the file that was meant. */
#include "py/memory/memory.h"

#include <errno.h>
#include <fcntl.h> /* O_RDWR, O_RDONLY */

void
shx_place_take_locked(PyObject *op, shx_place *out)
{
    *out = (shx_place){.kind = MEMORY(op)->kind, .fd = MEMORY(op)->fd};
    out->err = out->kind->find(op, &out->name, &out->path);
}

/* Another thread may close the object, and its number be another file's a
 * moment later. Closing ours takes record locks away that the program has by
 * lockf(3), as closing what is opened does anyway; a look must not. */
void
shx_place_take_to_open_locked(PyObject *op, shx_place *out)
{
    shx_place_take_locked(op, out);
    int kept = out->fd;
    out->fd = SHX_FD_NONE;
    shx_err err = kept < 0 ? 0 : shx_os_duplicate(kept, &out->fd);
    out->duplicated = out->fd >= 0;
    if (err != 0 && err != EBADF) { /* that is the program's own doing */
        out->err = err;
    }
}

void
shx_place_leave(shx_place *place)
{
    if (place->duplicated) {
        shx_os_close(place->fd);
    }
    Py_CLEAR(place->name);
}

/* A disk may be waited for; memory is not, and is had faster than the GIL. */
static PyThreadState *
let_others_run(const shx_place *place)
{
    return place->kind->durable ? PyEval_SaveThread() : NULL;
}

static void
go_on(PyThreadState *saved)
{
    if (saved != NULL) {
        PyEval_RestoreThread(saved);
    }
}

/* ENOENT and SHX_GONE: not by this descriptor. */
static shx_err
open_by_descriptor(const shx_place *place, const shx_identity *identity,
                   int flags, int *fd)
{
    if (place->fd < 0 || !shx_segment_owns_fd(identity, place->fd)) {
        return SHX_GONE;
    }
    int opened = -1;
    shx_err err = shx_os_reopen(place->fd, flags, &opened);
    return shx_segment_take(identity, err, opened, fd);
}

shx_err
shx_place_open(const shx_place *place, const shx_identity *identity, int flags,
               int *fd)
{
    PyThreadState *saved = let_others_run(place);
    shx_err err = open_by_descriptor(place, identity, flags, fd);
    if (err == SHX_GONE || err == SHX_NO_PROC) {
        shx_err by_name =
            place->err != 0
                ? place->err
                : place->kind->open(place->path, identity, flags, fd);
        err = by_name == 0 || err == SHX_GONE ? by_name : err;
    }
    go_on(saved);
    return err;
}

shx_err
shx_place_inspect(const shx_place *place, const shx_identity *identity,
                  shx_file *out)
{
    PyThreadState *saved = let_others_run(place);
    shx_err err = SHX_GONE;
    if (place->fd >= 0 && shx_os_inspect(place->fd, out) == 0 &&
        shx_same_file(&out->identity, identity)) {
        err = 0;
    }
    else if (place->err != 0) {
        err = place->err;
    }
    else {
        err = place->kind->inspect(place->path, out);
        if (err == ENOENT ||
            (err == 0 && !shx_same_file(&out->identity, identity))) {
            err = SHX_GONE;
        }
    }
    go_on(saved);
    return err;
}

/* The descriptor, or what it is to be opened by. */
static int
look_for_fd(PyObject *op, shx_place *place, shx_identity *identity, int *flags)
{
    shx_memory *self = MEMORY(op);
    int fd;
    Py_BEGIN_CRITICAL_SECTION(op);
    fd = self->fd;
    if (fd == SHX_FD_UNASKED) {
        shx_place_take_to_open_locked(op, place);
        *identity = self->identity;
        *flags = self->readonly ? O_RDONLY : O_RDWR;
    }
    Py_END_CRITICAL_SECTION();
    return fd;
}

/* Is it the object's from now on? Not if another thread was faster, or has
 * closed the object, or given it another memory. */
static bool
keep_fd(PyObject *op, const shx_identity *identity, int fd)
{
    shx_memory *self = MEMORY(op);
    bool kept;
    Py_BEGIN_CRITICAL_SECTION(op);
    kept =
        self->fd == SHX_FD_UNASKED && shx_same_file(&self->identity, identity);
    if (kept && fd >= 0) {
        self->fd = fd;
        self->fd_identity = *identity;
    }
    Py_END_CRITICAL_SECTION();
    return kept;
}

int
shx_memory_fd(PyObject *op)
{
    for (;;) {
        shx_place place;
        shx_identity identity;
        int flags, opened = -1;
        int fd = look_for_fd(op, &place, &identity, &flags);
        if (fd != SHX_FD_UNASKED) {
            return fd;
        }
        shx_err err = shx_place_open(&place, &identity, flags, &opened);
        bool kept = keep_fd(op, &identity, opened);
        if (kept && err != 0) {
            shx_memory_raise(op, err);
        }
        shx_place_leave(&place);
        if (kept) {
            return opened;
        }
        if (err == 0) {
            shx_os_close(opened);
        }
    }
}

bool
shx_memory_has_fd(PyObject *op)
{
    return MEMORY(op)->fd >= 0 &&
           shx_segment_owns_fd(&MEMORY(op)->identity, MEMORY(op)->fd);
}

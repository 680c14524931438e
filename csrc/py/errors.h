/* SPDX-License-Identifier: MIT */
/* The one translator: an shx_err in, a Python exception out. All of these
 * raise, and return NULL. */
#ifndef SHX_ERRORS_H
#define SHX_ERRORS_H

#include "py/compat.h"

#include "core/error.h"

/* What `err` stands for. `filename` may be NULL. */
PyObject *shx_raise(shx_err err, PyObject *filename);

/* The errno of the OSError that it stands for; 0: of no OSError. */
int shx_errno(shx_err err);

/* OSError with a sentence instead of the system's. `text` is stolen; NULL: an
 * exception is set already. */
PyObject *shx_raise_text(int code, PyObject *text, PyObject *filename);

/* The same, of something that the system cannot do. */
PyObject *shx_raise_unsupported(int code, const char *text,
                                PyObject *filename);

/* How messages speak of a kind of memory. */
typedef struct {
    const char *what;  /* "shared memory" */
    const char *place; /* where it takes its room */
    const char *hint;  /* what to do when there is none */
} shx_words;

/* ENOSPC: which memory, how much was asked, how much is there, and what to
 * do. */
PyObject *shx_raise_full(const shx_words *words, PyObject *label, size_t asked,
                         uint64_t room);

/* The same, of what is there already and was to have `size` bytes. */
PyObject *shx_raise_cannot_grow(const shx_words *words, PyObject *label,
                                size_t size, uint64_t room);

/* Adds to the exception that is set a note, PEP 678's: what the stdlib's
 * words, which programs may look at, leave unsaid. */
void shx_note(const char *format, ...);

#endif

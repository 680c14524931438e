/* SPDX-License-Identifier: MIT */
/* Numbers of 4 or 8 bytes, with a sign or without: Python's, and their bits.
 */
#ifndef SHX_NUMBER_H
#define SHX_NUMBER_H

#include "py/compat.h"

/* As the struct module and numpy call it. */
typedef struct {
    char letter;
    bool wide; /* 8 bytes, not 4 */
    bool is_signed;
} shx_number_type;

/* The first is the one that is meant where none is named. */
extern const shx_number_type shx_number_types[4];

/* By its letter: NULL with an exception. */
const shx_number_type *shx_number_find(PyObject *letter);

/* New reference. */
PyObject *shx_number_object(const shx_number_type *type, uint64_t bits);

/* The rest of the next. */
int shx_number_bits_any(const shx_number_type *type, PyObject *object,
                        bool summand, uint64_t *bits);

/* Of the type's range; of a summand, or of the other sign's: what is added
 * wraps around, and so one is taken off by adding -1. A small int, of 30 bits,
 * is in all of them, but for its sign. -1 with an exception. */
static inline int
shx_number_bits(const shx_number_type *type, PyObject *object, bool summand,
                uint64_t *bits)
{
    if (PyLong_CheckExact(object) && shx_long_is_compact(object)) {
        int64_t value = shx_long_compact_value(object);
        if (value >= 0 || summand) {
            *bits = (uint64_t)value;
            return 0;
        }
    }
    return shx_number_bits_any(type, object, summand, bits);
}

#endif

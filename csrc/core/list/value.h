/* SPDX-License-Identifier: MIT */
/* One value of a list, and what says its kind there: a struct format of 8
 * characters, NUL padded, and a code.
 *
 *   value   format     code   slot
 *   int     q          0      8 bytes
 *   float   d          0      8 bytes
 *   bool    xxxxxxx?   0      8 bytes, the last one counts
 *   None    xxxxxx?x   3      8 bytes
 *   str     <slot>s    1      8 (characters / 8 + 1) bytes, as CPython has
 *                             it, or as many as the text needs in UTF-8
 *   bytes   <slot>s    2      likewise
 *
 * A peer may combine them as it likes, and then means by it what CPython
 * makes of it: None by any number's format, bytes of a text's whole slot by
 * code 0.
 */
#ifndef SHX_VALUE_H
#define SHX_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

typedef enum {
    SHX_INT,
    SHX_FLOAT,
    SHX_BOOL,
    SHX_NONE,
    SHX_STR, /* UTF-8 */
    SHX_BYTES,
} shx_kind;

typedef struct {
    shx_kind kind;
    union {
        int64_t integer; /* SHX_BOOL: 0 or 1 */
        double number;
        uint64_t bits; /* of either */
        struct {
            const char *text;  /* SHX_STR, SHX_BYTES: in the caller's hands, */
            size_t length;     /* or in the segment, to be copied at once */
            size_t characters; /* of a new one, for the size of its slot */
        };
    };
} shx_value;

enum { SHX_FORMAT = 8 };

typedef union {
    char text[SHX_FORMAT];
    uint64_t word; /* it is read and written in one piece */
} shx_format;

enum { SHX_CODE_NUMBER, SHX_CODE_STR, SHX_CODE_BYTES, SHX_CODE_NONE };

/* By kind. A text's format is not among them: it depends on the slot. */
extern const shx_format shx_value_formats[SHX_NONE + 1];
extern const signed char shx_value_codes[SHX_BYTES + 1];

/* The longest text: its slot's format has to fit into 8 characters. */
extern const size_t shx_value_text_max;

static inline bool
shx_value_is_text(const shx_value *value)
{
    return value->kind == SHX_STR || value->kind == SHX_BYTES;
}

/* The bytes of the slot that a new value gets. */
size_t shx_value_text_slot(const shx_value *value);

static inline size_t
shx_value_slot(const shx_value *value)
{
    return shx_value_is_text(value) ? shx_value_text_slot(value) : 8;
}

/* "<slot>s", of a slot that holds at most the longest text. */
uint64_t shx_value_text_format(size_t slot);

static inline uint64_t
shx_value_format(const shx_value *value, size_t slot)
{
    return shx_value_is_text(value) ? shx_value_text_format(slot)
                                    : shx_value_formats[value->kind].word;
}

/* What stands in the slot of what is no text. */
static inline uint64_t
shx_value_bits(const shx_value *value)
{
    if (value->kind == SHX_NONE) {
        return 0;
    }
    if (value->kind == SHX_BOOL) {
        shx_format bytes = {{[7] = (char)(value->integer != 0)}};
        return bytes.word;
    }
    return value->bits;
}

/* The value, no text, whose slot has these bits: SHX_CORRUPT if the format or
 * the code is that of none. */
shx_err shx_value_from_bits(uint64_t bits, uint64_t format, int code,
                            shx_value *out);

/* Numbers have no digits there. */
static inline bool
shx_value_is_text_format(uint64_t word)
{
    shx_format format = {.word = word};
    return format.text[0] >= '0' && format.text[0] <= '9';
}

/* The size that a text's format names, 0 if it is malformed. */
size_t shx_value_text_size(uint64_t format);

#endif

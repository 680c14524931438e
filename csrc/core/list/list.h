/* SPDX-License-Identifier: MIT */
/* A list of N values in a segment, byte for byte as CPython 3.9 and later lay
 * out multiprocessing's ShareableList: native byte order, every section begins
 * at a multiple of 8.
 *
 *   offset           bytes      what
 *   0                8          N
 *   8                8 (N+1)    where each slot begins in the data; [0] = 0,
 *                               [N] = K
 *   8 (N+2)          K          the data: a slot for each value
 *   8 (N+2) + K      8 N        the struct format of each value, NUL padded
 *   ... + 8 N        N          a code each: what to make of it
 *
 * CPython stops there, and takes every NUL at the end of a text for padding.
 * We put marks behind it, where CPython does not look, for texts that do end
 * in NUL:
 *
 *   next multiple of 8   8      "shxmarks"
 *   ... + 8              8 N    0, or (length + 1) << 40 | hash of the slot
 *
 * A mark is believed while slot, kind and hash agree: a CPython peer that
 * changes the value does not know the mark, and thereby unmakes it. (A peer
 * that writes the very bytes that are there changes nothing.)
 *
 * Whatever stands in a segment may be hostile, and change while we look:
 * every number is read once, checked against the mapped size, and used from
 * the copy. The length and the sections are fixed when a list is opened.
 * Numbers are read and written in one piece; texts are not: a reader may see
 * half of one and half of another.
 */
#ifndef SHX_LIST_H
#define SHX_LIST_H

#include "core/list/value.h"

/* An opened list. Nothing in it needs to be released. */
typedef struct {
    char *memory;
    size_t length; /* N */
    size_t data;   /* where the sections begin */
    size_t formats;
    size_t codes;
    size_t marks; /* 0: it has none */
} shx_list;

/* The size of the segment for `length` values with `data` bytes of slots:
 * SHX_TOO_LONG if there is no such size. */
shx_err shx_list_size(size_t length, uint64_t data, size_t *size);

/* Lays an empty list out in zeroed memory of that size. Values follow by
 * shx_list_append(), exactly `length` of them, in order. */
void shx_list_create(void *memory, size_t length, size_t data, shx_list *out);
void shx_list_append(const shx_list *list, size_t index, size_t *offset,
                     const shx_value *value);

/* SHX_NEGATIVE or SHX_CORRUPT if the memory holds no list. */
shx_err shx_list_open(void *memory, size_t size, shx_list *out);

/* What the memory says N is now: SHX_NEGATIVE, SHX_CORRUPT. */
shx_err shx_list_length_now(const shx_list *list, size_t size, size_t *length);

/* `index` is below `length` here and in the following. */
shx_err shx_list_get(const shx_list *list, size_t index, shx_value *out);

/* SHX_TOO_LONG: the text does not fit into the slot. On error nothing is
 * changed. */
shx_err shx_list_set(const shx_list *list, size_t index,
                     const shx_value *value);

/* The format without its padding; returns its length. */
size_t shx_list_format(const shx_list *list, size_t index,
                       char format[SHX_FORMAT]);
void shx_list_set_format(const shx_list *list, size_t index,
                         const char format[SHX_FORMAT]);

int shx_list_code(const shx_list *list, size_t index);
void shx_list_set_code(const shx_list *list, size_t index, int code);

/* Where slot `index` begins in the data, as the memory says: 0 .. N. */
uint64_t shx_list_offset(const shx_list *list, size_t index);

#endif

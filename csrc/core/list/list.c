/* SPDX-License-Identifier: MIT */
#include "core/list/list.h"

#include <stdatomic.h> /* numbers in one piece */
#include <stdio.h>     /* snprintf */
#include <string.h>    /* memcpy, memset */

enum { CODE_NUMBER, CODE_STR, CODE_BYTES, CODE_NONE };

const size_t shx_list_text_max = 9999991; /* the slot is "9999992s" */

static const char mark_magic[8] = {'s', 'h', 'x', 'm', 'a', 'r', 'k', 's'};

static const char format_int[SHX_FORMAT] = "q";
static const char format_float[SHX_FORMAT] = "d";
static const char format_bool[SHX_FORMAT] = {'x', 'x', 'x', 'x',
                                             'x', 'x', 'x', '?'};
static const char format_none[SHX_FORMAT] = {'x', 'x', 'x', 'x',
                                             'x', 'x', '?', 'x'};

/* Aligned words are read and written in one piece. Only a hostile offset is
 * not aligned, and then nobody is owed that. */
static uint64_t
load(const char *from)
{
    if ((uintptr_t)from % 8 == 0) {
        return atomic_load_explicit(
            (const _Atomic(uint64_t) *)(const void *)from,
            memory_order_relaxed);
    }
    uint64_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static void
store(char *to, uint64_t word)
{
    if ((uintptr_t)to % 8 == 0) {
        atomic_store_explicit((_Atomic(uint64_t) *)(void *)to, word,
                              memory_order_relaxed);
    }
    else {
        memcpy(to, &word, sizeof word);
    }
}

static uint64_t
as_word(const char format[SHX_FORMAT])
{
    uint64_t word;
    memcpy(&word, format, sizeof word);
    return word;
}

static bool
is_text(shx_kind kind)
{
    return kind == SHX_STR || kind == SHX_BYTES;
}

size_t
shx_list_slot(const shx_value *value)
{
    if (!is_text(value->kind)) {
        return 8;
    }
    size_t slot = 8 * (value->characters / 8 + 1);
    size_t needed = (value->length + 7) / 8 * 8;
    return slot > needed ? slot : needed;
}

static size_t
end_of_codes(size_t length, size_t data)
{
    return 8 * (length + 2) + data + 9 * length;
}

static size_t
marks_at(size_t length, size_t data)
{
    return (end_of_codes(length, data) + 7) / 8 * 8;
}

shx_err
shx_list_size(size_t length, size_t data, size_t *size)
{
    if (length > PTRDIFF_MAX / 64 || data > PTRDIFF_MAX / 2) {
        return SHX_TOO_LONG;
    }
    *size = marks_at(length, data) + 8 + 8 * length;
    return 0;
}

static shx_list
arrange(void *memory, size_t length, size_t data)
{
    size_t start = 8 * (length + 2);
    return (shx_list){
        .memory = memory,
        .length = length,
        .data = start,
        .formats = start + data,
        .codes = start + data + 8 * length,
        .marks = marks_at(length, data),
    };
}

void
shx_list_create(void *memory, size_t length, size_t data, shx_list *out)
{
    *out = arrange(memory, length, data);
    store(out->memory + out->marks, as_word(mark_magic));
    store(out->memory, length);
}

shx_err
shx_list_open(void *memory, size_t size, shx_list *out)
{
    if (size < 16) {
        return SHX_CORRUPT;
    }
    uint64_t length = load(memory);
    if (length > INT64_MAX) {
        return SHX_NEGATIVE;
    }
    if (length > (size - 16) / 17) {
        return SHX_CORRUPT;
    }
    uint64_t data = load((char *)memory + 8 * (length + 1));
    if (data > size || end_of_codes(length, data) > size) {
        return SHX_CORRUPT;
    }
    *out = arrange(memory, length, data);
    if (out->marks + 8 + 8 * length > size ||
        load(out->memory + out->marks) != as_word(mark_magic)) {
        out->marks = 0;
    }
    return 0;
}

shx_err
shx_list_length_now(const shx_list *list, size_t size, size_t *length)
{
    uint64_t now = load(list->memory);
    if (now > INT64_MAX) {
        return SHX_NEGATIVE;
    }
    if (now > (size - 16) / 17) {
        return SHX_CORRUPT;
    }
    *length = now;
    return 0;
}

uint64_t
shx_list_offset(const shx_list *list, size_t index)
{
    return load(list->memory + 8 * (index + 1));
}

/* Where a slot is, checked: it lies in the data and has room for a number. */
static shx_err
find_slot(const shx_list *list, size_t index, char **slot, size_t *size)
{
    uint64_t begin = shx_list_offset(list, index);
    uint64_t end = shx_list_offset(list, index + 1);
    if (begin > end || end > list->formats - list->data || end - begin < 8) {
        return SHX_CORRUPT;
    }
    *slot = list->memory + list->data + begin;
    *size = end - begin;
    return 0;
}

size_t
shx_list_format(const shx_list *list, size_t index, char format[SHX_FORMAT])
{
    uint64_t word = load(list->memory + list->formats + 8 * index);
    memcpy(format, &word, SHX_FORMAT);
    size_t length = SHX_FORMAT;
    while (length > 0 && format[length - 1] == '\0') {
        length--;
    }
    return length;
}

void
shx_list_set_format(const shx_list *list, size_t index,
                    const char format[SHX_FORMAT])
{
    store(list->memory + list->formats + 8 * index, as_word(format));
}

int
shx_list_code(const shx_list *list, size_t index)
{
    return atomic_load_explicit(
        (_Atomic(signed char) *)(void *)(list->memory + list->codes + index),
        memory_order_relaxed);
}

void
shx_list_set_code(const shx_list *list, size_t index, int code)
{
    atomic_store_explicit(
        (_Atomic(signed char) *)(void *)(list->memory + list->codes + index),
        (signed char)code, memory_order_relaxed);
}

/* FNV-1a over the slot and the kind, in the 40 bits that a mark has room
 * for. */
static uint64_t
hash_slot(const char *slot, size_t size, int code)
{
    uint64_t hash = 14695981039346656037u ^ (uint64_t)code;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)slot[i]) * 1099511628211u;
    }
    return (hash ^ hash >> 40) & ((UINT64_C(1) << 40) - 1);
}

static char *
mark_of(const shx_list *list, size_t index)
{
    return list->memory + list->marks + 8 + 8 * index;
}

/* The length of the text in a slot: what the mark says if it can be believed,
 * else up to the last byte that is not NUL. */
static size_t
text_length(const shx_list *list, size_t index, const char *slot, size_t size,
            int code)
{
    uint64_t mark = list->marks == 0 ? 0 : load(mark_of(list, index));
    if (mark != 0) {
        uint64_t length = (mark >> 40) - 1;
        uint64_t hash = mark & ((UINT64_C(1) << 40) - 1);
        if (length <= size && hash_slot(slot, size, code) == hash) {
            return length;
        }
    }
    while (size > 0 && slot[size - 1] == '\0') {
        size--;
    }
    return size;
}

/* The number in front of an 's', 0 if the format is another. */
static size_t
size_in_format(const char format[SHX_FORMAT])
{
    size_t size = 0;
    for (int i = 0; i < SHX_FORMAT; i++) {
        if (format[i] == 's' && i > 0) {
            return i + 1 == SHX_FORMAT || format[i + 1] == '\0' ? size : 0;
        }
        if (format[i] < '0' || format[i] > '9') {
            return 0;
        }
        size = 10 * size + (size_t)(format[i] - '0');
    }
    return 0;
}

static shx_err
get_text(const shx_list *list, size_t index, const char format[SHX_FORMAT],
         int code, shx_value *out)
{
    char *slot;
    size_t size, written = size_in_format(format);
    shx_err err = find_slot(list, index, &slot, &size);
    if (err != 0) {
        return err;
    }
    if (written == 0 || written > size || code == CODE_NONE || code < 0 ||
        code > CODE_NONE) {
        return SHX_CORRUPT;
    }
    *out = (shx_value){.kind = code == CODE_STR ? SHX_STR : SHX_BYTES};
    out->text = slot;
    out->length = code == CODE_NUMBER
                      ? written
                      : text_length(list, index, slot, written, code);
    return 0;
}

shx_err
shx_list_get(const shx_list *list, size_t index, shx_value *out)
{
    char *slot, format[SHX_FORMAT];
    size_t size;
    uint64_t word = load(list->memory + list->formats + 8 * index);
    memcpy(format, &word, SHX_FORMAT);
    int code = shx_list_code(list, index);
    bool is_int = word == as_word(format_int);
    bool is_float = word == as_word(format_float);
    bool is_bool = word == as_word(format_bool);
    bool is_none = word == as_word(format_none);
    if (!is_int && !is_float && !is_bool && !is_none) {
        return get_text(list, index, format, code, out);
    }
    shx_err err = find_slot(list, index, &slot, &size);
    if (err != 0) {
        return err;
    }
    if (code == CODE_NONE) {
        *out = (shx_value){.kind = SHX_NONE};
        return 0;
    }
    if (code != CODE_NUMBER) {
        return SHX_CORRUPT;
    }
    uint64_t bits = load(slot);
    unsigned char bytes[8];
    memcpy(bytes, &bits, sizeof bytes);
    *out = (shx_value){.kind = SHX_INT};
    if (is_int) {
        memcpy(&out->integer, &bits, sizeof bits);
    }
    else if (is_float) {
        out->kind = SHX_FLOAT;
        memcpy(&out->number, &bits, sizeof bits);
    }
    else {
        out->kind = SHX_BOOL;
        out->integer = bytes[is_bool ? 7 : 6] != 0;
    }
    return 0;
}

/* The code and the format of a value in a slot of that size. */
static int
describe(const shx_value *value, size_t slot, char format[SHX_FORMAT])
{
    char text[32] = {0};
    switch (value->kind) {
    case SHX_INT:
        memcpy(format, format_int, SHX_FORMAT);
        return CODE_NUMBER;
    case SHX_FLOAT:
        memcpy(format, format_float, SHX_FORMAT);
        return CODE_NUMBER;
    case SHX_BOOL:
        memcpy(format, format_bool, SHX_FORMAT);
        return CODE_NUMBER;
    case SHX_NONE:
        memcpy(format, format_none, SHX_FORMAT);
        return CODE_NONE;
    default:
        (void)snprintf(text, sizeof text, "%zus", slot);
        memcpy(format, text, SHX_FORMAT);
        return value->kind == SHX_STR ? CODE_STR : CODE_BYTES;
    }
}

static uint64_t
bits_of(const shx_value *value)
{
    uint64_t bits = 0;
    unsigned char bytes[8] = {0};
    if (value->kind == SHX_INT) {
        memcpy(&bits, &value->integer, sizeof bits);
    }
    else if (value->kind == SHX_FLOAT) {
        memcpy(&bits, &value->number, sizeof bits);
    }
    else if (value->kind == SHX_BOOL) {
        bytes[7] = value->integer != 0;
        memcpy(&bits, bytes, sizeof bits);
    }
    return bits;
}

/* Writes data and mark. Only a text that ends in NUL needs a mark: what there
 * was is taken away first, so that no reader believes it of the new value, or
 * of a CPython peer's that follows and has the old one's bytes. */
static void
write_slot(const shx_list *list, size_t index, char *slot, size_t size,
           const shx_value *value, int code)
{
    if (list->marks != 0 && load(mark_of(list, index)) != 0) {
        store(mark_of(list, index), 0);
    }
    if (!is_text(value->kind)) {
        store(slot, bits_of(value));
        return;
    }
    memcpy(slot, value->text, value->length);
    memset(slot + value->length, 0, size - value->length);
    if (list->marks != 0 && value->length > 0 &&
        value->text[value->length - 1] == '\0') {
        store(mark_of(list, index), (uint64_t)(value->length + 1) << 40 |
                                        hash_slot(slot, size, code));
    }
}

void
shx_list_append(const shx_list *list, size_t index, size_t *offset,
                const shx_value *value)
{
    char format[SHX_FORMAT];
    size_t size = shx_list_slot(value);
    int code = describe(value, size, format);
    write_slot(list, index, list->memory + list->data + *offset, size, value,
               code);
    shx_list_set_format(list, index, format);
    shx_list_set_code(list, index, code);
    *offset += size;
    store(list->memory + 8 * (index + 2), *offset);
}

/* A number that replaces a number of its kind changes in one piece. */
shx_err
shx_list_set(const shx_list *list, size_t index, const shx_value *value)
{
    char *slot, format[SHX_FORMAT], before[SHX_FORMAT];
    size_t size;
    shx_err err = find_slot(list, index, &slot, &size);
    if (err != 0) {
        return err;
    }
    if (is_text(value->kind) &&
        (value->length > size || size > shx_list_text_max + 1)) {
        return SHX_TOO_LONG;
    }
    int code = describe(value, size, format);
    (void)shx_list_format(list, index, before);
    if (as_word(before) != as_word(format)) {
        shx_list_set_format(list, index, format);
    }
    if (shx_list_code(list, index) != code) {
        shx_list_set_code(list, index, code);
    }
    write_slot(list, index, slot, size, value, code);
    return 0;
}

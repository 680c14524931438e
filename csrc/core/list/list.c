/* SPDX-License-Identifier: MIT */
#include "core/list/list.h"

#include <stdatomic.h> /* numbers in one piece */
#include <string.h>    /* memcpy, memset */

static const shx_format magic = {{'s', 'h', 'x', 'm', 'a', 'r', 'k', 's'}};

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
shx_list_size(size_t length, uint64_t data, size_t *size)
{
    if (length > PTRDIFF_MAX / 64 || data > PTRDIFF_MAX / 2) {
        return SHX_TOO_LONG;
    }
    *size = marks_at(length, (size_t)data) + 8 + 8 * length;
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
    store(out->memory + out->marks, magic.word);
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
    if (data > size - end_of_codes((size_t)length, 0)) {
        return SHX_CORRUPT;
    }
    *out = arrange(memory, (size_t)length, (size_t)data);
    if (out->marks + 8 + 8 * (size_t)length > size ||
        load(out->memory + out->marks) != magic.word) {
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
    *length = (size_t)now;
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
    *size = (size_t)(end - begin);
    return 0;
}

static char *
format_of(const shx_list *list, size_t index)
{
    return list->memory + list->formats + 8 * index;
}

size_t
shx_list_format(const shx_list *list, size_t index, char format[SHX_FORMAT])
{
    uint64_t word = load(format_of(list, index));
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
    uint64_t word;
    memcpy(&word, format, SHX_FORMAT);
    store(format_of(list, index), word);
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
            return (size_t)length;
        }
    }
    while (size > 0 && slot[size - 1] == '\0') {
        size--;
    }
    return size;
}

shx_err
shx_list_get(const shx_list *list, size_t index, shx_value *out)
{
    char *slot;
    size_t size;
    uint64_t format = load(format_of(list, index));
    int code = shx_list_code(list, index);
    shx_err err = find_slot(list, index, &slot, &size);
    if (err != 0) {
        return err;
    }
    if (!shx_value_is_text_format(format)) {
        return shx_value_from_bits(load(slot), format, code, out);
    }
    size_t written = shx_value_text_size(format);
    if (written == 0 || written > size || code < 0 || code >= SHX_CODE_NONE) {
        return SHX_CORRUPT;
    }
    *out = (shx_value){.kind = code == SHX_CODE_STR ? SHX_STR : SHX_BYTES};
    out->text = slot;
    out->length = code == SHX_CODE_NUMBER
                      ? written
                      : text_length(list, index, slot, written, code);
    return 0;
}

/* Writes the data, and a mark where the text ends in NUL. */
static void
write_slot(const shx_list *list, size_t index, char *slot, size_t size,
           const shx_value *value, int code)
{
    if (!shx_value_is_text(value)) {
        store(slot, shx_value_bits(value));
        return;
    }
    memcpy(slot, value->text, value->length);
    memset(slot + value->length, 0, size - value->length);
    if (list->marks != 0 && value->length > 0 &&
        value->text[value->length - 1] == '\0') {
        store(mark_of(list, index), ((uint64_t)value->length + 1) << 40 |
                                        hash_slot(slot, size, code));
    }
}

/* Looks at no mark: there is none in fresh memory, and they are many pages. */
void
shx_list_append(const shx_list *list, size_t index, size_t *offset,
                const shx_value *value)
{
    size_t size = shx_value_slot(value);
    int code = shx_value_codes[value->kind];
    write_slot(list, index, list->memory + list->data + *offset, size, value,
               code);
    store(format_of(list, index), shx_value_format(value, size));
    shx_list_set_code(list, index, code);
    *offset += size;
    store(list->memory + 8 * (index + 2), *offset);
}

/* A number that replaces a number of its kind changes in one piece. The mark
 * that there was is taken away first, so that no reader believes it of the new
 * value, or of a CPython peer's that follows and has the old one's bytes. */
shx_err
shx_list_set(const shx_list *list, size_t index, const shx_value *value)
{
    char *slot;
    size_t size;
    shx_err err = find_slot(list, index, &slot, &size);
    if (err != 0) {
        return err;
    }
    if (shx_value_is_text(value) &&
        (value->length > size || size > shx_value_text_max + 1)) {
        return SHX_TOO_LONG;
    }
    int code = shx_value_codes[value->kind];
    uint64_t format = shx_value_format(value, size);
    if (load(format_of(list, index)) != format) {
        store(format_of(list, index), format);
    }
    if (shx_list_code(list, index) != code) {
        shx_list_set_code(list, index, code);
    }
    if (list->marks != 0 && load(mark_of(list, index)) != 0) {
        store(mark_of(list, index), 0);
    }
    write_slot(list, index, slot, size, value, code);
    return 0;
}

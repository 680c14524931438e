/* SPDX-License-Identifier: MIT */
/* libFuzzer at the layout of ShareableList: see `make fuzz`.
 *
 * The input is taken twice: as the memory of a segment that somebody hostile
 * wrote, and as the values of a list that is made of them. The memory is
 * malloc'ed to the byte, so AddressSanitizer sees every step beyond it.
 */
#include <stdlib.h> /* malloc, abort */
#include <string.h> /* memcpy, memcmp */

#include "core/list/list.h"

enum { TEXT = 40 };

static void
check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static bool
is_text(const shx_value *value)
{
    return value->kind == SHX_STR || value->kind == SHX_BYTES;
}

static bool
same(const shx_value *a, const shx_value *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case SHX_INT:
    case SHX_BOOL:
        return a->integer == b->integer;
    case SHX_FLOAT: /* bit for bit: NaNs count too */
        return memcmp(&a->number, &b->number, sizeof a->number) == 0;
    case SHX_NONE:
        return true;
    default:
        return a->length == b->length &&
               memcmp(a->text, b->text, a->length) == 0;
    }
}

/* Reads an item and, if it is a text, every byte of it. */
static shx_err
read_item(const shx_list *list, size_t size, size_t index, shx_value *out)
{
    shx_err err = shx_list_get(list, index, out);
    check(err == 0 || err == SHX_CORRUPT);
    if (err == 0 && is_text(out)) {
        size_t begin = (size_t)(out->text - list->memory);
        check(begin <= size && out->length <= size - begin);
        unsigned sum = 0;
        for (size_t i = 0; i < out->length; i++) {
            sum += (unsigned char)out->text[i];
        }
        check(sum <= 255 * out->length);
    }
    return err;
}

/* What was set comes back; what was refused changed nothing. */
static void
write_item(const shx_list *list, size_t size, size_t index,
           const shx_value *value, char *before)
{
    shx_value now;
    memcpy(before, list->memory, size);
    shx_err err = shx_list_set(list, index, value);
    if (err != 0) {
        check(err == SHX_CORRUPT || err == SHX_TOO_LONG);
        check(memcmp(before, list->memory, size) == 0);
        return;
    }
    check(read_item(list, size, index, &now) == 0);
    bool ends_in_nul = is_text(value) && value->length > 0 &&
                       value->text[value->length - 1] == '\0';
    if (list->marks != 0 || !ends_in_nul) {
        check(same(value, &now));
    }
}

static void
write_kinds(const shx_list *list, size_t size, size_t index,
            const uint8_t *data, char *before)
{
    char text[TEXT];
    for (size_t i = 0; i < TEXT; i++) {
        text[i] = (char)data[(index + i) % size];
    }
    shx_value value = {.kind = SHX_INT};
    memcpy(&value.integer, text, sizeof value.integer);
    write_item(list, size, index, &value, before);
    value.kind = SHX_FLOAT;
    memcpy(&value.number, text + 8, sizeof value.number);
    write_item(list, size, index, &value, before);
    value = (shx_value){.kind = SHX_BOOL, .integer = text[0] & 1};
    write_item(list, size, index, &value, before);
    value = (shx_value){.kind = SHX_NONE};
    write_item(list, size, index, &value, before);
    for (size_t length = 0; length <= TEXT; length += 5) {
        value = (shx_value){.kind = length % 2 ? SHX_STR : SHX_BYTES};
        value.text = text;
        value.length = length;
        write_item(list, size, index, &value, before);
    }
}

static void
as_memory(const uint8_t *data, size_t size)
{
    shx_list list;
    shx_value value;
    size_t length;
    char format[SHX_FORMAT];
    char *memory = malloc(size), *before = malloc(size);
    check(memory != NULL && before != NULL);
    memcpy(memory, data, size);
    shx_err err = shx_list_open(memory, size, &list);
    check(err == 0 || err == SHX_NEGATIVE || err == SHX_CORRUPT);
    check(memcmp(memory, data, size) == 0);
    if (err == 0) {
        check(shx_list_length_now(&list, size, &length) == 0);
        check(length == list.length && length <= size / 17);
        for (size_t i = 0; i <= length; i++) {
            (void)shx_list_offset(&list, i);
        }
        for (size_t i = 0; i < length; i++) {
            (void)read_item(&list, size, i, &value);
            (void)shx_list_code(&list, i);
            check(shx_list_format(&list, i, format) <= SHX_FORMAT);
        }
        for (size_t i = 0; i < length; i++) {
            write_kinds(&list, size, i, data, before);
        }
        for (size_t i = 0; i < length; i++) {
            shx_list_set_format(&list, i, (const char *)data);
            shx_list_set_code(&list, i, (signed char)data[i]);
            (void)read_item(&list, size, i, &value);
        }
        /* N is read anew: it may have become anything. */
        memcpy(memory, data + size - 8, 8);
        err = shx_list_length_now(&list, size, &length);
        check(err != 0 || length <= size / 17);
        if (list.length > 0) {
            (void)read_item(&list, size, 0, &value);
        }
    }
    free(memory);
    free(before);
}

/* A byte for the kind, one for the length, then the text or the bits. */
static size_t
parse(const uint8_t *data, size_t size, shx_value *values, size_t most)
{
    size_t count = 0;
    while (count < most && size >= 10) {
        shx_value *value = &values[count++];
        size_t length = data[1] < size - 2 ? data[1] : size - 2;
        *value = (shx_value){.kind = (shx_kind)(data[0] % 6)};
        if (is_text(value)) {
            value->text = (const char *)data + 2;
            value->length = length;
            value->characters = value->kind == SHX_STR ? length / 2 : length;
        }
        else {
            length = 8;
            memcpy(&value->integer, data + 2, 8);
            if (value->kind == SHX_BOOL) {
                value->integer &= 1;
            }
        }
        data += 2 + length;
        size -= 2 + length;
    }
    return count;
}

static void
as_values(const uint8_t *data, size_t size)
{
    enum { MOST = 64 };
    shx_value values[MOST], value;
    shx_list list, opened;
    size_t count = parse(data, size, values, MOST);
    size_t slots = 0, total, offset = 0;
    for (size_t i = 0; i < count; i++) {
        slots += shx_value_slot(&values[i]);
    }
    check(shx_list_size(count, slots, &total) == 0);
    char *memory = calloc(1, total);
    check(memory != NULL);
    shx_list_create(memory, count, slots, &list);
    for (size_t i = 0; i < count; i++) {
        shx_list_append(&list, i, &offset, &values[i]);
    }
    check(offset == slots);
    check(shx_list_open(memory, total, &opened) == 0);
    check(opened.length == count && opened.marks == list.marks);
    check(opened.formats == list.formats && opened.codes == list.codes);
    for (size_t i = 0; i < count; i++) {
        check(read_item(&opened, total, i, &value) == 0);
        check(same(&values[i], &value));
    }
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 16) {
        as_memory(data, size);
    }
    else {
        shx_list list;
        char none[16] = {0};
        check(shx_list_open(none, size, &list) == SHX_CORRUPT);
    }
    as_values(data, size);
    return 0;
}

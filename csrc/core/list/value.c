/* SPDX-License-Identifier: MIT */
#include "core/list/value.h"

const size_t shx_value_text_max = 9999991; /* the slot is "9999992s" */

const shx_format shx_value_formats[] = {
    [SHX_INT] = {"q"},
    [SHX_FLOAT] = {"d"},
    [SHX_BOOL] = {{'x', 'x', 'x', 'x', 'x', 'x', 'x', '?'}},
    [SHX_NONE] = {{'x', 'x', 'x', 'x', 'x', 'x', '?', 'x'}},
};

const signed char shx_value_codes[] = {
    [SHX_INT] = SHX_CODE_NUMBER,  [SHX_FLOAT] = SHX_CODE_NUMBER,
    [SHX_BOOL] = SHX_CODE_NUMBER, [SHX_NONE] = SHX_CODE_NONE,
    [SHX_STR] = SHX_CODE_STR,     [SHX_BYTES] = SHX_CODE_BYTES,
};

size_t
shx_value_text_slot(const shx_value *value)
{
    size_t slot = 8 * (value->characters / 8 + 1);
    size_t needed = (value->length + 7) / 8 * 8;
    return slot > needed ? slot : needed;
}

uint64_t
shx_value_text_format(size_t slot)
{
    shx_format format = {{0}};
    size_t digits = 1;
    for (size_t rest = slot; rest >= 10; rest /= 10) {
        digits++;
    }
    format.text[digits] = 's';
    for (; digits > 0; slot /= 10) {
        format.text[--digits] = (char)('0' + slot % 10);
    }
    return format.word;
}

shx_err
shx_value_from_bits(uint64_t bits, uint64_t format, int code, shx_value *out)
{
    shx_kind kind = SHX_INT;
    while (kind <= SHX_NONE && shx_value_formats[kind].word != format) {
        kind++;
    }
    if (kind > SHX_NONE ||
        (code != SHX_CODE_NUMBER && code != SHX_CODE_NONE)) {
        return SHX_CORRUPT;
    }
    if (code == SHX_CODE_NONE) {
        *out = (shx_value){.kind = SHX_NONE};
    }
    else if (kind == SHX_BOOL || kind == SHX_NONE) {
        shx_format bytes = {.word = bits};
        *out = (shx_value){.kind = SHX_BOOL};
        out->integer = bytes.text[kind == SHX_BOOL ? 7 : 6] != 0;
    }
    else {
        *out = (shx_value){.kind = kind, .bits = bits};
    }
    return 0;
}

size_t
shx_value_text_size(uint64_t word)
{
    shx_format format = {.word = word};
    size_t size = 0;
    for (int i = 0; i < SHX_FORMAT; i++) {
        if (format.text[i] == 's' && i > 0) {
            return i + 1 == SHX_FORMAT || format.text[i + 1] == '\0' ? size
                                                                     : 0;
        }
        if (format.text[i] < '0' || format.text[i] > '9') {
            return 0;
        }
        size = 10 * size + (size_t)(format.text[i] - '0');
    }
    return 0;
}

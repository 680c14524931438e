/* SPDX-License-Identifier: MIT */
/* What the programs here have in common:
 *
 *   PROGRAM DIRECTORY PREFIX
 *
 * DIRECTORY is empty and becomes a family's; names begin with PREFIX. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include "core/memory/segment.h"

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__,          \
                          #condition);                                        \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

static const char *directory, *prefix;

typedef struct {
    char text[128];
} name;

static inline name
name_of(const char *suffix)
{
    name made;
    (void)snprintf(made.text, sizeof made.text, "%s-%s", prefix, suffix);
    return made;
}

static inline shx_segment
create(const char *called, size_t size, bool reserve)
{
    shx_segment made;
    shx_create request = {
        .name = called, .size = size, .mode = 0600, .space.reserve = reserve};
    CHECK(shx_segment_create(&request, &made) == 0);
    CHECK(made.size == size && made.address != NULL);
    return made;
}

static inline void
begin(int argc, char **argv)
{
    CHECK(argc == 3);
    directory = argv[1];
    prefix = argv[2];
}

#endif

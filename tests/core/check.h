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
#include <unistd.h> /* rmdir */

#include "core/life/draft.h"
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

/* Where the system needs it: a directory on the file system of the names,
 * which is gone when the program ends. */
static char drafts[160];

static inline void
remove_drafts(void)
{
    (void)rmdir(drafts);
}

static inline shx_err
find_draft(void *owner, shx_draft *out)
{
    (void)owner;
    int fd;
    if (drafts[0] == '\0') {
        (void)snprintf(drafts, sizeof drafts, "%s/%s-drafts", shx_os_directory,
                       prefix);
        CHECK(shx_os_make_directory(drafts) == 0);
        (void)atexit(remove_drafts);
    }
    CHECK(shx_os_open_directory(drafts, &fd) == 0);
    return shx_draft_place(fd, out);
}

static inline shx_segment
create(const char *called, size_t size, bool reserve)
{
    shx_segment made;
    shx_create request = {.name = called,
                          .size = size,
                          .mode = 0600,
                          .space.reserve = reserve,
                          .draft = find_draft};
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

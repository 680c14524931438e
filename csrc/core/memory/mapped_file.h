/* SPDX-License-Identifier: MIT */
/* A mapped file is a segment whose name is a path, on a file system that may
 * outlive the machine's power.
 *
 *   path  --->  inode  --->  pages  <--- mapping (here)  <--- mapping (a peer)
 *                              |
 *                              +-- flush --->  disk
 *
 * How a path comes to be, and what a crash leaves after each step:
 *
 *   create_unnamed   an inode without a name     nothing
 *   map, reserve     its space                   nothing
 *   sync             on the disk                 nothing
 *   publish          the path                    the whole file, or nothing
 *   sync directory   the path on the disk        the whole file
 *
 * Results are never NULL. A call returns 0 or an shx_err; on error nothing is
 * left open, mapped or named, and nothing that was there is changed.
 */
#ifndef SHX_MAPPED_FILE_H
#define SHX_MAPPED_FILE_H

#include "core/memory/segment.h"

typedef struct {
    const char *path;
    const char *directory; /* that the path is in */
    size_t size;           /* of a new one; the least that an old one has */
    unsigned mode;         /* of a new one: exact whatever the umask */
    bool readonly;         /* an old one, mapped for reading only */
    shx_space space;
    shx_step step;  /* out: where it failed */
    shx_file found; /* out: what the path stands for, when it cannot be used */
    uint64_t room;  /* out: of ENOSPC, see shx_os_room() */
} shx_file_request;

/* EEXIST if the path is taken. ENOSPC if the space is not to be had.
 * EOPNOTSUPP at the step OPEN: the file system has no O_TMPFILE. */
shx_err shx_mapped_file_create(shx_file_request *request, shx_segment *out);

/* SHX_NOT_MEMORY, SHX_EMPTY, SHX_TOO_SMALL: found says what is there. */
shx_err shx_mapped_file_attach(shx_file_request *request, shx_segment *out);

/* A descriptor of the very file, by its path: SHX_GONE if that is no longer
 * its own. */
shx_err shx_mapped_file_open(const char *path, const shx_identity *identity,
                             int flags, int *fd);

#endif

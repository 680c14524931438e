/* SPDX-License-Identifier: MIT */
/* One process's share of one family, as family.h draws it on disk. Nothing
 * here is shared by threads: whose it is, family.c knows. */
#ifndef SHX_MEMBERSHIP_H
#define SHX_MEMBERSHIP_H

#include "core/error.h"
#include "core/life/sweep.h"
#include "core/os/os.h"

typedef struct {
    char directory[SHX_FAMILY_PATH];
    shx_identity lock; /* of its .lock, and so of the file system */
    unsigned user;
    bool found;  /* false: the directory is not to be found from here */
    void *share; /* the mapping that holds it */
} shx_membership;

/* The part of the directory's name that was drawn. */
const char *shx_membership_id(const shx_membership *of);

/* Makes a directory that nobody can have guessed, and takes a share of it. */
shx_err shx_membership_found(shx_membership *out);

/* A descriptor with a share of its own. ESTALE: somebody has removed the
 * directory, or .lock. */
shx_err shx_membership_share(const shx_membership *of, int *fd);

/* Takes over such a descriptor, and closes it. EBADF: it is no file with that
 * lock, so another's by now, and stays open. Where the directory is not to be
 * found the share is held all the same. */
shx_err shx_membership_enter(const char *id, int fd, shx_membership *out);

void shx_membership_end(shx_membership *of);

/* Is there a process that has this file of the family locked? */
bool shx_membership_has(const shx_membership *of, const char *file);

#endif

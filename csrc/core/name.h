/* SPDX-License-Identifier: MIT */
/* The name of a segment, as programs give it and as the system takes it.
 *
 *   "/frames"  --->  "frames"  --->  /dev/shm/frames
 */
#ifndef SHX_NAME_H
#define SHX_NAME_H

#include "core/error.h"

/* Names that begin so are the library's own: a family's directory is one. */
#define SHX_NAME_OWN ".shmemext-"

/* What shm_open() makes of a name: leading slashes go, then it must not be
 * empty or hold another slash (EINVAL) or be too long (ENAMETOOLONG; EINVAL in
 * some versions of glibc). SHX_RESERVED: it is one of our own. *bare points
 * into `name`. */
shx_err shx_name_bare(const char *name, const char **bare);

#endif

/* SPDX-License-Identifier: MIT */
/* What a _Pool does with blocks: they are taken and filled in one's own, and
 * claimed in any. Each that is held has a lease. */
#ifndef SHX_BLOCK_H
#define SHX_BLOCK_H

#include "py/pool/lease.h"

/* Puts the methods on the type. */
int shx_block_add(PyObject *module);

#endif

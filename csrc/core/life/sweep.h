/* SPDX-License-Identifier: MIT */
/* The sweep removes what a dead family left: for every record of its ledgers
 * the name, if it still has the record's inode; then the ledgers; then the
 * directory. family.h draws all of it.
 *
 * A family is dead when an exclusive flock on its .lock is granted. The sweep
 * holds that lock until the directory is gone, so a newcomer of the family
 * waits, sees that the file has lost its link, and begins a new directory.
 * Killed anywhere, the sweep leaves a directory that the next one removes:
 * names go before the ledger that knows them, and .lock goes last.
 */
#ifndef SHX_SWEEP_H
#define SHX_SWEEP_H

#include "core/error.h"
#include "core/life/ledger.h"
#include "core/name.h"

/* Files of a family's directory, which is called SHX_NAME_OWN and 32
 * hexadecimal digits. */
#define SHX_FAMILY_LOCK ".lock"
#define SHX_FAMILY_REAPER ".reaper"

enum { SHX_FAMILY_PATH = 96 };

/* Opens a family's directory, if it is a directory, ours, and closed to
 * everybody else: SHX_SQUATTED otherwise. */
shx_err shx_sweep_open(const char *path, int *directory);

/* Sweeps one family: EWOULDBLOCK while it lives, or wait for its end. */
shx_err shx_sweep_family(const char *path, bool wait,
                         const shx_sweep_options *options);

/* Sweeps all dead families of this user. The first error does not stop it,
 * and is returned; a family that lives is no error. */
shx_err shx_sweep_all(const shx_sweep_options *options);

#endif

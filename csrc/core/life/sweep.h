/* SPDX-License-Identifier: MIT */
/* The sweep removes what a dead family left: for every record of its ledgers
 * the name, if it still stands for the record's file; then the ledgers, and
 * what has not come to have a name (draft.h); then the directory. family.h
 * draws all of it.
 *
 * A family is dead when no member shares its .lock. The sweep has that lock
 * alone until the directory is gone. Killed anywhere, it leaves a directory
 * that the next one removes: names go before the ledger that knows them, and
 * .lock goes last. Nobody ever joins a family that is dead: its name was drawn
 * by chance, and a share of it comes from a member only.
 *
 * What other users, other versions or anybody's mistakes have put there is
 * left alone, and stops nothing.
 */
#ifndef SHX_SWEEP_H
#define SHX_SWEEP_H

#include "core/error.h"
#include "core/life/ledger.h"
#include "core/name.h"

/* A family's directory is called this and 32 hexadecimal digits. The number
 * is the version of all that is in it. */
#define SHX_FAMILY_NAME SHX_NAME_OWN "2-"

/* Files of it. */
#define SHX_FAMILY_LOCK ".lock"
#define SHX_FAMILY_REAPER ".reaper"
#define SHX_FAMILY_USERS ".users" /* locked by the attendant */

enum { SHX_FAMILY_ID = 32, SHX_FAMILY_PATH = 96 };

/* Is this the name of a family's directory, of this version? */
bool shx_sweep_is_family(const char *file);

/* Opens a family's directory, if it is a directory, ours, and closed to
 * everybody else: SHX_SQUATTED otherwise. */
shx_err shx_sweep_open(const char *path, int *directory);

/* Is nobody of it left? Disturbs nobody. */
bool shx_sweep_is_dead(int directory);

/* The lock of a dead family, without which nobody removes what it left: so no
 * two do it at once. EAGAIN: the family lives, or somebody else has it. *lock
 * is -1 where there is no such file any more. */
shx_err shx_sweep_lock(int directory, bool wait, int *lock);
void shx_sweep_unlock(int lock);

/* Calls `visit` for every family of this user, with its directory, open, and
 * the bare name of that, until it returns something else than 0. */
shx_err shx_sweep_visit(shx_visitor visit, void *context);

/* What most sweeps are: for real, and nobody is told. */
extern const shx_sweep_options shx_sweep_quietly;

/* Sweeps one family. EAGAIN: it lives, or another sweep is at work on it. Or
 * waits for its end, and for that of the users of its segments. */
shx_err shx_sweep_family(const char *path, bool wait,
                         const shx_sweep_options *options);

/* Sweeps all dead families of this user. What one of them makes fail does not
 * stop it: who listens is told, by the name of its directory; else the first
 * error is returned. A family that lives is no error. */
shx_err shx_sweep_all(const shx_sweep_options *options);

#endif

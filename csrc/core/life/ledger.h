/* SPDX-License-Identifier: MIT */
/* A ledger says which names a family owns: a file of fixed records in the
 * family's directory, mapped and reserved by the process that writes it.
 *
 *   offset 0          8                              264
 *          +----------+------------------------------+----------+---
 *          | inode    | name, NUL padded             | inode    | ...
 *          +----------+------------------------------+----------+---
 *            0: free
 *
 * A record is written name first, inode last, and struck out by setting the
 * inode to 0. So a SIGKILL between any two stores leaves a record that is
 * absent, or that is true: the name was about to be given to that inode, or
 * had been. Whoever acts on a record first looks whether the name has that
 * inode; a record that is out of date harms nobody.
 *
 *   who writes       the process that holds the file's flock: one at a time.
 *                    When it is gone, another of its family takes the file
 *                    over, with the records that are in it
 *   who strikes out  its writer, and what was forked from it
 *   who reads        the sweep, when nobody else is left; `shmemext ls`
 *
 * The lock is held by the mapping, not by a descriptor (see family.h): a
 * ledger stays mapped until its process ends. No function here locks against
 * other threads: family.c does.
 */
#ifndef SHX_LEDGER_H
#define SHX_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum { SHX_RECORD_NAME = 256 };

typedef struct {
    _Atomic(uint64_t) inode;
    char name[SHX_RECORD_NAME];
} shx_record;

typedef struct shx_ledger shx_ledger;

/* All the ledgers that this process writes for one family. All zero is a
 * valid one without any. */
typedef struct {
    shx_ledger *list;
    shx_record **free; /* a stack of the records to write next */
    size_t free_count;
    size_t capacity; /* records in the list, and room on the stack */
} shx_ledgers;

/* Writes a record, taking over or adding a file in `directory` where there is
 * no room. On error nothing is written. */
shx_err shx_ledger_write(shx_ledgers *ledgers, const char *directory,
                         const char *name, uint64_t inode, shx_record **out);

/* Is the record in one of these ledgers? */
bool shx_ledger_lists(const shx_ledgers *ledgers, const shx_record *record);

/* Strikes a record out if it is still about that inode. */
void shx_ledger_strike(shx_ledgers *ledgers, shx_record *record,
                       uint64_t inode);

/* The same for every record of a name. Was there any? */
bool shx_ledger_strike_name(shx_ledgers *ledgers, const char *name);

/* In a forked child: the files stay the parent's. What is mapped stays
 * mapped, for the child to strike out what it unlinks. */
void shx_ledger_forget(shx_ledgers *ledgers);

/* Told of every segment that a sweep removes, or would remove. `err` is not 0
 * if it could not be. */
typedef struct {
    bool dry_run;
    void (*tell)(void *context, const char *name, uint64_t bytes, shx_err err);
    void *context; /* of tell, which may be NULL */
} shx_sweep_options;

/* Is this the name of a ledger's file? */
bool shx_ledger_is(const char *file);

/* Removes every name in the ledger that still has its record's inode, then
 * the ledger. *left counts names that could not be removed: the ledger stays
 * if there are any. */
shx_err shx_ledger_execute(int directory, const char *file,
                           const shx_sweep_options *options, size_t *left);

#endif

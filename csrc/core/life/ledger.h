/* SPDX-License-Identifier: MIT */
/* A ledger says which names a family owns: a file of fixed records in the
 * family's directory, mapped and reserved by the process that writes it.
 *
 *   offset 0          8          16                  272
 *          +----------+----------+-------------------+----------+---
 *          | inode    | born     | name, NUL padded  | inode    | ...
 *          +----------+----------+-------------------+----------+---
 *            0: free    0: nobody can say
 *
 * A record is written inode last, and struck out by setting that to 0. So a
 * SIGKILL between any two stores leaves a record that is absent, or that is
 * true: the name was about to be given to that inode, or had been. Whoever
 * acts on a record first looks whether the name stands for that very file, on
 * the ledger's own file system; a record that is out of date harms nobody.
 *
 *   who writes       the process that holds the file's flock: one at a time.
 *                    When it is gone, another of its family takes the file
 *                    over, with the records that are in it
 *   who strikes out  its writer, and what was forked from it
 *   who reads        the sweep, when nobody else is left; `shmemext ls`
 *
 * The lock is held by the mapping, not by a descriptor (see family.h). What
 * the writer knows of each record besides stays with him:
 *
 *              write             settle
 *     free -----------> pending --------> taken      pending: its name is
 *      ^                   |                |        about to be given
 *      +----- strike ------+--- the hand ---+
 *
 * A name is found by its hash. Names that somebody else removes leave records
 * that are out of date. The hand goes round all taken ones to find them, a
 * bounded number at a time.
 *
 * A process writes as many ledgers as it needs, the next one with room for as
 * much as the others, between a page and SHX_LEDGER_MOST records. One that has
 * only free records is given back if the others have as much room, and at
 * least half of SHX_LEDGER_MOST: so what comes and goes at a border does not
 * make files come and go.
 *
 * What threads share is guarded by a mutex, which is the family's. ledger.c is
 * called with it, ledger_room.c takes it for moments, ledger_file.c, which
 * waits for the system, needs none.
 */
#ifndef SHX_LEDGER_H
#define SHX_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/os/os.h"

enum {
    SHX_RECORD_NAME = 256,
    SHX_LEDGER_FILE = 18, /* a letter, 16 hexadecimal digits, NUL */
    SHX_LEDGER_MOST = 512 /* records: 34 pages of 4 KiB */
};

typedef struct {
    _Atomic(uint64_t) inode;
    uint64_t born; /* of its identity, too; the device is the ledger's */
    char name[SHX_RECORD_NAME];
} shx_record;

/* Processes of both kinds of words read one another's. */
_Static_assert(sizeof(shx_record) == 16 + SHX_RECORD_NAME, "no gaps");

/* The directory of the names that records are about: the one that a family's
 * directory is in, whatever has been mounted over the path since, and wherever
 * the root is by now. */
typedef struct {
    int directory;
    uint64_t device;
} shx_names;

shx_err shx_names_open(int family, shx_names *out);
void shx_names_close(const shx_names *names);

/* What the writer knows of a record; and, beside it, of the names of one
 * hash. */
typedef struct {
    uint32_t mark; /* the record's state, and a hash of its name */
    uint16_t next; /* place of a name of the same bucket, or of a free one */
    uint16_t head; /* of the bucket of this number: the first such place */
} shx_ledger_note;

/* A file that is mapped, and what its writer knows of it. */
typedef struct {
    shx_record *records;
    size_t count;
    size_t size;            /* bytes that are mapped */
    shx_ledger_note *notes; /* as many */
    size_t free_count;
    uint16_t free; /* the first free place */
    char file[SHX_LEDGER_FILE];
} shx_ledger;

/* All the ledgers that this process has of one family. All zero but for the
 * first two is a valid one without any. */
typedef struct {
    const char *directory;
    shx_mutex *mutex;
    shx_ledger *list; /* first those inherited over fork, to strike out in */
    size_t count;
    size_t inherited;
    size_t capacity;   /* records in our own */
    size_t free_count; /* of them */
    size_t first;      /* no ledger of ours before this one has a free one */
    size_t hand;       /* which ledger's turn it is, and which record's */
    size_t place;
} shx_ledgers;

/* How many records the next ledger is to have. */
size_t shx_ledger_next_size(const shx_ledgers *ledgers);

/* Writes a record, pending. EAGAIN: there is no free one. */
shx_err shx_ledger_write(shx_ledgers *ledgers, const char *name,
                         const shx_identity *identity, shx_record **out);

/* The name has been given. False if the ledger is not listed any more. */
bool shx_ledger_settle(shx_ledgers *ledgers, shx_record *record);

/* Strikes a record out if it is still about that inode, in a ledger that is
 * still listed. Whatever the pointer was to once, nothing else is touched. */
bool shx_ledger_strike(shx_ledgers *ledgers, shx_record *record,
                       uint64_t inode);

/* The same for all records of that name, or, if the inode is not 0, for those
 * that are about it too. Was there any? */
bool shx_ledger_strike_name(shx_ledgers *ledgers, const char *name,
                            uint64_t inode);

/* The record under the hand, which moves on, and a copy to look at without
 * the lock. NULL: none is taken. */
shx_record *shx_ledger_hand(shx_ledgers *ledgers, shx_record *copy);

/* Does the copy's name still stand for its file? Then that is *file. Needs no
 * lock. */
bool shx_ledger_is_true(const shx_record *copy, const shx_names *names,
                        shx_file *file);

/* Takes a mapped ledger over into the list, and puts the hand on it. ENOMEM:
 * it stays the caller's. */
shx_err shx_ledger_list(shx_ledgers *ledgers, const shx_ledger *made);

/* In a forked child: the files stay the parent's. What is mapped stays
 * mapped, for the child to strike out what it unlinks. */
void shx_ledger_inherit(shx_ledgers *ledgers);

/* Empties the list. What is mapped stays mapped, and locked. */
void shx_ledger_forget(shx_ledgers *ledgers);

/* ledger_room.c: with the lock not held. The first two look at a bounded
 * number of records, and at every file of the directory. */

/* There was no free record: there is now, unless other threads have taken it
 * already. ENOENT: the directory is gone. */
shx_err shx_ledger_make_room(shx_ledgers *ledgers);

/* Takes over some of what dead processes have left, and looks at all that is
 * in it: names may be gone that this process has removed. */
void shx_ledger_tidy(shx_ledgers *ledgers);

/* Looks at two records, each time at the next ones. */
void shx_ledger_look(shx_ledgers *ledgers);

/* ledger_file.c, from here on. */

/* Is this the name of a ledger's file? */
bool shx_ledger_is(const char *file);

/* Makes a file ours that nobody writes any more. EAGAIN: somebody does.
 * Of what is in it nothing is known: the hand will see. */
shx_err shx_ledger_take_over(int directory, const char *file, shx_ledger *out);

/* Makes a new one. */
shx_err shx_ledger_add(int directory, size_t records, shx_ledger *out);

/* Unmaps it, and so gives up its lock. */
void shx_ledger_let_go(const shx_ledger *ledger);

/* The same, and its file goes too: none of its records is in use. */
void shx_ledger_give_back(const char *directory, const shx_ledger *ledger);

/* Calls `visit` with a copy of each record, until it returns something else
 * than 0. A file that is no ledger of ours: an error. */
typedef shx_err (*shx_record_visitor)(void *context, const shx_record *copy);
shx_err shx_ledger_read(int directory, const char *file,
                        shx_record_visitor visit, void *context);

/* Told of every segment that a sweep removes, or would remove. `err` is not 0
 * if it could not be. */
typedef struct {
    bool dry_run;
    void (*tell)(void *context, const char *name, uint64_t bytes, shx_err err);
    void *context; /* of tell, which may be NULL */
} shx_sweep_options;

/* What a sweep did. Where any are left, the ledger is, too. */
typedef struct {
    size_t failed; /* names that could not be removed */
    size_t used;   /* segments of users who are still there: see users.h */
    size_t ended;  /* ledgers, and drafts, that are gone */
} shx_outcome;

/* Removes every name in the ledger that still stands for its record's file,
 * then the ledger. Adds to *out. A file that is no ledger of ours is left
 * alone. */
shx_err shx_ledger_execute(int directory, const shx_names *names,
                           const char *file, const shx_sweep_options *options,
                           shx_outcome *out);

#endif

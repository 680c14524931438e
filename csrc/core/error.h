/* SPDX-License-Identifier: MIT */
/* One number says how a call went.
 *
 *   0      success
 *   > 0    the system's own errno, passed on unchanged
 *   < 0    ours, listed here; shx_error_text() has a sentence for each
 *
 * The core only returns errors. Who raises, prints or ignores them is the
 * caller's affair.
 */
#ifndef SHX_ERROR_H
#define SHX_ERROR_H

typedef int shx_err;

enum {
    SHX_OK = 0,
    SHX_EMPTY = -1,       /* the file has no bytes to map */
    SHX_NOT_MEMORY = -2,  /* the name is not that of a regular file */
    SHX_RESERVED = -3,    /* the name is one of the library's own */
    SHX_INTERRUPTED = -4, /* the caller's poll asked to stop */
    SHX_SQUATTED = -6,    /* a family's directory is not ours alone */
    SHX_GONE = -5,        /* the name is gone, or is another segment's now */
    SHX_NEGATIVE = -7,    /* a list of less than no items */
    SHX_CORRUPT = -8,     /* not a list, or not any more */
    SHX_TOO_LONG = -9,    /* a text that does not fit into its slot */
    SHX_TOO_SMALL = -10,  /* the memory is there, but less than asked */
    SHX_NOT_SEALED = -11, /* memory that a peer can cut short */
    SHX_HELD = -12,       /* pages are in the system's hands: try again */
    SHX_CROWDED = -13,    /* so many mappings that others would have none */
    SHX_REPLACED = -14,   /* the name is another segment's: not removed */
    SHX_NO_ORPHANS = -15, /* what we start would not become init's child */

    /* Calls that the system or a sandbox lacks, where we cannot do without:
     * whoever makes the call says so, whichever errno it was. Each sentence
     * names the call, how old it is, and the way out. */
    SHX_NO_LOCKS = -16,    /* of open files */
    SHX_NO_RANDOM = -17,   /* numbers */
    SHX_NO_MEMFD = -18,    /* memory without a name */
    SHX_NO_SEALS = -19,    /* on it */
    SHX_NO_READERS = -20,  /* the seal that lets others only read */
    SHX_NO_REMAP = -21,    /* the same pages mapped a second time */
    SHX_NO_POPULATE = -22, /* pages made present in bulk */
    SHX_NO_PROC = -23,     /* an open file opened anew, or named */
    SHX_NO_RESERVE = -24,  /* pages of what nobody may write */
    SHX_NO_LEASES = -25,   /* which say who else has a file open */

    /* Of synchronizers: core/sync. */
    SHX_OWNER_DIED = -26,  /* who held it: what it guards may be torn */
    SHX_NOT_OWNER = -27,   /* it is free, or another process holds it */
    SHX_SLICE_OVER = -28,  /* of a sleep: look whether the owner lives */
    SHX_IN_USE = -29,      /* bytes of a cell are somebody's */
    SHX_FOREIGN = -30,     /* a cell of another kind, version, parameter */
    SHX_BROKEN = -31,      /* a barrier */
    SHX_TOO_MANY = -32,    /* released beyond, or no slot is left */
    SHX_NOT_LOCAL = -33,   /* a file system whose locks may be one kernel's */
    SHX_NO_DONTFORK = -34, /* what forks withhold from a child */
    SHX_FORKED = -38,      /* a child by now: its parent waits, not this one */

    /* Of channels: core/channels. */
    SHX_DAMAGED = -35,       /* its bytes are nonsense: somebody wrote there */
    SHX_SHUT_DOWN = -36,     /* no more messages */
    SHX_SECOND_WRITER = -37, /* there is one, and it lives */

    /* Of pools: core/pool. */
    SHX_SPENT = -39, /* a reference that was received before */
};

/* The sentence for one of ours, or for any errno. Never NULL. */
const char *shx_error_text(shx_err err);

#endif

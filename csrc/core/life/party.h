/* SPDX-License-Identifier: MIT */
/* A party is a process that may own words of a memory: locks, slots, records.
 * A word says who owns it by a token, a number of 29 bits, which no two living
 * parties of one file have:
 *
 *   word in the memory     ... | token |
 *                                  |
 *   byte 2^61 + token of the file  |  a shared lock, of an open file
 *                                  |    that a mapping keeps: the anchor
 *   anchor --- open file ----------+
 *
 * The anchor goes with the address space of the process, after its last
 * thread, and with nothing else: so no instruction of who has lost its token
 * runs any more, and whoever sees the byte unlocked may take what that token
 * owned. No pid is asked: another pid namespace, exec, a zombie, a pid that is
 * used again make no difference; who is stopped is alive.
 *
 * fork        A child is another party. Its parent makes its token before it
 *             forks, and the child inherits that anchor alone: so it needs no
 *             descriptor, no right and no directory to be one. Where that
 *             failed it joins when it first asks who it is; and so does what
 *             raw clone(2) makes, where the system wipes a page for us.
 * exec        The anchor goes.
 * vfork       A child shares the table of descriptors until its exec, and no
 *             anchor: nothing of it is ours.
 *
 * Death is proven twice, since a program may close every descriptor and have
 * its numbers again for other files between two calls: by the descriptor that
 * is kept, and then by one that was opened for this proof, whose file is
 * looked at before and after. Where none can be opened, by another look a
 * moment later. What cannot be proven is alive.
 *
 * A process is a party of one file once, however often it has that mapped, and
 * keeps one descriptor for each such file. Locks of one file are a list, which
 * a look goes through: 1,000 parties are the most that this is meant for.
 *
 * The mutex of the process is held over fork(), so that no child inherits an
 * anchor that is not meant for it, nor finds anything halfway.
 */
#ifndef SHX_PARTY_H
#define SHX_PARTY_H

#include "core/error.h"
#include "core/os/os.h"

#define SHX_TOKEN ((UINT32_C(1) << SHX_TOKEN_BITS) - 1)

/* Who we are in one memory. A number may be drawn that a dead one had, so what
 * has room for it says this too, which is drawn beside it. */
typedef struct {
    uint32_t token;
    uint32_t nonce;
} shx_member;

static inline bool
shx_is_same_member(const shx_member *one, const shx_member *other)
{
    return one->token == other->token && one->nonce == other->nonce;
}

/* What keeps a token, and what it keeps. */
typedef struct {
    shx_member who;
    void *hold;
} shx_anchor;

/* What a child is to hold too: told before this process forks, when it is
 * known who the child will be. NULL: it is not. What is the child's by then is
 * a dead one's if no child is made. The mutex is held: of all functions on
 * parties only those of party_anchor.h may be called there. */
typedef struct shx_bequest {
    void (*tell)(struct shx_bequest *bequest, const shx_member *me,
                 const shx_member *child);
    struct shx_bequest *next;
} shx_bequest;

typedef struct shx_party {
    _Atomic uint32_t token; /* 0: not yet, in this process */
    _Atomic uint32_t nonce;
    _Atomic uint32_t pid;   /* of this process, for people */
    const shx_word *belt;   /* 0: this is another process by now */
    struct shx_party *next; /* from here on the mutex's, and party.c's */
    unsigned uses;
    bool over; /* see shx_party_end() */
    shx_identity identity;
    int fd;           /* kept, for looks: it may be another's by now */
    char *path;       /* where the file may be found again; or NULL */
    shx_anchor ours;  /* hold: NULL if there is none */
    shx_anchor child; /* while it is forked */
    shx_bequest *bequests;
} shx_party;

/* The party that this process is in that file's memory, if it is one: NULL.
 * Another use of it. */
shx_party *shx_party_find(const shx_identity *identity);

/* The same, by a descriptor for reading, which is the party's from then on; on
 * error it stays the caller's. `path` is where the file may be found again; or
 * NULL. SHX_NOT_LOCAL. EBUSY: somebody has locked all of the file, see
 * lockf(3). */
shx_err shx_party_join(int fd, const char *path, shx_party **out);

/* One use less. The last one leaves: what is owned still has a dead owner. */
void shx_party_leave(shx_party *party);

/* This process is at its end, and has that file's memory mapped no more, but
 * for copies of its own: it is no party of it any more, whoever still uses
 * one, and keeps nothing of it open. */
void shx_party_end(const shx_identity *identity);

/* The rest of the next. EBUSY, EMFILE and the like. */
shx_err shx_party_join_again(shx_party *party);

/* Who are we? Three loads, but for the first time in a process. They are in
 * the reverse order of what another thread of it stores that is first. */
static inline shx_err
shx_party_me(shx_party *party, shx_member *me)
{
    bool same = atomic_load_explicit(party->belt, memory_order_acquire) != 0;
    me->token = atomic_load_explicit(&party->token, memory_order_acquire);
    if (me->token == 0 || !same) {
        shx_err err = shx_party_join_again(party);
        if (err != 0) {
            return err;
        }
        me->token = atomic_load_explicit(&party->token, memory_order_acquire);
    }
    me->nonce = atomic_load_explicit(&party->nonce, memory_order_relaxed);
    return 0;
}

void shx_party_bequeath(shx_party *party, shx_bequest *bequest);
void shx_party_disinherit(shx_party *party, shx_bequest *bequest);

/* Is it proven that who had this token is dead? 1 us if not, 5 if so. */
bool shx_party_is_dead(shx_party *party, uint32_t token);

/* How many parties are there, this process among them? */
shx_err shx_party_count(shx_party *party, unsigned *count);

#endif

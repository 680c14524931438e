/* SPDX-License-Identifier: MIT */
/* What the files of a family share, and nobody else knows: which families the
 * process is in. Only the process as a whole can be a member, so this is one
 * of the few pieces of process-wide state.
 *
 * What was made of a family is never freed, and neither does its `next` ever
 * change: from the first one on, no lock is needed to go round, and a thread
 * that outlives Python may still be on its way with one.
 */
#ifndef SHX_FAMILY_STATE_H
#define SHX_FAMILY_STATE_H

#include <stdatomic.h>

#include "core/life/family.h"
#include "core/life/membership.h"

struct shx_family {
    shx_family *next;
    shx_membership member;
    atomic_bool prepared;
    atomic_bool attended;
    atomic_bool over; /* the process has left it */
    shx_ledgers ledgers;
};

typedef struct {
    shx_mutex mutex;
    _Atomic(shx_family *) list;
    _Atomic(shx_family *) own; /* where what is created goes */
    bool begun;
    bool watches_forks;
    atomic_bool serves;   /* it forks for others */
    atomic_bool over;     /* it is at its end */
    size_t pending;       /* names that are about to be given */
    atomic_size_t others; /* names removed of which we had no record */
} shx_family_process;

extern shx_family_process shx_process;

static inline void
shx_family_lock(void)
{
    shx_mutex_lock(&shx_process.mutex);
}

static inline void
shx_family_unlock(void)
{
    shx_mutex_unlock(&shx_process.mutex);
}

static inline shx_family *
shx_family_first(void)
{
    return atomic_load(&shx_process.list);
}

/* Founds our own one in place of `old`, which may be NULL. Where another
 * thread was faster, its one is taken; ours stays, empty, until the process
 * ends. ECANCELED: the process is at its end. */
shx_err shx_family_replace(shx_family *old, shx_family **out);

/* May what we create here go to it? */
bool shx_family_is_in_reach(const shx_family *family);

#endif

/* SPDX-License-Identifier: MIT */
/* A contest is for room that is enough for one, between processes that know
 * nothing of each other. Each takes its pages one after the other, until
 * nothing is left, and then all of them would fail:
 *
 *   the room    |=====================================|
 *   one         |################ - - - - |
 *   another     |                #####################| - -
 *
 * So whoever finds too little gives back all that he got, and looks.
 *
 *   there is room now     others have given back too: he tries again, after a
 *                         pause whose length is another for each
 *   there is not          somebody has it, or is about to: ENOSPC, at once
 *
 * The last of those who give back sees room. So somebody goes on until
 * somebody has it, and what fits nowhere fails at once. There are eight more
 * attempts, and at most as many seconds of pauses.
 *
 * Where all want one and the same thing (`made` is not NULL), whoever has lost
 * waits for the winner to make it, as long as the room changes: EEXIST. He
 * gives up when nothing has changed for half a second, and after a minute; at
 * once what is more than there could ever be.
 */
#ifndef SHX_CONTEST_H
#define SHX_CONTEST_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "core/memory/space.h"

typedef struct {
    const shx_space *space; /* who is asked whether it shall go on */
    uint64_t wanted;        /* bytes */
    uint64_t (*room)(const void *of);
    uint64_t (*most)(const void *of); /* if all are gone; asked with `made` */
    bool (*made)(const void *of);     /* NULL: everybody wants his own */
    const void *of;
    unsigned attempts; /* that have failed; 0 at first */
} shx_contest;

/* To be called after an attempt, with its result, when all that it took is
 * given back. Shall there be another one? If not, *err is the result: the
 * attempt's own, EEXIST, or SHX_INTERRUPTED. */
bool shx_contest_again(shx_contest *contest, shx_err *err);

#endif

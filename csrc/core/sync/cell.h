/* SPDX-License-Identifier: MIT */
/* A cell is a synchronizer's place in the memory. It is aligned to 64 bytes,
 * and full of zeros until somebody makes it one:
 *
 *   0   head    'S' 'X' | kind | version | parameter (32 bits)
 *   8   word    who owns it, what it counts: its kind says
 *   12  pid     of who took it last: for people
 *   16  own     ten words, of its kind
 *   56  victim  pid of who died while it held it: for people
 *   60  watch   see patience.h
 *   64  slots   as many as the parameter says, of kinds that have any
 *
 * Zeros are the first state of every kind. So a cell is made by one
 * compare-exchange of its head, and whoever comes first does it: a SIGKILL
 * finds it made or not, and nobody waits for anybody.
 *
 * The parameter is what all who use it must agree on: how many slots, the
 * value a semaphore begins with. It is read once, and checked against what is
 * mapped; nothing that is read from the memory later is an index or a size.
 */
#ifndef SHX_CELL_H
#define SHX_CELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/life/party.h"
#include "core/os/os.h"

typedef enum {
    SHX_CELL_LOCK = 1,
    SHX_CELL_RLOCK = 2,
    SHX_CELL_SEMAPHORE = 3,
    SHX_CELL_BOUNDED_SEMAPHORE = 4,
    SHX_CELL_EVENT = 5,
    SHX_CELL_CONDITION = 6,
    SHX_CELL_BARRIER = 7,
    SHX_CELL_RWLOCK = 8,
    SHX_CELL_CHANNEL = 9,
    SHX_CELL_BROADCAST = 10,
    SHX_CELL_POOL = 11,
    SHX_CELL_QUEUE = 12,
} shx_cell_kind;

/* Its name, for people: "Lock". NULL: there is no such kind. */
const char *shx_cell_name(unsigned kind);

enum { SHX_CELL_VERSION = 1, SHX_CELL_ALIGNMENT = 64, SHX_CELL_OWN = 10 };

typedef _Atomic uint64_t shx_slot;

typedef struct {
    _Atomic uint64_t head;
    shx_word word;
    shx_word pid;
    shx_word own[SHX_CELL_OWN];
    shx_word victim;
    shx_word watch;
    shx_slot slots[];
} shx_cell;

_Static_assert(sizeof(shx_cell) == SHX_CELL_ALIGNMENT, "slots follow at 64");

/* What a head says. */
typedef struct {
    unsigned kind; /* 0: there is no cell */
    unsigned version;
    uint32_t parameter;
} shx_cell_head;

shx_cell_head shx_cell_read(const shx_cell *cell);

/* The bytes that a head is, for a memory that is published with it. */
uint64_t shx_cell_head_of(shx_cell_kind kind, uint32_t parameter);

/* Makes it a cell of that kind, of so many bytes, all of them mapped; or finds
 * that it is one. SHX_IN_USE: there is no cell, but no zeros either.
 * SHX_FOREIGN: a cell of another kind, version or parameter. */
shx_err shx_cell_make(shx_cell *cell, size_t size, shx_cell_kind kind,
                      uint32_t parameter);

/* A cell as this process uses it: what the functions of this room take. */
typedef struct {
    shx_cell *cell;
    shx_party *party;
    uint32_t parameter;
} shx_site;

#endif

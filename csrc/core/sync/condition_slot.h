/* SPDX-License-Identifier: MIT */
/* What condition.c, who waits, and condition_grant.c, who notifies, share: the
 * slots. */
#ifndef SHX_CONDITION_SLOT_H
#define SHX_CONDITION_SLOT_H

#include "core/sync/condition.h"
#include "core/sync/slots.h"

#define SHX_GRANTED (UINT32_C(1) << 31)
#define SHX_GONE (UINT32_C(1) << 30)

typedef struct {
    shx_slot who;
    shx_word order;
    shx_word stamp;
} shx_condition_slot;

/* No slot. */
#define SHX_NOBODY UINT32_MAX

static inline unsigned
shx_condition_slots_of(uint32_t parameter)
{
    return parameter & ~(SHX_IGNORES_DEATH | SHX_CONDITION_HAS_LOCK);
}

static inline unsigned
shx_condition_slots(const shx_condition *condition)
{
    return shx_condition_slots_of(condition->at.parameter);
}

static inline shx_condition_slot *
shx_condition_slot_at(const shx_condition *condition, unsigned slot)
{
    shx_cell *cell = condition->at.cell;
    return (shx_condition_slot *)(void *)(cell + 2) + slot;
}

static inline void
shx_condition_clear(const shx_condition *condition, unsigned slot)
{
    if (slot != SHX_NOBODY) {
        atomic_store(&shx_condition_slot_at(condition, slot)->who, 0);
    }
}

/* Of who begins to wait, and of a notification. It wraps, and so is compared
 * by the difference. */
static inline uint32_t
shx_condition_number(const shx_condition *condition)
{
    return atomic_fetch_add(&condition->at.cell->word, 1) + 1;
}

static inline bool
shx_condition_is_before(uint32_t one, uint32_t other)
{
    return (int32_t)(one - other) < 0;
}

/* Whose slot it is will do nothing more about it. */
bool shx_condition_is_lost(const shx_condition *condition, uint64_t who);

/* From `slot` on, one whose notification nobody will receive: the number of
 * slots if there is none. */
unsigned shx_condition_lost_grant(const shx_condition *condition,
                                  unsigned slot);

/* Another one that has the same notification, or SHX_NOBODY. */
unsigned shx_condition_twin(const shx_condition *condition, unsigned slot,
                            uint32_t stamp);

/* That notification to the first who waits for it, instead of to slot `from`
 * if there is that, which is free then. False: nobody waits for it. */
bool shx_condition_grant(const shx_condition *condition, uint32_t stamp,
                         unsigned from);

/* What the dead were granted, and did not receive, others are. */
void shx_condition_grant_on(const shx_condition *condition);

#endif

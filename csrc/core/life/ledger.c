/* SPDX-License-Identifier: MIT */
#include "core/life/ledger.h"

#include <errno.h>
#include <stdlib.h> /* realloc, free */
#include <string.h> /* strlen, memcpy, memmove */

#include "core/name.h"
#include "core/os/os.h"

/* A mark: the state in the lowest bits, and a hash above it. */
enum { FREE, PENDING, TAKEN, STATES = 3, STATE_BITS = 2 };
enum { NOWHERE = UINT16_MAX }; /* as a place */

static uint32_t
mark_of(uint32_t state, const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < SHX_RECORD_NAME && name[i] != '\0'; i++) {
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    }
    return hash << STATE_BITS | state;
}

static uint32_t
state_of(const shx_ledger *ledger, size_t place)
{
    return ledger->notes[place].mark & STATES;
}

/* Where the chain of names with that mark begins. */
static uint16_t *
bucket(const shx_ledger *ledger, uint32_t mark)
{
    return &ledger->notes[(mark >> STATE_BITS) % ledger->count].head;
}

static void
put_in_chain(shx_ledger *ledger, size_t place, uint32_t mark)
{
    uint16_t *head = bucket(ledger, mark);
    ledger->notes[place].mark = mark;
    ledger->notes[place].next = *head;
    *head = (uint16_t)place;
}

static void
take_out_of_chain(shx_ledger *ledger, size_t place)
{
    uint16_t *at = bucket(ledger, ledger->notes[place].mark);
    while (*at != place) {
        at = &ledger->notes[*at].next;
    }
    *at = ledger->notes[place].next;
}

static void
put_on_stack(shx_ledger *ledger, size_t place)
{
    ledger->notes[place].mark = FREE;
    ledger->notes[place].next = ledger->free;
    ledger->free = (uint16_t)place;
    ledger->free_count++;
}

static size_t
take_from_stack(shx_ledger *ledger)
{
    size_t place = ledger->free;
    ledger->free = ledger->notes[place].next;
    ledger->free_count--;
    return place;
}

/* Which ledger lists the record? All of their number if none does. What an
 * object remembers may be where another ledger is mapped by now, and between
 * two of its records. */
static size_t
find(const shx_ledgers *ledgers, const shx_record *record)
{
    size_t which = 0;
    for (; which < ledgers->count; which++) {
        const shx_ledger *ledger = &ledgers->list[which];
        uintptr_t offset = (uintptr_t)record - (uintptr_t)ledger->records;
        if (offset < ledger->count * sizeof *record &&
            offset % sizeof *record == 0) {
            break;
        }
    }
    return which;
}

/* The last one takes its place. */
static void
give_back_if_idle(shx_ledgers *ledgers, size_t which)
{
    shx_ledger *ledger = &ledgers->list[which];
    size_t most = SHX_LEDGER_MOST / 2;
    size_t wanted = ledger->count < most ? most : ledger->count;
    if (ledger->free_count < ledger->count ||
        ledgers->free_count - ledger->count < wanted) {
        return;
    }
    ledgers->capacity -= ledger->count;
    ledgers->free_count -= ledger->count;
    shx_ledger_give_back(ledgers->directory, ledger);
    free(ledger->notes);
    *ledger = ledgers->list[--ledgers->count];
    ledgers->first = which < ledgers->first ? which : ledgers->first;
    if (ledgers->hand == which) {
        ledgers->place = 0;
    }
    else if (ledgers->hand == ledgers->count) {
        ledgers->hand = which;
    }
    if (ledgers->hand == ledgers->count) {
        ledgers->hand = ledgers->inherited;
    }
}

static void
release(shx_ledgers *ledgers, size_t which, size_t place)
{
    take_out_of_chain(&ledgers->list[which], place);
    put_on_stack(&ledgers->list[which], place);
    ledgers->free_count++;
    ledgers->first = which < ledgers->first ? which : ledgers->first;
    give_back_if_idle(ledgers, which);
}

size_t
shx_ledger_next_size(const shx_ledgers *ledgers)
{
    size_t page = shx_os_page_size() / sizeof(shx_record);
    size_t size = ledgers->capacity < page ? page : ledgers->capacity;
    return size < SHX_LEDGER_MOST ? size : SHX_LEDGER_MOST;
}

shx_err
shx_ledger_write(shx_ledgers *ledgers, const char *name,
                 const shx_identity *identity, shx_record **out)
{
    size_t length = strlen(name);
    if (length >= SHX_RECORD_NAME) {
        return ENAMETOOLONG;
    }
    if (ledgers->free_count == 0) {
        return EAGAIN;
    }
    while (ledgers->list[ledgers->first].free_count == 0) {
        ledgers->first++;
    }
    shx_ledger *ledger = &ledgers->list[ledgers->first];
    size_t place = take_from_stack(ledger);
    ledgers->free_count--;
    put_in_chain(ledger, place, mark_of(PENDING, name));
    shx_record *record = &ledger->records[place];
    memcpy(record->name, name, length + 1);
    record->born = identity->born;
    atomic_store_explicit(&record->inode, identity->inode,
                          memory_order_release);
    *out = record;
    return 0;
}

bool
shx_ledger_settle(shx_ledgers *ledgers, shx_record *record)
{
    size_t which = find(ledgers, record);
    if (which < ledgers->inherited || which == ledgers->count) {
        return false;
    }
    shx_ledger *ledger = &ledgers->list[which];
    ledger->notes[record - ledger->records].mark ^= PENDING ^ TAKEN;
    return true;
}

/* An inode of 0 where we know of a name: a forked child has struck it out. */
bool
shx_ledger_strike(shx_ledgers *ledgers, shx_record *record, uint64_t inode)
{
    size_t which = find(ledgers, record);
    if (which == ledgers->count) {
        return false;
    }
    uint64_t found = inode;
    bool struck = atomic_compare_exchange_strong(&record->inode, &found, 0);
    if (which >= ledgers->inherited && (struck || found == 0)) {
        shx_ledger *ledger = &ledgers->list[which];
        size_t place = (size_t)(record - ledger->records);
        if (state_of(ledger, place) != FREE) {
            release(ledgers, which, place);
            struck = true;
        }
    }
    return struck;
}

/* NULL: none. An inode of 0 is any. */
static shx_record *
find_name(const shx_ledger *ledger, uint32_t mark, const char *name,
          uint64_t inode)
{
    for (size_t place = *bucket(ledger, mark); place != NOWHERE;
         place = ledger->notes[place].next) {
        shx_record *record = &ledger->records[place];
        if (ledger->notes[place].mark == mark &&
            (inode == 0 || atomic_load(&record->inode) == inode) &&
            strncmp(record->name, name, SHX_RECORD_NAME) == 0) {
            return record;
        }
    }
    return NULL;
}

/* From the last ledger on: it takes the place of one that is given back. */
bool
shx_ledger_strike_name(shx_ledgers *ledgers, const char *name, uint64_t inode)
{
    const uint32_t mark = mark_of(TAKEN, name);
    bool found = false;
    for (size_t which = ledgers->count; which-- > ledgers->inherited;) {
        shx_record *record;
        while (which < ledgers->count &&
               (record = find_name(&ledgers->list[which], mark, name,
                                   inode)) != NULL) {
            (void)shx_ledger_strike(ledgers, record,
                                    atomic_load(&record->inode));
            found = true;
        }
    }
    return found;
}

shx_record *
shx_ledger_hand(shx_ledgers *ledgers, shx_record *copy)
{
    size_t own = ledgers->count - ledgers->inherited;
    for (size_t turns = 0; own > 0 && turns <= own; turns++) {
        const shx_ledger *ledger = &ledgers->list[ledgers->hand];
        while (ledgers->place < ledger->count) {
            size_t place = ledgers->place++;
            if (state_of(ledger, place) == TAKEN) {
                shx_record *record = &ledger->records[place];
                memcpy(copy->name, record->name, sizeof copy->name);
                copy->born = record->born;
                atomic_init(&copy->inode, atomic_load(&record->inode));
                return record;
            }
        }
        ledgers->place = 0;
        ledgers->hand = ledgers->hand + 1 < ledgers->count
                            ? ledgers->hand + 1
                            : ledgers->inherited;
    }
    return NULL;
}

/* Records are read as if anybody had written them: a name that create() would
 * refuse is nobody's. */
bool
shx_ledger_is_true(const shx_record *copy, const shx_names *names,
                   shx_file *file)
{
    const char *bare;
    shx_file found;
    const shx_identity wanted = {names->device, atomic_load(&copy->inode),
                                 copy->born};
    if (wanted.inode == 0 ||
        memchr(copy->name, '\0', sizeof copy->name) == NULL ||
        shx_name_bare(copy->name, &bare) != 0 || bare != copy->name ||
        shx_os_inspect_in(names->directory, bare, &found) != 0 ||
        !found.regular || !shx_same_file(&found.identity, &wanted)) {
        return false;
    }
    *file = found;
    return true;
}

shx_err
shx_ledger_list(shx_ledgers *ledgers, const shx_ledger *made)
{
    shx_ledger *list =
        realloc(ledgers->list, (ledgers->count + 1) * sizeof *list);
    if (list == NULL) {
        return ENOMEM;
    }
    ledgers->list = list;
    shx_ledger_note *notes = malloc(made->count * sizeof *notes);
    if (notes == NULL) {
        return ENOMEM;
    }
    size_t which = ledgers->count++;
    shx_ledger *ledger = &list[which];
    *ledger = *made;
    ledger->notes = notes;
    ledger->free = NOWHERE;
    ledger->free_count = 0;
    for (size_t i = 0; i < made->count; i++) {
        notes[i].head = NOWHERE;
    }
    for (size_t place = made->count; place-- > 0;) {
        const shx_record *record = &made->records[place];
        if (atomic_load(&record->inode) == 0) {
            put_on_stack(ledger, place);
        }
        else {
            put_in_chain(ledger, place, mark_of(TAKEN, record->name));
        }
    }
    ledgers->capacity += ledger->count;
    ledgers->free_count += ledger->free_count;
    ledgers->first = which < ledgers->first ? which : ledgers->first;
    ledgers->hand = which;
    ledgers->place = 0;
    give_back_if_idle(ledgers, which);
    return 0;
}

void
shx_ledger_inherit(shx_ledgers *ledgers)
{
    for (size_t i = ledgers->inherited; i < ledgers->count; i++) {
        free(ledgers->list[i].notes);
    }
    ledgers->inherited = ledgers->first = ledgers->hand = ledgers->count;
    ledgers->capacity = ledgers->free_count = ledgers->place = 0;
}

void
shx_ledger_forget(shx_ledgers *ledgers)
{
    shx_ledger_inherit(ledgers);
    free(ledgers->list);
    *ledgers = (shx_ledgers){.directory = ledgers->directory,
                             .mutex = ledgers->mutex};
}

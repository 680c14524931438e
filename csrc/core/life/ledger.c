/* SPDX-License-Identifier: MIT */
#include "core/life/ledger.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDWR, O_CREAT, O_EXCL */
#include <stdio.h>  /* snprintf */
#include <stdlib.h> /* malloc, realloc */
#include <string.h> /* strlen, memcpy */

#include "core/name.h"
#include "core/os/os.h"

struct shx_ledger {
    shx_ledger *next;
    shx_record *records;
    size_t count;
};

/* A ledger's file: the letter, 16 hexadecimal digits. */
enum { FILE_LETTER = 'l', FILE_LENGTH = 17 };

bool
shx_ledger_is(const char *file)
{
    return file[0] == FILE_LETTER && strlen(file) == FILE_LENGTH;
}

/* Does the name still stand for that inode? Records are read as if anybody
 * had written them: a name that create() would refuse is nobody's. */
static bool
still_names(const char *name, uint64_t inode, uint64_t *bytes)
{
    shx_file file;
    const char *bare;
    if (shx_name_bare(name, &bare) != 0 || bare != name ||
        shx_os_inspect_name(name, &file) != 0 || !file.regular ||
        file.identity.inode != inode) {
        return false;
    }
    *bytes = file.held;
    return true;
}

/* Puts every record of a ledger that is free, or out of date, on the stack.
 * Room for all of them is there since the ledger was listed. */
static void
gather(shx_ledgers *ledgers, shx_ledger *ledger)
{
    for (size_t i = 0; i < ledger->count; i++) {
        shx_record *record = &ledger->records[i];
        uint64_t bytes;
        uint64_t inode = atomic_load(&record->inode);
        if (inode != 0 && !still_names(record->name, inode, &bytes)) {
            atomic_store(&record->inode, 0);
            inode = 0;
        }
        if (inode == 0) {
            ledgers->free[ledgers->free_count++] = record;
        }
    }
}

/* Lists a mapped ledger, with room on the stack for its records. */
static shx_err
list(shx_ledgers *ledgers, shx_record *records, size_t count)
{
    size_t capacity = ledgers->capacity + count;
    shx_record **stack =
        realloc(ledgers->free, capacity * sizeof(shx_record *));
    if (stack == NULL) {
        return ENOMEM;
    }
    ledgers->free = stack;
    shx_ledger *ledger = malloc(sizeof *ledger);
    if (ledger == NULL) {
        return ENOMEM;
    }
    *ledger = (shx_ledger){ledgers->list, records, count};
    ledgers->list = ledger;
    ledgers->capacity = capacity;
    gather(ledgers, ledger);
    return 0;
}

/* Makes an open ledger file ours: locks it, gives it pages if it has none,
 * maps it and lists it. EWOULDBLOCK: it is somebody's. */
static shx_err
take(shx_ledgers *ledgers, int fd, size_t size_wanted)
{
    shx_file file;
    shx_err err = shx_os_flock(fd, true, false);
    if (err == 0) {
        err = shx_os_inspect(fd, &file);
    }
    if (err != 0) {
        return err;
    }
    if (!file.named) {
        return EWOULDBLOCK;
    }
    size_t size = (size_t)file.size;
    if (size < sizeof(shx_record)) {
        size = size_wanted;
        err = shx_os_reserve(fd, 0, size);
        if (err != 0) {
            return err;
        }
    }
    void *records;
    err = shx_os_map(fd, size, true, &records);
    if (err == 0) {
        err = list(ledgers, records, size / sizeof(shx_record));
        if (err != 0) {
            shx_os_unmap(records, size);
        }
    }
    return err;
}

static shx_err
take_over(void *context, int directory, const char *file)
{
    shx_ledgers *ledgers = context;
    int fd;
    if (shx_ledger_is(file) &&
        shx_os_open_in(directory, file, O_RDWR, &fd) == 0) {
        (void)take(ledgers, fd, shx_os_page_size());
        shx_os_close(fd);
    }
    return ledgers->free_count > 0; /* enough */
}

static shx_err
add(shx_ledgers *ledgers, int directory)
{
    uint64_t number;
    shx_err err = shx_os_random(&number, sizeof number);
    if (err != 0) {
        return err;
    }
    size_t wanted = ledgers->capacity * sizeof(shx_record);
    size_t page = shx_os_page_size();
    wanted = wanted < page ? page : (wanted + page - 1) / page * page;

    char file[FILE_LENGTH + 1];
    (void)snprintf(file, sizeof file, "%c%016llx", FILE_LETTER,
                   (unsigned long long)number);
    int fd;
    err = shx_os_open_in(directory, file, O_RDWR | O_CREAT | O_EXCL, &fd);
    if (err != 0) {
        return err;
    }
    err = take(ledgers, fd, wanted);
    if (err != 0 && err != EWOULDBLOCK) {
        (void)shx_os_remove_in(directory, file);
    }
    shx_os_close(fd);
    return err;
}

/* More room than there is, by a file taken over or added. */
static shx_err
add_room(shx_ledgers *ledgers, int directory)
{
    shx_err err = 0;
    if (ledgers->free_count == 0) {
        err = shx_os_visit(directory, take_over, ledgers);
        err = ledgers->free_count > 0 ? 0 : err;
    }
    for (int tries = 0; err == 0 && tries < 8; tries++) {
        if (ledgers->free_count >= ledgers->capacity / 2 &&
            ledgers->free_count > 0) {
            break;
        }
        err = add(ledgers, directory);
        err = err == EWOULDBLOCK || err == EEXIST ? 0 : err;
    }
    return err;
}

/* The stack is empty: looks which records have gone out of date because
 * somebody else removed their names. If that frees less than half, there is
 * soon to be more room, so that looking stays cheap on average. */
static shx_err
find_room(shx_ledgers *ledgers, const char *directory)
{
    for (shx_ledger *l = ledgers->list; l != NULL; l = l->next) {
        gather(ledgers, l);
    }
    if (ledgers->free_count > 0 &&
        ledgers->free_count >= ledgers->capacity / 2) {
        return 0;
    }
    int opened;
    shx_err err = shx_os_open_directory(directory, &opened);
    if (err == 0) {
        err = add_room(ledgers, opened);
        shx_os_close(opened);
    }
    if (ledgers->free_count > 0) {
        return 0;
    }
    return err != 0 ? err : EAGAIN;
}

shx_err
shx_ledger_write(shx_ledgers *ledgers, const char *directory, const char *name,
                 uint64_t inode, shx_record **out)
{
    size_t length = strlen(name);
    if (length >= SHX_RECORD_NAME) {
        return ENAMETOOLONG;
    }
    if (ledgers->free_count == 0) {
        shx_err err = find_room(ledgers, directory);
        if (err != 0) {
            return err;
        }
    }
    shx_record *record = ledgers->free[--ledgers->free_count];
    memcpy(record->name, name, length + 1);
    atomic_store_explicit(&record->inode, inode, memory_order_release);
    *out = record;
    return 0;
}

bool
shx_ledger_lists(const shx_ledgers *ledgers, const shx_record *record)
{
    for (shx_ledger *l = ledgers->list; l != NULL; l = l->next) {
        if (record >= l->records && record < l->records + l->count) {
            return true;
        }
    }
    return false;
}

/* A record that was struck out by somebody else in the meantime is on the
 * stack already, or will be found by the next look. */
void
shx_ledger_strike(shx_ledgers *ledgers, shx_record *record, uint64_t inode)
{
    uint64_t expected = inode;
    if (atomic_compare_exchange_strong(&record->inode, &expected, 0) &&
        shx_ledger_lists(ledgers, record)) {
        ledgers->free[ledgers->free_count++] = record;
    }
}

bool
shx_ledger_strike_name(shx_ledgers *ledgers, const char *name)
{
    bool found = false;
    for (shx_ledger *l = ledgers->list; l != NULL; l = l->next) {
        for (size_t i = 0; i < l->count; i++) {
            shx_record *record = &l->records[i];
            uint64_t inode = atomic_load(&record->inode);
            if (inode != 0 &&
                strncmp(record->name, name, SHX_RECORD_NAME) == 0) {
                shx_ledger_strike(ledgers, record, inode);
                found = true;
            }
        }
    }
    return found;
}

void
shx_ledger_forget(shx_ledgers *ledgers)
{
    while (ledgers->list != NULL) {
        shx_ledger *next = ledgers->list->next;
        free(ledgers->list);
        ledgers->list = next;
    }
    free(ledgers->free);
    *ledgers = (shx_ledgers){0};
}

static size_t
execute_record(const shx_record *record, const shx_sweep_options *options)
{
    char name[SHX_RECORD_NAME];
    memcpy(name, record->name, sizeof name);
    name[sizeof name - 1] = '\0';
    uint64_t bytes, inode = atomic_load(&record->inode);
    if (inode == 0 || !still_names(name, inode, &bytes)) {
        return 0;
    }
    shx_err err = options->dry_run ? 0 : shx_os_remove(name);
    if (err == ENOENT) {
        return 0;
    }
    if (options->tell != NULL) {
        options->tell(options->context, name, bytes, err);
    }
    return err != 0;
}

shx_err
shx_ledger_execute(int directory, const char *file,
                   const shx_sweep_options *options, size_t *left)
{
    int fd;
    shx_file found;
    shx_err err = shx_os_open_in(directory, file, O_RDONLY, &fd);
    if (err != 0) {
        return err;
    }
    err = shx_os_inspect(fd, &found);
    size_t failed = 0;
    shx_record records[15];
    uint64_t left_to_read = err == 0 ? found.size / sizeof records[0] : 0;
    for (uint64_t at = 0; err == 0 && left_to_read > 0;) {
        size_t count = left_to_read < 15 ? (size_t)left_to_read : 15;
        err = shx_os_read(fd, records, count * sizeof records[0], at);
        for (size_t i = 0; err == 0 && i < count; i++) {
            failed += execute_record(&records[i], options);
        }
        at += count * sizeof records[0];
        left_to_read -= count;
    }
    shx_os_close(fd);
    if (err == 0 && failed == 0 && !options->dry_run) {
        err = shx_os_remove_in(directory, file);
        err = err == ENOENT ? 0 : err;
    }
    *left += failed;
    return err;
}

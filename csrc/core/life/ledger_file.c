/* SPDX-License-Identifier: MIT */
/* A ledger as a file: how it comes to be, changes hands, is executed and goes.
 * Nothing here looks at what the process knows of its ledgers. */
#include <errno.h>
#include <fcntl.h>  /* O_RDWR, O_CREAT, O_EXCL */
#include <stdio.h>  /* snprintf */
#include <string.h> /* strlen, memcpy */

#include "core/life/ledger.h"
#include "core/life/users.h"
#include "core/os/os.h"

/* The letter, 16 hexadecimal digits. */
enum { FILE_LETTER = 'l' };

bool
shx_ledger_is(const char *file)
{
    return file[0] == FILE_LETTER && strlen(file) == SHX_LEDGER_FILE - 1;
}

/* A signal may come at any time. */
static shx_err
reserve(int fd, size_t size)
{
    shx_err err;
    do {
        err = shx_os_reserve(fd, 0, size);
    } while (err == EINTR);
    return err;
}

/* No ledger of ours is longer. */
static size_t
most_bytes(void)
{
    return SHX_LEDGER_MOST * sizeof(shx_record) + shx_os_page_size();
}

/* Makes an open file ours: locks it, gives it pages where it has none, and
 * maps it. EAGAIN: it is somebody's, or going. */
static shx_err
take(int fd, const char *name, size_t size_wanted, shx_ledger *out)
{
    shx_file file;
    shx_err err = shx_os_claim(fd, SHX_LOCK_ALONE, false);
    if (err == 0) {
        err = shx_os_inspect(fd, &file);
    }
    if (err != 0) {
        return err;
    }
    if (file.names == 0) {
        return EAGAIN;
    }
    if (file.size > most_bytes()) {
        return EFBIG;
    }
    size_t size = (size_t)file.size;
    size = size < size_wanted ? size_wanted : size;
    err = reserve(fd, size);
    void *records;
    if (err == 0) {
        err = shx_os_map(fd, size, true, &records);
    }
    if (err != 0) {
        return err;
    }
    *out = (shx_ledger){
        .records = records, .count = size / sizeof(shx_record), .size = size};
    memcpy(out->file, name, SHX_LEDGER_FILE);
    return 0;
}

shx_err
shx_ledger_take_over(int directory, const char *file, shx_ledger *out)
{
    int fd;
    shx_err err = shx_os_open_in(directory, file, O_RDWR, &fd);
    if (err == 0) {
        err = take(fd, file, shx_os_page_size(), out);
        shx_os_close(fd);
    }
    return err;
}

static shx_err
add_as(int directory, const char *file, size_t size, shx_ledger *out)
{
    int fd;
    shx_err err =
        shx_os_open_in(directory, file, O_RDWR | O_CREAT | O_EXCL, &fd);
    if (err != 0) {
        return err;
    }
    err = take(fd, file, size, out);
    if (err != 0 && err != EAGAIN) {
        (void)shx_os_remove_in(directory, file);
    }
    shx_os_close(fd);
    return err;
}

/* Somebody may take it over before it is locked: then another one. */
shx_err
shx_ledger_add(int directory, size_t records, shx_ledger *out)
{
    size_t page = shx_os_page_size();
    size_t size = (records * sizeof(shx_record) + page - 1) / page * page;
    shx_err err = 0;
    for (int tries = 0; tries < 8; tries++) {
        char file[SHX_LEDGER_FILE];
        uint64_t number;
        err = shx_os_random(&number, sizeof number);
        if (err != 0) {
            break;
        }
        (void)snprintf(file, sizeof file, "%c%016llx", FILE_LETTER,
                       (unsigned long long)number);
        err = add_as(directory, file, size, out);
        if (err != EAGAIN && err != EEXIST) {
            break;
        }
    }
    return err;
}

void
shx_ledger_let_go(const shx_ledger *ledger)
{
    shx_os_unmap(ledger->records, ledger->size);
}

/* The file first: while it is locked nobody else takes it. */
void
shx_ledger_give_back(const char *directory, const shx_ledger *ledger)
{
    char path[128];
    int length = snprintf(path, sizeof path, "%s/%s", directory, ledger->file);
    if (length > 0 && (size_t)length < sizeof path) {
        (void)shx_os_remove_path(path);
    }
    shx_ledger_let_go(ledger);
}

shx_err
shx_names_open(int family, shx_names *out)
{
    int directory;
    shx_file file;
    shx_err err = shx_os_open_directory_in(family, "..", &directory);
    if (err != 0) {
        return err;
    }
    err = shx_os_inspect(directory, &file);
    if (err != 0) {
        shx_os_close(directory);
        return err;
    }
    *out = (shx_names){directory, file.identity.device};
    return 0;
}

void
shx_names_close(const shx_names *names)
{
    shx_os_close(names->directory);
}

static shx_err
read_all(int fd, uint64_t size, shx_record_visitor visit, void *context)
{
    enum { SOME = 15 };
    shx_record records[SOME];
    uint64_t left_to_read = size / sizeof records[0];
    shx_err err = 0;
    for (uint64_t at = 0; err == 0 && left_to_read > 0;) {
        size_t count = left_to_read < SOME ? (size_t)left_to_read : SOME;
        err = shx_os_read(fd, records, count * sizeof records[0], at);
        for (size_t i = 0; err == 0 && i < count; i++) {
            err = visit(context, &records[i]);
        }
        at += count * sizeof records[0];
        left_to_read -= count;
    }
    return err;
}

shx_err
shx_ledger_read(int directory, const char *file, shx_record_visitor visit,
                void *context)
{
    int fd;
    shx_file found;
    shx_err err = shx_os_open_in(directory, file, O_RDONLY, &fd);
    if (err != 0) {
        return err;
    }
    err = shx_os_inspect(fd, &found);
    if (err == 0 && (!found.regular || found.size > most_bytes())) {
        err = EFBIG;
    }
    if (err == 0) {
        err = read_all(fd, found.size, visit, context);
    }
    shx_os_close(fd);
    return err;
}

/* An execution, of one ledger. */
typedef struct {
    const shx_names *names;
    const shx_sweep_options *options;
    shx_outcome outcome;
} execution;

static shx_err
execute_record(void *context, const shx_record *record)
{
    execution *now = context;
    const shx_sweep_options *options = now->options;
    shx_file file;
    if (!shx_ledger_is_true(record, now->names, &file)) {
        return 0;
    }
    int names = now->names->directory;
    bool users = (file.mode & SHX_MODE_USERS) != 0;
    shx_err err = 0;
    if (users) {
        err = shx_users_remove(names, record->name, &file.identity,
                               options->dry_run);
    }
    else if (!options->dry_run) {
        err = shx_os_remove_in(names, record->name);
    }
    if (err == ENOENT || err == SHX_REPLACED) {
        return 0;
    }
    if (users && err == EAGAIN) {
        now->outcome.used++;
        return 0;
    }
    now->outcome.failed += err != 0;
    if (options->tell != NULL) {
        options->tell(options->context, record->name, file.held, err);
    }
    return 0;
}

/* What cannot be a ledger of ours, whoever put it there. */
static bool
is_foreign(shx_err err)
{
    return err == ELOOP || err == EISDIR || err == ENXIO || err == EFBIG;
}

shx_err
shx_ledger_execute(int directory, const shx_names *names, const char *file,
                   const shx_sweep_options *options, shx_outcome *out)
{
    execution now = {.names = names, .options = options};
    shx_err err = shx_ledger_read(directory, file, execute_record, &now);
    out->failed += now.outcome.failed;
    out->used += now.outcome.used;
    if (err == 0 && now.outcome.failed + now.outcome.used == 0 &&
        !options->dry_run) {
        err = shx_os_remove_in(directory, file);
        out->ended += err == 0;
    }
    return err == ENOENT || is_foreign(err) ? 0 : err;
}

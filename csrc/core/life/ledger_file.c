/* SPDX-License-Identifier: MIT */
/* A ledger as a file: how it comes to be, changes hands, is executed and goes.
 * Nothing here looks at what the process knows of its ledgers. */
#include <errno.h>
#include <fcntl.h>  /* O_RDWR, O_CREAT, O_EXCL */
#include <stdio.h>  /* snprintf */
#include <string.h> /* strlen, memcpy */

#include "core/life/ledger.h"
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

/* Makes an open file ours: locks it, gives it pages where it has none, and
 * maps it. EWOULDBLOCK: it is somebody's, or going. */
static shx_err
take(int fd, const char *name, size_t size_wanted, shx_ledger *out)
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
    size_t most = SHX_LEDGER_MOST * sizeof(shx_record) + shx_os_page_size();
    if (file.size > most) {
        return EFBIG; /* none that we would write: the sweep reads it */
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
    if (err != 0 && err != EWOULDBLOCK) {
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
        if (err != EWOULDBLOCK && err != EEXIST) {
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

static size_t
execute_record(const shx_record *record, const shx_sweep_options *options)
{
    uint64_t bytes;
    if (!shx_ledger_is_true(record, &bytes)) {
        return 0;
    }
    shx_err err = options->dry_run ? 0 : shx_os_remove(record->name);
    if (err == ENOENT) {
        return 0;
    }
    if (options->tell != NULL) {
        options->tell(options->context, record->name, bytes, err);
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

/* SPDX-License-Identifier: MIT */
#include "core/life/sweep.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDWR */
#include <stdio.h>  /* snprintf */
#include <string.h> /* strncmp, strspn, strrchr */

#include "core/life/draft.h"
#include "core/os/os.h"

const shx_sweep_options shx_sweep_quietly = {.dry_run = false};

bool
shx_sweep_is_family(const char *file)
{
    size_t start = sizeof SHX_FAMILY_NAME - 1;
    return strncmp(file, SHX_FAMILY_NAME, start) == 0 &&
           strspn(file + start, "0123456789abcdef") == SHX_FAMILY_ID &&
           file[start + SHX_FAMILY_ID] == '\0';
}

static bool
is_ours(const shx_file *file)
{
    return file->directory && file->user == shx_os_user() &&
           (file->mode & 077) == 0;
}

shx_err
shx_sweep_open(const char *path, int *directory)
{
    int fd;
    shx_file file;
    shx_err err = shx_os_open_directory(path, &fd);
    if (err != 0) {
        return err == ENOTDIR || err == ELOOP ? SHX_SQUATTED : err;
    }
    err = shx_os_inspect(fd, &file);
    if (err == 0 && !is_ours(&file)) {
        err = SHX_SQUATTED;
    }
    if (err != 0) {
        shx_os_close(fd);
        return err;
    }
    *directory = fd;
    return 0;
}

/* A file of the directory. SHX_SQUATTED: none that we made. */
static shx_err
open_file(int directory, const char *name, int *fd)
{
    shx_file file;
    int opened;
    shx_err err = shx_os_open_in(directory, name, O_RDWR, &opened);
    if (err != 0) {
        return err == ENOENT || err == EMFILE || err == ENFILE ? err
                                                               : SHX_SQUATTED;
    }
    err = shx_os_inspect(opened, &file);
    if (err == 0 && !file.regular) {
        err = SHX_SQUATTED;
    }
    if (err != 0) {
        shx_os_close(opened);
        return err;
    }
    *fd = opened;
    return 0;
}

/* Without a descriptor to look with, it may be anybody's. */
static shx_lock
lock_of(int directory, const char *name)
{
    int fd;
    shx_err err = open_file(directory, name, &fd);
    if (err != 0) {
        return err == EMFILE || err == ENFILE ? SHX_LOCK_ALONE : SHX_LOCK_NONE;
    }
    shx_lock how = shx_os_claimed(fd);
    shx_os_close(fd);
    return how;
}

/* A visitor: EAGAIN if somebody writes that ledger. */
static shx_err
find_writer(void *context, int directory, const char *file)
{
    (void)context;
    return shx_ledger_is(file) && lock_of(directory, file) != SHX_LOCK_NONE
               ? EAGAIN
               : 0;
}

/* Somebody has removed .lock: a reaper, or a ledger's writer, still shows. */
static bool
is_dead_without_lock(int directory)
{
    return lock_of(directory, SHX_FAMILY_REAPER) == SHX_LOCK_NONE &&
           shx_os_visit(directory, find_writer, NULL) == 0;
}

bool
shx_sweep_is_dead(int directory)
{
    int fd;
    shx_err err = open_file(directory, SHX_FAMILY_LOCK, &fd);
    if (err != 0) {
        return err == ENOENT && is_dead_without_lock(directory);
    }
    bool shared = shx_os_claimed(fd) == SHX_LOCK_SHARED;
    shx_os_close(fd);
    return !shared;
}

shx_err
shx_sweep_lock(int directory, bool wait, int *lock)
{
    int fd;
    shx_err err = open_file(directory, SHX_FAMILY_LOCK, &fd);
    if (err == ENOENT) {
        *lock = -1;
        return is_dead_without_lock(directory) ? 0 : EAGAIN;
    }
    if (err == 0) {
        err = shx_os_claim(fd, SHX_LOCK_ALONE, wait);
        if (err != 0) {
            shx_os_close(fd);
        }
    }
    if (err == 0) {
        *lock = fd;
    }
    return err;
}

/* A child that another thread has forked meanwhile has the open file too: so
 * the lock is given up, not just closed. */
void
shx_sweep_unlock(int lock)
{
    if (lock >= 0) {
        (void)shx_os_claim(lock, SHX_LOCK_NONE, false);
        shx_os_close(lock);
    }
}

/* A pass over a family's ledgers, or over families. */
typedef struct {
    const shx_sweep_options *options;
    const shx_names *names;
    shx_outcome outcome;
    shx_err first;
} pass;

static shx_err
execute(void *context, int directory, const char *file)
{
    pass *now = context;
    if (shx_ledger_is(file)) {
        shx_err err = shx_ledger_execute(directory, now->names, file,
                                         now->options, &now->outcome);
        now->first = now->first == 0 ? err : now->first;
    }
    else if (shx_draft_is(file) && !now->options->dry_run) {
        now->outcome.ended += shx_draft_remove(directory, file) == 0;
    }
    return 0;
}

/* Segments of users who are still there: looks again after a moment, a longer
 * one each time. */
static void
pause_for_users(unsigned *pauses)
{
    const long most = 640000000, least = 20000000;
    unsigned doublings = *pauses < 5 ? (*pauses)++ : 5;
    long length = least << doublings;
    const struct timespec moment = {.tv_nsec = length < most ? length : most};
    (void)shx_os_pause(&moment);
}

/* Entries that go while they are listed may hide others: a pass that ended any
 * is followed by one more. */
static shx_err
execute_all(int directory, bool wait, pass *now)
{
    unsigned pauses = 0;
    bool used;
    do {
        now->outcome = (shx_outcome){.failed = 0};
        shx_err err = shx_os_visit(directory, execute, now);
        err = err == 0 ? now->first : err;
        if (err != 0) {
            return err;
        }
        used = wait && now->outcome.used > 0;
        if (used) {
            pause_for_users(&pauses);
        }
    } while (now->outcome.ended > 0 || used);
    return 0;
}

/* A .lock that was not there before is that of somebody who is founding the
 * family, and shares it by now. */
static shx_err
remove_directory(const shx_names *names, const char *file, int directory,
                 int lock)
{
    (void)shx_os_remove_in(directory, SHX_FAMILY_REAPER);
    (void)shx_os_remove_in(directory, SHX_FAMILY_USERS);
    if (lock >= 0) {
        (void)shx_os_remove_in(directory, SHX_FAMILY_LOCK);
    }
    /* What is not ours may be in it. */
    shx_err err = shx_os_remove_directory_in(names->directory, file);
    return err == ENOTEMPTY || err == ENOENT ? 0 : err;
}

/* Closes nothing that it was given. */
static shx_err
sweep(int directory, const char *file, bool wait,
      const shx_sweep_options *options)
{
    int lock;
    shx_names names;
    pass now = {.options = options, .names = &names};
    shx_err err = shx_names_open(directory, &names);
    if (err != 0) {
        return err;
    }
    err = shx_sweep_lock(directory, wait, &lock);
    if (err == 0) {
        err = execute_all(directory, wait, &now);
        if (err == 0 && now.outcome.failed + now.outcome.used == 0 &&
            !options->dry_run) {
            err = remove_directory(&names, file, directory, lock);
        }
        shx_sweep_unlock(lock);
    }
    shx_names_close(&names);
    return err;
}

shx_err
shx_sweep_family(const char *path, bool wait, const shx_sweep_options *options)
{
    int directory;
    shx_err err = shx_sweep_open(path, &directory);
    if (err == 0) {
        err = sweep(directory, strrchr(path, '/') + 1, wait, options);
        shx_os_close(directory);
    }
    return err == ENOENT ? 0 : err;
}

/* What to do with each family. */
typedef struct {
    shx_visitor visit;
    void *context;
} visitor;

/* Others' are not opened at all. */
static shx_err
visit_family(void *context, int parent, const char *file)
{
    const visitor *with = context;
    shx_file found;
    int directory;
    if (!shx_sweep_is_family(file) ||
        shx_os_inspect_in(parent, file, &found) != 0 || !is_ours(&found) ||
        shx_os_open_directory_in(parent, file, &directory) != 0) {
        return 0;
    }
    shx_err err = with->visit(with->context, directory, file);
    shx_os_close(directory);
    return err;
}

shx_err
shx_sweep_visit(shx_visitor visit, void *context)
{
    int directory;
    visitor with = {visit, context};
    shx_err err = shx_os_open_directory(shx_os_directory, &directory);
    if (err == 0) {
        err = shx_os_visit(directory, visit_family, &with);
        shx_os_close(directory);
    }
    return err;
}

static shx_err
sweep_if_dead(void *context, int directory, const char *file)
{
    pass *now = context;
    shx_err err = sweep(directory, file, false, now->options);
    if (err == 0 || err == EAGAIN || err == ENOENT || err == SHX_SQUATTED) {
        return 0;
    }
    if (now->options->tell != NULL) {
        now->options->tell(now->options->context, file, 0, err);
    }
    else if (now->first == 0) {
        now->first = err;
    }
    return 0;
}

shx_err
shx_sweep_all(const shx_sweep_options *options)
{
    pass now = {.options = options};
    shx_err err = shx_sweep_visit(sweep_if_dead, &now);
    return err != 0 ? err : now.first;
}

/* SPDX-License-Identifier: MIT */
#include "core/life/corpse.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDONLY */
#include <string.h> /* strncmp */

#include "core/life/ledger.h"
#include "core/life/sweep.h"
#include "core/life/users.h"
#include "core/os/os.h"

/* The name that was found, what it stands for, and, in the family that is
 * looked at, where names are. */
typedef struct {
    const char *name;
    shx_file file;
    const shx_names *names;
} search;

/* A visitor: EEXIST for the record that was looked for. */
static shx_err
compare_record(void *context, const shx_record *copy)
{
    const search *now = context;
    shx_file file;
    return strncmp(copy->name, now->name, sizeof copy->name) == 0 &&
                   shx_ledger_is_true(copy, now->names, &file) &&
                   shx_same_file(&file.identity, &now->file.identity)
               ? EEXIST
               : 0;
}

/* A visitor. A ledger that cannot be read is none. */
static shx_err
compare_ledger(void *context, int directory, const char *file)
{
    return shx_ledger_is(file) &&
                   shx_ledger_read(directory, file, compare_record, context) ==
                       EEXIST
               ? EEXIST
               : 0;
}

/* With the family's lock. */
static shx_err
remove_name(const search *now)
{
    shx_file file;
    int names = now->names->directory;
    shx_err err = shx_os_inspect_in(names, now->name, &file);
    if (err == 0 && !shx_same_file(&file.identity, &now->file.identity)) {
        err = SHX_REPLACED;
    }
    return err == 0 ? shx_os_remove_in(names, now->name) : err;
}

/* Somebody removed the dead family's .lock: nothing keeps two of us apart, and
 * the name is left to a sweep. */
static shx_err
remove_locked(const search *now, int directory)
{
    int lock;
    shx_err err = shx_sweep_lock(directory, false, &lock);
    if (err == 0) {
        err = lock >= 0 ? remove_name(now) : EEXIST;
        shx_sweep_unlock(lock);
    }
    return err;
}

/* A visitor: ECANCELED, when the name is gone; EAGAIN, when somebody is at
 * work on it. */
static shx_err
search_family(void *context, int directory, const char *file)
{
    search *now = context;
    shx_names names;
    (void)file;
    if (!shx_sweep_is_dead(directory) ||
        shx_names_open(directory, &names) != 0) {
        return 0;
    }
    now->names = &names;
    shx_err err = shx_os_visit(directory, compare_ledger, now);
    if (err == EEXIST) {
        err = remove_locked(now, directory);
        err = err == 0 || err == ENOENT || err == SHX_REPLACED ? ECANCELED
              : err == EAGAIN                                  ? EAGAIN
                                                               : EEXIST;
    }
    else {
        err = 0;
    }
    shx_names_close(&names);
    return err;
}

/* Has the name gone, or to another file, since it was found? A sweep may have
 * been faster than the search. */
static bool
is_over(const search *now)
{
    shx_file file;
    shx_err err = shx_os_inspect_name(now->name, &file);
    return err == ENOENT ||
           (err == 0 && !shx_same_file(&file.identity, &now->file.identity));
}

/* That somebody has it only spares the search. Nothing is open during that:
 * who removes a segment of its users asks whether anybody has it. */
static shx_err
look(const char *name)
{
    int fd;
    search now = {.name = name};
    shx_err err = shx_os_open(name, O_RDONLY, &fd);
    if (err != 0) {
        return err == ENOENT ? ECANCELED : EEXIST;
    }
    err = shx_os_is_unwritten(fd);
    if (err == 0 || err == SHX_NO_LEASES) {
        err = shx_os_inspect(fd, &now.file);
    }
    shx_os_close(fd);
    if (err == 0 && now.file.regular &&
        (now.file.mode & SHX_MODE_USERS) != 0) {
        err = shx_users_leave(name, &now.file.identity);
        return err == 0 || err == ENOENT ? ECANCELED : EEXIST;
    }
    if (err != 0 || !now.file.regular || now.file.user != shx_os_user()) {
        return EEXIST;
    }
    err = shx_sweep_visit(search_family, &now);
    return err != ECANCELED && err != EAGAIN && is_over(&now) ? ECANCELED
                                                              : err;
}

bool
shx_corpse_is_alive(const char *name)
{
    int fd;
    if (shx_os_open(name, O_RDONLY, &fd) != 0) {
        return false;
    }
    shx_err err = shx_os_is_unwritten(fd);
    shx_os_close(fd);
    return err == EAGAIN;
}

bool
shx_corpse_remove(const char *name)
{
    const struct timespec moment = {.tv_nsec = 100000};
    shx_err err = look(name);
    for (int patience = 10000; err == EAGAIN && patience > 0; patience--) {
        (void)shx_os_pause(&moment);
        err = look(name);
    }
    return err == ECANCELED;
}

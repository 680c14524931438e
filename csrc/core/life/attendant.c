/* SPDX-License-Identifier: MIT */
#include "core/life/attendant.h"

#include <fcntl.h> /* O_RDWR, O_CREAT */

#include "core/life/ledger.h"
#include "core/life/sweep.h"
#include "core/life/users.h"

/* A visitor of records. */
static shx_err
look_at_record(void *context, const shx_record *copy)
{
    const shx_names *names = context;
    shx_file file;
    if (shx_ledger_is_true(copy, names, &file) &&
        (file.mode & SHX_MODE_USERS) != 0) {
        (void)shx_users_remove(names->directory, copy->name, &file.identity,
                               false);
    }
    return 0;
}

/* A visitor of files. */
static shx_err
look_at_ledger(void *context, int directory, const char *file)
{
    if (shx_ledger_is(file)) {
        (void)shx_ledger_read(directory, file, look_at_record, context);
    }
    return 0;
}

/* Looks once. How long that took, in nanoseconds. */
static int64_t
look(int directory)
{
    shx_names names;
    struct timespec before, after;
    shx_os_now(&before);
    if (shx_names_open(directory, &names) == 0) {
        (void)shx_os_visit(directory, look_at_ledger, &names);
        shx_names_close(&names);
    }
    shx_os_now(&after);
    return (int64_t)(after.tv_sec - before.tv_sec) * 1000000000 +
           (after.tv_nsec - before.tv_nsec);
}

/* It notices within a second that the family is dead. */
static void
pause_for(int directory, int64_t nanoseconds)
{
    const struct timespec second = {.tv_sec = 1};
    do {
        (void)shx_os_pause(&second);
        nanoseconds -= 1000000000;
    } while (nanoseconds > 0 && !shx_sweep_is_dead(directory));
}

shx_err
shx_attendant_serve(const char *path)
{
    int directory, fd;
    shx_err err = shx_sweep_open(path, &directory);
    if (err != 0) {
        return err;
    }
    err = shx_os_open_in(directory, SHX_FAMILY_USERS, O_RDWR | O_CREAT, &fd);
    if (err == 0) {
        err = shx_os_claim(fd, SHX_LOCK_ALONE, false);
        while (err == 0 && !shx_sweep_is_dead(directory)) {
            pause_for(directory, 100 * look(directory));
        }
        shx_os_close(fd);
    }
    shx_os_close(directory);
    return err;
}

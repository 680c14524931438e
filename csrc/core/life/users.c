/* SPDX-License-Identifier: MIT */
#include "core/life/users.h"

#include <errno.h>
#include <fcntl.h> /* O_RDWR */

static bool
is_same(shx_err err, const shx_file *file, const shx_identity *identity)
{
    return err == 0 && file->regular && (file->mode & SHX_MODE_USERS) != 0 &&
           shx_same_file(&file->identity, identity);
}

/* With the lock: what the name stands for cannot have got another user. */
static shx_err
remove_if_idle(int names, const char *name, int fd,
               const shx_identity *identity, bool dry)
{
    shx_file file;
    shx_err err = shx_os_inspect_in(names, name, &file);
    if (err == 0 && !is_same(err, &file, identity)) {
        err = SHX_REPLACED;
    }
    if (err == 0) {
        err = shx_os_is_idle(fd);
    }
    return err == 0 && !dry ? shx_os_remove_in(names, name) : err;
}

shx_err
shx_users_remove(int names, const char *name, const shx_identity *identity,
                 bool dry)
{
    int fd;
    shx_file file;
    shx_err err = shx_os_open_in(names, name, O_RDWR, &fd);
    if (err != 0) {
        return err == ELOOP ? SHX_REPLACED : err;
    }
    err = shx_os_inspect(fd, &file);
    if (!is_same(err, &file, identity)) {
        err = err == 0 ? SHX_REPLACED : err;
    }
    else {
        err = shx_os_use(fd, SHX_LOCK_ALONE, false);
    }
    if (err == 0) {
        err = remove_if_idle(names, name, fd, identity, dry);
    }
    shx_os_close(fd);
    return err;
}

shx_err
shx_users_leave(const char *name, const shx_identity *identity)
{
    int names;
    shx_err err = shx_os_open_directory(shx_os_directory, &names);
    if (err == 0) {
        err = shx_users_remove(names, name, identity, false);
        shx_os_close(names);
    }
    return err;
}

/* SPDX-License-Identifier: MIT */
#include "core/life/membership.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDWR, O_CREAT, O_EXCL */
#include <stdio.h>  /* snprintf */
#include <string.h> /* strlen */

static void
set_directory(shx_membership *of, const char *id)
{
    (void)snprintf(of->directory, sizeof of->directory,
                   "%s/" SHX_FAMILY_NAME "%.*s", shx_os_directory,
                   (int)SHX_FAMILY_ID, id);
}

const char *
shx_membership_id(const shx_membership *of)
{
    return of->directory + strlen(shx_os_directory) + sizeof SHX_FAMILY_NAME;
}

/* Opens .lock, creating it with `flags`, and shares it. ENOENT, too, where a
 * sweep was faster and has removed what was opened. */
static shx_err
open_lock(const char *path, int flags, int *fd, shx_file *file)
{
    int directory, opened;
    shx_err err = shx_sweep_open(path, &directory);
    if (err != 0) {
        return err;
    }
    err = shx_os_open_in(directory, SHX_FAMILY_LOCK, O_RDWR | flags, &opened);
    shx_os_close(directory);
    if (err != 0) {
        return err;
    }
    err = shx_os_claim(opened, SHX_LOCK_SHARED, false);
    if (err == 0) {
        err = shx_os_inspect(opened, file);
    }
    if (err == 0 && file->names == 0) {
        err = ENOENT;
    }
    if (err != 0) {
        shx_os_close(opened);
        return err;
    }
    *fd = opened;
    return 0;
}

static shx_err
draw(shx_membership *of)
{
    uint64_t number[2];
    char id[SHX_FAMILY_ID + 1];
    shx_err err = shx_os_random(number, sizeof number);
    if (err == 0) {
        (void)snprintf(id, sizeof id, "%016llx%016llx",
                       (unsigned long long)number[0],
                       (unsigned long long)number[1]);
        set_directory(of, id);
        err = shx_os_make_directory(of->directory);
    }
    return err;
}

/* Of what nobody else has heard yet. No sweep does it where there are no locks
 * to be had, or descriptors. */
static void
discard(const shx_membership *of)
{
    char path[SHX_FAMILY_PATH + sizeof SHX_FAMILY_LOCK];
    (void)snprintf(path, sizeof path, "%s/" SHX_FAMILY_LOCK, of->directory);
    (void)shx_os_remove_path(path);
    (void)shx_os_remove_directory(of->directory);
}

/* Until .lock is shared, a sweep takes the directory for one that the dead
 * have left: then another is made. */
shx_err
shx_membership_found(shx_membership *out)
{
    shx_err err = 0;
    for (int tries = 0; tries < 16; tries++) {
        int fd;
        shx_file file;
        shx_membership made = {.user = shx_os_user(), .found = true};
        err = draw(&made);
        if (err == EEXIST || err == ENOENT) {
            continue;
        }
        if (err != 0) {
            return err;
        }
        err = open_lock(made.directory, O_CREAT | O_EXCL, &fd, &file);
        if (err == 0) {
            err = shx_os_hold(fd, &made.share);
            shx_os_close(fd);
        }
        if (err == 0) {
            made.lock = file.identity;
            *out = made;
            return 0;
        }
        discard(&made);
        if (err != ENOENT && err != EAGAIN) {
            return err;
        }
    }
    return err;
}

shx_err
shx_membership_share(const shx_membership *of, int *fd)
{
    int opened;
    shx_file file;
    shx_err err = open_lock(of->directory, 0, &opened, &file);
    if (err == 0 && !shx_same_file(&file.identity, &of->lock)) {
        shx_os_close(opened);
        err = ESTALE;
    }
    if (err == 0) {
        *fd = opened;
    }
    return err == ENOENT || err == SHX_SQUATTED || err == EAGAIN ? ESTALE
                                                                 : err;
}

/* Is it the directory's .lock that is open? */
static bool
is_lock(const char *path, const shx_identity *opened)
{
    int directory;
    shx_file file;
    if (shx_sweep_open(path, &directory) != 0) {
        return false;
    }
    shx_err err = shx_os_inspect_in(directory, SHX_FAMILY_LOCK, &file);
    shx_os_close(directory);
    return err == 0 && shx_same_file(&file.identity, opened);
}

shx_err
shx_membership_enter(const char *id, int fd, shx_membership *out)
{
    shx_file file;
    shx_membership made = {.user = shx_os_user()};
    shx_err err = shx_os_inspect(fd, &file);
    if (err != 0 || !file.regular) {
        return EBADF;
    }
    made.lock = file.identity;
    set_directory(&made, id);
    made.found = is_lock(made.directory, &made.lock);
    err = shx_os_hold(fd, &made.share);
    if (err == 0) {
        shx_os_close(fd);
        *out = made;
    }
    return err;
}

void
shx_membership_end(shx_membership *of)
{
    if (of->share != NULL) {
        shx_os_let_go(of->share);
        of->share = NULL;
    }
}

bool
shx_membership_has(const shx_membership *of, const char *file)
{
    int directory, fd;
    bool there = false;
    if (shx_sweep_open(of->directory, &directory) != 0) {
        return false;
    }
    if (shx_os_open_in(directory, file, O_RDWR, &fd) == 0) {
        there = shx_os_claimed(fd) != SHX_LOCK_NONE;
        shx_os_close(fd);
    }
    shx_os_close(directory);
    return there;
}

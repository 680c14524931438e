/* SPDX-License-Identifier: MIT */
#include "core/life/sweep.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDWR, O_CREAT */
#include <stdio.h>  /* snprintf */
#include <string.h> /* strncmp */

#include "core/os/os.h"

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
    if (err == 0 && (file.user != shx_os_user() || (file.mode & 077) != 0)) {
        err = SHX_SQUATTED;
    }
    if (err != 0) {
        shx_os_close(fd);
        return err;
    }
    *directory = fd;
    return 0;
}

/* Opens .lock and locks it for us alone. ENOENT: somebody else has swept. */
static shx_err
lock_dead(int directory, bool wait, int *lock)
{
    int fd;
    shx_file file;
    shx_err err =
        shx_os_open_in(directory, SHX_FAMILY_LOCK, O_RDWR | O_CREAT, &fd);
    if (err != 0) {
        return err;
    }
    err = shx_os_flock(fd, true, wait);
    if (err == 0) {
        err = shx_os_inspect(fd, &file);
    }
    if (err == 0 && !file.named) {
        err = ENOENT;
    }
    if (err != 0) {
        shx_os_close(fd);
        return err;
    }
    *lock = fd;
    return 0;
}

/* A pass over a family's ledgers. */
typedef struct {
    const shx_sweep_options *options;
    size_t seen; /* entries that go while they are listed may hide others, so
                  * a pass that saw any is followed by one more */
    size_t left;
    shx_err first;
} pass;

static shx_err
execute(void *context, int directory, const char *file)
{
    pass *now = context;
    if (shx_ledger_is(file)) {
        shx_err err =
            shx_ledger_execute(directory, file, now->options, &now->left);
        now->first = now->first == 0 ? err : now->first;
        now->seen++;
    }
    return 0;
}

static shx_err
remove_directory(const char *path, int directory)
{
    (void)shx_os_remove_in(directory, SHX_FAMILY_REAPER);
    (void)shx_os_remove_in(directory, SHX_FAMILY_LOCK);
    /* A newcomer may have made a new .lock in it since: then it is his. */
    shx_err err = shx_os_remove_directory(path);
    return err == ENOTEMPTY || err == ENOENT ? 0 : err;
}

shx_err
shx_sweep_family(const char *path, bool wait, const shx_sweep_options *options)
{
    int directory = -1, lock = -1;
    shx_err err = shx_sweep_open(path, &directory);
    if (err != 0) {
        return err == ENOENT ? 0 : err;
    }
    err = lock_dead(directory, wait, &lock);
    if (err != 0) {
        shx_os_close(directory);
        if (err != ENOENT) {
            return err;
        }
        /* Who has swept may have been killed before this last step. Where a
         * newcomer was faster, the directory is not empty. */
        (void)shx_os_remove_directory(path);
        return 0;
    }
    pass now;
    do {
        now = (pass){.options = options};
        err = shx_os_visit(directory, execute, &now);
        err = err == 0 ? now.first : err;
    } while (err == 0 && now.seen > 0 && now.left == 0 && !options->dry_run);
    if (err == 0 && now.left == 0 && !options->dry_run) {
        err = remove_directory(path, directory);
    }
    shx_os_close(directory);
    shx_os_close(lock);
    return err;
}

static shx_err
sweep_if_dead(void *context, int directory, const char *file)
{
    (void)directory;
    pass *now = context;
    char path[SHX_FAMILY_PATH];
    if (strncmp(file, SHX_NAME_OWN, sizeof SHX_NAME_OWN - 1) != 0) {
        return 0;
    }
    int length = snprintf(path, sizeof path, "%s/%s", shx_os_directory, file);
    if (length < 0 || (size_t)length >= sizeof path) {
        return 0; /* no name of ours is as long */
    }
    shx_err err = shx_sweep_family(path, false, now->options);
    if (err != EWOULDBLOCK && err != SHX_SQUATTED && err != EACCES) {
        now->first = now->first == 0 ? err : now->first;
    }
    return 0;
}

shx_err
shx_sweep_all(const shx_sweep_options *options)
{
    int directory;
    pass now = {.options = options};
    shx_err err = shx_os_open_directory(shx_os_directory, &directory);
    if (err == 0) {
        err = shx_os_visit(directory, sweep_if_dead, &now);
        shx_os_close(directory);
    }
    return err != 0 ? err : now.first;
}

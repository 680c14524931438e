/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE

#include "core/life/sweep.h"

#include <dirent.h> /* fdopendir, readdir */
#include <errno.h>
#include <fcntl.h>    /* openat */
#include <stdio.h>    /* snprintf */
#include <string.h>   /* strncmp */
#include <sys/file.h> /* flock */
#include <sys/stat.h> /* fstat */
#include <unistd.h>   /* geteuid, unlinkat, rmdir */

#include "core/os/os.h"

shx_err
shx_sweep_open(const char *path, int *directory)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOTDIR || errno == ELOOP ? SHX_SQUATTED : errno;
    }
    struct stat status;
    shx_err err = fstat(fd, &status) == 0 ? 0 : errno;
    if (err == 0 &&
        (status.st_uid != geteuid() || (status.st_mode & 077) != 0)) {
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
    int fd = openat(directory, SHX_FAMILY_LOCK,
                    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return errno;
    }
    int result;
    do {
        result = flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    struct stat status;
    shx_err err = result != 0 || fstat(fd, &status) != 0 ? errno : 0;
    if (err == 0 && status.st_nlink == 0) {
        err = ENOENT;
    }
    if (err != 0) {
        shx_os_close(fd);
        return err;
    }
    *lock = fd;
    return 0;
}

/* One pass over the ledgers. *seen counts them: entries that go while they
 * are listed may hide others, so a pass that saw any is followed by one
 * more. */
static shx_err
execute_ledgers(int directory, const shx_sweep_options *options, size_t *seen,
                size_t *left)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (entries == NULL) {
        shx_err err = errno;
        if (copy >= 0) {
            shx_os_close(copy);
        }
        return err;
    }
    shx_err first = 0;
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        if (shx_ledger_is(entry->d_name)) {
            shx_err err =
                shx_ledger_execute(directory, entry->d_name, options, left);
            first = first == 0 ? err : first;
            *seen += 1;
        }
    }
    (void)closedir(entries);
    return first;
}

static shx_err
remove_directory(const char *path, int directory)
{
    (void)unlinkat(directory, SHX_FAMILY_REAPER, 0);
    (void)unlinkat(directory, SHX_FAMILY_LOCK, 0);
    /* A newcomer may have made a new .lock in it since: then it is his. */
    if (rmdir(path) == 0 || errno == ENOTEMPTY || errno == ENOENT) {
        return 0;
    }
    return errno;
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
        (void)rmdir(path);
        return 0;
    }
    size_t seen, left;
    do {
        seen = left = 0;
        err = execute_ledgers(directory, options, &seen, &left);
    } while (err == 0 && seen > 0 && left == 0 && !options->dry_run);
    if (err == 0 && left == 0 && !options->dry_run) {
        err = remove_directory(path, directory);
    }
    shx_os_close(directory);
    shx_os_close(lock);
    return err;
}

shx_err
shx_sweep_all(const shx_sweep_options *options)
{
    DIR *entries = opendir(shx_os_directory);
    if (entries == NULL) {
        return errno;
    }
    shx_err first = 0;
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        if (strncmp(entry->d_name, SHX_FAMILY_PREFIX,
                    sizeof SHX_FAMILY_PREFIX - 1) != 0) {
            continue;
        }
        char path[SHX_FAMILY_PATH];
        int length = snprintf(path, sizeof path, "%s/%s", shx_os_directory,
                              entry->d_name);
        if (length < 0 || (size_t)length >= sizeof path) {
            continue; /* no name of ours is as long */
        }
        shx_err err = shx_sweep_family(path, false, options);
        if (err != EWOULDBLOCK && err != SHX_SQUATTED && err != EACCES) {
            first = first == 0 ? err : first;
        }
    }
    (void)closedir(entries);
    return first;
}

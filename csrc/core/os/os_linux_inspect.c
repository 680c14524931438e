/* SPDX-License-Identifier: MIT */
/* Linux: what a file is, see statx(2): the one call that knows when a file was
 * born. Where it is missing, or a sandbox forbids it, stat(2) says the rest.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>         /* AT_FDCWD, AT_EMPTY_PATH */
#include <sys/stat.h>      /* statx, fstatat */
#include <sys/sysmacros.h> /* makedev */

#include "core/os/os.h"

bool
shx_same_file(const shx_identity *a, const shx_identity *b)
{
    return a->inode == b->inode && a->device == b->device &&
           (a->born == b->born || a->born == 0 || b->born == 0);
}

static const char *
kind_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "a regular file";
    case S_IFDIR:
        return "a directory";
    case S_IFIFO:
        return "a FIFO";
    case S_IFSOCK:
        return "a socket";
    case S_IFLNK:
        return "a symbolic link";
    default:
        return "a device";
    }
}

static void
describe(const struct stat *status, shx_file *out)
{
    *out = (shx_file){
        .identity = {.device = status->st_dev, .inode = status->st_ino},
        .size = status->st_size < 0 ? 0 : (uint64_t)status->st_size,
        .held = (uint64_t)status->st_blocks * 512,
        .mode = status->st_mode & 07777u,
        .regular = S_ISREG(status->st_mode),
        .directory = S_ISDIR(status->st_mode),
        .names = (unsigned)status->st_nlink,
        .user = status->st_uid,
        .kind = kind_of(status->st_mode),
    };
}

static void
describe_more(const struct statx *status, shx_file *out)
{
    mode_t mode = status->stx_mode;
    uint64_t born = (uint64_t)status->stx_btime.tv_sec * 1000000000u +
                    status->stx_btime.tv_nsec;
    *out = (shx_file){
        .identity = {.device =
                         makedev(status->stx_dev_major, status->stx_dev_minor),
                     .inode = status->stx_ino,
                     .born = (status->stx_mask & STATX_BTIME) != 0 ? born : 0},
        .size = status->stx_size,
        .held = status->stx_blocks * 512,
        .mode = mode & 07777u,
        .regular = S_ISREG(mode),
        .directory = S_ISDIR(mode),
        .names = status->stx_nlink,
        .user = status->stx_uid,
        .kind = kind_of(mode),
    };
}

/* What is asked of a path, an open directory and flags of fstatat(2). What
 * statx() itself cannot do the other one may. */
static shx_err
look(int at, const char *path, int flags, shx_file *out)
{
    struct statx more;
    if (statx(at, path, flags, STATX_BASIC_STATS | STATX_BTIME, &more) == 0) {
        describe_more(&more, out);
        return 0;
    }
    if (errno != ENOSYS && errno != EPERM) {
        return errno;
    }
    struct stat status;
    if (fstatat(at, path, &status, flags) != 0) {
        return errno;
    }
    describe(&status, out);
    return 0;
}

shx_err
shx_os_inspect(int fd, shx_file *out)
{
    return look(fd, "", AT_EMPTY_PATH, out);
}

shx_err
shx_os_inspect_path(const char *path, shx_file *out)
{
    return look(AT_FDCWD, path, 0, out);
}

shx_err
shx_os_inspect_in(int directory, const char *file, shx_file *out)
{
    return look(directory, file, AT_SYMLINK_NOFOLLOW, out);
}

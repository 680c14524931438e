/* SPDX-License-Identifier: MIT */
/* Linux: what a file is, see statx(2): the one call that knows when a file was
 * born. Where it is missing, or a sandbox forbids it, stat(2) says the rest.
 *
 * Of the kernel, not of the C library, and with a struct of our own: glibc has
 * it since 2.28, musl since 1.2.5, and what is built with that one is to run
 * with an older one.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>         /* AT_FDCWD, AT_EMPTY_PATH */
#include <sys/stat.h>      /* fstatat */
#include <sys/syscall.h>   /* SYS_statx */
#include <sys/sysmacros.h> /* makedev */
#include <unistd.h>        /* syscall */

#include "core/os/os.h"

typedef struct {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t reserved;
} moment;

/* As the kernel lays it out, with room for what is added. */
typedef struct {
    uint32_t mask, block;
    uint64_t attributes;
    uint32_t links, user, group;
    uint16_t mode, reserved;
    uint64_t inode, size, blocks, has_attributes;
    moment read, born, changed, written;
    uint32_t is_major, is_minor, device_major, device_minor;
    uint64_t more[14];
} status_x;

_Static_assert(sizeof(status_x) == 256, "statx(2) writes 256 bytes");

enum { BASIC = 0x7ff, BORN = 0x800 };

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
describe_more(const status_x *status, shx_file *out)
{
    uint64_t born = (uint64_t)status->born.seconds * 1000000000u +
                    status->born.nanoseconds;
    *out = (shx_file){
        .identity = {.device =
                         makedev(status->device_major, status->device_minor),
                     .inode = status->inode,
                     .born = (status->mask & BORN) != 0 ? born : 0},
        .size = status->size,
        .held = status->blocks * 512,
        .mode = status->mode & 07777u,
        .regular = S_ISREG(status->mode),
        .directory = S_ISDIR(status->mode),
        .names = status->links,
        .user = status->user,
        .kind = kind_of(status->mode),
    };
}

/* What is asked of a path, an open directory and flags of fstatat(2). What
 * statx() itself cannot do the other one may. */
static shx_err
look(int at, const char *path, int flags, shx_file *out)
{
    status_x more;
    if (syscall(SYS_statx, at, path, flags, BASIC | BORN, &more) == 0) {
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

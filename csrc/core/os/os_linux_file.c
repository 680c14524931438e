/* SPDX-License-Identifier: MIT */
/* Linux: files by path, on whichever file system, and by descriptor.
 *
 * O_TMPFILE is missing on NFS, on overlayfs before Linux 6.10, and in gVisor.
 * Of a path, that is an error; a name in /dev/shm has another way, see
 * os_linux_draft.c.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>        /* open, fcntl, O_TMPFILE, AT_EMPTY_PATH */
#include <limits.h>       /* INT_MAX */
#include <stdio.h>        /* snprintf */
#include <sys/resource.h> /* getrlimit */
#include <unistd.h>       /* linkat, unlink, fsync, pread, pwrite */

#include "core/os/os.h"

enum { LINK_SIZE = 32 };

static void
link_of(int fd, char link[LINK_SIZE])
{
    (void)snprintf(link, LINK_SIZE, "/proc/self/fd/%d", fd);
}

static shx_err
open_retrying(const char *path, int flags, unsigned mode, int *fd)
{
    int opened;
    do {
        opened = open(path, flags | O_CLOEXEC, (mode_t)mode);
    } while (opened < 0 && errno == EINTR);
    if (opened < 0) {
        return errno;
    }
    *fd = opened;
    return 0;
}

/* A kernel, or a file system, that does not know the flag sees an attempt to
 * write a directory, or flags that make no sense. */
shx_err
shx_os_create_unnamed_in(const char *directory, unsigned mode, int *fd)
{
    shx_err err = open_retrying(directory, O_TMPFILE | O_RDWR, mode, fd);
    return err == EISDIR || err == EINVAL || err == ENOSYS ? EOPNOTSUPP : err;
}

/* AT_EMPTY_PATH is the shorter way, open to everybody since Linux 6.10 and to
 * root before; /proc is the way for the others, and where a policy or an
 * emulation does not let it pass. */
shx_err
shx_os_publish_at(int fd, const char *path)
{
    if (linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0) {
        return 0;
    }
    shx_err err = errno;
    if (!shx_os_is_refusal(err)) {
        return err;
    }
    char link[LINK_SIZE];
    link_of(fd, link);
    if (linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0) {
        return 0;
    }
    return err == ENOENT || !shx_os_is_refusal(errno) ? errno : err;
}

bool
shx_os_is_refusal(shx_err err)
{
    static const int others[] = {
        EEXIST, ENAMETOOLONG, ENOSPC, EDQUOT, EROFS,
        ENOMEM, EMFILE,       ENFILE, EIO,    EINTR,
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (err == others[i]) {
            return false;
        }
    }
    return true;
}

/* Without O_NONBLOCK, a FIFO would wait for its other end. */
shx_err
shx_os_open_path(const char *path, int flags, int *fd)
{
    return open_retrying(path, flags | O_NONBLOCK | O_NOCTTY, 0, fd);
}

shx_err
shx_os_remove_path(const char *path)
{
    return unlink(path) == 0 ? 0 : errno;
}

shx_err
shx_os_reopen(int fd, int flags, int *out)
{
    char link[LINK_SIZE];
    link_of(fd, link);
    shx_err err = open_retrying(link, flags, 0, out);
    return err == ENOENT ? SHX_NO_PROC
                         : err; /* the file is there: it is open */
}

shx_err
shx_os_duplicate(int fd, int *out)
{
    int made = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (made < 0) {
        return errno;
    }
    *out = made;
    return 0;
}

int
shx_os_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX) {
        return INT_MAX;
    }
    return (int)limit.rlim_cur;
}

bool
shx_os_is_writable(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

shx_err
shx_os_sync(int fd)
{
    int result;
    do {
        result = fsync(fd);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

/* Some file systems have nothing to do for a directory, and say EINVAL. */
shx_err
shx_os_sync_directory(const char *directory)
{
    int fd = -1;
    shx_err err = open_retrying(directory, O_RDONLY | O_DIRECTORY, 0, &fd);
    if (err != 0) {
        return err;
    }
    err = shx_os_sync(fd);
    shx_os_close(fd);
    return err == EINVAL ? 0 : err;
}

shx_err
shx_os_write(int fd, const void *data, size_t size, uint64_t offset)
{
    const char *from = data;
    while (size > 0) {
        ssize_t done = pwrite(fd, from, size, (off_t)offset);
        if (done < 0 && errno != EINTR) {
            return errno;
        }
        if (done > 0) {
            from += done;
            size -= (size_t)done;
            offset += (uint64_t)done;
        }
    }
    return 0;
}

shx_err
shx_os_read(int fd, void *data, size_t size, uint64_t offset)
{
    char *to = data;
    while (size > 0) {
        ssize_t done = pread(fd, to, size, (off_t)offset);
        if (done < 0 && errno != EINTR) {
            return errno;
        }
        if (done == 0) {
            return EFAULT;
        }
        if (done > 0) {
            to += done;
            size -= (size_t)done;
            offset += (uint64_t)done;
        }
    }
    return 0;
}

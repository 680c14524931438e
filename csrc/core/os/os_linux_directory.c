/* SPDX-License-Identifier: MIT */
/* Linux: directories, and files by descriptor of their directory. */
#define _GNU_SOURCE

#include <dirent.h> /* fdopendir, readdir */
#include <errno.h>
#include <fcntl.h>    /* openat */
#include <sys/stat.h> /* mkdir, chmod */
#include <unistd.h>   /* unlinkat */

#include "core/os/os.h"

shx_err
shx_os_make_directory(const char *path)
{
    if (mkdir(path, 0700) != 0) {
        return errno;
    }
    return chmod(path, 0700) == 0 ? 0 : errno; /* whatever the umask */
}

shx_err
shx_os_open_directory(const char *path, int *directory)
{
    return shx_os_open_directory_in(AT_FDCWD, path, directory);
}

shx_err
shx_os_open_directory_in(int parent, const char *file, int *directory)
{
    int fd =
        openat(parent, file, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    *directory = fd;
    return 0;
}

shx_err
shx_os_open_in(int directory, const char *file, int flags, int *fd)
{
    int opened = openat(directory, file,
                        flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (opened < 0) {
        return errno;
    }
    shx_err err = 0;
    if ((flags & O_CREAT) != 0) {
        err = shx_os_set_mode(opened, 0600); /* whatever the umask */
    }
    if (err != 0) {
        shx_os_close(opened);
        return err;
    }
    *fd = opened;
    return 0;
}

shx_err
shx_os_remove_in(int directory, const char *file)
{
    return unlinkat(directory, file, 0) == 0 ? 0 : errno;
}

shx_err
shx_os_remove_directory(const char *path)
{
    return shx_os_remove_directory_in(AT_FDCWD, path);
}

shx_err
shx_os_remove_directory_in(int directory, const char *file)
{
    return unlinkat(directory, file, AT_REMOVEDIR) == 0 ? 0 : errno;
}

shx_err
shx_os_visit(int directory, shx_visitor visit, void *context)
{
    /* A descriptor of its own: it has a position, and is closed at the end. */
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (entries == NULL) {
        shx_err err = errno;
        if (copy >= 0) {
            shx_os_close(copy);
        }
        return err;
    }
    shx_err err = 0;
    const struct dirent *entry;
    while (err == 0 && (entry = readdir(entries)) != NULL) {
        err = visit(context, directory, entry->d_name);
    }
    (void)closedir(entries);
    return err;
}

/* SPDX-License-Identifier: MIT */
/* Linux: files that are to get a name in /dev/shm.
 *
 * O_TMPFILE plus linkat() is what lets a name appear with its full size in
 * one step; see open(2) and tmpfs(5). gVisor has no O_TMPFILE; old kernels
 * name its files by way of /proc, which may not be there; a policy may forbid
 * either. A file that has a name already can be given another one everywhere,
 * in one step too.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h> /* O_RDWR, O_CREAT, O_EXCL */
#include <stdatomic.h>
#include <stdio.h>       /* snprintf */
#include <sys/syscall.h> /* renameat2, which musl has since 2025 */
#include <unistd.h>      /* linkat, unlinkat */

#include "core/os/os.h"

/* Newer than some C libraries that we build with. */
enum { KEEP_WHAT_IS_THERE = 1 }; /* RENAME_NOREPLACE */

/* To be refused costs all the work on a file. So it is remembered: how a
 * process may name its files hardly changes, and the other way stays open. */
static atomic_bool refused;

shx_err
shx_os_create_unnamed(unsigned mode, shx_draft *out)
{
    int fd;
    if (atomic_load(&refused)) {
        return EOPNOTSUPP;
    }
    shx_err err = shx_os_create_unnamed_in(shx_os_directory, mode, &fd);
    if (err == 0) {
        *out = (shx_draft){.fd = fd, .directory = -1};
    }
    /* Who is permitted nothing at all hears so of the other way. */
    return err == EPERM ? EOPNOTSUPP : err;
}

shx_err
shx_os_create_hidden(shx_draft *draft)
{
    shx_err err = shx_os_open_in(draft->directory, draft->file,
                                 O_RDWR | O_CREAT | O_EXCL, &draft->fd);
    if (err == EEXIST) {
        draft->file[0] = '\0'; /* another's, to be left alone */
    }
    return err == EEXIST || err == ENOENT ? ESTALE : err;
}

/* Another /dev/shm than the one where the file is makes that useless, and no
 * other. */
static shx_err
publish_unnamed(int fd, const char *path)
{
    shx_err err = shx_os_publish_at(fd, path);
    if (!shx_os_is_refusal(err) || err == 0) {
        return err;
    }
    if (err != EXDEV) {
        atomic_store(&refused, true);
    }
    return ESTALE;
}

/* What that says of the name, or of the draft, is the answer; that there is no
 * such call is not. */
static shx_err
rename_hidden(const shx_draft *draft, const char *path, shx_err refusal)
{
    if (syscall(SYS_renameat2, draft->directory, draft->file, AT_FDCWD, path,
                KEEP_WHAT_IS_THERE) == 0) {
        return 0;
    }
    return errno == ENOENT || errno == EXDEV || !shx_os_is_refusal(errno)
               ? errno
               : refusal;
}

/* Where there are no second names, the first one is changed. ESTALE: somebody
 * has removed that, or has put another /dev/shm in the place of this one. */
static shx_err
publish_hidden(shx_draft *draft, const char *path)
{
    shx_err err = 0;
    if (linkat(draft->directory, draft->file, AT_FDCWD, path, 0) == 0) {
        (void)shx_os_remove_in(draft->directory, draft->file);
    }
    else {
        err = errno;
        if (shx_os_is_refusal(err)) {
            err = rename_hidden(draft, path, err);
        }
    }
    if (err == 0) {
        draft->file[0] = '\0';
    }
    return err == ENOENT || err == EXDEV ? ESTALE : err;
}

shx_err
shx_os_publish(shx_draft *draft, const char *name)
{
    enum { PATH_SIZE = 512 };
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof path, "%s/%s", shx_os_directory, name);
    return draft->directory >= 0 ? publish_hidden(draft, path)
                                 : publish_unnamed(draft->fd, path);
}

void
shx_os_drop(shx_draft *draft)
{
    if (draft->file[0] != '\0') {
        (void)shx_os_remove_in(draft->directory, draft->file);
    }
    if (draft->directory >= 0) {
        shx_os_close(draft->directory);
    }
    if (draft->fd >= 0) {
        shx_os_close(draft->fd);
    }
    *draft = (shx_draft)SHX_NO_DRAFT;
}

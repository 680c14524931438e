/* SPDX-License-Identifier: MIT */
#include "core/memory/segment.h"

#include <errno.h>
#include <fcntl.h> /* O_RDWR, O_CREAT, O_EXCL */

/* shm_open() with O_CREAT makes an empty file of a missing name, which then
 * cannot be mapped. The answer is the same here, without the file. */
static shx_err
open_existing(const char *name, int flags, int *fd)
{
    shx_err err = shx_os_open(name, flags & O_ACCMODE, fd);
    if (err == ENOENT && (flags & O_CREAT) != 0) {
        return SHX_EMPTY;
    }
    if (err == 0 && (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) {
        shx_os_close(*fd);
        return EEXIST;
    }
    return err;
}

shx_err
shx_segment_map(int fd, const shx_file *file, bool writable, shx_segment *out)
{
    if (file->size == 0 || !file->regular) {
        return file->size == 0 ? SHX_EMPTY : SHX_NOT_MEMORY;
    }
    if (file->size > PTRDIFF_MAX) {
        return ENOMEM;
    }
    size_t size = (size_t)file->size;
    void *address;
    shx_err err = shx_os_map(fd, size, writable, &address);
    if (err == 0) {
        *out = (shx_segment){.address = address,
                             .size = size,
                             .identity = file->identity,
                             .writable = writable,
                             .sparse = file->held < file->size};
    }
    return err;
}

/* It is mapped first, so that nothing can fail once there is a share, which
 * somebody else may have seen when he left. EAGAIN: the last one who left has
 * it alone. SHX_REPLACED: he has removed the name. */
static shx_err
use_mapped(const char *name, int fd, shx_segment *segment)
{
    shx_file file;
    shx_err err = shx_os_use(fd, SHX_LOCK_SHARED, false);
    if (err == 0) {
        err = shx_os_inspect_name(name, &file);
        if (err != 0 || !shx_same_file(&file.identity, &segment->identity)) {
            err = SHX_REPLACED;
        }
    }
    segment->users = err == 0;
    if (err != 0) {
        shx_segment_detach(segment);
    }
    return err;
}

static bool
is_strangers(const shx_file *file)
{
    return file->user != 0 && file->user != shx_os_user();
}

static shx_err
open_and_map(shx_attach *request, shx_segment *out)
{
    int fd = -1;
    shx_file file;
    shx_segment made;

    request->step = SHX_STEP_OPEN;
    shx_err err = open_existing(request->name, request->flags, &fd);
    if (err != 0) {
        return err;
    }
    err = shx_os_inspect(fd, &file);
    if (err == 0 && request->wary && is_strangers(&file)) {
        request->step = SHX_STEP_TRUST;
        err = EACCES;
    }
    if (err == 0) {
        request->step = file.regular ? SHX_STEP_MAP : SHX_STEP_OPEN;
        err = shx_segment_map(fd, &file, !request->readonly, &made);
    }
    if (err == 0 && (file.mode & SHX_MODE_USERS) != 0) {
        request->step = SHX_STEP_USE;
        err = use_mapped(request->name, fd, &made);
    }
    if (err == 0) {
        *out = made;
    }
    shx_os_close(fd);
    return err;
}

/* As for who makes one. */
static shx_err
attach_once(shx_attach *request, shx_segment *out)
{
    request->step = SHX_STEP_OPEN;
    shx_err err = shx_os_put_off_forks();
    if (err == 0) {
        err = open_and_map(request, out);
        shx_os_let_forks();
    }
    return err;
}

/* Who has it alone is about to remove the name, or only looks: a matter of
 * microseconds, unless he is stopped. */
shx_err
shx_segment_attach(shx_attach *request, shx_segment *out)
{
    const struct timespec moment = {.tv_nsec = 50000};
    shx_err err = attach_once(request, out);
    for (int patience = 10000; request->step == SHX_STEP_USE && patience > 0 &&
                               (err == EAGAIN || err == SHX_REPLACED);
         patience--) {
        if (err == EAGAIN) {
            (void)shx_os_pause(&moment);
        }
        err = attach_once(request, out);
    }
    return err;
}

shx_err
shx_segment_await(shx_attach *request, const struct timespec *end,
                  const shx_space *space, shx_segment *out)
{
    /* Watched first and looked at second, so that no change is missed. A user
     * may have no watch left: then it is looked at now and then. */
    int watch = -1;
    (void)shx_os_watch(&watch);
    shx_err err, woken = 0;
    for (;;) {
        err = shx_segment_attach(request, out);
        if ((err != ENOENT && err != SHX_EMPTY &&
             request->step != SHX_STEP_USE) ||
            err == 0 || woken == ETIMEDOUT) {
            break;
        }
        woken = shx_os_await(watch, request->name, end);
        if (woken == EINTR && shx_space_ask(space) != 0) {
            err = SHX_INTERRUPTED;
            break;
        }
        if (woken != 0 && woken != EINTR && woken != ETIMEDOUT) {
            err = woken;
            break;
        }
    }
    if (watch >= 0) {
        shx_os_close(watch);
    }
    return err;
}

void
shx_segment_detach(const shx_segment *segment)
{
    if (!segment->shares) {
        shx_os_unmap(segment->address, shx_segment_span(segment));
    }
}

shx_err
shx_segment_unlink(const char *name, const shx_identity *identity)
{
    shx_file file;
    shx_err err = shx_os_inspect_name(name, &file);
    if (err == 0 && !shx_same_file(&file.identity, identity)) {
        return SHX_REPLACED;
    }
    return err == ENOENT ? err : shx_os_remove(name);
}

shx_err
shx_segment_open(const char *name, const shx_identity *identity, int flags,
                 int *fd)
{
    int opened = -1;
    shx_err err = shx_os_open(name, flags, &opened);
    return shx_segment_take(identity, err, opened, fd);
}

shx_err
shx_segment_take(const shx_identity *identity, shx_err err, int opened,
                 int *fd)
{
    if (err != 0) {
        return err == ENOENT ? SHX_GONE : err;
    }
    if (!shx_segment_owns_fd(identity, opened)) {
        shx_os_close(opened);
        return SHX_GONE;
    }
    *fd = opened;
    return 0;
}

bool
shx_segment_owns_fd(const shx_identity *identity, int fd)
{
    shx_file file;
    return shx_os_inspect(fd, &file) == 0 &&
           shx_same_file(&file.identity, identity);
}

/* SPDX-License-Identifier: MIT */
#include "segment.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDWR, O_CREAT, O_EXCL */
#include <string.h> /* strlen, strchr, strncmp */

/* One reservation of a gigabyte can be interrupted for ever; pieces cannot,
 * and are faster too. */
static const size_t piece = 16u << 20;

static bool
same(shx_identity a, shx_identity b)
{
    return a.inode == b.inode && a.device == b.device;
}

shx_err
shx_segment_name(const char *name, const char **bare)
{
    while (*name == '/') {
        name++;
    }
    size_t length = strlen(name);
    if (length == 0 || strchr(name, '/') != NULL) {
        return EINVAL;
    }
    if (length > shx_os_name_max) {
        return shx_os_refuse_long(name);
    }
    static const char reserved[] = ".shmemext-";
    if (strncmp(name, reserved, sizeof reserved - 1) == 0) {
        return SHX_RESERVED;
    }
    *bare = name;
    return 0;
}

static int
ask(const shx_create *request)
{
    return request->poll != NULL ? request->poll(request->context) : 0;
}

static shx_err
reserve_pages(int fd, const shx_create *request)
{
    /* Without this look, a size beyond all reason would first eat what is
     * left and only then fail. */
    if (request->size > piece && request->size > shx_os_room()) {
        return ENOSPC;
    }
    size_t done = 0;
    while (done < request->size) {
        size_t left = request->size - done;
        size_t length = left < piece ? left : piece;
        shx_err err = shx_os_reserve(fd, done, length);
        if (err != 0 && err != EINTR) {
            return err;
        }
        if (err == 0) {
            done += length;
        }
        if ((err == EINTR || done < request->size) && ask(request) != 0) {
            return SHX_INTERRUPTED;
        }
    }
    return 0;
}

static shx_err
set_size(int fd, const shx_create *request)
{
    return request->reserve ? reserve_pages(fd, request)
                            : shx_os_resize(fd, request->size);
}

static bool
is_taken(const char *name)
{
    shx_file file;
    return shx_os_inspect_name(name, &file) == 0;
}

shx_err
shx_segment_create(shx_create *request, shx_segment *out)
{
    int fd = -1;
    void *address = NULL;
    shx_file file;

    request->step = SHX_STEP_OPEN;
    if (request->size > piece && is_taken(request->name)) {
        return EEXIST; /* before much work, and much memory, for nothing */
    }
    shx_err err = shx_os_create_unnamed(request->mode, &fd);
    if (err != 0) {
        return err;
    }
    err = shx_os_inspect(fd, &file);
    if (err == 0 && file.mode != request->mode) {
        err = shx_os_set_mode(fd, request->mode);
    }
    if (err != 0) {
        goto done;
    }
    request->step = SHX_STEP_MAP;
    err = shx_os_map(fd, request->size, &address);
    if (err != 0) {
        goto done;
    }
    request->step = SHX_STEP_RESERVE;
    err = set_size(fd, request);
    if (err != 0) {
        goto done;
    }
    request->step = SHX_STEP_PUBLISH;
    request->record = NULL;
    err = request->owner == NULL
              ? shx_os_publish(fd, request->name)
              : shx_family_publish(request->owner, fd, request->name,
                                   file.identity.inode, &request->record);
    if (err != 0) {
        goto done;
    }
    *out = (shx_segment){address, request->size, file.identity};
    address = NULL;
done:
    /* shm_open() looks at the name before anybody looks at the size. */
    if (err != 0 && err != SHX_INTERRUPTED && is_taken(request->name)) {
        request->step = SHX_STEP_PUBLISH;
        err = EEXIST;
    }
    if (address != NULL) {
        shx_os_unmap(address, request->size);
    }
    shx_os_close(fd);
    return err;
}

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
shx_segment_attach(const char *name, int flags, shx_segment *out,
                   shx_step *step)
{
    int fd = -1;
    void *address = NULL;
    shx_file file;

    *step = SHX_STEP_OPEN;
    shx_err err = open_existing(name, flags, &fd);
    if (err != 0) {
        return err;
    }
    err = shx_os_inspect(fd, &file);
    if (err != 0) {
        goto done;
    }
    if (file.size == 0 || !file.regular) {
        err = file.size == 0 ? SHX_EMPTY : SHX_NOT_MEMORY;
        goto done;
    }
    *step = SHX_STEP_MAP;
    err = file.size > PTRDIFF_MAX
              ? ENOMEM
              : shx_os_map(fd, (size_t)file.size, &address);
    if (err == 0) {
        *out = (shx_segment){address, (size_t)file.size, file.identity};
    }
done:
    shx_os_close(fd);
    return err;
}

void
shx_segment_detach(const shx_segment *segment)
{
    shx_os_unmap(segment->address, segment->size);
}

shx_err
shx_segment_open(const char *name, const shx_identity *identity, int *fd)
{
    int opened;
    shx_err err = shx_os_open(name, O_RDWR, &opened);
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
    return shx_os_inspect(fd, &file) == 0 && same(file.identity, *identity);
}

shx_err
shx_segment_unlink(const char *name)
{
    return shx_os_remove(name);
}

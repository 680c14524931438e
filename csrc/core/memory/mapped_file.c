/* SPDX-License-Identifier: MIT */
#include "core/memory/mapped_file.h"

#include <errno.h>
#include <fcntl.h> /* O_RDWR, O_RDONLY */

#include "core/memory/contest.h"

/* The path appears with all that it stands for, or not at all. */
static shx_err
publish(const shx_file_request *request, int fd)
{
    shx_err err = shx_os_publish_at(fd, request->path);
    if (err != 0) {
        return err;
    }
    err = shx_os_sync_directory(request->directory);
    if (err != 0) {
        (void)shx_os_remove_path(request->path);
    }
    return err;
}

static shx_err
prepare(shx_file_request *request, int fd, shx_segment *out)
{
    shx_file file;
    void *address;
    shx_err err = shx_os_inspect(fd, &file);
    if (err == 0 && file.mode != request->mode) {
        err = shx_os_set_mode(fd, request->mode);
    }
    if (err != 0) {
        return err;
    }
    request->step = SHX_STEP_MAP;
    err = shx_os_map(fd, request->size, true, &address);
    if (err != 0) {
        return err;
    }
    *out = (shx_segment){.address = address,
                         .size = request->size,
                         .identity = file.identity,
                         .writable = true,
                         .sparse = !request->space.reserve};
    request->step = SHX_STEP_RESERVE;
    request->room = shx_os_room(fd); /* before what does not fit takes it */
    return shx_space_fill(&request->space, fd, request->size);
}

static shx_err
create_once(shx_file_request *request, shx_segment *out)
{
    int fd;
    shx_segment made = {.address = NULL};

    request->step = SHX_STEP_OPEN;
    if (shx_os_inspect_path(request->path, &request->found) == 0) {
        return EEXIST; /* before much work for nothing */
    }
    shx_err err =
        shx_os_create_unnamed_in(request->directory, request->mode, &fd);
    if (err != 0) {
        return err;
    }
    err = prepare(request, fd, &made);
    if (err == 0) {
        request->step = SHX_STEP_PUBLISH;
        err = publish(request, fd);
    }
    shx_os_close(fd);
    if (err == 0) {
        *out = made;
    }
    else if (made.address != NULL) {
        shx_segment_detach(&made);
    }
    return err;
}

static uint64_t
room_in_directory(const void *of)
{
    const shx_file_request *request = of;
    uint64_t room = 0;
    int fd;
    if (shx_os_open_path(request->directory, O_RDONLY, &fd) == 0) {
        room = shx_os_room(fd);
        shx_os_close(fd);
    }
    return room;
}

shx_err
shx_mapped_file_create(shx_file_request *request, shx_segment *out)
{
    shx_contest contest = {.space = &request->space,
                           .wanted =
                               request->space.reserve ? request->size : 0,
                           .room = room_in_directory,
                           .of = request};
    shx_err err;
    do {
        err = create_once(request, out);
    } while (request->step != SHX_STEP_OPEN && /* that is of inodes */
             shx_contest_again(&contest, &err));
    return err;
}

shx_err
shx_mapped_file_attach(shx_file_request *request, shx_segment *out)
{
    int fd;
    request->step = SHX_STEP_OPEN;
    /* What is no file may refuse to be opened, and not say why. */
    shx_err err = shx_os_inspect_path(request->path, &request->found);
    if (err == 0 && !request->found.regular) {
        err = SHX_NOT_MEMORY;
    }
    if (err == 0) {
        err = shx_os_open_path(request->path,
                               request->readonly ? O_RDONLY : O_RDWR, &fd);
    }
    if (err != 0) {
        return err;
    }
    err = shx_os_inspect(fd, &request->found);
    if (err == 0) {
        request->step = SHX_STEP_MAP;
        err = request->found.regular && request->found.size != 0 &&
                      request->found.size < request->size
                  ? SHX_TOO_SMALL
                  : shx_segment_map(fd, &request->found, !request->readonly,
                                    out);
        shx_os_settle(fd, request->found.size);
    }
    shx_os_close(fd);
    return err;
}

shx_err
shx_mapped_file_open(const char *path, const shx_identity *identity, int flags,
                     int *fd)
{
    int opened = -1;
    shx_err err = shx_os_open_path(path, flags, &opened);
    return shx_segment_take(identity, err, opened, fd);
}

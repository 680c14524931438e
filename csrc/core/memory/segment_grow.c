/* SPDX-License-Identifier: MIT */
/* A segment that has grown: mapped anew, beside the old mapping or within its
 * address space. */
#include <errno.h>

#include "core/memory/contest.h"
#include "core/memory/segment.h"

/* Who may not map it writable any more has it mapped so, and maps that. */
static shx_err
map_longer(const shx_segment *old, int fd, size_t size, void **address)
{
    shx_err err = shx_os_map(fd, size, old->writable, address);
    if ((err == EPERM || err == EACCES) && old->writable) {
        err = shx_os_map_again(old->address, size, address);
    }
    return err;
}

static shx_err
place_longer(const shx_segment *old, int fd, size_t size, shx_growth how,
             shx_segment *out)
{
    shx_segment made = {
        .size = size, .identity = old->identity, .writable = old->writable};
    /* Where the old one is used, nobody has it alone. */
    shx_err err = old->users ? shx_os_use(fd, SHX_LOCK_SHARED, false) : 0;
    made.users = old->users;
    if (err != 0) {
        return err;
    }
    if (how == SHX_GROW_WITHIN && size <= shx_segment_span(old)) {
        made.address = old->address;
        made.span = shx_segment_span(old);
        made.shares = true;
    }
    else if (how != SHX_GROW_APART && size <= PTRDIFF_MAX / 2 &&
             map_longer(old, fd, 2 * size, &made.address) == 0) {
        made.span = 2 * size;
    }
    else {
        err = map_longer(old, fd, size, &made.address);
    }
    if (err == 0) {
        *out = made;
    }
    return err;
}

static uint64_t
room_of_file(const void *of)
{
    return shx_os_room(*(const int *)of);
}

static shx_err
lengthen(int fd, uint64_t size, uint64_t wanted, const shx_space *space)
{
    shx_contest contest = {.space = space,
                           .wanted = space->reserve ? wanted - size : 0,
                           .room = room_of_file,
                           .of = &fd};
    shx_err err;
    do {
        err = shx_space_grow(space, fd, wanted);
    } while (shx_contest_again(&contest, &err));
    return err;
}

/* Mapped first, so that a file which has grown is in use. */
shx_err
shx_segment_grow(const shx_segment *old, int fd, size_t size, shx_growth how,
                 const shx_space *space, shx_segment *out)
{
    shx_file file;
    shx_segment made;
    shx_err err = shx_os_inspect(fd, &file);
    if (err != 0) {
        return err;
    }
    if (file.size > size) {
        size = file.size > PTRDIFF_MAX ? PTRDIFF_MAX : (size_t)file.size;
    }
    err = place_longer(old, fd, size, how, &made);
    if (err != 0) {
        return err;
    }
    err = lengthen(fd, file.size, size, space);
    if (err != 0) {
        shx_segment_detach(&made);
        return err;
    }
    made.sparse = old->sparse || !space->reserve;
    *out = made;
    return 0;
}

shx_err
shx_segment_refresh(const shx_segment *old, int fd, shx_growth how,
                    shx_segment *out)
{
    shx_file file;
    shx_segment made = {.address = NULL};
    shx_err err = shx_os_inspect(fd, &file);
    if (err == 0 && file.size != old->size) {
        err = file.size == 0 ? SHX_EMPTY
              : file.size > PTRDIFF_MAX
                  ? ENOMEM
                  : place_longer(old, fd, (size_t)file.size, how, &made);
        shx_os_settle(fd, file.size);
    }
    if (err == 0) {
        made.size = (size_t)file.size;
        made.sparse = file.held < file.size;
        *out = made;
    }
    return err;
}

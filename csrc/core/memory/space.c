/* SPDX-License-Identifier: MIT */
#include "core/memory/space.h"

#include <errno.h>

#include "core/os/os.h"

/* One reservation of a gigabyte can be interrupted for ever; pieces cannot,
 * and are faster too. */
static const uint64_t piece = 16u << 20, least = 64u << 10;

int
shx_space_ask(const shx_space *space)
{
    return space->poll != NULL ? space->poll(space->context) : 0;
}

typedef shx_err reserver(int fd, uint64_t offset, uint64_t length);

static shx_err
reserve(const shx_space *space, reserver *reserve_piece, int fd, uint64_t from,
        uint64_t to)
{
    /* Without this look, a size beyond all reason would first eat what is
     * left and only then fail. */
    if (to - from > piece && to - from > shx_os_room(fd)) {
        return ENOSPC;
    }
    uint64_t most = piece;
    while (from < to) {
        uint64_t left = to - from;
        uint64_t length = left < most ? left : most;
        shx_err err = reserve_piece(fd, from, length);
        if (err != 0 && err != EINTR) {
            return err;
        }
        if (err == 0) {
            from += length;
        }
        else if (most > least) {
            most /= 2; /* signals may come faster than that can be done */
        }
        if ((err == EINTR || from < to) && shx_space_ask(space) != 0) {
            return SHX_INTERRUPTED;
        }
    }
    return 0;
}

shx_err
shx_space_fill(const shx_space *space, int fd, uint64_t size)
{
    shx_err err = space->reserve ? reserve(space, shx_os_reserve, fd, 0, size)
                                 : shx_os_resize(fd, size);
    return err == 0 && space->durable ? shx_os_sync(fd) : err;
}

/* The last byte's space is there by now, so this only sets the length: never
 * back, should somebody have lengthened the file without the lock. */
static shx_err
lengthen(int fd, uint64_t size)
{
    shx_err err;
    do {
        err = shx_os_reserve(fd, size - 1, 1);
    } while (err == EINTR);
    return err;
}

shx_err
shx_space_grow(const shx_space *space, int fd, uint64_t size, uint64_t wanted)
{
    shx_err err;
    if (space->reserve) {
        err = reserve(space, shx_os_reserve_beyond, fd, size, wanted);
        err = err == 0 ? lengthen(fd, wanted) : err;
        if (err != 0) {
            shx_os_release_beyond(fd, size, wanted - size);
        }
    }
    else {
        err = shx_os_resize(fd, wanted);
    }
    return err == 0 && space->durable ? shx_os_sync(fd) : err;
}

/* SPDX-License-Identifier: MIT */
#include "core/memory/space.h"

#include <errno.h>

#include "core/os/os.h"

/* One reservation of a gigabyte can be interrupted for ever; pieces cannot,
 * and are faster too. */
static const uint64_t piece = 16u << 20, least = 64u << 10;

/* Others do in that time what takes a moment. */
static const struct timespec moment = {0, 100000};

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
 * back, should somebody else have made the file longer still. */
static shx_err
lengthen(int fd, uint64_t size)
{
    shx_err err;
    do {
        err = shx_os_reserve(fd, size - 1, 1);
    } while (err == EINTR);
    return err;
}

/* Does who has the lock alone go on? After some seconds without a change of
 * the length, he does not: he is stopped, or dead, and what he forked keeps
 * it. */
typedef struct {
    uint64_t seen;
    int moments;
} patience;

static bool
is_at_work(patience *with, int fd)
{
    enum { MOST = 20000 };
    shx_file file;
    if (shx_os_inspect(fd, &file) == 0 && file.size != with->seen) {
        *with = (patience){.seen = file.size};
    }
    return ++with->moments < MOST;
}

/* Where it can, who has the lock alone is at one call, which might set back
 * what is made longer meanwhile. */
static bool
can_reserve_beyond(int fd)
{
    shx_file file;
    return shx_os_inspect(fd, &file) == 0 &&
           shx_os_reserve_beyond(fd, file.size, 1) != EOPNOTSUPP;
}

/* Not shared: somebody has locked all of the file, who knows nothing of us, so
 * nobody of us has the lock alone; or who has it to write zeros will not give
 * it up. */
static shx_err
share(const shx_space *space, int fd, patience *with, bool *shared)
{
    shx_err err;
    while ((err = shx_os_lock(fd, false)) == EAGAIN &&
           (is_at_work(with, fd) || can_reserve_beyond(fd))) {
        if (shx_space_ask(space) != 0) {
            return SHX_INTERRUPTED;
        }
        (void)shx_os_pause(&moment);
    }
    *shared = err == 0;
    return err == EBUSY || err == EAGAIN ? 0 : err;
}

static shx_err
grow_shared(const shx_space *space, int fd, patience *with, uint64_t wanted)
{
    bool shared;
    shx_file file;
    shx_err err = share(space, fd, with, &shared);
    if (err != 0) {
        return err;
    }
    err = shx_os_inspect(fd, &file);
    if (err == 0 && file.size < wanted) {
        uint64_t from = space->reserve ? file.size : wanted - 1;
        err = reserve(space, shx_os_reserve_beyond, fd, from, wanted);
        err = err == 0 ? lengthen(fd, wanted) : err;
        if (err == 0 && !shared) {
            /* Who looked at the length before and works alone has done so by
             * the time that this returns, and may have taken ours. */
            err = share(space, fd, with, &shared);
            err = err != 0 ? err
                           : reserve(space, shx_os_reserve, fd, from, wanted);
        }
    }
    shx_os_unlock(fd);
    return err;
}

/* How long a piece has taken at most: who waits gives up after two seconds
 * without one. */
typedef struct {
    struct timespec last;
    bool slow;
} pace;

/* A poll that asks nobody. */
static int
note_pace(void *context)
{
    pace *of = context;
    struct timespec now;
    shx_os_now(&now);
    of->slow = of->slow || now.tv_sec - of->last.tv_sec > 1;
    of->last = now;
    return 0;
}

/* Before a length goes up that others see: they would use what is there, and
 * lose it when it is set back. */
static bool
fits(int fd, uint64_t from, uint64_t to)
{
    uint64_t page = shx_os_page_size();
    uint64_t held = (from + page - 1) / page * page;
    return to <= held || to - held <= shx_os_room(fd);
}

/* The length goes up with what is there: alone, so that it can be set back,
 * for nobody else has lengthened the file meanwhile. Nobody is asked whether
 * to go on: what he does then might be to grow the same file, and to wait for
 * us. Not alone, or after others may have given up waiting, for we were
 * stopped, nothing is set back. */
static shx_err
grow_openly(const shx_space *space, int fd, uint64_t wanted, bool alone)
{
    pace our = {.slow = false};
    const shx_space deaf = {
        .reserve = true, .poll = note_pace, .context = &our};
    shx_file file;
    shx_os_now(&our.last);
    shx_err err = shx_os_inspect(fd, &file);
    if (err != 0 || file.size >= wanted) {
        return err;
    }
    if (alone && !space->reserve) {
        return shx_os_resize(fd, wanted);
    }
    if (!fits(fd, file.size, wanted)) {
        return ENOSPC;
    }
    err =
        reserve(alone ? &deaf : space, shx_os_reserve, fd, file.size, wanted);
    if (err != 0 && alone) {
        (void)note_pace(&our);
        if (!our.slow) {
            (void)shx_os_resize(fd, file.size);
        }
    }
    return err;
}

/* To set a length without reserving could set it back, if somebody else came
 * between the look and that: so it is done alone. Who is not alone reserves
 * the last byte. Where nothing can be reserved beyond the end, he waits; but
 * not for a stranger, who has locked all of the file, and not for ever. */
static shx_err
grow_alone(const shx_space *space, int fd, patience *with, uint64_t wanted)
{
    shx_err busy, err;
    while ((busy = shx_os_lock(fd, true)) == EAGAIN || busy == EBUSY) {
        err = grow_shared(space, fd, with, wanted);
        if (err != EOPNOTSUPP) {
            return err;
        }
        if (busy == EBUSY || !is_at_work(with, fd)) {
            return grow_openly(space, fd, wanted, false);
        }
        if (shx_space_ask(space) != 0) {
            return SHX_INTERRUPTED;
        }
        (void)shx_os_pause(&moment);
    }
    if (busy != 0) {
        return busy;
    }
    err = grow_openly(space, fd, wanted, true);
    shx_os_unlock(fd);
    return err;
}

/* A file system may hold some more for itself. */
static bool
is_anything_beyond(int fd)
{
    const uint64_t little = 4u << 20; /* huge pages */
    shx_file file;
    return shx_os_inspect(fd, &file) == 0 && file.held > file.size + little;
}

shx_err
shx_space_grow(const shx_space *space, int fd, uint64_t wanted)
{
    patience with = {.seen = 0};
    shx_err err =
        space->reserve ? grow_shared(space, fd, &with, wanted) : EOPNOTSUPP;
    if (err == EOPNOTSUPP) {
        err = grow_alone(space, fd, &with, wanted);
    }
    if ((err != 0 || is_anything_beyond(fd)) && shx_os_lock(fd, true) == 0) {
        shx_os_release_beyond(fd);
        shx_os_unlock(fd);
    }
    if (err == 0 && space->durable) {
        shx_os_settle(fd, wanted);
        err = shx_os_sync(fd);
    }
    return err;
}

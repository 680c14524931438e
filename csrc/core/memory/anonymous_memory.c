/* SPDX-License-Identifier: MIT */
#include "core/memory/anonymous_memory.h"

#include <errno.h>
#include <fcntl.h> /* O_RDONLY */

#include "core/memory/contest.h"

/* Descriptors that a create leaves alone. Sending takes half of them, see
 * shmemext/_descriptors.py, and receiving takes some of the others: else what
 * waits to be sent could take all there are, and wait for ever. */
enum { SPARE = 32 };

static shx_err
create_file(int *fd)
{
    shx_err err = shx_os_create_anonymous(fd);
    if (err == 0 && *fd >= shx_os_descriptors() - SPARE) {
        shx_os_close(*fd);
        err = EMFILE;
    }
    return err;
}

static shx_err
create_once(size_t size, const shx_space *space, shx_segment *out, int *fd)
{
    int created;
    shx_file file;
    void *address = NULL;
    shx_err err = create_file(&created);
    if (err != 0) {
        return err;
    }
    err = shx_os_map(created, size, true, &address);
    if (err == 0) {
        err = shx_space_fill(space, created, size);
    }
    if (err == 0) {
        err = shx_os_seal(created, SHX_SEAL_SHRINK);
    }
    if (err == 0) {
        err = shx_os_inspect(created, &file);
    }
    if (err == 0) {
        *out = (shx_segment){.address = address,
                             .size = size,
                             .identity = file.identity,
                             .writable = true,
                             .sparse = !space->reserve};
        *fd = created;
        return 0;
    }
    if (address != NULL) {
        shx_os_unmap(address, size);
    }
    shx_os_close(created);
    return err;
}

static uint64_t
room_in_memory(const void *of)
{
    (void)of;
    return shx_os_free_memory();
}

shx_err
shx_anonymous_memory_create(size_t size, const shx_space *space,
                            shx_segment *out, int *fd)
{
    shx_contest contest = {.space = space,
                           .wanted = space->reserve ? size : 0,
                           .room = room_in_memory};
    shx_err err;
    do {
        err = create_once(size, space, out, fd);
    } while (shx_contest_again(&contest, &err));
    return err;
}

/* By a descriptor for reading: a mapping made by another counts as writable,
 * since mprotect() could make it so. */
static shx_err
map_for_reading(int fd, const shx_file *file, shx_segment *out)
{
    int reader;
    shx_err err = shx_os_reopen(fd, O_RDONLY, &reader);
    if (err == 0) {
        err = shx_segment_map(reader, file, false, out);
        shx_os_close(reader);
    }
    return err;
}

shx_err
shx_anonymous_memory_attach(int fd, shx_segment *out)
{
    unsigned seals;
    shx_file file;
    shx_err err = shx_os_inspect(fd, &file);
    if (err != 0) {
        return err;
    }
    if (shx_os_seals(fd, &seals) != 0) {
        return SHX_NOT_SEALED; /* not that kind of file at all */
    }
    if ((seals & SHX_SEAL_SHRINK) == 0) {
        err = shx_os_seal(fd, SHX_SEAL_SHRINK);
    }
    if (err != 0) {
        return err == SHX_NO_SEALS ? err : SHX_NOT_SEALED;
    }
    err = shx_os_inspect(fd, &file); /* from now on nobody makes it smaller */
    if (err != 0) {
        return err;
    }
    bool writable = shx_os_is_writable(fd) &&
                    (seals & (SHX_SEAL_WRITE | SHX_SEAL_FUTURE_WRITE)) == 0;
    err = writable ? shx_segment_map(fd, &file, true, out) : EPERM;
    if (err == EPERM) { /* if writable, sealed this very moment */
        err = map_for_reading(fd, &file, out);
    }
    return err;
}

shx_err
shx_anonymous_memory_seal(int fd, const shx_segment *old, shx_segment *out)
{
    shx_file file;
    shx_segment reader;
    unsigned seals;
    shx_err err = shx_os_seals(fd, &seals);
    if (err == 0 && (seals & SHX_SEAL_SEAL) != 0) {
        err = EPERM; /* before our mapping is given up for nothing */
    }
    if (err == 0) {
        err = shx_os_inspect(fd, &file);
    }
    if (err == 0) {
        file.size = old->size; /* a peer may have made it longer */
        err = map_for_reading(fd, &file, &reader);
    }
    if (err != 0) {
        return err;
    }
    /* Our own mapping is in the way. It is replaced where it is: somebody may
     * know its address. */
    err = shx_os_remap(fd, old->address, shx_segment_span(old), false);
    if (err == 0) {
        err = shx_os_seal(fd, SHX_SEAL_WRITE | SHX_SEAL_GROW |
                                  SHX_SEAL_SHRINK | SHX_SEAL_SEAL);
        if (err != 0 &&
            shx_os_remap(fd, old->address, shx_segment_span(old), true) == 0) {
            shx_segment_detach(&reader);
            return err;
        }
    }
    else {
        shx_segment_detach(&reader);
        return err;
    }
    *out = reader;
    return err;
}

shx_err
shx_anonymous_memory_share_readonly(int fd, int *out)
{
    unsigned seals;
    shx_err err = shx_os_seals(fd, &seals);
    if (err == 0 && (seals & (SHX_SEAL_WRITE | SHX_SEAL_FUTURE_WRITE)) == 0) {
        err = shx_os_seal(fd, SHX_SEAL_FUTURE_WRITE);
    }
    return err == 0 ? shx_os_reopen(fd, O_RDONLY, out) : err;
}

bool
shx_anonymous_memory_is_sealed(int fd)
{
    unsigned seals;
    return shx_os_seals(fd, &seals) == 0 && (seals & SHX_SEAL_WRITE) != 0;
}

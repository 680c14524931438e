/* SPDX-License-Identifier: MIT */
#include "py/pool/fill.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDWR */
#include <string.h> /* memcpy */

enum {
    PRESENT = 4,     /* in our page table */
    PIECE = 2 << 20, /* still in the processor's cache when its turn comes */
};

/* The first of its grains, and the last one: the data are mapped whole. */
static size_t
first_of(const shx_lease *lease)
{
    return (size_t)lease->hold.offset / SHX_POOL_GRAIN;
}

static size_t
last_of(const shx_lease *lease)
{
    return ((size_t)lease->hold.offset + lease->length - 1) / SHX_POOL_GRAIN;
}

/* How often all of it was written. */
static unsigned
times_of(const shx_lease *lease)
{
    unsigned least = PRESENT;
    for (size_t i = first_of(lease); i <= last_of(lease); i++) {
        unsigned times = atomic_load_explicit(&lease->pool->written[i],
                                              memory_order_relaxed);
        least = times < least ? times : least;
    }
    return least;
}

static void
note(const shx_lease *lease, unsigned times)
{
    for (size_t i = first_of(lease); i <= last_of(lease); i++) {
        atomic_store_explicit(&lease->pool->written[i], (unsigned char)times,
                              memory_order_relaxed);
    }
}

/* Where the system lacks the call, it is done by touching. */
static void
populate_and_copy(const shx_lease *lease, const char *from)
{
    for (size_t done = 0; done < lease->length;) {
        size_t left = lease->length - done;
        size_t length = left < PIECE ? left : PIECE;
        (void)shx_os_populate(lease->bytes + done, length, true);
        memcpy(lease->bytes + done, from + done, length);
        done += length;
    }
}

/* EFAULT: of `from`, which the guard gives as zeros in place. */
static shx_err
fill(const shx_lease *lease, const void *from, int fd)
{
    unsigned times = fd >= 0 ? 0 : times_of(lease);
    if (fd < 0 && times + 1 < PRESENT &&
        shx_py_pool_open(lease->pool, O_RDWR, &fd) != 0) {
        fd = -1;
    }
    shx_err err = EFAULT;
    if (fd >= 0) {
        err = shx_os_write(fd, from, lease->length, lease->hold.offset);
        shx_os_close(fd);
    }
    if (err == EFAULT && times == PRESENT) {
        memcpy(lease->bytes, from, lease->length);
        return 0;
    }
    if (err == EFAULT) {
        populate_and_copy(lease, from);
        times = PRESENT - 1;
    }
    note(lease, times + 1);
    return err == EFAULT ? 0 : err;
}

shx_err
shx_fill(const shx_lease *lease, const void *from, int fd)
{
    shx_err err;
    if (fd < 0 && lease->length < SHX_POOL_LONG) {
        memcpy(lease->bytes, from, lease->length);
        err = 0;
    }
    else {
        Py_BEGIN_ALLOW_THREADS
        err = fill(lease, from, fd);
        Py_END_ALLOW_THREADS
    }
    return err == 0 ? shx_py_pool_check(lease->pool) : err;
}

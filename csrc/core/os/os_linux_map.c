/* SPDX-License-Identifier: MIT */
/* Linux: mappings, of which a process may have vm.max_map_count, see
 * proc_sys_vm(5). Each segment is one.
 *
 * At the limit everything else fails as well, and says only "out of memory":
 * threads, modules, malloc(). So ours stop at seven eighths. They are counted
 * here, which costs nothing; the limit is read when there are many, and again
 * when it is reached, since it may have been raised.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h> /* open */
#include <stdatomic.h>
#include <stdio.h>    /* sscanf */
#include <sys/mman.h> /* mmap, mremap */
#include <unistd.h>   /* read */

#include "core/os/os.h"

enum { FEW = 1024 }; /* mappings, which any system allows */

/* Of the process, as its mappings are: a forked child inherits both. */
static struct {
    atomic_size_t count;
    atomic_size_t allowed;
} mappings = {.allowed = FEW};

/* vm.max_map_count, or more than any process has. */
static size_t
system_limit(void)
{
    char text[32];
    ssize_t length = -1;
    size_t limit;
    int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        length = read(fd, text, sizeof text - 1);
        shx_os_close(fd);
    }
    text[length < 0 ? 0 : length] = '\0';
    return sscanf(text, "%zu", &limit) == 1 ? limit : SIZE_MAX;
}

/* Would one more be too many? */
static bool
is_crowded(void)
{
    size_t count = atomic_load(&mappings.count);
    if (count < atomic_load(&mappings.allowed)) {
        return false;
    }
    size_t limit = system_limit();
    size_t allowed = limit - limit / 8;
    atomic_store(&mappings.allowed, allowed < FEW ? FEW : allowed);
    return count >= allowed;
}

/* Is it the limit that mmap() ran into? All mappings of the process count, so
 * all of them are looked at, a line each. */
static bool
is_at_the_limit(void)
{
    char text[4096];
    ssize_t length;
    size_t lines = 0, limit = system_limit();
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    while ((length = read(fd, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < length; i++) {
            lines += text[i] == '\n';
        }
    }
    shx_os_close(fd);
    return lines >= limit - limit / 16;
}

static shx_err
take(void *mapped, void **address)
{
    if (mapped == MAP_FAILED) {
        shx_err err = errno;
        return err == ENOMEM && is_at_the_limit() ? SHX_CROWDED : err;
    }
    (void)atomic_fetch_add(&mappings.count, 1);
    *address = mapped;
    return 0;
}

shx_err
shx_os_map(int fd, size_t size, bool writable, void **address)
{
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    return is_crowded() ? SHX_CROWDED
                        : take(mmap(NULL, size, protection, MAP_SHARED, fd, 0),
                               address);
}

shx_err
shx_os_map_private(int fd, uint64_t offset, size_t size, void **address)
{
    int flags = MAP_PRIVATE | MAP_NORESERVE;
    return is_crowded() ? SHX_CROWDED
                        : take(mmap(NULL, size, PROT_READ | PROT_WRITE, flags,
                                    fd, (off_t)offset),
                               address);
}

/* mremap(2) of 0 bytes of a shared mapping makes a second one. */
shx_err
shx_os_map_again(void *address, size_t size, void **again)
{
    if (is_crowded()) {
        return SHX_CROWDED;
    }
    shx_err err = take(mremap(address, 0, size, MREMAP_MAYMOVE), again);
    return err == EINVAL || err == ENOSYS ? SHX_NO_REMAP : err;
}

void
shx_os_unmap(void *address, size_t size)
{
    (void)munmap(address, size);
    (void)atomic_fetch_sub(&mappings.count, 1);
}

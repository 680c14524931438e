/* SPDX-License-Identifier: MIT */
/* Linux: pages, and memory without a name: memfd_create(2), whose seals are
 * in fcntl(2). */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>    /* F_ADD_SEALS, open */
#include <stdio.h>    /* sscanf */
#include <string.h>   /* strstr */
#include <sys/mman.h> /* memfd_create, mmap, madvise */
#include <unistd.h>   /* pread */

#include "core/os/os.h"

/* Newer than some C libraries that we build with. */
enum {
    NOEXEC_SEAL = 8,     /* MFD_NOEXEC_SEAL, Linux 6.3 */
    POPULATE_READ = 22,  /* MADV_POPULATE_READ, Linux 5.14 */
    POPULATE_WRITE = 23, /* MADV_POPULATE_WRITE */
    WIPE_ON_FORK = 18,   /* MADV_WIPEONFORK, Linux 4.14 */
    NO_ADVICE = 0x5358,  /* which no kernel has ever heard of */
};

/* Systems may insist that such memory cannot be executed; older ones do not
 * know the flag, and sandboxes may not like it. Nobody needs a permission for
 * this: who is refused one is in a sandbox. */
shx_err
shx_os_create_anonymous(int *fd)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int created = memfd_create("shmemext", flags | NOEXEC_SEAL);
    if (created < 0 &&
        (errno == EINVAL || errno == EACCES || errno == EPERM)) {
        created = memfd_create("shmemext", flags);
    }
    if (created < 0) {
        return errno == ENOSYS || errno == EACCES || errno == EPERM
                   ? SHX_NO_MEMFD
                   : errno;
    }
    *fd = created;
    return 0;
}

static const struct {
    unsigned seal;
    int system;
} seal_table[] = {
    {SHX_SEAL_SHRINK, F_SEAL_SHRINK}, {SHX_SEAL_GROW, F_SEAL_GROW},
    {SHX_SEAL_WRITE, F_SEAL_WRITE},   {SHX_SEAL_FUTURE_WRITE, 0x10},
    {SHX_SEAL_SEAL, F_SEAL_SEAL},
};
enum { SEALS = sizeof seal_table / sizeof seal_table[0] };

static long
milliseconds_since(const struct timespec *start)
{
    struct timespec now;
    shx_os_now(&now);
    return (long)(now.tv_sec - start->tv_sec) * 1000 +
           (now.tv_nsec - start->tv_nsec) / 1000000;
}

/* EBUSY of a mapping comes at once. For pages that are held by a pipe, a
 * device, or the kernel itself while it looks for memory, it waits 150 ms
 * first. */
shx_err
shx_os_seal(int fd, unsigned seals)
{
    int system = 0;
    for (int i = 0; i < SEALS; i++) {
        system |= (seals & seal_table[i].seal) != 0 ? seal_table[i].system : 0;
    }
    struct timespec start;
    shx_os_now(&start);
    if (fcntl(fd, F_ADD_SEALS, system) == 0) {
        return 0;
    }
    shx_err err = errno;
    if (err == EINVAL || err == ENOSYS) {
        return (seals & SHX_SEAL_FUTURE_WRITE) != 0 ? SHX_NO_READERS
                                                    : SHX_NO_SEALS;
    }
    return err == EBUSY && milliseconds_since(&start) >= 100 ? SHX_HELD : err;
}

shx_err
shx_os_seals(int fd, unsigned *seals)
{
    int system = fcntl(fd, F_GET_SEALS);
    if (system < 0) {
        return errno;
    }
    *seals = 0;
    for (int i = 0; i < SEALS; i++) {
        *seals |=
            (system & seal_table[i].system) != 0 ? seal_table[i].seal : 0;
    }
    return 0;
}

shx_err
shx_os_remap(int fd, void *address, size_t size, bool shared)
{
    int flags =
        MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE);
    void *mapped = mmap(address, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    return mapped == MAP_FAILED ? errno : 0;
}

shx_err
shx_os_populate(void *address, size_t size, bool writable)
{
    size_t before = (uintptr_t)address % shx_os_page_size();
    if (madvise((char *)address - before, size + before,
                writable ? POPULATE_WRITE : POPULATE_READ) == 0) {
        return 0;
    }
    return errno == EINVAL || errno == ENOSYS ? SHX_NO_POPULATE : errno;
}

/* A system call that writes there fails where a touch would be SIGBUS. */
shx_err
shx_os_overwrite(void *address, size_t size)
{
    shx_err err = 0;
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return ENOENT;
    }
    for (size_t done = 0; done < size && err == 0;) {
        ssize_t got = read(fd, (char *)address + done, size - done);
        err = got < 0 ? errno : got == 0 ? ENOENT : 0;
        done += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    return err;
}

/* The system would take the rest of the last page for a part of it. */
void
shx_os_discard(void *address, size_t size)
{
    size_t page = shx_os_page_size();
    size_t before = (page - (uintptr_t)address % page) % page;
    if (size > before) {
        (void)madvise((char *)address + before, (size - before) / page * page,
                      MADV_REMOVE);
    }
}

/* One number of 64 bits for each page, of which the highest says whether the
 * page is in the table: see pagemap in the kernel's documentation. */
static bool
are_present(int fd, size_t first, size_t count)
{
    enum { SOME = 256 };
    uint64_t entries[SOME];
    bool present = true;
    while (count > 0 && present) {
        size_t length = count < SOME ? count : SOME;
        off_t offset = (off_t)(first * sizeof entries[0]);
        ssize_t wanted = (ssize_t)(length * sizeof entries[0]);
        present = pread(fd, entries, (size_t)wanted, offset) == wanted;
        for (size_t i = 0; i < length && present; i++) {
            present = entries[i] >> 63 != 0;
        }
        first += length;
        count -= length;
    }
    return present;
}

bool
shx_os_is_present(const void *address, size_t size, bool each)
{
    enum { LOOKS = 8 };
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t page = shx_os_page_size();
    size_t first = (uintptr_t)address / page;
    size_t last = ((uintptr_t)address + size - 1) / page;
    bool present = true;
    if (each) {
        present = are_present(fd, first, last - first + 1);
    }
    for (size_t i = 0; i <= LOOKS && present && !each; i++) {
        present = are_present(fd, first + i * (last - first) / LOOKS, 1);
    }
    shx_os_close(fd);
    return present;
}

/* The beginning of a file, which is empty if it cannot be read. */
static void
read_text(const char *path, char *text, size_t size)
{
    ssize_t length = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        length = pread(fd, text, size - 1, 0);
        shx_os_close(fd);
    }
    text[length < 0 ? 0 : length] = '\0';
}

/* What a container may have at all: beyond it, the kernel kills. In either
 * version of control groups, as they look from inside. */
static uint64_t
memory_limit(void)
{
    static const char *const paths[] = {
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    };
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < 2; i++) {
        char text[32];
        unsigned long long limit;
        read_text(paths[i], text, sizeof text);
        if (sscanf(text, "%llu", &limit) == 1 && limit < least) {
            least = limit;
        }
    }
    return least;
}

/* What new memory may come from: see proc_meminfo(5). */
uint64_t
shx_os_free_memory(void)
{
    char text[2048];
    read_text("/proc/meminfo", text, sizeof text);
    const char *memory = strstr(text, "MemAvailable:");
    const char *swap = strstr(text, "SwapFree:");
    unsigned long long available, free = 0;
    uint64_t limit = memory_limit();
    if (memory == NULL || sscanf(memory, "%*s %llu", &available) != 1) {
        return limit;
    }
    if (swap != NULL) {
        (void)sscanf(swap, "%*s %llu", &free);
    }
    uint64_t room = (available + free) * 1024;
    return room < limit ? room : limit;
}

/* Some sandboxes take any advice for good. */
shx_err
shx_os_wiped_page(void **page)
{
    size_t size = shx_os_page_size();
    void *made = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) {
        return errno;
    }
    if (madvise(made, size, NO_ADVICE) == 0 ||
        madvise(made, size, WIPE_ON_FORK) != 0) {
        (void)munmap(made, size);
        return ENOTSUP;
    }
    *page = made;
    return 0;
}

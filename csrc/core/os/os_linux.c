/* SPDX-License-Identifier: MIT */
/* Linux: segments are files of the tmpfs at /dev/shm, as in glibc's and
 * musl's shm_open(), so both sides of a segment may use either.
 */
#define _GNU_SOURCE

#include "core/os/os.h"

#include <errno.h>
#include <fcntl.h>       /* open, fallocate */
#include <limits.h>      /* NAME_MAX */
#include <string.h>      /* memcpy, strnlen */
#include <sys/mman.h>    /* msync, madvise, shm_open */
#include <sys/random.h>  /* getrandom */
#include <sys/stat.h>    /* fchmod */
#include <sys/statvfs.h> /* statvfs, fstatvfs */
#include <unistd.h>      /* close, read, ftruncate, geteuid */

#define DIRECTORY "/dev/shm"

const char shx_os_directory[] = DIRECTORY;
const char shx_os_place[] = " in " DIRECTORY;
const size_t shx_os_name_max = NAME_MAX;

enum { PATH_SIZE = sizeof(DIRECTORY) + 1 + NAME_MAX };

/* Names are checked before they come here. One that is too long all the same
 * is cut, and then nothing of that name is there. */
static void
path_of(const char *name, char path[PATH_SIZE])
{
    static const char start[] = DIRECTORY "/";
    size_t length = strnlen(name, NAME_MAX);
    memcpy(path, start, sizeof start - 1);
    memcpy(path + sizeof start - 1, name, length);
    path[sizeof start - 1 + length] = '\0';
}

shx_err
shx_os_refuse_long(const char *name)
{
    int fd = shm_open(name, O_RDONLY, 0);
    if (fd < 0) {
        return errno;
    }
    (void)close(fd); /* a system with longer names than ours */
    return ENAMETOOLONG;
}

shx_err
shx_os_set_mode(int fd, unsigned mode)
{
    return fchmod(fd, (mode_t)mode) == 0 ? 0 : errno;
}

/* shm_open() turns EISDIR into EINVAL, and so does this. Somebody who asks
 * whether the file is in use holds a lease on it for some microseconds; a
 * blocking open would wait for that, but for a FIFO's other end as well. */
shx_err
shx_os_open(const char *name, int flags, int *fd)
{
    char path[PATH_SIZE];
    path_of(name, path);
    const struct timespec moment = {.tv_nsec = 100000};
    int opened;
    for (int patience = 10000; patience > 0; patience--) {
        opened = open(path, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (opened >= 0 || (errno != EINTR && errno != EWOULDBLOCK)) {
            break;
        }
        if (errno == EWOULDBLOCK) {
            (void)shx_os_pause(&moment);
        }
    }
    if (opened < 0) {
        return errno == EISDIR ? EINVAL : errno;
    }
    *fd = opened;
    return 0;
}

/* shm_unlink() turns EPERM into EACCES, and so does this. */
shx_err
shx_os_remove(const char *name)
{
    char path[PATH_SIZE];
    path_of(name, path);
    shx_err err = shx_os_remove_path(path);
    return err == EPERM ? EACCES : err;
}

shx_err
shx_os_inspect_name(const char *name, shx_file *out)
{
    char path[PATH_SIZE];
    path_of(name, path);
    return shx_os_inspect_in(AT_FDCWD, path, out);
}

void
shx_os_close(int fd)
{
    (void)close(fd); /* Linux frees the number even when it says EINTR */
}

shx_err
shx_os_resize(int fd, uint64_t size)
{
    int result;
    do {
        result = ftruncate(fd, (off_t)size);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

/* ramfs, an embedded system's /dev/shm, has no fallocate(), and gVisor only
 * the simplest kind. */
static shx_err
allocate(int fd, int mode, uint64_t offset, uint64_t length)
{
    if (fallocate(fd, mode, (off_t)offset, (off_t)length) == 0) {
        return 0;
    }
    return errno == ENOSYS ? EOPNOTSUPP : errno;
}

/* Is it another seal than that against growing that forbids to write? */
static bool
may_grow(int fd)
{
    unsigned seals;
    return shx_os_seals(fd, &seals) == 0 && (seals & SHX_SEAL_GROW) == 0;
}

/* Zeros up to there, each piece of them at what is the end of the file at that
 * very moment, whoever else lengthens it: the system sees to that. */
static shx_err
append_zeros(int fd, uint64_t end)
{
    static const char zeros[64 << 10];
    for (;;) {
        shx_file file;
        shx_err err = shx_os_inspect(fd, &file);
        if (err != 0 || file.size >= end) {
            return err;
        }
        uint64_t left = end - file.size;
        size_t length = left < sizeof zeros ? (size_t)left : sizeof zeros;
        if (write(fd, zeros, length) < 0) {
            return errno == EPERM && may_grow(fd) ? SHX_NO_RESERVE : errno;
        }
    }
}

/* What posix_fallocate(3) does, but never where somebody may have written. Of
 * a file that goes on to append, nothing is written where it belongs. */
static shx_err
reserve_by_writing(int fd, uint64_t end)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_APPEND) != 0) {
        return errno;
    }
    shx_err err = append_zeros(fd, end);
    if (fcntl(fd, F_SETFL, flags) != 0 && err == 0) {
        err = errno;
    }
    return err;
}

shx_err
shx_os_reserve(int fd, uint64_t offset, uint64_t length)
{
    shx_err err = allocate(fd, 0, offset, length);
    return err == EOPNOTSUPP ? reserve_by_writing(fd, offset + length) : err;
}

shx_err
shx_os_reserve_beyond(int fd, uint64_t offset, uint64_t length)
{
    return allocate(fd, FALLOC_FL_KEEP_SIZE, offset, length);
}

shx_err
shx_os_punch(int fd, uint64_t offset, uint64_t length)
{
    shx_err err;
    do {
        err = allocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset,
                       length);
    } while (err == EINTR);
    return err;
}

/* From the next page on: the one that the file ends in is in use. What was
 * reserved begins there and has no gaps, so it is no longer than all that the
 * file holds. Some file systems make no holes beyond the end, and have
 * something to give back when they are told the length that they know. */
void
shx_os_release_beyond(int fd)
{
    uint64_t page = shx_os_page_size();
    shx_file file = {.held = 0}, after = {.held = 0};
    if (shx_os_inspect(fd, &file) != 0 || file.held == 0) {
        return;
    }
    uint64_t from = (file.size + page - 1) / page * page;
    (void)fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
                    (off_t)from, (off_t)file.held);
    if (shx_os_inspect(fd, &after) == 0 && after.size == file.size &&
        after.held > from) {
        (void)ftruncate(fd, (off_t)file.size);
    }
}

/* ext4 does that to what fallocate() lengthens. The lock that it holds until
 * then is taken by who looks for a hole, as on other file systems. */
void
shx_os_settle(int fd, uint64_t size)
{
    (void)lseek(fd, (off_t)size - 1, SEEK_HOLE);
}

static bool
look_at_system(int fd, struct statvfs *fs)
{
    return (fd < 0 ? statvfs(DIRECTORY, fs) : fstatvfs(fd, fs)) == 0;
}

uint64_t
shx_os_most_room(int fd)
{
    struct statvfs fs;
    return look_at_system(fd, &fs) && fs.f_blocks != 0
               ? (uint64_t)fs.f_blocks * fs.f_frsize
               : UINT64_MAX;
}

/* A tmpfs that was mounted without a limit has no blocks at all, and neither
 * has the one of memory without a name: there the machine's memory counts. */
uint64_t
shx_os_room(int fd)
{
    struct statvfs fs;
    if (!look_at_system(fd, &fs)) {
        return UINT64_MAX;
    }
    return fs.f_blocks == 0 ? shx_os_free_memory()
                            : (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* Each name takes an inode, and a directory too: a tmpfs has as many as its
 * nr_inodes says, or as fit. */
bool
shx_os_room_for_names(uint64_t *left, uint64_t *most)
{
    struct statvfs fs;
    if (!look_at_system(-1, &fs) || fs.f_files == 0) {
        return false;
    }
    *left = fs.f_favail;
    *most = fs.f_files;
    return true;
}

shx_err
shx_os_flush(void *address, size_t size)
{
    return msync(address, size, MS_SYNC) == 0 ? 0 : errno;
}

shx_err
shx_os_advise(void *address, size_t size, int advice)
{
    return madvise(address, size, advice) == 0 ? 0 : errno;
}

size_t
shx_os_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

unsigned
shx_os_user(void)
{
    return geteuid();
}

uint32_t
shx_os_process(void)
{
    return (uint32_t)getpid();
}

/* Where it cannot be asked, there is the device that it was made from. */
shx_err
shx_os_random(void *bytes, size_t size)
{
    if (getrandom(bytes, size, 0) == (ssize_t)size) {
        return 0;
    }
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    bool got = fd >= 0 && read(fd, bytes, size) == (ssize_t)size;
    if (fd >= 0) {
        shx_os_close(fd);
    }
    return got ? 0 : SHX_NO_RANDOM;
}

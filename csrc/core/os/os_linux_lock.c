/* SPDX-License-Identifier: MIT */
/* Linux: locks of open files, see flock(2) and "open file description locks"
 * in fcntl(2); and the mutex of the process.
 *
 * A lock lives as long as its open file, and an open file as long as a
 * descriptor or a mapping of it. */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>    /* F_OFD_SETLK, F_OFD_GETLK */
#include <sys/file.h> /* flock */
#include <sys/mman.h> /* mmap: what holds a lock */

#include "core/os/os.h"

shx_err
shx_os_flock(int fd, bool alone, bool wait)
{
    int how = (alone ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB);
    int result;
    do {
        result = flock(fd, how);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

shx_err
shx_os_claim(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &whole) == 0 ? 0 : errno;
}

bool
shx_os_is_claimed(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

/* A lock of the open file, not of the process; on the last byte that a file
 * could have, which nobody locks but with all of the file. */
static int
set_lock(int fd, int how, short type, struct flock *lock)
{
    *lock = (struct flock){.l_type = type,
                           .l_whence = SEEK_SET,
                           .l_start = (off_t)(INT64_MAX - 1),
                           .l_len = 1};
    return fcntl(fd, how, lock);
}

shx_err
shx_os_lock(int fd, bool alone)
{
    short type = alone ? F_WRLCK : F_RDLCK;
    struct flock lock;
    if (set_lock(fd, F_OFD_SETLK, type, &lock) == 0) {
        return 0;
    }
    if (errno != EAGAIN && errno != EACCES) {
        return errno;
    }
    /* Whose is it? One of ours begins at that byte. */
    if (set_lock(fd, F_OFD_GETLK, type, &lock) != 0) {
        return errno;
    }
    return lock.l_type == F_UNLCK || lock.l_start == (off_t)(INT64_MAX - 1)
               ? EAGAIN
               : EBUSY;
}

void
shx_os_unlock(int fd)
{
    struct flock lock;
    (void)set_lock(fd, F_OFD_SETLK, F_UNLCK, &lock);
}

shx_err
shx_os_hold(int fd, void **hold)
{
    void *mapped =
        mmap(NULL, shx_os_page_size(), PROT_NONE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        return errno;
    }
    *hold = mapped;
    return 0;
}

void
shx_os_let_go(void *hold)
{
    (void)munmap(hold, shx_os_page_size());
}

void
shx_mutex_lock(shx_mutex *mutex)
{
    (void)pthread_mutex_lock(&mutex->system);
}

void
shx_mutex_unlock(shx_mutex *mutex)
{
    (void)pthread_mutex_unlock(&mutex->system);
}

shx_err
shx_os_at_fork(void (*before)(void), void (*in_parent)(void),
               void (*in_child)(void))
{
    return pthread_atfork(before, in_parent, in_child);
}

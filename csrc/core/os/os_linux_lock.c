/* SPDX-License-Identifier: MIT */
/* Linux: locks of open files, see "open file description locks" in fcntl(2);
 * and the mutexes of the process.
 *
 * A lock lives as long as its open file, and an open file as long as a
 * descriptor or a mapping of it. */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>    /* F_OFD_SETLK, F_OFD_GETLK, F_SETLEASE */
#include <signal.h>   /* SIGURG */
#include <sys/mman.h> /* mmap: what holds a lock */
#include <sys/vfs.h>  /* fstatfs */

#include "core/os/os.h"

/* Where a lock lies: all of the file; a byte that no memory reaches; the last
 * that a file could have, which nobody locks but with all of it. */
typedef struct {
    int64_t start;
    int64_t length; /* 0: to infinity */
} range;

static const range whole = {0, 0};
static const range used = {INT64_C(1) << 61, 1};
static const range last = {INT64_MAX - 1, 1};

static int
set_lock(int fd, int how, short type, range where, struct flock *lock)
{
    *lock = (struct flock){.l_type = type,
                           .l_whence = SEEK_SET,
                           .l_start = (off_t)where.start,
                           .l_len = (off_t)where.length};
    int result;
    do {
        result = fcntl(fd, how, lock);
    } while (result != 0 && errno == EINTR);
    return result;
}

/* An old kernel does not know the command, some sandboxes no fcntl(2) at all:
 * what we lock there is nothing else that it could mind. */
static shx_err
reason(void)
{
    return errno == EACCES                      ? EAGAIN
           : errno == EINVAL || errno == ENOSYS ? SHX_NO_LOCKS
                                                : errno;
}

static shx_err
take(int fd, range where, shx_lock how, bool wait)
{
    short type = how == SHX_LOCK_ALONE    ? F_WRLCK
                 : how == SHX_LOCK_SHARED ? F_RDLCK
                                          : F_UNLCK;
    struct flock lock;
    if (set_lock(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, type, where, &lock) ==
        0) {
        return 0;
    }
    return reason();
}

static shx_lock
taken(int fd, range where)
{
    struct flock lock;
    if (set_lock(fd, F_OFD_GETLK, F_WRLCK, where, &lock) != 0 ||
        lock.l_type == F_UNLCK) {
        return SHX_LOCK_NONE;
    }
    return lock.l_type == F_RDLCK ? SHX_LOCK_SHARED : SHX_LOCK_ALONE;
}

shx_err
shx_os_claim(int fd, shx_lock how, bool wait)
{
    return take(fd, whole, how, wait);
}

shx_lock
shx_os_claimed(int fd)
{
    return taken(fd, whole);
}

shx_err
shx_os_use(int fd, shx_lock how, bool wait)
{
    return take(fd, used, how, wait);
}

shx_lock
shx_os_used(int fd)
{
    return taken(fd, used);
}

/* Who opens it meanwhile has us told by a signal: of all that there are, by
 * one that is ignored unless somebody asks for it. */
static shx_err
try_lease(int fd, int type)
{
    if (fcntl(fd, F_SETSIG, SIGURG) != 0 || fcntl(fd, F_SETLEASE, type) != 0) {
        return errno == EINVAL || errno == ENOSYS ? SHX_NO_LEASES : errno;
    }
    (void)fcntl(fd, F_SETLEASE, F_UNLCK);
    return 0;
}

/* Beyond the byte of those who use the file. */
static range
byte_of(uint32_t token)
{
    return (range){used.start + (int64_t)token, 1};
}

/* Readers may claim one too: so it is a lock that is shared, and was claimed
 * by nobody else if nobody else is found who shares it. Two who claim it at
 * once find each other, and both draw again. */
shx_err
shx_os_claim_token(int fd, uint32_t token)
{
    bool claimed = false;
    shx_err err = take(fd, byte_of(token), SHX_LOCK_SHARED, false);
    if (err == 0) {
        err = shx_os_find_token(fd, token, &claimed);
        if (err != 0 || claimed) {
            (void)take(fd, byte_of(token), SHX_LOCK_NONE, false);
        }
    }
    return err == 0 && claimed ? EAGAIN : err;
}

shx_err
shx_os_find_token(int fd, uint32_t token, bool *claimed)
{
    struct flock lock;
    if (set_lock(fd, F_OFD_GETLK, F_WRLCK, byte_of(token), &lock) != 0) {
        return reason();
    }
    *claimed = lock.l_type != F_UNLCK;
    return 0;
}

shx_err
shx_os_next_token(int fd, uint32_t token, uint32_t *next)
{
    struct flock lock;
    range rest = byte_of(token);
    rest.length = (INT64_C(1) << SHX_TOKEN_BITS) - (int64_t)token;
    uint32_t found = 0;
    /* Of several it tells of any one: what lies below that is looked at. */
    while (rest.length > 0) {
        if (set_lock(fd, F_OFD_GETLK, F_WRLCK, rest, &lock) != 0) {
            return reason();
        }
        if (lock.l_type == F_UNLCK) {
            break;
        }
        if (lock.l_len != 1) {
            return EBUSY;
        }
        found = (uint32_t)((int64_t)lock.l_start - used.start);
        rest.length = (int64_t)lock.l_start - rest.start;
    }
    *next = found;
    return 0;
}

/* Elsewhere a lock may be the affair of one machine, or of one sandbox, of
 * several that have the file: 9p, FUSE, virtiofs, NFS. */
shx_err
shx_os_check_locality(int fd)
{
    static const uint32_t known[] = {
        0x01021994, /* tmpfs, and memory without a name */
        0x858458f6, /* ramfs */
        0x0000ef53, /* ext2, ext3, ext4 */
        0x58465342, /* xfs */
        0x9123683e, /* btrfs */
        0xf2f52010, /* f2fs */
        0x794c7630, /* overlay */
    };
    struct statfs system;
    if (fstatfs(fd, &system) != 0) {
        return errno;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if ((uint32_t)system.f_type == known[i]) {
            return 0;
        }
    }
    return SHX_NOT_LOCAL;
}

/* A write lease is granted only while no other open file is the inode's, in
 * whichever namespace; a read lease, while none for writing is. */
shx_err
shx_os_is_idle(int fd)
{
    return try_lease(fd, F_WRLCK);
}

shx_err
shx_os_is_unwritten(int fd)
{
    return try_lease(fd, F_RDLCK);
}

shx_err
shx_os_lock(int fd, bool alone)
{
    shx_lock how = alone ? SHX_LOCK_ALONE : SHX_LOCK_SHARED;
    shx_err err = take(fd, last, how, false);
    if (err != EAGAIN) {
        return err == SHX_NO_LOCKS ? EBUSY : err;
    }
    /* Whose is it? One of ours begins at that byte. */
    struct flock lock;
    short type = alone ? F_WRLCK : F_RDLCK;
    if (set_lock(fd, F_OFD_GETLK, type, last, &lock) != 0) {
        return reason();
    }
    return lock.l_type == F_UNLCK || lock.l_start == (off_t)last.start ? EAGAIN
                                                                       : EBUSY;
}

void
shx_os_unlock(int fd)
{
    (void)take(fd, last, SHX_LOCK_NONE, false);
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

shx_err
shx_os_withhold(void *hold)
{
    if (madvise(hold, shx_os_page_size(), MADV_DONTFORK) == 0) {
        return 0;
    }
    return errno == EINVAL || errno == ENOSYS ? SHX_NO_DONTFORK : errno;
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

/* Who forks comes first, or many threads could keep it waiting. */
#ifdef PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP
#define OPEN_GATE PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP
#else
#define OPEN_GATE PTHREAD_RWLOCK_INITIALIZER
#endif

static pthread_rwlock_t gate = OPEN_GATE;
static pthread_once_t gate_once = PTHREAD_ONCE_INIT;
static shx_err gate_error;

static void
close_gate(void)
{
    (void)pthread_rwlock_wrlock(&gate);
}

static void
open_gate(void)
{
    (void)pthread_rwlock_unlock(&gate);
}

/* Another thread has closed it than the one that there is now. */
static void
renew_gate(void)
{
    static const pthread_rwlock_t new = OPEN_GATE;
    gate = new;
}

static void
watch_forks(void)
{
    gate_error = shx_os_at_fork(close_gate, open_gate, renew_gate);
}

shx_err
shx_os_put_off_forks(void)
{
    (void)pthread_once(&gate_once, watch_forks);
    if (gate_error == 0) {
        (void)pthread_rwlock_rdlock(&gate);
    }
    return gate_error;
}

void
shx_os_let_forks(void)
{
    (void)pthread_rwlock_unlock(&gate);
}

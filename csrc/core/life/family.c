/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE

#include "core/life/family.h"

#include <errno.h>
#include <fcntl.h>   /* openat, F_OFD_GETLK */
#include <pthread.h> /* the mutex, pthread_atfork */
#include <stdio.h>   /* snprintf */
#include <stdlib.h>  /* calloc */
#include <string.h>  /* strcmp */
#include <sys/file.h>
#include <sys/mman.h> /* mmap: what holds the lock */
#include <sys/stat.h>
#include <unistd.h>

#include "core/os/os.h"
#include "core/life/sweep.h"

struct shx_family {
    shx_family *next;
    char directory[SHX_FAMILY_PATH];
    void *share; /* the mapping that holds our share of .lock */
    bool prepared;
    shx_ledgers ledgers;
};

/* What the process has joined. Only the process as a whole can be a member,
 * so this is the library's one piece of process-wide state. */
static struct {
    pthread_mutex_t mutex;
    shx_family *list;
    bool watches_forks;
} process = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void
lock(void)
{
    (void)pthread_mutex_lock(&process.mutex);
}

static void
unlock(void)
{
    (void)pthread_mutex_unlock(&process.mutex);
}

/* A child is a member by what it inherits. It writes ledgers of its own. */
static void
after_fork_in_child(void)
{
    for (shx_family *f = process.list; f != NULL; f = f->next) {
        shx_ledger_forget(&f->ledgers);
        f->prepared = false;
    }
    unlock();
}

/* Maps .lock under a shared lock. ESTALE: a sweep was faster, begin again. */
static shx_err
take_share(int directory, void **share)
{
    int fd = openat(directory, SHX_FAMILY_LOCK,
                    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return errno == ENOENT ? ESTALE : errno;
    }
    shx_err err = shx_os_set_mode(fd, 0600); /* whatever the umask */
    while (err == 0 && flock(fd, LOCK_SH) != 0) {
        err = errno == EINTR ? 0 : errno;
    }
    struct stat ours, named;
    if (err == 0 && fstat(fd, &ours) != 0) {
        err = errno;
    }
    if (err == 0 && fstatat(directory, SHX_FAMILY_LOCK, &named,
                            AT_SYMLINK_NOFOLLOW) != 0) {
        err = errno == ENOENT ? ESTALE : errno;
    }
    if (err == 0 && (ours.st_nlink == 0 || ours.st_ino != named.st_ino)) {
        err = ESTALE;
    }
    if (err == 0) {
        void *mapped =
            mmap(NULL, shx_os_page_size(), PROT_NONE, MAP_SHARED, fd, 0);
        err = mapped == MAP_FAILED ? errno : 0;
        *share = err == 0 ? mapped : *share;
    }
    shx_os_close(fd);
    return err;
}

static shx_err
enter(shx_family *family)
{
    int directory = -1;
    if (mkdir(family->directory, 0700) == 0) {
        (void)chmod(family->directory, 0700); /* whatever the umask */
    }
    else if (errno != EEXIST) {
        return errno;
    }
    shx_err err = shx_sweep_open(family->directory, &directory);
    if (err != 0) {
        return err == ENOENT ? ESTALE : err;
    }
    err = take_share(directory, &family->share);
    shx_os_close(directory);
    return err;
}

static shx_err
join_locked(const char *id, shx_family **out)
{
    if (!process.watches_forks) {
        shx_err err = pthread_atfork(lock, unlock, after_fork_in_child);
        if (err != 0) {
            return err;
        }
        process.watches_forks = true;
    }
    shx_family *family = calloc(1, sizeof *family);
    if (family == NULL) {
        return ENOMEM;
    }
    (void)snprintf(family->directory, sizeof family->directory, "%s/%s%.40s",
                   shx_os_directory, SHX_FAMILY_PREFIX, id);
    shx_err err;
    do {
        err = enter(family);
    } while (err == ESTALE);
    if (err != 0) {
        free(family);
        return err;
    }
    family->next = process.list;
    process.list = family;
    *out = family;
    return 0;
}

shx_err
shx_family_join(const char *id, shx_family **out, bool *first)
{
    shx_err err = 0;
    lock();
    shx_family *family = process.list;
    size_t start = strlen(shx_os_directory) + sizeof SHX_FAMILY_PREFIX;
    while (family != NULL && strcmp(family->directory + start, id) != 0) {
        family = family->next;
    }
    *first = process.list == NULL;
    if (family == NULL) {
        err = join_locked(id, &family);
    }
    unlock();
    if (err == 0) {
        *out = family;
    }
    return err;
}

/* Is the family's reaper there? It holds an open file description lock on
 * .reaper, which can be asked after without taking it. */
static bool
has_reaper(const char *directory)
{
    char path[SHX_FAMILY_PATH + sizeof SHX_FAMILY_REAPER];
    (void)snprintf(path, sizeof path, "%s/" SHX_FAMILY_REAPER, directory);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return false;
    }
    struct flock query = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool held = fcntl(fd, F_OFD_GETLK, &query) == 0 && query.l_type != F_UNLCK;
    shx_os_close(fd);
    return held;
}

bool
shx_family_is_prepared(shx_family *family)
{
    lock();
    bool prepared = family->prepared;
    unlock();
    return prepared;
}

void
shx_family_prepare(shx_family *family, const char *reaper)
{
    lock();
    bool prepared = family->prepared;
    family->prepared = true;
    unlock();
    if (prepared) {
        return;
    }
    static const shx_sweep_options quietly = {.dry_run = false};
    (void)shx_sweep_all(&quietly);
    if (!has_reaper(family->directory)) {
        (void)shx_os_start_detached(reaper, family->directory);
    }
}

/* Somebody removed the directory while we lived: makes it again. What its
 * ledgers knew is lost. */
static shx_err
reenter_locked(shx_family *family)
{
    void *old = family->share;
    shx_err err;
    do {
        err = enter(family);
    } while (err == ESTALE);
    if (err == 0) {
        (void)munmap(old, shx_os_page_size());
        shx_ledger_forget(&family->ledgers);
    }
    return err;
}

static shx_err
write_locked(shx_family *family, const char *name, uint64_t inode,
             shx_record **out)
{
    shx_err err = shx_ledger_write(&family->ledgers, family->directory, name,
                                   inode, out);
    if (err == ENOENT) {
        err = reenter_locked(family);
        if (err == 0) {
            err = shx_ledger_write(&family->ledgers, family->directory, name,
                                   inode, out);
        }
    }
    return err;
}

shx_err
shx_family_publish(shx_family *family, int fd, const char *name,
                   uint64_t inode, shx_record **out)
{
    shx_record *record;
    lock();
    shx_err err = write_locked(family, name, inode, &record);
    if (err == 0) {
        /* Under the lock: a look for records that are out of date must not
         * take this one for such. */
        err = shx_os_publish(fd, name);
        if (err != 0) {
            shx_ledger_strike(&family->ledgers, record, inode);
        }
        else {
            *out = record;
        }
    }
    unlock();
    return err;
}

shx_err
shx_family_adopt(shx_family *family, const char *name)
{
    shx_file file;
    shx_record *record;
    shx_err err = shx_os_inspect_name(name, &file);
    if (err == 0) {
        lock();
        err = shx_ledger_write(&family->ledgers, family->directory, name,
                               file.identity.inode, &record);
        unlock();
    }
    return err;
}

bool
shx_family_disown(const char *name)
{
    bool found = false;
    lock();
    for (shx_family *f = process.list; f != NULL; f = f->next) {
        found = shx_ledger_strike_name(&f->ledgers, name) || found;
    }
    unlock();
    return found;
}

/* Of which family it was shows by whose ledgers list it. */
void
shx_family_strike(shx_record *record, uint64_t inode)
{
    lock();
    shx_family *family = process.list;
    while (family != NULL && family->next != NULL &&
           !shx_ledger_lists(&family->ledgers, record)) {
        family = family->next;
    }
    if (family != NULL) {
        shx_ledger_strike(&family->ledgers, record, inode);
    }
    unlock();
}

/* What a family was made of is not freed: a thread that outlives Python may
 * still be on its way to the mutex with it. */
void
shx_family_leave(void)
{
    static const shx_sweep_options quietly = {.dry_run = false};
    lock();
    for (shx_family *family = process.list; family != NULL;
         family = family->next) {
        (void)munmap(family->share, shx_os_page_size());
        (void)shx_sweep_family(family->directory, false, &quietly);
        shx_ledger_forget(&family->ledgers);
    }
    process.list = NULL;
    unlock();
}

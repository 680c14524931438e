/* SPDX-License-Identifier: MIT */
#include "core/life/family.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDWR, O_CREAT */
#include <stdio.h>  /* snprintf */
#include <stdlib.h> /* calloc */
#include <string.h> /* strcmp */

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
    shx_mutex mutex;
    shx_family *list;
    bool watches_forks;
} process = {.mutex = SHX_MUTEX};

static void
lock(void)
{
    shx_mutex_lock(&process.mutex);
}

static void
unlock(void)
{
    shx_mutex_unlock(&process.mutex);
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

/* Is the file still what the directory's .lock is? ESTALE: a sweep was
 * faster. */
static shx_err
check_named(int directory, int fd)
{
    shx_file ours, named;
    shx_err err = shx_os_inspect(fd, &ours);
    if (err == 0) {
        err = shx_os_inspect_in(directory, SHX_FAMILY_LOCK, &named);
    }
    if (err == 0 &&
        (!ours.named || ours.identity.inode != named.identity.inode)) {
        err = ENOENT;
    }
    return err == ENOENT ? ESTALE : err;
}

/* Holds .lock under a shared lock. ESTALE: begin again. */
static shx_err
take_share(int directory, void **share)
{
    int fd;
    shx_err err =
        shx_os_open_in(directory, SHX_FAMILY_LOCK, O_RDWR | O_CREAT, &fd);
    if (err != 0) {
        return err == ENOENT ? ESTALE : err;
    }
    err = shx_os_flock(fd, false, true);
    if (err == 0) {
        err = check_named(directory, fd);
    }
    if (err == 0) {
        err = shx_os_hold(fd, share);
    }
    shx_os_close(fd);
    return err;
}

static shx_err
enter(shx_family *family)
{
    int directory = -1;
    shx_err err = shx_os_make_directory(family->directory);
    if (err != 0 && err != EEXIST) {
        return err;
    }
    err = shx_sweep_open(family->directory, &directory);
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
        shx_err err = shx_os_at_fork(lock, unlock, after_fork_in_child);
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
                   shx_os_directory, SHX_NAME_OWN, id);
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
    size_t start = strlen(shx_os_directory) + sizeof SHX_NAME_OWN;
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

/* Is the family's reaper there? It has claimed .reaper. */
static bool
has_reaper(const char *path)
{
    int directory, fd;
    bool there = false;
    if (shx_os_open_directory(path, &directory) != 0) {
        return false;
    }
    if (shx_os_open_in(directory, SHX_FAMILY_REAPER, O_RDWR, &fd) == 0) {
        there = shx_os_is_claimed(fd);
        shx_os_close(fd);
    }
    shx_os_close(directory);
    return there;
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
        shx_os_let_go(old);
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
shx_family_publish(void *owner, int fd, const char *name,
                   const shx_identity *identity)
{
    shx_ownership *of = owner;
    shx_record *record;
    lock();
    shx_err err = write_locked(of->family, name, identity->inode, &record);
    if (err == 0) {
        /* Under the lock: a look for records that are out of date must not
         * take this one for such. */
        err = shx_os_publish(fd, name);
        if (err != 0) {
            shx_ledger_strike(&of->family->ledgers, record, identity->inode);
        }
        else {
            of->record = record;
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
        shx_os_let_go(family->share);
        (void)shx_sweep_family(family->directory, false, &quietly);
        shx_ledger_forget(&family->ledgers);
    }
    process.list = NULL;
    unlock();
}

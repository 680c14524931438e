/* SPDX-License-Identifier: MIT */
#include "core/life/family.h"

#include <errno.h>
#include <fcntl.h> /* O_RDWR, O_CREAT */
#include <stdatomic.h>
#include <stdio.h>  /* snprintf */
#include <stdlib.h> /* calloc */
#include <string.h> /* strcmp */

#include "core/life/sweep.h"

struct shx_family {
    shx_family *next;
    char directory[SHX_FAMILY_PATH];
    void *share; /* the mapping that holds our share of .lock */
    atomic_bool prepared;
    shx_ledgers ledgers;
};

/* What the process has joined. Only the process as a whole can be a member,
 * so this is the library's one piece of process-wide state. */
static struct {
    shx_mutex mutex;
    shx_family *list;
    bool watches_forks;
    size_t pending;       /* names that are about to be given */
    atomic_size_t others; /* names removed of which we had no record */
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
        shx_ledger_inherit(&f->ledgers);
        atomic_store(&f->prepared, false);
    }
    process.pending = 0; /* what other threads were about to do, they do not */
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

static shx_family *
find_locked(const char *id)
{
    shx_family *family = process.list;
    size_t start = strlen(shx_os_directory) + sizeof SHX_NAME_OWN;
    while (family != NULL && strcmp(family->directory + start, id) != 0) {
        family = family->next;
    }
    return family;
}

static shx_err
enter_until_there(shx_family *family)
{
    shx_err err;
    do {
        err = enter(family);
    } while (err == ESTALE);
    return err;
}

/* Without the lock: it may have to wait for a sweep. */
static shx_err
make(const char *id, shx_family **out)
{
    shx_family *family = calloc(1, sizeof *family);
    if (family == NULL) {
        return ENOMEM;
    }
    (void)snprintf(family->directory, sizeof family->directory, "%s/%s%.40s",
                   shx_os_directory, SHX_NAME_OWN, id);
    family->ledgers.directory = family->directory;
    family->ledgers.mutex = &process.mutex;
    shx_err err = enter_until_there(family);
    if (err != 0) {
        free(family);
        return err;
    }
    *out = family;
    return 0;
}

static shx_err
watch_forks_locked(void)
{
    shx_err err = 0;
    if (!process.watches_forks) {
        err = shx_os_at_fork(lock, unlock, after_fork_in_child);
        process.watches_forks = err == 0;
    }
    return err;
}

shx_err
shx_family_join(const char *id, shx_family **out, bool *first)
{
    shx_family *made = NULL;
    lock();
    shx_err err = watch_forks_locked();
    shx_family *family = find_locked(id);
    *first = process.list == NULL;
    unlock();
    if (err == 0 && family == NULL) {
        err = make(id, &made);
    }
    if (made != NULL) {
        lock();
        family = find_locked(id); /* another thread may have been faster */
        *first = process.list == NULL;
        if (family == NULL) {
            made->next = process.list;
            process.list = family = made;
            made = NULL;
        }
        unlock();
    }
    if (made != NULL) {
        shx_os_let_go(made->share);
        free(made);
    }
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
shx_family_is_prepared(const shx_family *family)
{
    return atomic_load(&family->prepared);
}

void
shx_family_prepare(shx_family *family, const char *reaper)
{
    if (atomic_exchange(&family->prepared, true)) {
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
reenter(shx_family *family)
{
    shx_family anew = {.share = NULL};
    memcpy(anew.directory, family->directory, sizeof anew.directory);
    shx_err err = enter_until_there(&anew);
    if (err == 0) {
        lock();
        shx_os_let_go(family->share);
        family->share = anew.share;
        shx_ledger_forget(&family->ledgers);
        unlock();
    }
    return err;
}

/* Writes a record, pending. On error nothing is written. What room there is
 * other threads may take meanwhile. */
static shx_err
write_record(shx_family *family, const char *name, uint64_t inode,
             shx_record **out)
{
    shx_err err = EAGAIN;
    for (int tries = 0; err == EAGAIN && tries < 64; tries++) {
        shx_err room = tries == 0 ? 0 : shx_ledger_make_room(&family->ledgers);
        if (room == ENOENT) {
            room = reenter(family);
        }
        if (room != 0) {
            return room;
        }
        lock();
        err = shx_ledger_write(&family->ledgers, name, inode, out);
        process.pending += err == 0;
        unlock();
    }
    return err;
}

/* The name is there, or, with an error, is not. False: the record is in no
 * ledger any more that somebody will read. */
static bool
settle(shx_family *family, shx_record *record, uint64_t inode, shx_err err)
{
    bool listed = true;
    lock();
    process.pending--;
    if (err == 0) {
        listed = shx_ledger_settle(&family->ledgers, record);
    }
    else {
        (void)shx_ledger_strike(&family->ledgers, record, inode);
    }
    unlock();
    return listed;
}

shx_err
shx_family_publish(void *owner, int fd, const char *name,
                   const shx_identity *identity)
{
    shx_ownership *of = owner;
    shx_record *record;
    shx_err err = write_record(of->family, name, identity->inode, &record);
    if (err != 0) {
        return err;
    }
    err = shx_os_publish(fd, name);
    bool listed = settle(of->family, record, identity->inode, err);
    if (err == 0 && listed) {
        of->record = record;
    }
    else if (err == 0) {
        err = shx_family_adopt(of->family, name);
        if (err != 0) {
            (void)shx_os_remove(name);
        }
    }
    return err;
}

shx_err
shx_family_adopt(shx_family *family, const char *name)
{
    shx_file file;
    shx_record *record;
    shx_err err = shx_os_inspect_name(name, &file);
    if (err == 0) {
        err = write_record(family, name, file.identity.inode, &record);
    }
    if (err == 0) {
        (void)settle(family, record, file.identity.inode, 0);
    }
    return err;
}

static bool
strike_name(const char *name, uint64_t inode)
{
    bool found = false;
    lock();
    for (shx_family *f = process.list; f != NULL; f = f->next) {
        found = shx_ledger_strike_name(&f->ledgers, name, inode) || found;
    }
    unlock();
    return found;
}

bool
shx_family_disown(const char *name)
{
    return strike_name(name, 0);
}

/* What was made of a family is never freed, and neither does its `next` ever
 * change: from the first one on, no lock is needed to go round. */
static void
tidy(void)
{
    lock();
    shx_family *family = process.list;
    unlock();
    for (; family != NULL; family = family->next) {
        shx_ledger_tidy(&family->ledgers);
    }
}

void
shx_family_forget(const char *name, uint64_t inode)
{
    enum { SOME = 256 };
    (void)strike_name(name, inode);
    if (atomic_fetch_add(&process.others, 1) % SOME == SOME - 1) {
        tidy();
    }
}

/* Of which family it was shows by whose ledgers list it. */
void
shx_family_strike(shx_record *record, uint64_t inode)
{
    lock();
    shx_family *family = process.list;
    while (family != NULL &&
           !shx_ledger_strike(&family->ledgers, record, inode)) {
        family = family->next;
    }
    unlock();
}

/* A name whose record was there when the sweep came, and which is given after
 * it, nobody would remove. It is a matter of microseconds. */
static void
await_pending_locked(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    for (int patience = 1000; process.pending > 0 && patience > 0;
         patience--) {
        unlock();
        (void)shx_os_pause(&moment);
        lock();
    }
}

/* What a family was made of is not freed: a thread that outlives Python may
 * still be on its way to the mutex with it. */
void
shx_family_leave(void)
{
    static const shx_sweep_options quietly = {.dry_run = false};
    lock();
    await_pending_locked();
    for (shx_family *family = process.list; family != NULL;
         family = family->next) {
        shx_os_let_go(family->share);
        (void)shx_sweep_family(family->directory, false, &quietly);
        shx_ledger_forget(&family->ledgers);
    }
    process.list = NULL;
    unlock();
}

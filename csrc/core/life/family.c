/* SPDX-License-Identifier: MIT */
#include "core/life/family.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h> /* calloc */
#include <string.h> /* strcmp, memcpy */

#include "core/life/membership.h"
#include "core/life/users.h"

struct shx_family {
    shx_family *next;
    shx_membership member;
    atomic_bool prepared;
    atomic_bool over; /* the process has left it */
    shx_ledgers ledgers;
};

/* What the process is in. Only the process as a whole can be a member, so this
 * is the library's one piece of process-wide state. What was made of a family
 * is never freed, and neither does its `next` ever change: from the first one
 * on, no lock is needed to go round, and a thread that outlives Python may
 * still be on its way with one. */
static struct {
    shx_mutex mutex;
    _Atomic(shx_family *) list;
    _Atomic(shx_family *) own; /* where what is created goes */
    bool begun;
    bool watches_forks;
    atomic_bool serves;   /* it forks for others */
    atomic_bool over;     /* it is at its end */
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

static shx_family *
first_family(void)
{
    return atomic_load(&process.list);
}

/* Takes the membership over. */
static shx_family *
list_family(const shx_membership *member)
{
    shx_family *family = calloc(1, sizeof *family);
    if (family != NULL) {
        family->member = *member;
        family->ledgers.directory = family->member.directory;
        family->ledgers.mutex = &process.mutex;
        lock();
        family->next = first_family();
        atomic_store(&process.list, family);
        unlock();
    }
    return family;
}

shx_err
shx_family_found(shx_family **out)
{
    shx_membership made;
    shx_err err = shx_membership_found(&made);
    if (err != 0) {
        return err;
    }
    shx_family *family = list_family(&made);
    if (family == NULL) {
        static const shx_sweep_options quietly = {.dry_run = false};
        shx_membership_end(&made);
        (void)shx_sweep_family(made.directory, false, &quietly);
        return ENOMEM;
    }
    *out = family;
    return 0;
}

/* In place of `old`, which may be NULL. Where another thread was faster, its
 * one is taken; ours stays, empty, until the process ends. */
static shx_err
found_own(shx_family *old, shx_family **out)
{
    shx_family *made, *own = old;
    if (atomic_load(&process.over)) {
        return ECANCELED;
    }
    shx_err err = shx_family_found(&made);
    if (err != 0) {
        return err;
    }
    while (!atomic_compare_exchange_strong(&process.own, &own, made)) {
        if (own != NULL && own != old) {
            *out = own;
            return 0;
        }
    }
    *out = made;
    return 0;
}

shx_family *
shx_family_now(void)
{
    shx_family *own = atomic_load(&process.own);
    return own != NULL && own->member.user == shx_os_user() ? own : NULL;
}

shx_err
shx_family_own(shx_family **out)
{
    *out = shx_family_now();
    return *out != NULL ? 0 : found_own(atomic_load(&process.own), out);
}

/* May what we create here go to it? */
static bool
is_in_reach(const shx_family *family)
{
    shx_file file;
    return family->member.user == shx_os_user() &&
           shx_os_inspect_path(shx_os_directory, &file) == 0 &&
           file.identity.device == family->member.lock.device;
}

/* A child that is forked before there is a family could not be in it. */
static void
before_fork(void)
{
    shx_family *own = atomic_load(&process.own);
    if (!atomic_load(&process.serves) && (own == NULL || !is_in_reach(own))) {
        (void)found_own(own, &own);
    }
    lock();
}

/* A child is a member by what it inherits. It writes ledgers of its own. */
static void
after_fork_in_child(void)
{
    for (shx_family *f = first_family(); f != NULL; f = f->next) {
        shx_ledger_inherit(&f->ledgers);
        atomic_store(&f->prepared, false);
    }
    process.pending = 0; /* what other threads were about to do, they do not */
    atomic_store(&process.serves, false);
    unlock();
}

shx_err
shx_family_begin(bool *first)
{
    shx_err err = 0;
    lock();
    *first = !process.begun;
    process.begun = true;
    atomic_store(&process.over, false);
    if (!process.watches_forks) {
        err = shx_os_at_fork(before_fork, unlock, after_fork_in_child);
        process.watches_forks = err == 0;
    }
    unlock();
    return err;
}

void
shx_family_serve(void)
{
    atomic_store(&process.serves, true);
}

const char *
shx_family_id(const shx_family *family)
{
    return shx_membership_id(&family->member);
}

shx_family *
shx_family_find(const char *id)
{
    shx_family *family = first_family();
    while (family != NULL && (strcmp(shx_family_id(family), id) != 0 ||
                              atomic_load(&family->over))) {
        family = family->next;
    }
    return family;
}

shx_err
shx_family_share(char id[SHX_FAMILY_ID + 1], int *fd)
{
    shx_family *own;
    shx_err err = shx_family_own(&own);
    if (err == 0) {
        err = shx_membership_share(&own->member, fd);
    }
    if (err == ESTALE) {
        err = found_own(own, &own);
        if (err == 0) {
            err = shx_membership_share(&own->member, fd);
        }
    }
    if (err == 0) {
        memcpy(id, shx_family_id(own), SHX_FAMILY_ID + 1);
    }
    return err;
}

shx_err
shx_family_enter(const char *id, int fd)
{
    shx_membership made;
    shx_err err = shx_membership_enter(id, fd, &made);
    if (err != 0) {
        return err;
    }
    shx_family *family = list_family(&made);
    if (family == NULL) {
        return ENOMEM; /* the share is held, if by nobody who could end it */
    }
    if (!made.found) {
        return ESTALE;
    }
    atomic_store(&process.own, family);
    return 0;
}

bool
shx_family_is_prepared(const shx_family *family)
{
    return atomic_load(&family->prepared);
}

shx_err
shx_family_prepare(shx_family *family, const char *reaper)
{
    shx_err err = 0;
    if (!atomic_exchange(&family->prepared, true) &&
        !shx_membership_has_reaper(&family->member)) {
        err = shx_os_start_detached(reaper, family->member.directory);
        if (err != 0) {
            static const shx_sweep_options quietly = {.dry_run = false};
            (void)shx_sweep_all(&quietly);
        }
    }
    return err;
}

/* Writes a record, pending. On error nothing is written. What room there is
 * other threads may take meanwhile. ENOENT: somebody has removed the
 * directory. */
static shx_err
write_record(shx_family *family, const char *name,
             const shx_identity *identity, shx_record **out)
{
    shx_err err = EAGAIN;
    for (int tries = 0; err == EAGAIN && tries < 64; tries++) {
        shx_err room = tries == 0 ? 0 : shx_ledger_make_room(&family->ledgers);
        if (room != 0) {
            return room;
        }
        lock();
        err = atomic_load(&family->over)
                  ? ECANCELED
                  : shx_ledger_write(&family->ledgers, name, identity, out);
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

/* The same for our own family: one that is out of reach, because somebody has
 * removed its directory or because /dev/shm is another one by now, is
 * replaced.
 */
static shx_err
write_own_record(shx_ownership *of, const char *name,
                 const shx_identity *identity, shx_record **out)
{
    shx_err err = ENOENT;
    if (of->family->member.lock.device == identity->device) {
        err = write_record(of->family, name, identity, out);
    }
    if (err == ENOENT || err == ECANCELED) {
        err = found_own(of->family, &of->family);
        if (err == 0) {
            err = write_record(of->family, name, identity, out);
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
    shx_err err = write_own_record(of, name, identity, &record);
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
    if (of->users) {
        shx_ledger_look(&of->family->ledgers);
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
        err = write_record(family, name, &file.identity, &record);
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
    for (shx_family *f = first_family(); f != NULL; f = f->next) {
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

static void
tidy(void)
{
    for (shx_family *f = first_family(); f != NULL; f = f->next) {
        shx_ledger_tidy(&f->ledgers);
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
    shx_family *family = first_family();
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

void
shx_family_leave(void)
{
    static const shx_sweep_options quietly = {.dry_run = false};
    shx_users_leave_all();
    lock();
    await_pending_locked();
    for (shx_family *f = first_family(); f != NULL; f = f->next) {
        if (!atomic_exchange(&f->over, true)) {
            shx_membership_end(&f->member);
            (void)shx_sweep_family(f->member.directory, false, &quietly);
            shx_ledger_forget(&f->ledgers);
        }
    }
    atomic_store(&process.own, NULL);
    unlock();
}

void
shx_family_end(void)
{
    lock();
    process.begun = false;
    atomic_store(&process.over, true);
    unlock();
    shx_family_leave();
}

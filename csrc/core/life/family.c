/* SPDX-License-Identifier: MIT */
#include "core/life/family_state.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>  /* snprintf */
#include <stdlib.h> /* calloc */
#include <string.h> /* strcmp, memcpy */

#include "core/life/attendant.h"
#include "core/life/users.h"

shx_family_process shx_process = {.mutex = SHX_MUTEX};

/* Takes the membership over. */
static shx_family *
list_family(const shx_membership *member)
{
    shx_family *family = calloc(1, sizeof *family);
    if (family != NULL) {
        family->member = *member;
        family->ledgers.directory = family->member.directory;
        family->ledgers.mutex = &shx_process.mutex;
        shx_family_lock();
        family->next = shx_family_first();
        atomic_store(&shx_process.list, family);
        shx_family_unlock();
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
        shx_membership_end(&made);
        (void)shx_sweep_family(made.directory, false, &shx_sweep_quietly);
        return ENOMEM;
    }
    *out = family;
    return 0;
}

shx_err
shx_family_replace(shx_family *old, shx_family **out)
{
    shx_family *made, *own = old;
    if (atomic_load(&shx_process.over)) {
        return ECANCELED;
    }
    shx_err err = shx_family_found(&made);
    if (err != 0) {
        return err;
    }
    while (!atomic_compare_exchange_strong(&shx_process.own, &own, made)) {
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
    shx_family *own = atomic_load(&shx_process.own);
    return own != NULL && own->member.user == shx_os_user() ? own : NULL;
}

shx_err
shx_family_own(shx_family **out)
{
    *out = shx_family_now();
    return *out != NULL
               ? 0
               : shx_family_replace(atomic_load(&shx_process.own), out);
}

bool
shx_family_is_in_reach(const shx_family *family)
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
    shx_family *own = atomic_load(&shx_process.own);
    if (!atomic_load(&shx_process.serves) &&
        (own == NULL || !shx_family_is_in_reach(own))) {
        (void)shx_family_replace(own, &own);
    }
    shx_family_lock();
}

/* A child is a member by what it inherits. It writes ledgers of its own. */
static void
after_fork_in_child(void)
{
    for (shx_family *f = shx_family_first(); f != NULL; f = f->next) {
        shx_ledger_inherit(&f->ledgers);
        atomic_store(&f->prepared, false);
        atomic_store(&f->attended, false);
    }
    /* What other threads were about to do, they do not. */
    shx_process.pending = 0;
    atomic_store(&shx_process.serves, false);
    shx_family_unlock();
}

shx_err
shx_family_begin(bool *first)
{
    shx_err err = 0;
    shx_family_lock();
    *first = !shx_process.begun;
    shx_process.begun = true;
    atomic_store(&shx_process.over, false);
    if (!shx_process.watches_forks) {
        err = shx_os_at_fork(before_fork, shx_family_unlock,
                             after_fork_in_child);
        shx_process.watches_forks = err == 0;
    }
    shx_family_unlock();
    return err;
}

void
shx_family_serve(void)
{
    atomic_store(&shx_process.serves, true);
}

const char *
shx_family_id(const shx_family *family)
{
    return shx_membership_id(&family->member);
}

shx_family *
shx_family_find(const char *id)
{
    shx_family *family = shx_family_first();
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
        err = shx_family_replace(own, &own);
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
    atomic_store(&shx_process.own, family);
    return 0;
}

bool
shx_family_is_prepared(const shx_family *family)
{
    return atomic_load(&family->prepared);
}

/* Two threads that come at once may start two, of which one ends at once. If
 * one of them went ahead while the other is about to start it, or a child that
 * is forked meanwhile, a SIGKILL of them all would leave what it creates. */
shx_err
shx_family_prepare(shx_family *family, const char *reaper)
{
    shx_err err = 0;
    if (!atomic_load(&family->prepared) &&
        !shx_membership_has(&family->member, SHX_FAMILY_REAPER)) {
        err = shx_os_start_detached(reaper, family->member.directory);
        if (err != 0) {
            (void)shx_sweep_all(&shx_sweep_quietly);
        }
    }
    atomic_store(&family->prepared, true);
    return err;
}

bool
shx_family_is_attended(const shx_family *family)
{
    return atomic_load(&family->attended);
}

void
shx_family_attend(shx_family *family, const char *reaper)
{
    char argument[sizeof SHX_ATTENDANT_MARK + SHX_FAMILY_PATH];
    if (!atomic_load(&family->attended) &&
        !shx_membership_has(&family->member, SHX_FAMILY_USERS)) {
        (void)snprintf(argument, sizeof argument, "%s%s", SHX_ATTENDANT_MARK,
                       family->member.directory);
        (void)shx_os_start_detached(reaper, argument);
    }
    atomic_store(&family->attended, true);
}

/* A name whose record was there when the sweep came, and which is given after
 * it, nobody would remove. It is a matter of microseconds. */
static void
await_pending_locked(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    for (int patience = 1000; shx_process.pending > 0 && patience > 0;
         patience--) {
        shx_family_unlock();
        (void)shx_os_pause(&moment);
        shx_family_lock();
    }
}

void
shx_family_leave(void)
{
    shx_users_leave_all();
    shx_family_lock();
    await_pending_locked();
    for (shx_family *f = shx_family_first(); f != NULL; f = f->next) {
        if (!atomic_exchange(&f->over, true)) {
            shx_membership_end(&f->member);
            (void)shx_sweep_family(f->member.directory, false,
                                   &shx_sweep_quietly);
            shx_ledger_forget(&f->ledgers);
        }
    }
    atomic_store(&shx_process.own, NULL);
    shx_family_unlock();
}

void
shx_family_end(void)
{
    shx_family_lock();
    shx_process.begun = false;
    atomic_store(&shx_process.over, true);
    shx_family_unlock();
    shx_family_leave();
}

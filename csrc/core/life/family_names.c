/* SPDX-License-Identifier: MIT */
/* The names of a family: how one becomes its own, and stops being that. */
#include <errno.h>

#include "core/life/draft.h"
#include "core/life/family_state.h"

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
        shx_family_lock();
        err = atomic_load(&family->over)
                  ? ECANCELED
                  : shx_ledger_write(&family->ledgers, name, identity, out);
        shx_process.pending += err == 0;
        shx_family_unlock();
    }
    return err;
}

/* The name is there, or, with an error, is not. False: the record is in no
 * ledger any more that somebody will read. */
static bool
settle(shx_family *family, shx_record *record, uint64_t inode, shx_err err)
{
    bool listed = true;
    shx_family_lock();
    shx_process.pending--;
    if (err == 0) {
        listed = shx_ledger_settle(&family->ledgers, record);
    }
    else {
        (void)shx_ledger_strike(&family->ledgers, record, inode);
    }
    shx_family_unlock();
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
        err = shx_family_replace(of->family, &of->family);
        if (err == 0) {
            err = write_record(of->family, name, identity, out);
        }
    }
    return err;
}

shx_err
shx_family_publish(void *owner, shx_draft *draft, const char *name,
                   const shx_identity *identity)
{
    shx_ownership *of = owner;
    shx_record *record;
    shx_err err = write_own_record(of, name, identity, &record);
    if (err != 0) {
        return err;
    }
    err = shx_os_publish(draft, name);
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

/* ENOENT: it is out of reach. */
static shx_err
place_draft(const shx_family *family, shx_draft *out)
{
    if (atomic_load(&family->over) || !shx_family_is_in_reach(family)) {
        return ENOENT;
    }
    int directory;
    shx_err err = shx_sweep_open(family->member.directory, &directory);
    if (err != 0) {
        return err == SHX_SQUATTED ? ENOENT : err;
    }
    err = shx_draft_place(directory, out);
    if (err != 0) {
        shx_os_close(directory);
    }
    return err;
}

shx_err
shx_family_draft(void *owner, shx_draft *out)
{
    shx_ownership *of = owner;
    shx_err err = of->family == NULL ? shx_family_own(&of->family) : 0;
    if (err == SHX_NO_LOCKS) {
        return shx_draft_place_beside(out);
    }
    if (err != 0) {
        return err;
    }
    err = place_draft(of->family, out);
    if (err == ENOENT) {
        err = shx_family_replace(of->family, &of->family);
        if (err == 0) {
            err = place_draft(of->family, out);
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
    shx_family_lock();
    for (shx_family *f = shx_family_first(); f != NULL; f = f->next) {
        found = shx_ledger_strike_name(&f->ledgers, name, inode) || found;
    }
    shx_family_unlock();
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
    for (shx_family *f = shx_family_first(); f != NULL; f = f->next) {
        shx_ledger_tidy(&f->ledgers);
    }
}

void
shx_family_forget(const char *name, uint64_t inode)
{
    enum { SOME = 256 };
    (void)strike_name(name, inode);
    if (atomic_fetch_add(&shx_process.others, 1) % SOME == SOME - 1) {
        tidy();
    }
}

/* Of which family it was shows by whose ledgers list it. */
void
shx_family_strike(shx_record *record, uint64_t inode)
{
    shx_family_lock();
    shx_family *family = shx_family_first();
    while (family != NULL &&
           !shx_ledger_strike(&family->ledgers, record, inode)) {
        family = family->next;
    }
    shx_family_unlock();
}

/* SPDX-License-Identifier: MIT */
#include "core/life/party_anchor.h"

#include <errno.h>
#include <stdlib.h> /* calloc, free */
#include <string.h> /* memcpy, strlen */

static struct {
    shx_mutex mutex;
    bool watches_forks;
    shx_word *belt; /* in a page that forks wipe, or the next */
    shx_word braces;
    shx_party *first;
} parties = {.mutex = SHX_MUTEX};

/* From now on this is who we are. */
static void
take(shx_party *party, const shx_anchor *anchor)
{
    party->ours = *anchor;
    atomic_store(&party->pid, shx_os_process());
    atomic_store(&party->nonce, anchor->who.nonce);
    atomic_store(&party->token, anchor->who.token);
}

static void
forget(shx_party *party)
{
    party->ours = (shx_anchor){.hold = NULL};
    atomic_store(&party->token, 0);
}

/* Without the mutex nothing is forked between its mapping and this. */
static shx_err
join(shx_party *party)
{
    shx_anchor made;
    shx_err err = shx_party_cast(party, &made);
    if (err == 0) {
        err = shx_os_withhold(made.hold);
        if (err != 0) {
            shx_os_let_go(made.hold);
        }
    }
    if (err == 0) {
        take(party, &made);
    }
    return err;
}

/* Forks. What cannot be made for a child it makes itself, if it can. */

static void
bequeath(shx_party *party)
{
    bool known = party->child.hold != NULL;
    for (shx_bequest *one = party->bequests; one != NULL; one = one->next) {
        one->tell(one, &party->ours.who, known ? &party->child.who : NULL);
    }
}

static void
before_fork(void)
{
    shx_mutex_lock(&parties.mutex);
    for (shx_party *party = parties.first; party != NULL;
         party = party->next) {
        party->child = (shx_anchor){.hold = NULL};
        if (atomic_load(&party->token) != 0 && !party->over) {
            (void)shx_party_cast(party, &party->child);
            bequeath(party);
        }
    }
}

static void
in_parent(void)
{
    for (shx_party *party = parties.first; party != NULL;
         party = party->next) {
        if (party->child.hold != NULL) {
            shx_os_let_go(party->child.hold);
            party->child.hold = NULL;
        }
    }
    shx_mutex_unlock(&parties.mutex);
}

static void
in_child(void)
{
    for (shx_party *party = parties.first; party != NULL;
         party = party->next) {
        forget(party); /* what was mapped there is not here */
        if (party->child.hold != NULL) {
            if (shx_os_withhold(party->child.hold) == 0) {
                take(party, &party->child);
            }
            else {
                shx_os_let_go(party->child.hold);
            }
            party->child.hold = NULL;
        }
    }
    atomic_store(parties.belt, 1);
    shx_mutex_unlock(&parties.mutex);
}

static shx_err
watch_forks(void)
{
    void *page;
    if (parties.watches_forks) {
        return 0;
    }
    if (parties.belt == NULL) {
        parties.belt = shx_os_wiped_page(&page) == 0 ? page : &parties.braces;
        atomic_store(parties.belt, 1);
    }
    shx_err err = shx_os_at_fork(before_fork, in_parent, in_child);
    parties.watches_forks = err == 0;
    return err;
}

/* What raw clone(2) has made is nobody yet. */
static void
notice_clone(void)
{
    if (parties.belt == NULL || atomic_load(parties.belt) != 0) {
        return;
    }
    for (shx_party *party = parties.first; party != NULL;
         party = party->next) {
        forget(party);
    }
    atomic_store(parties.belt, 1);
}

shx_err
shx_party_join_again(shx_party *party)
{
    shx_err err = 0;
    shx_mutex_lock(&parties.mutex);
    notice_clone();
    if (atomic_load(&party->token) == 0) {
        err = join(party);
    }
    shx_mutex_unlock(&parties.mutex);
    return err;
}

static shx_party *
find_locked(const shx_identity *identity)
{
    shx_party *party = parties.first;
    while (party != NULL &&
           (party->over || !shx_same_file(&party->identity, identity))) {
        party = party->next;
    }
    if (party != NULL) {
        party->uses++;
    }
    return party;
}

shx_party *
shx_party_find(const shx_identity *identity)
{
    shx_mutex_lock(&parties.mutex);
    shx_party *party = find_locked(identity);
    shx_mutex_unlock(&parties.mutex);
    return party;
}

static void
dispose(shx_party *party)
{
    free(party->path);
    free(party);
}

static shx_err
make(int fd, const char *path, const shx_identity *identity, shx_party **out)
{
    shx_party *party = calloc(1, sizeof *party);
    if (party == NULL) {
        return ENOMEM;
    }
    party->identity = *identity;
    party->fd = fd;
    party->uses = 1;
    party->belt = parties.belt;
    size_t length = path == NULL ? 0 : strlen(path) + 1;
    if (path != NULL) {
        party->path = malloc(length);
    }
    if (party->path != NULL) {
        memcpy(party->path, path, length);
    }
    shx_err err = path != NULL && party->path == NULL ? ENOMEM : join(party);
    if (err != 0) {
        if (party->fd != fd) { /* see shx_party_mend_fd() */
            shx_os_close(party->fd);
        }
        dispose(party);
        return err;
    }
    *out = party;
    return 0;
}

static shx_err
join_locked(int fd, const char *path, shx_party **out)
{
    shx_file file;
    shx_party *party = NULL;
    shx_err err = watch_forks();
    if (err == 0) {
        err = shx_os_inspect(fd, &file);
    }
    if (err == 0) {
        party = find_locked(&file.identity);
    }
    if (party != NULL) {
        shx_os_close(fd); /* somebody was faster */
    }
    else if (err == 0) {
        err = make(fd, path, &file.identity, &party);
        if (err == 0) {
            party->next = parties.first;
            parties.first = party;
        }
    }
    if (err == 0) {
        *out = party;
    }
    return err;
}

shx_err
shx_party_join(int fd, const char *path, shx_party **out)
{
    shx_err err = shx_os_check_locality(fd);
    if (err != 0) {
        return err;
    }
    shx_mutex_lock(&parties.mutex);
    notice_clone(); /* or it would forget the new one, too */
    err = join_locked(fd, path, out);
    shx_mutex_unlock(&parties.mutex);
    return err;
}

static void
unlink_locked(shx_party *party)
{
    shx_party **link = &parties.first;
    while (*link != party) {
        link = &(*link)->next;
    }
    *link = party->next;
}

static void
close_locked(shx_party *party)
{
    notice_clone(); /* its parent's anchor is not there */
    if (party->ours.hold != NULL) {
        shx_os_let_go(party->ours.hold);
    }
    if (shx_party_owns(party, party->fd)) {
        shx_os_close(party->fd);
    }
}

void
shx_party_leave(shx_party *party)
{
    shx_mutex_lock(&parties.mutex);
    bool last = --party->uses == 0;
    if (last) {
        unlink_locked(party);
        close_locked(party);
    }
    shx_mutex_unlock(&parties.mutex);
    if (last) {
        dispose(party);
    }
}

void
shx_party_end(const shx_identity *identity)
{
    shx_mutex_lock(&parties.mutex);
    shx_party *party = find_locked(identity);
    if (party != NULL) {
        party->uses--;
        party->over = true;
        close_locked(party);
        party->ours.hold = NULL;
        party->fd = -1;
    }
    shx_mutex_unlock(&parties.mutex);
}

void
shx_party_bequeath(shx_party *party, shx_bequest *bequest)
{
    shx_mutex_lock(&parties.mutex);
    bequest->next = party->bequests;
    party->bequests = bequest;
    shx_mutex_unlock(&parties.mutex);
}

void
shx_party_disinherit(shx_party *party, shx_bequest *bequest)
{
    shx_mutex_lock(&parties.mutex);
    shx_bequest **link = &party->bequests;
    while (*link != bequest) {
        link = &(*link)->next;
    }
    *link = bequest->next;
    shx_mutex_unlock(&parties.mutex);
}

bool
shx_party_is_dead(shx_party *party, uint32_t token)
{
    if (token == 0 || token == atomic_load(&party->token)) {
        return false;
    }
    shx_mutex_lock(&parties.mutex);
    bool dead = shx_party_prove_death(party, token);
    shx_mutex_unlock(&parties.mutex);
    return dead;
}

shx_err
shx_party_count(shx_party *party, unsigned *count)
{
    unsigned found = 0;
    uint32_t token = 0;
    shx_mutex_lock(&parties.mutex);
    shx_party_mend_fd(party);
    shx_err err = shx_party_owns(party, party->fd) ? 0 : ESTALE;
    while (err == 0 && token < SHX_TOKEN) {
        err = shx_os_next_token(party->fd, token + 1, &token);
        if (err != 0 || token == 0) {
            break;
        }
        found++;
    }
    shx_mutex_unlock(&parties.mutex);
    if (err == 0) {
        *count = found;
    }
    return err;
}

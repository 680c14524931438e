/* SPDX-License-Identifier: MIT */
#include "core/life/party.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDONLY */
#include <stdlib.h> /* calloc, free */
#include <string.h> /* memcpy, strlen */

static struct {
    shx_mutex mutex;
    bool watches_forks;
    shx_word *belt; /* in a page that forks wipe, or the next */
    shx_word braces;
    shx_party *first;
} parties = {.mutex = SHX_MUTEX};

static bool
owns(const shx_party *party, int fd)
{
    shx_file file;
    return shx_os_inspect(fd, &file) == 0 &&
           shx_same_file(&file.identity, &party->identity);
}

/* The very file, opened anew: by the descriptor that is kept, or by its path.
 * What either stands for may have become another file's, of which some block
 * who opens them, and some do something: so it is looked at before and after.
 * EBADF, ESTALE: the descriptor is another's. */
static shx_err
open_anew(const shx_party *party, int *out)
{
    int fd;
    shx_err err = EBADF;
    if (owns(party, party->fd)) {
        err = shx_os_reopen(party->fd, O_RDONLY | O_NONBLOCK, &fd);
    }
    if (err != 0 && party->path != NULL &&
        shx_os_open_path(party->path, O_RDONLY, &fd) == 0) {
        err = 0;
    }
    if (err == 0 && !owns(party, fd)) {
        shx_os_close(fd);
        err = ESTALE;
    }
    if (err == 0) {
        *out = fd;
    }
    return err;
}

/* A program that has closed every descriptor, ours too. */
static void
mend_fd(shx_party *party)
{
    int fd;
    if (!party->over && !owns(party, party->fd) &&
        open_anew(party, &fd) == 0) {
        party->fd = fd;
    }
}

/* Numbers that nobody living has: 0 is none. */
static shx_err
draw(int fd, shx_member *out)
{
    enum { DRAWS = 8 };
    shx_err err = EAGAIN;
    for (int draws = 0; err == EAGAIN && draws < DRAWS; draws++) {
        err = shx_os_random(out, sizeof *out);
        out->token &= SHX_TOKEN;
        if (err == 0) {
            err =
                out->token == 0 ? EAGAIN : shx_os_claim_token(fd, out->token);
        }
    }
    return err == EAGAIN ? EBUSY : err;
}

/* Has somebody this token, as far as this descriptor can say, which may come
 * to mean another file at any moment? An error: it cannot. */
static shx_err
look(const shx_party *party, int fd, uint32_t token, bool *claimed)
{
    if (!owns(party, fd)) {
        return ESTALE;
    }
    shx_err err = shx_os_find_token(fd, token, claimed);
    return err == 0 && !owns(party, fd) ? ESTALE : err;
}

/* The number of the descriptor may have been given to another file while it
 * was used: then nobody could see that we live. So it is looked at from
 * without, when nothing but the mapping keeps the token any more. */
static shx_err
cast(shx_party *party, shx_anchor *out)
{
    int fd;
    bool claimed = false;
    shx_anchor made = {.hold = NULL};
    mend_fd(party);
    shx_err err = open_anew(party, &fd);
    if (err != 0) {
        return err;
    }
    err = draw(fd, &made.who);
    if (err == 0) {
        err = shx_os_hold(fd, &made.hold);
    }
    shx_os_close(fd);
    if (err == 0) {
        err = look(party, party->fd, made.who.token, &claimed);
    }
    if (err == 0 && !claimed) {
        err = ESTALE;
    }
    if (err == 0) {
        *out = made;
    }
    else if (made.hold != NULL) {
        shx_os_let_go(made.hold);
    }
    return err;
}

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
    shx_err err = cast(party, &made);
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
before_fork(void)
{
    shx_mutex_lock(&parties.mutex);
    for (shx_party *party = parties.first; party != NULL;
         party = party->next) {
        party->child = (shx_anchor){.hold = NULL};
        if (atomic_load(&party->token) != 0 && !party->over) {
            (void)cast(party, &party->child);
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
        if (party->fd != fd) { /* see mend_fd() */
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
    if (!shx_os_has_local_locks(fd)) {
        return SHX_NOT_LOCAL;
    }
    shx_mutex_lock(&parties.mutex);
    notice_clone(); /* or it would forget the new one, too */
    shx_err err = join_locked(fd, path, out);
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
    if (owns(party, party->fd)) {
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

static bool
is_free(const shx_party *party, int fd, uint32_t token)
{
    bool claimed = true;
    return look(party, fd, token, &claimed) == 0 && !claimed;
}

static bool
is_dead_locked(shx_party *party, uint32_t token)
{
    static const struct timespec moment = {.tv_nsec = 1000000};
    int fd;
    mend_fd(party);
    if (party->over || !is_free(party, party->fd, token)) {
        return false;
    }
    shx_err err = open_anew(party, &fd);
    if (err == 0) {
        bool dead = is_free(party, fd, token);
        shx_os_close(fd);
        return dead;
    }
    if (err == EBADF || err == ESTALE) {
        return false; /* somebody is at it: what was seen proves nothing */
    }
    (void)shx_os_pause(&moment);
    return is_free(party, party->fd, token);
}

bool
shx_party_is_dead(shx_party *party, uint32_t token)
{
    if (token == 0 || token == atomic_load(&party->token)) {
        return false;
    }
    shx_mutex_lock(&parties.mutex);
    bool dead = is_dead_locked(party, token);
    shx_mutex_unlock(&parties.mutex);
    return dead;
}

shx_err
shx_party_count(shx_party *party, unsigned *count)
{
    unsigned found = 0;
    uint32_t token = 0;
    shx_mutex_lock(&parties.mutex);
    mend_fd(party);
    shx_err err = owns(party, party->fd) ? 0 : ESTALE;
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

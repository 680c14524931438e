/* SPDX-License-Identifier: MIT */
#include "core/life/users.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDWR */
#include <stdlib.h> /* calloc, free */
#include <string.h> /* memcpy, strlen */

#include "core/life/party.h"

/* The mappings of this process, by inode. The mutex is held over fork(), so
 * that a child finds what it inherits in order, and that nobody shares what is
 * opened while the process goes from all of them. */
enum { BUCKETS = 64 };

static struct {
    shx_mutex mutex;
    bool watches_forks;
    shx_user *buckets[BUCKETS];
} users = {.mutex = SHX_MUTEX};

static void
lock(void)
{
    shx_mutex_lock(&users.mutex);
}

static void
unlock(void)
{
    shx_mutex_unlock(&users.mutex);
}

static bool
is_same(shx_err err, const shx_file *file, const shx_identity *identity)
{
    return err == 0 && file->regular && (file->mode & SHX_MODE_USERS) != 0 &&
           shx_same_file(&file->identity, identity);
}

enum { TRIES = 8 };

/* Who opens the file for a moment, to look or to leave too, is not told from
 * the standard library's users, but is gone a moment later. */
static void
pause_for(unsigned tries)
{
    const struct timespec moment = {.tv_nsec = 20000L
                                               << (tries < 6 ? tries : 6)};
    (void)shx_os_pause(&moment);
}

/* Where nobody can be asked, the name goes: others keep the memory. */
static shx_err
ask_for_others(int fd)
{
    shx_err err = shx_os_is_idle(fd);
    for (unsigned tries = 0; err == EAGAIN && tries < TRIES; tries++) {
        pause_for(tries);
        err = shx_os_is_idle(fd);
    }
    return err == SHX_NO_LEASES ? 0 : err;
}

/* With the lock: what the name stands for cannot have got another user. */
static shx_err
remove_if_idle(int names, const char *name, int fd,
               const shx_identity *identity, bool dry)
{
    shx_file file;
    shx_err err = shx_os_inspect_in(names, name, &file);
    if (err == 0 && !is_same(err, &file, identity)) {
        err = SHX_REPLACED;
    }
    if (err == 0) {
        err = ask_for_others(fd);
    }
    return err == 0 && !dry ? shx_os_remove_in(names, name) : err;
}

/* *passing: who is in the way has it alone, or had, and so for a moment. */
static shx_err
remove_open(int names, const char *name, int fd, const shx_identity *identity,
            bool dry, bool *passing)
{
    shx_file file;
    shx_err err = shx_os_inspect(fd, &file);
    if (!is_same(err, &file, identity)) {
        return err == 0 ? SHX_REPLACED : err;
    }
    err = shx_os_use(fd, SHX_LOCK_ALONE, false);
    if (err != 0) {
        *passing = err == EAGAIN && shx_os_used(fd) != SHX_LOCK_SHARED;
        return err;
    }
    err = remove_if_idle(names, name, fd, identity, dry);
    (void)shx_os_use(fd, SHX_LOCK_NONE, false); /* a mapping may keep it */
    return err;
}

static shx_err
open_and_remove(int names, const char *name, const shx_identity *identity,
                bool dry, bool *passing)
{
    int fd;
    shx_err err = shx_os_open_in(names, name, O_RDWR, &fd);
    if (err != 0) {
        *passing = err == EAGAIN;
        return err == ELOOP ? SHX_REPLACED : err;
    }
    err = remove_open(names, name, fd, identity, dry, passing);
    shx_os_close(fd);
    return err;
}

shx_err
shx_users_remove(int names, const char *name, const shx_identity *identity,
                 bool dry)
{
    bool passing;
    return open_and_remove(names, name, identity, dry, &passing);
}

/* A child that was forked meanwhile would have the file open for good, and be
 * taken for a user by who leaves later. */
static shx_err
leave_once(int names, const char *name, const shx_identity *identity,
           bool *passing)
{
    *passing = false;
    shx_err err = shx_os_put_off_forks();
    if (err == 0) {
        err = open_and_remove(names, name, identity, false, passing);
        shx_os_let_forks();
    }
    return err;
}

/* Somebody who is about to leave, or only looks, has the lock alone: he may
 * find that it is not for him to remove the name. */
static shx_err
leave(int names, const char *name, const shx_identity *identity)
{
    bool passing;
    shx_err err = leave_once(names, name, identity, &passing);
    for (unsigned tries = 0; passing && tries < TRIES; tries++) {
        pause_for(tries);
        err = leave_once(names, name, identity, &passing);
    }
    return err;
}

shx_err
shx_users_leave(const char *name, const shx_identity *identity)
{
    int names;
    shx_err err = shx_os_open_directory(shx_os_directory, &names);
    if (err == 0) {
        err = leave(names, name, identity);
        shx_os_close(names);
    }
    return err;
}

shx_err
shx_user_new(const char *name, shx_user **out)
{
    size_t length = strlen(name);
    shx_user *user = NULL;
    shx_err err = 0;
    if (length >= sizeof user->name) {
        return ENAMETOOLONG;
    }
    user = calloc(1, sizeof *user);
    if (user == NULL) {
        return ENOMEM;
    }
    memcpy(user->name, name, length);
    lock();
    if (!users.watches_forks) {
        err = shx_os_at_fork(lock, unlock, unlock);
        users.watches_forks = err == 0;
    }
    unlock();
    if (err != 0) {
        free(user);
        return err;
    }
    *out = user;
    return 0;
}

static shx_user **
bucket_of(const shx_identity *identity)
{
    return &users.buckets[identity->inode % BUCKETS];
}

static void
insert(shx_user *user, shx_user **head)
{
    user->next = *head;
    user->link = head;
    if (user->next != NULL) {
        user->next->link = &user->next;
    }
    *head = user;
}

static void
take_out(shx_user *user)
{
    if (user->link != NULL) {
        *user->link = user->next;
        if (user->next != NULL) {
            user->next->link = user->link;
        }
        user->link = NULL;
    }
}

void
shx_user_enter(shx_user *user, const shx_identity *identity, void *address,
               size_t size)
{
    user->identity = *identity;
    user->address = address;
    user->size = size;
    lock();
    insert(user, bucket_of(identity));
    unlock();
}

void
shx_user_forget(shx_user *user)
{
    lock();
    take_out(user);
    unlock();
}

bool
shx_user_leave(shx_user *user)
{
    bool over = user->gone || user->address == NULL;
    if (!over) {
        shx_err err = shx_users_leave(user->name, &user->identity);
        over = err == 0 || err == ENOENT || err == SHX_REPLACED;
    }
    free(user);
    return over;
}

/* A private mapping keeps the file open until the process is gone, and who
 * leaves in between takes it for a user. What is small is copied. */
static void
replace(const shx_user *user, int fd)
{
    enum { SMALL = 4 << 20 };
    if (user->size > SMALL ||
        shx_os_put_copy(user->address, user->size) != 0) {
        (void)shx_os_remap(fd, user->address, user->size, false);
    }
}

/* Takes all mappings of one segment out of their bucket, and puts others in
 * their place: what they held goes with them. */
static void
replace_all(shx_user **head, const shx_identity *identity, int fd)
{
    shx_user *next = *head;
    while (next != NULL) {
        shx_user *user = next;
        next = user->next;
        if (shx_same_file(&user->identity, identity)) {
            take_out(user);
            user->gone = true;
            if (fd >= 0) {
                replace(user, fd);
            }
        }
    }
}

/* The first of the bucket, and all others of the same segment. False: the name
 * is another's, or is not for us to open, and nothing has to be done: what we
 * share goes with the process. */
static bool
replace_first(shx_user **head, const shx_user *user)
{
    int fd = -1;
    shx_file file;
    shx_err err = shx_os_open(user->name, O_RDWR, &fd);
    if (err == 0 &&
        !is_same(shx_os_inspect(fd, &file), &file, &user->identity)) {
        shx_os_close(fd);
        fd = -1;
    }
    replace_all(head, &user->identity, fd);
    if (fd >= 0) {
        shx_os_close(fd);
    }
    return fd >= 0;
}

/* What it owns there others find dead from now on, and nothing that is still
 * running here writes to it any more. Without the mutex: a fork may have
 * taken the parties' before it waits for ours. */
static void
leave_first(int names, shx_user **head)
{
    const shx_user user = **head; /* it may be freed as soon as it is out */
    bool ours = replace_first(head, &user);
    unlock();
    if (ours) {
        shx_party_end(&user.identity);
        (void)leave(names, user.name, &user.identity);
    }
    lock();
}

void
shx_users_leave_all(void)
{
    int names = -1;
    lock();
    for (size_t i = 0; i < BUCKETS; i++) {
        while (users.buckets[i] != NULL) {
            if (names < 0 &&
                shx_os_open_directory(shx_os_directory, &names) != 0) {
                break;
            }
            leave_first(names, &users.buckets[i]);
        }
    }
    unlock();
    if (names >= 0) {
        shx_os_close(names);
    }
}

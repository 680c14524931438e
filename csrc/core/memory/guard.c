/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE

#include "core/memory/guard.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h> /* uintptr_t */
#include <string.h> /* memcpy, strncmp, strnlen */

#include "core/os/os.h"

/* A signal has one handler in a process, so this is the process's. */
static struct {
    shx_mutex mutex;
    _Atomic uint64_t looked; /* the tick of the last glance */
    shx_guard *root;
    shx_guard *untold;
    size_t page;
    bool (*notify)(void);
    atomic_flag notifying;
    atomic_bool missed; /* somebody is not told of a tear yet */
    atomic_bool installed;
} guards = {.mutex = SHX_MUTEX, .notifying = ATOMIC_FLAG_INIT};

/* The most that is replaced at once: each page of it costs a microsecond. */
static const size_t MOST = 64u << 20;

static void
lock(void)
{
    shx_mutex_lock(&guards.mutex);
}

static void
unlock(void)
{
    shx_mutex_unlock(&guards.mutex);
}

/* The thread that was notifying, if there was one, is not here. */
static void
unlock_in_child(void)
{
    atomic_flag_clear(&guards.notifying);
    unlock();
}

/* All that is guarded is in a search tree by address. It is a treap: what is
 * on top is decided by numbers that are as good as random, and so it is never
 * much deeper than it must be. */
static uint64_t
rank(const shx_guard *guard)
{
    uint64_t mixed = (uintptr_t)guard->address * UINT64_C(0x9e3779b97f4a7c15);
    return mixed ^ mixed >> 32;
}

static shx_guard **
side(shx_guard *guard, const char *address)
{
    return address < guard->address ? &guard->left : &guard->right;
}

static void
insert(shx_guard *guard)
{
    shx_guard **link = &guards.root;
    while (*link != NULL && rank(*link) > rank(guard)) {
        link = side(*link, guard->address);
    }
    /* What was there goes below, cut in two. */
    shx_guard *rest = *link, **left = &guard->left, **right = &guard->right;
    *link = guard;
    while (rest != NULL) {
        if (rest->address < guard->address) {
            *left = rest;
            left = &rest->right;
            rest = rest->right;
        }
        else {
            *right = rest;
            right = &rest->left;
            rest = rest->left;
        }
    }
    *left = *right = NULL;
}

static void
take_out(shx_guard *guard)
{
    shx_guard **link = &guards.root;
    while (*link != guard) {
        link = side(*link, guard->address);
    }
    shx_guard *left = guard->left, *right = guard->right;
    while (left != NULL && right != NULL) {
        if (rank(left) > rank(right)) {
            *link = left;
            link = &left->right;
            left = left->right;
        }
        else {
            *link = right;
            link = &right->left;
            right = right->left;
        }
    }
    *link = left != NULL ? left : right;
}

static shx_guard *
find(const char *touched)
{
    shx_guard *guard = guards.root;
    while (guard != NULL && (touched < guard->address ||
                             touched >= guard->address + guard->size)) {
        guard = *side(guard, touched);
    }
    return guard;
}

/* How much is lost around a lost page, as far as this touch may go: onwards,
 * and back if that ends soon. *page becomes where it begins. (A file that is
 * lengthened again between this and the replacement is lost here all the same,
 * as it would have been a moment ago.) */
static size_t
lost_around(const shx_guard *guard, char **page)
{
    const char *end = guard->address + guard->size;
    size_t size = guards.page, most = MOST;
    if (guard->tears < 14 && guards.page << guard->tears < MOST) {
        most = guards.page << guard->tears;
    }
    while (size < most && *page + size < end &&
           shx_os_probe(*page + size) == EFAULT) {
        size += guards.page;
    }
    while (size < most && guard->address < *page &&
           shx_os_probe(*page - guards.page) == EFAULT) {
        *page -= guards.page;
        size += guards.page;
    }
    return size;
}

/* Another thread may have been faster, or the page is there again: then there
 * is nothing to do. One that can be read but not written has bytes, which it
 * keeps: there are file systems that write elsewhere what changes, and are
 * full. */
static bool
mend_page(shx_guard *guard, char *page)
{
    shx_err err = shx_os_populate(page, 1, guard->writable);
    if (err == 0 || err == EINTR) {
        return true;
    }
    bool readable = shx_os_probe(page) == 0;
    if (readable && !guard->writable) {
        return true;
    }
    if (!readable || shx_os_put_copy(page, guards.page) != 0) {
        char *from = page;
        size_t size = readable ? guards.page : lost_around(guard, &from);
        err = shx_os_put_zeros(from, size, guard->writable);
        if (err != 0) {
            err = shx_os_put_zeros(page, guards.page, guard->writable);
        }
        if (err != 0) {
            return false;
        }
    }
    if (guard->tears++ == 0) {
        guard->untold = guards.untold;
        guards.untold = guard;
    }
    return true;
}

/* One thread at a time: what it calls may wait for a lock, and then never for
 * a thread that is here. Who comes meanwhile leaves it to the next tear. */
static void
notify(void)
{
    if (atomic_flag_test_and_set(&guards.notifying)) {
        atomic_store(&guards.missed, true);
        return;
    }
    atomic_store(&guards.missed, false);
    if (!guards.notify()) {
        atomic_store(&guards.missed, true);
    }
    atomic_flag_clear(&guards.notifying);
}

/* In the handler. */
static bool
mend(void *touched)
{
    bool mended = false, first = false;
    lock();
    shx_guard *guard = find(touched);
    if (guard != NULL) {
        bool whole = guard->tears == 0;
        char *page = (char *)touched - (uintptr_t)touched % guards.page;
        mended = mend_page(guard, page);
        first = whole && guard->tears != 0;
    }
    unlock();
    if (mended && (first || atomic_load(&guards.missed))) {
        notify();
    }
    return mended;
}

shx_err
shx_guard_install(bool (*call)(void))
{
    shx_err err = 0;
    lock();
    if (!atomic_load(&guards.installed)) {
        guards.notify = call;
        guards.page = shx_os_page_size();
        err = shx_os_catch_faults(mend);
        if (err == 0) {
            err = shx_os_at_fork(lock, unlock, unlock_in_child);
        }
        atomic_store(&guards.installed, err == 0);
    }
    unlock();
    return err;
}

void
shx_guard_look(void)
{
    if (shx_os_catches_faults() || !atomic_load(&guards.installed)) {
        return;
    }
    lock();
    (void)shx_os_catch_faults(mend);
    unlock();
}

void
shx_guard_glance(void)
{
    uint64_t now = shx_os_tick();
    if (atomic_load_explicit(&guards.looked, memory_order_relaxed) != now) {
        atomic_store_explicit(&guards.looked, now, memory_order_relaxed);
        shx_guard_look();
    }
}

void
shx_guard_add(shx_guard *guard, const char *name, void *address, size_t size,
              bool writable)
{
    *guard =
        (shx_guard){.address = address, .size = size, .writable = writable};
    memcpy(guard->name, name, strnlen(name, sizeof guard->name - 1));
    lock();
    insert(guard);
    unlock();
    shx_guard_look();
}

void
shx_guard_extend(shx_guard *guard, size_t size)
{
    lock();
    guard->size = size > guard->size ? size : guard->size;
    unlock();
    shx_guard_look();
}

void
shx_guard_remove(shx_guard *guard)
{
    lock();
    if (guard->address != NULL) {
        take_out(guard);
        guard->address = NULL;
    }
    shx_guard **link = &guards.untold;
    while (guard->tears != 0 && *link != NULL && *link != guard) {
        link = &(*link)->untold;
    }
    if (*link == guard) {
        *link = guard->untold;
    }
    unlock();
}

static bool
is_below(const shx_guard *top, const char *name)
{
    return top != NULL &&
           (strncmp(top->name, name, SHX_GUARD_NAME - 1) == 0 ||
            is_below(top->left, name) || is_below(top->right, name));
}

bool
shx_guard_knows(const char *name)
{
    lock();
    bool known = is_below(guards.root, name);
    unlock();
    return known;
}

bool
shx_guard_tell(char name[SHX_GUARD_NAME])
{
    lock();
    shx_guard *guard = guards.untold;
    if (guard != NULL) {
        guards.untold = guard->untold;
        memcpy(name, guard->name, SHX_GUARD_NAME);
    }
    unlock();
    return guard != NULL;
}

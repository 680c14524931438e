/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE

#include "core/memory/guard.h"

#include <errno.h>
#include <pthread.h>  /* the lock, pthread_atfork */
#include <signal.h>   /* sigaction, BUS_ADRERR */
#include <stdint.h>   /* uintptr_t */
#include <string.h>   /* memcpy, strncmp, strnlen */
#include <sys/mman.h> /* mmap: the page of zeros */

#include "core/os/os.h"

/* A signal has one handler in a process, so this is the process's. */
static struct {
    pthread_mutex_t mutex;
    shx_guard *list;
    struct sigaction previous;
    size_t page;
    void (*notify)(void);
    bool installed;
} guards = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void
lock(void)
{
    (void)pthread_mutex_lock(&guards.mutex);
}

static void
unlock(void)
{
    (void)pthread_mutex_unlock(&guards.mutex);
}

/* Puts zeros under the address if a guarded segment is there. *first: it was
 * whole until now. */
static bool
mend(char *touched, bool *first)
{
    bool mended = false;
    lock();
    shx_guard *guard = guards.list;
    while (guard != NULL && (touched < guard->address ||
                             touched >= guard->address + guard->size)) {
        guard = guard->next;
    }
    if (guard != NULL) {
        char *page = touched - (uintptr_t)touched % guards.page;
        mended =
            mmap(page, guards.page, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
        *first = mended && guard->tears == 0;
        guard->tears += mended;
    }
    unlock();
    return mended;
}

/* Not ours: to the handler that was there, or, without one, back to the
 * default, under which the same instruction faults again and ends us. */
static void
pass_on(int number, siginfo_t *info, void *context)
{
    if ((guards.previous.sa_flags & SA_SIGINFO) != 0) {
        guards.previous.sa_sigaction(number, info, context);
    }
    else if (guards.previous.sa_handler == SIG_DFL) {
        (void)sigaction(number, &guards.previous, NULL);
        if (info->si_code <= 0) {
            (void)raise(number); /* sent by a process: there is no again */
        }
    }
    else if (guards.previous.sa_handler != SIG_IGN) {
        guards.previous.sa_handler(number);
    }
}

static void
on_bus_error(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    bool first = false;
    if (info->si_code == BUS_ADRERR && mend(info->si_addr, &first)) {
        if (first) {
            guards.notify();
        }
    }
    else {
        pass_on(number, info, context);
    }
    errno = saved;
}

shx_err
shx_guard_install(void (*notify)(void))
{
    shx_err err = 0;
    lock();
    if (!guards.installed) {
        struct sigaction action = {.sa_sigaction = on_bus_error,
                                   .sa_flags =
                                       SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
        (void)sigemptyset(&action.sa_mask);
        guards.notify = notify;
        guards.page = shx_os_page_size();
        err = pthread_atfork(lock, unlock, unlock);
        if (err == 0 && sigaction(SIGBUS, &action, &guards.previous) != 0) {
            err = errno;
        }
        guards.installed = err == 0;
    }
    unlock();
    return err;
}

void
shx_guard_add(shx_guard *guard, const char *name, void *address, size_t size)
{
    *guard = (shx_guard){.address = address, .size = size};
    memcpy(guard->name, name, strnlen(name, sizeof guard->name - 1));
    lock();
    guard->next = guards.list;
    guard->self = &guards.list;
    if (guard->next != NULL) {
        guard->next->self = &guard->next;
    }
    guards.list = guard;
    unlock();
}

void
shx_guard_remove(shx_guard *guard)
{
    lock();
    if (guard->self != NULL) {
        *guard->self = guard->next;
        if (guard->next != NULL) {
            guard->next->self = guard->self;
        }
        guard->self = NULL;
    }
    unlock();
}

unsigned
shx_guard_tears(const shx_guard *guard)
{
    lock();
    unsigned tears = guard->tears;
    unlock();
    return tears;
}

bool
shx_guard_knows(const char *name)
{
    lock();
    shx_guard *guard = guards.list;
    while (guard != NULL &&
           strncmp(guard->name, name, SHX_GUARD_NAME - 1) != 0) {
        guard = guard->next;
    }
    unlock();
    return guard != NULL;
}

bool
shx_guard_tell(char name[SHX_GUARD_NAME])
{
    lock();
    shx_guard *guard = guards.list;
    while (guard != NULL && (guard->tears == 0 || guard->told)) {
        guard = guard->next;
    }
    if (guard != NULL) {
        guard->told = true;
        memcpy(name, guard->name, SHX_GUARD_NAME);
    }
    unlock();
    return guard != NULL;
}

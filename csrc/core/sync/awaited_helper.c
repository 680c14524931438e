/* SPDX-License-Identifier: MIT */
#include "core/sync/awaited_helper.h"

#include <errno.h>
#include <stdlib.h>

void
shx_helper_take(shx_helper *self, const int *fds, size_t count)
{
    int *all = calloc(count + 1, sizeof *all);
    self->reads = true;
    self->process = shx_os_process();
    if (all == NULL || shx_os_hang_bell(&all[count]) != 0) {
        free(all);
        atomic_store(&self->useless, true);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        all[i] = fds[i];
    }
    self->fds = all;
    self->fd_count = count + 1;
}

static void *
help(void *context)
{
    static const struct timespec never = {INT32_MAX, 0};
    shx_helper *self = context;
    bool any;
    shx_err err = self->reads
                      ? shx_os_poll(self->fds, self->fd_count, true, &any)
                      : shx_os_wait_any(self->berths, self->count, &never);
    if (err == ENOTSUP || err == ENOMEM) {
        atomic_store(&self->useless, true);
    }
    shx_word *bell = self->bell;
    atomic_store(&self->rang, true);
    atomic_fetch_add(bell, 1);
    (void)shx_os_wake(bell, 1);
    return NULL;
}

/* In a child that was forked meanwhile the thread is its parent's, and so is
 * the bell: the parent would hear it for ever. */
static void
forget_parents(shx_helper *self)
{
    uint32_t process = shx_os_process();
    if (self->process == process) {
        return;
    }
    self->process = process;
    self->runs = false;
    if (self->fds != NULL) {
        int *bell = &self->fds[self->fd_count - 1];
        shx_os_close(*bell);
        *bell = -1;
        atomic_store(&self->useless, shx_os_hang_bell(bell) != 0);
    }
}

bool
shx_helper_is_idle(shx_helper *self)
{
    forget_parents(self);
    if (self->runs && atomic_load(&self->rang)) {
        shx_os_join_thread(&self->thread);
        self->runs = false;
    }
    return !self->runs;
}

bool
shx_helper_start(shx_helper *self, shx_word *bell)
{
    if (!shx_helper_is_idle(self)) {
        return true;
    }
    if (atomic_load(&self->useless)) {
        return false;
    }
    self->bell = bell;
    self->berths[0] = (shx_berth){&self->stop, 0};
    atomic_store(&self->rang, false);
    self->runs = shx_os_start_thread(help, self, &self->thread) == 0;
    return self->runs;
}

void
shx_helper_end(shx_helper *self)
{
    forget_parents(self);
    int bell = self->fds != NULL ? self->fds[self->fd_count - 1] : -1;
    if (self->runs) {
        atomic_store(&self->stop, 1);
        (void)shx_os_wake(&self->stop, 1);
        if (bell >= 0) {
            shx_os_ring_bell(bell);
        }
        shx_os_join_thread(&self->thread);
        self->runs = false;
    }
    if (bell >= 0) {
        shx_os_close(bell);
    }
    free(self->fds);
    self->fds = NULL;
}

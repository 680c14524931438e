/* SPDX-License-Identifier: MIT */
/* Linux: waiting, and for a name in /dev/shm: see inotify(7). */
#define _GNU_SOURCE

#include <errno.h>
#include <poll.h>   /* ppoll */
#include <string.h> /* strcmp */
#include <sys/inotify.h>
#include <unistd.h> /* read */

#include "core/os/os.h"

shx_err
shx_os_watch(int *watch)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0) {
        return errno;
    }
    /* IN_MODIFY: a name that is there already gets its size. */
    if (inotify_add_watch(fd, shx_os_directory,
                          IN_CREATE | IN_MOVED_TO | IN_MODIFY | IN_ONLYDIR) <
        0) {
        shx_err err = errno;
        shx_os_close(fd);
        return err;
    }
    *watch = fd;
    return 0;
}

void
shx_os_now(struct timespec *now)
{
    (void)clock_gettime(CLOCK_MONOTONIC, now);
}

uint64_t
shx_os_tick(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

shx_err
shx_os_pause(const struct timespec *length)
{
    return nanosleep(length, NULL) == 0 ? 0 : errno;
}

/* What is left until then; false if it is past. */
static bool
left_until(const struct timespec *end, struct timespec *left)
{
    struct timespec now;
    shx_os_now(&now);
    left->tv_sec = end->tv_sec - now.tv_sec;
    left->tv_nsec = end->tv_nsec - now.tv_nsec;
    if (left->tv_nsec < 0) {
        left->tv_nsec += 1000000000;
        left->tv_sec--;
    }
    return left->tv_sec >= 0;
}

/* Takes all events out. Is the name among them, or were some lost? */
static bool
happened(int watch, const char *name)
{
    _Alignas(struct inotify_event) char buffer[4096];
    bool found = false;
    ssize_t length;
    while ((length = read(watch, buffer, sizeof buffer)) > 0) {
        for (char *at = buffer; at < buffer + length;) {
            const struct inotify_event *event =
                (const struct inotify_event *)(const void *)at;
            found = found || (event->mask & IN_Q_OVERFLOW) != 0 ||
                    (event->len > 0 && strcmp(event->name, name) == 0);
            at += sizeof *event + event->len;
        }
    }
    return found;
}

shx_err
shx_os_await(int watch, const char *name, const struct timespec *end)
{
    const struct timespec moment = {0, 20000000};
    struct pollfd poll = {.fd = watch, .events = POLLIN};
    struct timespec left;
    do {
        if (!left_until(end, &left)) {
            return ETIMEDOUT;
        }
        if (watch < 0 && (left.tv_sec > 0 || left.tv_nsec > moment.tv_nsec)) {
            left = moment;
        }
        if (ppoll(&poll, 1, &left, NULL) < 0) {
            return errno;
        }
    } while (watch >= 0 && !happened(watch, name));
    return 0;
}

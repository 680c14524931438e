/* SPDX-License-Identifier: MIT */
/* The reaper: waits until a family is dead, removes what it owned, ends.
 *
 *     shmemext-reaper /dev/shm/.shmemext-<id>
 *
 * A program of its own, so that it is nobody's child, holds nothing that is
 * the application's, and survives the application's SIGKILL. It sleeps in
 * flock(2) and costs nothing until then. If it is killed itself, the next
 * create of the same user, or `python -m shmemext gc`, does its work.
 */
#define _GNU_SOURCE

#include <fcntl.h>    /* open, F_OFD_SETLK */
#include <signal.h>   /* sigprocmask */
#include <stdio.h>    /* snprintf */
#include <sys/stat.h> /* umask */
#include <unistd.h>   /* setsid, dup2, syscall */

#include "core/life/sweep.h"

/* close_range(2) by its number, which has been the same on every architecture
 * since 2019: musl, and glibc before 2.34, have no function of that name. */
enum { CLOSE_RANGE = 436 };

/* Ends every tie to whoever started us: terminal, pipes, files, directory. */
static int
detach(void)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)setsid();
    (void)umask(0077);
    int null = open("/dev/null", O_RDWR);
    if (chdir("/") != 0 || null < 0) {
        return -1;
    }
    for (int fd = 0; fd <= 2; fd++) {
        if (dup2(null, fd) < 0) {
            return -1;
        }
    }
    if (syscall(CLOSE_RANGE, 3u, ~0u, 0u) != 0) {
        for (int fd = (int)sysconf(_SC_OPEN_MAX) - 1; fd > 2; fd--) {
            (void)close(fd);
        }
    }
    return 0;
}

/* One reaper for each family. The descriptor stays open, and with it the
 * lock, until the process ends. */
static int
be_the_only_one(const char *directory)
{
    char path[SHX_FAMILY_PATH + sizeof SHX_FAMILY_REAPER];
    int length =
        snprintf(path, sizeof path, "%s/" SHX_FAMILY_REAPER, directory);
    if (length < 0 || (size_t)length >= sizeof path) {
        return -1;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -1;
    }
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &whole);
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        static const char usage[] =
            "usage: shmemext-reaper DIRECTORY\n"
            "Started by shmemext. Waits for the end of a process family and "
            "removes its\nshared memory.\n";
        return write(2, usage, sizeof usage - 1) < 0 ? 1 : 2;
    }
    if (detach() != 0 || be_the_only_one(argv[1]) != 0) {
        return 1;
    }
    static const shx_sweep_options quietly = {.dry_run = false};
    return shx_sweep_family(argv[1], true, &quietly) == 0 ? 0 : 1;
}

/* SPDX-License-Identifier: MIT */
/* The reaper: waits until a family is dead, removes what it owned, ends.
 * Before it goes to sleep, it sweeps what other dead families of its user have
 * left.
 *
 *     shmemext-reaper /dev/shm/.shmemext-2-<id>
 *     shmemext-reaper users:/dev/shm/.shmemext-2-<id>    see attendant.h
 *
 * A program of its own, so that it is nobody's child, holds nothing that is
 * the application's, and survives the application's SIGKILL. It waits for a
 * lock and costs nothing until then. If it is killed itself, the next reaper
 * of the same user, or `python -m shmemext gc`, does its work.
 */
#include <errno.h>  /* EAGAIN */
#include <fcntl.h>  /* O_RDWR, O_CREAT */
#include <string.h> /* strncmp */
#include <unistd.h> /* write */

#include "core/life/attendant.h"
#include "core/life/sweep.h"
#include "core/os/os.h"

/* One reaper for each family: as long as the descriptor is open. */
static shx_err
be_the_only_one(const char *path, int *lock)
{
    int directory, fd;
    shx_err err = shx_os_open_directory(path, &directory);
    if (err != 0) {
        return err;
    }
    err = shx_os_open_in(directory, SHX_FAMILY_REAPER, O_RDWR | O_CREAT, &fd);
    shx_os_close(directory);
    if (err == 0) {
        *lock = fd;
        err = shx_os_claim(fd, SHX_LOCK_ALONE, false);
    }
    return err;
}

/* A family may end before its reaper comes: then .lock has gone, but not the
 * directory, in which the reaper has just put a file. Its own lock shows there
 * as a living member's would, so it looks again without. */
static shx_err
reap(const char *path, int lock)
{
    shx_err err = shx_sweep_family(path, true, &shx_sweep_quietly);
    shx_os_close(lock);
    if (err == EAGAIN) {
        (void)shx_sweep_all(&shx_sweep_quietly);
    }
    return err;
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        static const char usage[] =
            "usage: shmemext-reaper [users:]DIRECTORY\n"
            "Started by shmemext. Waits for the end of a process family and "
            "removes its\nshared memory.\n";
        return write(2, usage, sizeof usage - 1) < 0 ? 1 : 2;
    }
    if (shx_os_detach() != 0) {
        return 1;
    }
    static const char mark[] = SHX_ATTENDANT_MARK;
    if (strncmp(argv[1], mark, sizeof mark - 1) == 0) {
        return shx_attendant_serve(argv[1] + sizeof mark - 1) == 0 ? 0 : 1;
    }
    int lock = -1;
    if (be_the_only_one(argv[1], &lock) != 0) {
        return 1;
    }
    (void)shx_sweep_all(&shx_sweep_quietly); /* so that no create has to */
    return reap(argv[1], lock) == 0 ? 0 : 1;
}

/* SPDX-License-Identifier: MIT */
/* Preloaded: stands before execve(), and takes its time there. Where the
 * environment has ABANDONED, the first of those that come by kills its parent
 * and stays, for longer than anybody waits.
 *
 *   executing_beside()  was a child waited for while one was there, by
 * somebody who shares its memory?
 */
#define _GNU_SOURCE
#include <dlfcn.h> /* dlsym, RTLD_NEXT */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h> /* getenv */
#include <sys/types.h>
#include <unistd.h> /* getppid, usleep, sleep */

typedef int executer(const char *, char *const *, char *const *);
typedef pid_t waiter(pid_t, int *, int);

static atomic_int passed, abandoned, beside;

int
executing_beside(void)
{
    return atomic_load(&beside);
}

int
execve(const char *path, char *const argv[], char *const env[])
{
    executer *real = (executer *)dlsym(RTLD_NEXT, "execve");
    if (getenv("ABANDONED") != NULL && atomic_exchange(&abandoned, 1) == 0) {
        (void)kill(getppid(), SIGKILL);
        (void)sleep(300);
    }
    (void)usleep(200000);
    atomic_store(&passed, 1);
    return real(path, argv, env);
}

pid_t
waitpid(pid_t child, int *status, int options)
{
    waiter *real = (waiter *)dlsym(RTLD_NEXT, "waitpid");
    if (!atomic_load(&passed)) {
        atomic_store(&beside, 1);
    }
    return real(child, status, options);
}

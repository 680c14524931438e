/* SPDX-License-Identifier: MIT */
/* Linux: the touch of a page that cannot be had is SIGBUS: who answers it, and
 * what is put in the page's place. All of it but shx_os_catch_faults() may be
 * called in a signal handler.
 *
 * A signal has one handler in a process. Who takes it after us keeps ours, to
 * call it or to put it back, and we find theirs and keep that: with one
 * handler of ours, each of both would pass a fault to the other for ever. So
 * there is an entry for each that was found, and none leads to itself:
 *
 *   found         default              A                    B
 *                    ^                 ^                    ^
 *   installed     entry 0 <-- has --  entry 1 <-- has --  entry 2 <-- SIGBUS
 *
 * Handlers that take the signal twice make circles all the same: a fault that
 * comes back a hundred times, or a signal that the process sends itself ten
 * thousand times, with nobody asking for memory in between, ends the process.
 *
 * Caveat: where the thread that touches the page has blocked SIGBUS, the
 * kernel calls no handler and ends the process.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <signal.h> /* sigaction, BUS_ADRERR */
#include <stdatomic.h>
#include <sys/mman.h> /* mmap, mremap, madvise */
#include <sys/uio.h>  /* process_vm_readv */
#include <unistd.h>   /* getpid */

#include "core/os/os.h"

enum { ENTRIES = 8, FAULTS = 100, RAISES = 10000 };

static const struct sigaction by_default = {.sa_handler = SIG_DFL};

/* What is found when entry k is installed does not change any more, so that a
 * handler reads it without a lock. */
static struct {
    struct sigaction found[ENTRIES];
    atomic_bool used[ENTRIES]; /* SA_RESETHAND: called, and not again */
    size_t count;
    _Atomic(shx_mender) mend;
    _Atomic(void *) last; /* where the last fault was that is not ours */
    atomic_int again;     /* how often it came back */
} faults;

/* Not from a touch: sent by a process, or told by the hardware beforehand. The
 * instruction is not run again, and it may be ignored. */
static bool
is_sent(const siginfo_t *info)
{
    return info->si_code <= 0 || info->si_code == BUS_MCEERR_AO;
}

static bool
goes_round(const siginfo_t *info)
{
    if (info->si_code <= 0 && info->si_pid != getpid()) {
        return false;
    }
    bool raised = info->si_code <= 0;
    void *where = raised ? NULL : info->si_addr;
    if (atomic_exchange(&faults.last, where) != where) {
        atomic_store(&faults.again, 0);
    }
    int enough = raised ? RAISES : FAULTS;
    return atomic_fetch_add(&faults.again, 1) >= enough;
}

/* The default, under which the same instruction faults again and ends us. */
static void
die(int number, const siginfo_t *info)
{
    (void)sigaction(number, &by_default, NULL);
    if (is_sent(info)) {
        (void)raise(number);
    }
}

/* To the handler that was there, as the kernel would have called it. What is
 * blocked meanwhile the kernel unblocks when ours returns. */
static void
pass_on(int entry, int number, siginfo_t *info, void *context)
{
    const struct sigaction *to = &faults.found[entry];
    bool ignored = to->sa_handler == SIG_IGN;
    if (ignored && is_sent(info)) {
        return;
    }
    if (ignored || to->sa_handler == SIG_DFL || goes_round(info) ||
        ((to->sa_flags & (int)SA_RESETHAND) != 0 &&
         atomic_exchange(&faults.used[entry], true))) {
        die(number, info);
        return;
    }
    sigset_t blocked = to->sa_mask;
    if ((to->sa_flags & SA_NODEFER) == 0) {
        (void)sigaddset(&blocked, number);
    }
    (void)pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    if ((to->sa_flags & SA_SIGINFO) != 0) {
        to->sa_sigaction(number, info, context);
    }
    else {
        to->sa_handler(number);
    }
}

static void
answer(int entry, int number, siginfo_t *info, void *context)
{
    int saved = errno;
    shx_mender mend = atomic_load(&faults.mend);
    if (info->si_code != BUS_ADRERR || !mend(info->si_addr)) {
        pass_on(entry, number, info, context);
    }
    errno = saved;
}

#define ENTRY(k)                                                              \
    static void entry_##k(int number, siginfo_t *info, void *context)         \
    {                                                                         \
        answer(k, number, info, context);                                     \
    }
ENTRY(0)
ENTRY(1)
ENTRY(2)
ENTRY(3)
ENTRY(4)
ENTRY(5)
ENTRY(6)
ENTRY(7)

static void (*const entries[ENTRIES])(int, siginfo_t *, void *) = {
    entry_0, entry_1, entry_2, entry_3, entry_4, entry_5, entry_6, entry_7,
};

static bool
is_ours(const struct sigaction *action)
{
    bool ours = false;
    for (int k = 0; k < ENTRIES && (action->sa_flags & SA_SIGINFO) != 0; k++) {
        ours = ours || action->sa_sigaction == entries[k];
    }
    return ours;
}

static bool
is_same(const struct sigaction *one, const struct sigaction *other)
{
    bool same = one->sa_handler == other->sa_handler &&
                one->sa_flags == other->sa_flags;
    for (int number = 1; number < NSIG && same; number++) {
        same = sigismember(&one->sa_mask, number) ==
               sigismember(&other->sa_mask, number);
    }
    return same;
}

/* The entry that passes on to a handler that was found. */
static shx_err
entry_for(const struct sigaction *found, size_t *entry)
{
    size_t k = 0;
    while (k < faults.count && !is_same(&faults.found[k], found)) {
        k++;
    }
    if (k == ENTRIES) {
        return ENOSPC;
    }
    if (k == faults.count) {
        faults.found[k] = *found;
        faults.count++;
    }
    atomic_store(&faults.used[k], false);
    *entry = k;
    return 0;
}

bool
shx_os_catches_faults(void)
{
    struct sigaction now;
    if (atomic_load_explicit(&faults.again, memory_order_relaxed) != 0) {
        atomic_store(&faults.again, 0);
    }
    return sigaction(SIGBUS, NULL, &now) == 0 && is_ours(&now);
}

/* Others may take the signal between the look and the change: then it is
 * theirs that was replaced, and that wants an entry. */
shx_err
shx_os_catch_faults(shx_mender mend)
{
    struct sigaction found, replaced;
    shx_err err = sigaction(SIGBUS, NULL, &found) == 0 ? 0 : errno;
    atomic_store(&faults.mend, mend);
    while (err == 0 && !is_ours(&found)) {
        size_t entry = 0;
        err = entry_for(&found, &entry);
        if (err != 0) {
            break;
        }
        /* What is ignored does not interrupt a system call. */
        int restart = found.sa_handler == SIG_IGN
                          ? SA_RESTART
                          : found.sa_flags & SA_RESTART;
        struct sigaction action = {.sa_sigaction = entries[entry],
                                   .sa_flags = SA_SIGINFO | SA_ONSTACK |
                                               SA_NODEFER | restart};
        (void)sigemptyset(&action.sa_mask);
        if (sigaction(SIGBUS, &action, &replaced) != 0) {
            err = errno;
        }
        else if (is_same(&replaced, &found)) {
            break;
        }
        found = replaced;
    }
    return err;
}

/* Instead of a touch: of a page that is lost, EFAULT. */
static shx_err
read_from(void *page, void *to, size_t size)
{
    const struct iovec local = {to, size}, remote = {page, size};
    ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    if (got < 0) {
        return errno;
    }
    return (size_t)got == size ? 0 : EFAULT;
}

shx_err
shx_os_probe(void *page)
{
    char byte;
    shx_err err = shx_os_populate(page, 1, false);
    return err == SHX_NO_POPULATE ? read_from(page, &byte, 1) : err;
}

shx_err
shx_os_put_zeros(void *page, size_t size, bool writable)
{
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    void *mapped = mmap(page, size, protection, flags, -1, 0);
    return mapped == MAP_FAILED ? errno : 0;
}

/* Made elsewhere and then moved, so that no thread sees it halfway. */
shx_err
shx_os_put_copy(void *page, size_t size)
{
    void *copy = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED) {
        return errno;
    }
    shx_err err = read_from(page, copy, size);
    if (err == 0 && mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
                           page) == MAP_FAILED) {
        err = errno;
    }
    if (err != 0) {
        (void)munmap(copy, size);
    }
    return err;
}

/* SPDX-License-Identifier: MIT */
/* Linux: sleeping on a word of shared memory, see futex(2). It is the page
 * that sleepers meet in, so any mapping of it will do, one for reading too. */
#define _GNU_SOURCE

#include <errno.h>
#include <sys/syscall.h> /* SYS_futex */
#include <unistd.h>      /* syscall */

#include "core/os/os.h"

/* linux/futex.h has these, which not every C library comes with. */
enum { FUTEX_WAKE = 1, FUTEX_CMP_REQUEUE = 4, FUTEX_WAIT_BITSET = 9 };
static const uint32_t any_bit = UINT32_MAX;

/* As the first of the system calls has it, whatever the C library's is. */
typedef struct {
    long seconds;
    long nanoseconds;
} system_time;

static long
futex(const shx_word *word, int what, uint32_t value, const void *time,
      const shx_word *other, uint32_t last)
{
    return syscall(SYS_futex, word, what, value, time, other, last);
}

shx_err
shx_os_wait(const shx_word *word, uint32_t seen, const struct timespec *until)
{
    system_time end = {(long)until->tv_sec, until->tv_nsec};
    long result = futex(word, FUTEX_WAIT_BITSET, seen, &end, NULL, any_bit);
    return result == 0 ? 0 : errno;
}

unsigned
shx_os_wake(const shx_word *word, unsigned count)
{
    uint32_t most = count < INT32_MAX ? count : INT32_MAX;
    long result = futex(word, FUTEX_WAKE, most, NULL, NULL, 0);
    return result < 0 ? 0 : (unsigned)result;
}

/* Of Linux 5.16: as <linux/futex.h> has it, which may be older. */
typedef struct {
    uint64_t seen;
    uint64_t word;
    uint32_t flags;
    uint32_t reserved;
} system_berth;

/* It takes 64 bits of seconds, whatever the machine is. */
typedef struct {
    int64_t seconds;
    int64_t nanoseconds;
} long_time;

#if defined(SYS_futex_waitv)
enum { WAITV = SYS_futex_waitv };
#elif defined(__x86_64__) || defined(__aarch64__) || defined(__riscv)
enum { WAITV = 449 };
#else
enum { WAITV = -1 }; /* no system has such a call */
#endif

/* A sandbox that does not know the call may forbid it by EPERM, which it never
 * says by itself. */
shx_err
shx_os_wait_any(const shx_berth *berths, size_t count,
                const struct timespec *until)
{
    enum { SIZE_32 = 2 };
    system_berth all[SHX_BERTHS];
    if (count > SHX_BERTHS) {
        return ENOTSUP;
    }
    for (size_t i = 0; i < count; i++) {
        all[i] = (system_berth){.seen = berths[i].seen,
                                .word = (uintptr_t)berths[i].word,
                                .flags = SIZE_32};
    }
    const long_time end = {until->tv_sec, until->tv_nsec};
    long result =
        syscall(WAITV, all, (unsigned)count, 0u, &end, CLOCK_MONOTONIC);
    if (result >= 0) {
        return 0;
    }
    return errno == ENOSYS || errno == EPERM ? ENOTSUP : errno;
}

shx_err
shx_os_requeue(const shx_word *from, uint32_t seen, const shx_word *onto,
               bool *moved)
{
    /* The number of those to be moved stands where a time would. */
    long result =
        syscall(SYS_futex, from, FUTEX_CMP_REQUEUE, 0, 1L, onto, seen);
    if (result < 0) {
        return errno;
    }
    *moved = result > 0;
    return 0;
}

void
shx_os_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

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

/* SPDX-License-Identifier: MIT */
/* The raw system calls of each work, with no Python near them: what is left
 * of a measurement when everything that can be saved has been saved.
 *
 * Reads lines "WORK COUNT SIZE WRITTEN NAME" and answers each with the
 * microseconds of one cycle. NAME is the segment; WRITTEN is 1 if its pages
 * are, as well: filled by who creates, read by who attaches.
 *
 *   create    shm_open, ftruncate, fstat, mmap, close; munmap, shm_unlink
 *   whole     the same, but reserved, and named only when it is complete
 *   attach    open, fstat, mmap, close; munmap
 *   both      create and attach
 *   keep      creates and fills what attach needs, and leaves it
 *   fill      a fresh segment is filled: the copy alone is timed
 *   refill    the same once more, its pages are there
 *   populate  fill, after MADV_POPULATE_WRITE, which is timed too
 *   get       reads 64 bits, in nanoseconds
 *   fresh     a hand-off to a waiting process: created, filled, attached
 *   reused    the same, in a segment that both have already
 *   place     the same, and filled already
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>  /* open, fallocate, linkat, O_TMPFILE */
#include <sched.h>  /* sched_setaffinity */
#include <signal.h> /* SIGKILL */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>  /* shm_open, mmap */
#include <sys/prctl.h> /* PR_SET_PDEATHSIG */
#include <sys/stat.h>  /* fstat */
#include <time.h>      /* clock_gettime */
#include <unistd.h>    /* ftruncate, unlink */

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { PAGE = 4096, NAME_SIZE = 256, PATH_SIZE = 300 };

typedef struct {
    char name[NAME_SIZE];
    char posix[PATH_SIZE]; /* for shm_open() */
    char path[PATH_SIZE];  /* for open() */
    size_t size;
    int written;
} segment;

static void
check(int good, const char *call)
{
    if (!good) {
        (void)fprintf(stderr, "floor: %s: %s\n", call, strerror(errno));
        exit(1);
    }
}

static double
microseconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* What segments are filled with: made before the clock starts. */
static const char *
source(size_t size)
{
    static char *data;
    static size_t length;
    if (length < size) {
        free(data);
        data = malloc(size);
        check(data != NULL, "malloc");
        (void)memset(data, 1, size);
        length = size;
    }
    return data;
}

static long
sum_of_pages(const char *memory, size_t size)
{
    long sum = memory[size - 1];
    for (size_t at = 0; at < size; at += PAGE) {
        sum += ((const volatile char *)memory)[at];
    }
    return sum;
}

static char *
mapped(int fd)
{
    struct stat status;
    check(fstat(fd, &status) == 0, "fstat");
    size_t size = (size_t)status.st_size;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(memory != MAP_FAILED, "mmap");
    (void)close(fd);
    return memory;
}

static char *
create(const segment *of)
{
    int fd = shm_open(of->posix, O_CREAT | O_EXCL | O_RDWR, 0600);
    check(fd >= 0, "shm_open");
    check(ftruncate(fd, (off_t)of->size) == 0, "ftruncate");
    return mapped(fd);
}

static char *
attach(const segment *of)
{
    int fd = open(of->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    check(fd >= 0, "open");
    return mapped(fd);
}

static void
fill(const segment *of, char *memory)
{
    (void)memcpy(memory, source(of->size), of->size);
}

/* Without CAP_DAC_READ_SEARCH, before Linux 6.10, the way is /proc. */
static void
publish(int fd, const char *path)
{
    if (linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0) {
        return;
    }
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    check(linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0,
          "linkat");
}

static char *
create_whole(const segment *of)
{
    int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    check(fd >= 0, "open");
    check(fallocate(fd, 0, 0, (off_t)of->size) == 0, "fallocate");
    publish(fd, of->path);
    return mapped(fd);
}

static void
drop(const segment *of, char *memory)
{
    (void)munmap(memory, of->size);
    check(shm_unlink(of->posix) == 0, "shm_unlink");
}

static void
cycle_create(const segment *of)
{
    char *memory = create(of);
    if (of->written) {
        fill(of, memory);
    }
    drop(of, memory);
}

static void
cycle_whole(const segment *of)
{
    char *memory = create_whole(of);
    if (of->written) {
        fill(of, memory);
    }
    drop(of, memory);
}

static void
cycle_attach(const segment *of)
{
    char *memory = attach(of);
    if (of->written) {
        (void)sum_of_pages(memory, of->size);
    }
    (void)munmap(memory, of->size);
}

static void
cycle_both(const segment *of)
{
    char *memory = create(of);
    if (of->written) {
        fill(of, memory);
    }
    cycle_attach(of);
    drop(of, memory);
}

static double
timed(void (*cycle)(const segment *), const segment *of, long count)
{
    (void)source(of->written ? of->size : 0);
    for (long done = 0; done < count / 5; done++) {
        cycle(of); /* what slept is awake again */
    }
    double start = microseconds();
    for (long done = 0; done < count; done++) {
        cycle(of);
    }
    return (microseconds() - start) / (double)count;
}

static double
filling(const segment *of, int twice, int populated)
{
    (void)source(of->size);
    char *memory = create(of);
    if (twice) {
        fill(of, memory);
    }
    double start = microseconds();
    if (populated) {
        check(madvise(memory, of->size, MADV_POPULATE_WRITE) == 0, "madvise");
    }
    fill(of, memory);
    double elapsed = microseconds() - start;
    drop(of, memory);
    return elapsed;
}

static double
getting(const segment *of, long count)
{
    char *memory = create(of);
    const volatile long *item = (const volatile long *)(void *)memory;
    double start = microseconds();
    for (long done = 0; done < count; done++) {
        (void)item[5];
    }
    double elapsed = microseconds() - start;
    drop(of, memory);
    return elapsed * 1e3 / (double)count;
}

/* The other process: attaches unless it has, reads, and answers. */
static void
work(int orders, int answers)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    segment of = {.size = 0}, order;
    char *memory = NULL;
    while (read(orders, &order, sizeof order) == sizeof order) {
        if (memory == NULL || strcmp(of.name, order.name) != 0) {
            of = order;
            memory = attach(&of);
        }
        long sum = sum_of_pages(memory, of.size);
        if (write(answers, &sum, sizeof sum) != sizeof sum) {
            break;
        }
        if (order.written) { /* a fresh one each time */
            (void)munmap(memory, of.size);
            memory = NULL;
        }
    }
    _exit(0);
}

static struct {
    int order, answer;
} worker = {-1, -1};

static void
start_worker(int cpu)
{
    int orders[2], answers[2];
    check(pipe(orders) == 0 && pipe(answers) == 0, "pipe");
    pid_t pid = fork();
    check(pid >= 0, "fork");
    if (pid == 0) {
        if (cpu >= 0) {
            cpu_set_t set;
            CPU_ZERO(&set);
            CPU_SET(cpu, &set);
            (void)sched_setaffinity(0, sizeof set, &set);
        }
        (void)close(orders[1]);
        work(orders[0], answers[1]);
    }
    (void)close(orders[0]);
    (void)close(answers[1]);
    worker.order = orders[1];
    worker.answer = answers[0];
}

static double
hand_over(const segment *at, const char *mode)
{
    static segment kept;
    static char *kept_memory;
    int fresh = strcmp(mode, "fresh") == 0;
    segment of = *at;
    of.written = fresh;
    const char *data = source(of.size);
    if (!fresh && (kept_memory == NULL || strcmp(kept.name, of.name) != 0)) {
        if (kept_memory != NULL) {
            drop(&kept, kept_memory);
        }
        kept = of;
        kept_memory = create(&kept);
        fill(&kept, kept_memory);
    }
    double start = microseconds();
    char *memory = fresh ? create(&of) : kept_memory;
    if (strcmp(mode, "place") != 0) {
        (void)memcpy(memory, data, of.size);
    }
    check(write(worker.order, &of, sizeof of) == sizeof of, "write");
    long sum = 0;
    check(read(worker.answer, &sum, sizeof sum) == sizeof sum, "read");
    double elapsed = microseconds() - start;
    check(sum == (long)((of.size + PAGE - 1) / PAGE) + 1, "sum");
    if (fresh) {
        drop(&of, memory);
    }
    return elapsed;
}

static double
handing(const segment *of, const char *mode, long count, int cpu)
{
    if (worker.order < 0) {
        start_worker(cpu);
    }
    double sum = 0;
    for (long done = 0; done < count; done++) {
        sum += hand_over(of, mode);
    }
    return sum / (double)count;
}

static double
run(const char *what, long count, const segment *of, int cpu)
{
    static const struct {
        const char *name;
        void (*cycle)(const segment *);
    } cycles[] = {
        {"create", cycle_create},
        {"whole", cycle_whole},
        {"attach", cycle_attach},
        {"both", cycle_both},
    };
    for (size_t i = 0; i < sizeof cycles / sizeof *cycles; i++) {
        if (strcmp(what, cycles[i].name) == 0) {
            return timed(cycles[i].cycle, of, count);
        }
    }
    if (strcmp(what, "keep") == 0) {
        fill(of, create(of));
        return 0;
    }
    if (strcmp(what, "get") == 0) {
        return getting(of, count);
    }
    if (strstr("fill refill populate", what) != NULL) {
        return filling(of, strcmp(what, "refill") == 0,
                       strcmp(what, "populate") == 0);
    }
    if (strstr("fresh reused place", what) != NULL) {
        return handing(of, what, count, cpu);
    }
    errno = EINVAL;
    check(0, what);
    return 0;
}

/* The argument, if there is one, is the CPU of the process that waits. */
int
main(int argc, char **argv)
{
    int cpu = argc > 1 ? atoi(argv[1]) : -1;
    char what[16];
    long count;
    segment of;
    while (scanf("%15s %ld %zu %d %255s", what, &count, &of.size, &of.written,
                 of.name) == 5) {
        (void)snprintf(of.posix, sizeof of.posix, "/%s", of.name);
        (void)snprintf(of.path, sizeof of.path, "/dev/shm/%s", of.name);
        (void)printf("%.4f\n", run(what, count, &of, cpu));
        (void)fflush(stdout);
    }
    return 0;
}

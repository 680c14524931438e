/* SPDX-License-Identifier: MIT */
/* The raw system calls of each work, with no Python near them: what is left
 * of a measurement when everything that can be saved has been saved.
 *
 * Reads lines "WORK COUNT NAME" and answers each with the microseconds of one
 * cycle. NAME is the segment to create, or to attach to.
 *
 *   bare     shm_open, ftruncate, fstat, mmap, close, munmap, shm_unlink
 *   whole    the same, but reserved, and named only when it is complete
 *   attach   open, fstat, mmap, close, munmap
 *   large    bare, of 64 MiB, filled with a copy of 64 MiB
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h> /* open, fallocate, linkat, O_TMPFILE */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h> /* shm_open, mmap */
#include <sys/stat.h> /* fstat */
#include <time.h>     /* clock_gettime */
#include <unistd.h>   /* ftruncate, unlink */

enum { SMALL = 4096, LARGE = 64 << 20, PATH_SIZE = 300 };

typedef struct {
    char posix[PATH_SIZE]; /* for shm_open() */
    char path[PATH_SIZE];  /* for open() */
} place;

static const char *source; /* what a large segment is filled with */

static void
check(int good, const char *call)
{
    if (!good) {
        (void)fprintf(stderr, "floor: %s: %s\n", call, strerror(errno));
        exit(1);
    }
}

static void *
mapped(int fd)
{
    struct stat status;
    check(fstat(fd, &status) == 0, "fstat");
    size_t size = (size_t)status.st_size;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(memory != MAP_FAILED, "mmap");
    return memory;
}

static void *
created(const place *at, size_t size)
{
    int fd = shm_open(at->posix, O_CREAT | O_EXCL | O_RDWR, 0600);
    check(fd >= 0, "shm_open");
    check(ftruncate(fd, (off_t)size) == 0, "ftruncate");
    void *memory = mapped(fd);
    (void)close(fd);
    return memory;
}

static void
bare(const place *at)
{
    void *memory = created(at, SMALL);
    (void)munmap(memory, SMALL);
    check(shm_unlink(at->posix) == 0, "shm_unlink");
}

static void
large(const place *at)
{
    void *memory = created(at, LARGE);
    (void)memcpy(memory, source, LARGE);
    (void)munmap(memory, LARGE);
    check(shm_unlink(at->posix) == 0, "shm_unlink");
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

static void
whole(const place *at)
{
    int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    check(fd >= 0, "open");
    struct stat status;
    check(fstat(fd, &status) == 0, "fstat");
    void *memory =
        mmap(NULL, SMALL, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(memory != MAP_FAILED, "mmap");
    check(fallocate(fd, 0, 0, SMALL) == 0, "fallocate");
    publish(fd, at->path);
    (void)close(fd);
    (void)munmap(memory, SMALL);
    check(unlink(at->path) == 0, "unlink");
}

static void
attach(const place *at)
{
    int fd = open(at->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    check(fd >= 0, "open");
    void *memory = mapped(fd);
    (void)close(fd);
    (void)munmap(memory, SMALL);
}

static const struct {
    const char *name;
    void (*cycle)(const place *);
} works[] = {
    {"bare", bare},
    {"whole", whole},
    {"attach", attach},
    {"large", large},
};

static double
microseconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void
run(const char *work, long count, const place *at)
{
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        if (strcmp(work, works[i].name) == 0) {
            for (long done = 0; done < count / 5; done++) {
                works[i].cycle(at); /* what slept is awake again */
            }
            double start = microseconds();
            for (long done = 0; done < count; done++) {
                works[i].cycle(at);
            }
            (void)printf("%.4f\n", (microseconds() - start) / (double)count);
            (void)fflush(stdout);
            return;
        }
    }
    errno = EINVAL;
    check(0, work);
}

int
main(void)
{
    char *filled = malloc(LARGE);
    check(filled != NULL, "malloc");
    (void)memset(filled, 1, LARGE);
    source = filled;

    char work[16], name[256];
    long count;
    while (scanf("%15s %ld %255s", work, &count, name) == 3) {
        place at;
        (void)snprintf(at.posix, sizeof at.posix, "/%s", name);
        (void)snprintf(at.path, sizeof at.path, "/dev/shm/%s", name);
        run(work, count, &at);
    }
    free(filled);
    return 0;
}

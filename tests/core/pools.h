/* SPDX-License-Identifier: MIT */
/* Pools that come and go, and messages about what lies in them, for programs
 * whose processes are killed. Each pool is two files that the first process
 * has open, as if it had given them names; others find them there. One that is
 * abandoned is closed, and then nobody finds it any more. */
#ifndef POOLS_H
#define POOLS_H

#include "pool.h"

enum { POOLS = 400, STORM_BLOCKS = 32, STORM_DATA = 128 * PAGE };

static const shx_pool_shape stormy = {.size = STORM_DATA,
                                      .blocks = STORM_BLOCKS};

/* Fewer bytes than a pipe writes in one piece. */
typedef struct {
    unsigned serial; /* of the pool */
    bool alone;      /* who receives it may write there */
    shx_pool_reference reference;
    uint64_t number; /* in each word of it */
} message;

/* What is known of pools by all. `control` and `data`: descriptors of the
 * first process; -1: closed. */
static struct {
    pid_t keeper;
    _Atomic unsigned made;
    struct {
        _Atomic int control, data;
        _Atomic bool gone; /* somebody has said that it is abandoned */
    } all[POOLS];
} * known;

typedef struct {
    bool attached;
    unsigned holds;
    memory control;
    unsigned char *data;
    int data_fd;
    shx_pool pool;
} attached_pool;

/* Of this process. */
static attached_pool attached[POOLS];

static inline bool
open_again(int fd, int *out)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)known->keeper,
                   fd);
    *out = fd < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
    return *out >= 0;
}

static inline void *
map_all_of(int fd, size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

/* False: its files are there no more, or are those of another one by now. */
static inline bool
open_files(unsigned serial, attached_pool *one)
{
    size_t size = control_size_of(&stormy);
    int fd;
    *one = (attached_pool){.data_fd = -1};
    if (!open_again(atomic_load(&known->all[serial].control), &fd)) {
        return false;
    }
    struct stat status;
    CHECK(fstat(fd, &status) == 0);
    if ((size_t)status.st_size == size) {
        const shx_pool_about *about = map_all_of(fd, size);
        if (atomic_load(&about->pair) == serial + 1 &&
            open_again(atomic_load(&known->all[serial].data), &one->data_fd)) {
            one->control =
                (memory){.bytes = (void *)(uintptr_t)about, .size = size};
            CHECK(shx_party_join(fd, NULL, &one->control.party) == 0);
            return true;
        }
        CHECK(munmap((void *)(uintptr_t)about, size) == 0);
    }
    CHECK(close(fd) == 0);
    return false;
}

static inline bool
attach(unsigned serial)
{
    attached_pool *one = &attached[serial];
    if (one->attached) {
        return true;
    }
    if (!open_files(serial, one)) {
        return false;
    }
    one->data = map_all_of(one->data_fd, STORM_DATA);
    CHECK(shx_pool_open(one->control.bytes, one->control.size, STORM_DATA,
                        one->control.party, &one->pool) == 0);
    one->attached = true;
    return true;
}

static inline void
detach(unsigned serial)
{
    attached_pool *one = &attached[serial];
    CHECK(one->attached && one->holds == 0);
    shx_pool_close(&one->pool);
    shx_party_leave(one->control.party);
    CHECK(munmap(one->control.bytes, one->control.size) == 0);
    CHECK(munmap(one->data, STORM_DATA) == 0);
    CHECK(close(one->data_fd) == 0);
    one->attached = false;
}

/* By the first process, for a new sender. */
static inline unsigned
make_pool(void)
{
    unsigned serial = atomic_fetch_add(&known->made, 1);
    size_t size = control_size_of(&stormy);
    int control, pages;
    CHECK(serial < POOLS);
    CHECK(shx_os_create_anonymous(&control) == 0);
    CHECK(shx_os_resize(control, size) == 0);
    CHECK(shx_os_create_anonymous(&pages) == 0);
    CHECK(shx_os_resize(pages, STORM_DATA) == 0);
    void *at = map_all_of(control, size);
    shx_pool_make(at, &stormy, serial + 1);
    CHECK(munmap(at, size) == 0);
    atomic_store(&known->all[serial].control, control);
    atomic_store(&known->all[serial].data, pages);
    return serial;
}

/* The same, of one that is abandoned: as if its names went. */
static inline void
forget_pool(unsigned serial)
{
    int control = atomic_exchange(&known->all[serial].control, -1);
    if (control >= 0) {
        CHECK(close(atomic_exchange(&known->all[serial].data, -1)) == 0);
        CHECK(close(control) == 0);
    }
}

static inline bool
is_known(unsigned serial)
{
    return atomic_load(&known->all[serial].control) >= 0;
}

/* What a process does with its pool number so and so. */

static inline shx_member
me_of(unsigned serial)
{
    return me_in(attached[serial].control.party);
}

/* Asked when nothing of it is held here: then it may go. */
static inline bool
ask_whether_abandoned(unsigned serial)
{
    shx_member me = me_of(serial);
    bool abandoned = shx_pool_is_abandoned(&attached[serial].pool, &me);
    if (abandoned) {
        atomic_store(&known->all[serial].gone, true);
    }
    return abandoned;
}

static inline void
drop_in(unsigned serial, const shx_hold *hold)
{
    shx_member me = me_of(serial);
    shx_pool_drop(&attached[serial].pool, &me, hold);
    CHECK(attached[serial].holds-- > 0);
}

static inline shx_err
claim_in(unsigned serial, const shx_pool_reference *reference, shx_hold *out)
{
    shx_member me = me_of(serial);
    shx_err err = shx_pool_claim(&attached[serial].pool, &me, reference, out);
    attached[serial].holds += err == 0;
    return err;
}

static inline uint64_t *
words_in(unsigned serial, uint64_t offset)
{
    return (uint64_t *)(void *)(attached[serial].data + offset);
}

static inline void
fill_words(uint64_t *words, uint64_t size, uint64_t number)
{
    for (uint64_t i = 0; i < size / sizeof *words; i++) {
        words[i] = number;
    }
}

static inline bool
are_words(const uint64_t *words, uint64_t size, uint64_t number)
{
    bool same = true;
    for (uint64_t i = 0; same && i < size / sizeof *words; i++) {
        same = words[i] == number;
    }
    return same;
}

#endif

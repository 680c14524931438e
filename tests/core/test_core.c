/* SPDX-License-Identifier: MIT */
/* The core from a plain C program, without Python: segments, files and
 * memory without a name, bulk copies, lists, and a list whose memory another
 * thread fills with rubbish meanwhile. */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>   /* O_RDWR, open */
#include <pthread.h> /* the thread that writes rubbish */
#include <sched.h>   /* sched_yield */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h> /* setrlimit */
#include <unistd.h>       /* rmdir */

#include "core/memory/anonymous_memory.h"
#include "core/memory/copy.h"
#include "core/error.h"
#include "core/name.h"
#include "core/list/list.h"
#include "core/memory/mapped_file.h"
#include "core/memory/segment.h"

#include "check.h"

/* The step at which the last attach ended. */
static shx_step step;

static shx_err
attach(const char *called, shx_segment *out)
{
    shx_attach request = {.name = called, .flags = O_RDWR};
    shx_err err = shx_segment_attach(&request, out);
    step = request.step;
    return err;
}

static void
test_names(void)
{
    const char *bare;
    CHECK(shx_name_bare("//a", &bare) == 0 && strcmp(bare, "a") == 0);
    CHECK(shx_name_bare("", &bare) == EINVAL);
    CHECK(shx_name_bare("/", &bare) == EINVAL);
    CHECK(shx_name_bare("a/b", &bare) == EINVAL);
    CHECK(shx_name_bare(".shmemext-x", &bare) == SHX_RESERVED);
    char *text = calloc(1, shx_os_name_max + 2);
    CHECK(text != NULL);
    memset(text, 'a', shx_os_name_max);
    CHECK(shx_name_bare(text, &bare) == 0);
    text[shx_os_name_max] = 'a';
    shx_err err = shx_name_bare(text, &bare); /* glibc 2.31 has the second */
    CHECK(err == ENAMETOOLONG || err == EINVAL);
    free(text);
}

static void
test_segment_is_shared_and_outlives_its_name(void)
{
    name called = name_of("segment");
    for (int reserve = 0; reserve < 2; reserve++) {
        shx_segment again;
        shx_segment made = create(called.text, 5000, reserve != 0);
        memcpy(made.address, "bytes", 6);
        CHECK(attach(called.text, &again) == 0);
        CHECK(again.size == 5000 && again.address != made.address);
        CHECK(again.identity.inode == made.identity.inode);
        CHECK(strcmp(again.address, "bytes") == 0);
        int fd;
        CHECK(shx_segment_open(called.text, &made.identity, O_RDWR, &fd) == 0);
        CHECK(shx_segment_owns_fd(&made.identity, fd));
        shx_os_close(fd);
        CHECK(shx_os_remove(called.text) == 0);
        CHECK(shx_os_remove(called.text) == ENOENT);
        CHECK(shx_segment_open(called.text, &made.identity, O_RDWR, &fd) ==
              SHX_GONE);
        ((char *)made.address)[4999] = 'x';
        CHECK(((char *)again.address)[4999] == 'x');
        shx_segment_detach(&made);
        shx_segment_detach(&again);
    }
}

/* What is beside it may be of a frame that somebody reads, where pages are
 * larger than the pieces of memory. */
static void
test_discard_spares_what_is_beside_it(void)
{
    name called = name_of("discard");
    const size_t page = shx_os_page_size();
    shx_segment made = create(called.text, 3 * page, true);
    char *bytes = made.address;
    for (size_t i = 0; i < 3 * page; i++) {
        bytes[i] = 'x';
    }
    shx_os_discard(bytes, page / 2);
    shx_os_discard(bytes + page - 1, 2);
    CHECK(bytes[0] == 'x' && bytes[page - 1] == 'x' && bytes[page] == 'x');
    shx_os_discard(bytes + 1, 2 * page);
    CHECK(bytes[1] == 'x' && bytes[page - 1] == 'x');
    CHECK(bytes[2 * page] == 'x' && bytes[3 * page - 1] == 'x');
    CHECK(shx_os_remove(called.text) == 0);
    shx_segment_detach(&made);
}

static void
test_segment_errors_leave_everything_as_it_was(void)
{
    name called = name_of("taken");
    shx_segment made = create(called.text, 64, true);
    shx_segment none = {.address = NULL};
    shx_create request = {
        .name = called.text, .size = 64, .mode = 0600, .draft = find_draft};
    CHECK(shx_segment_create(&request, &none) == EEXIST);
    CHECK(none.address == NULL && request.step == SHX_STEP_PUBLISH);
    CHECK(attach(called.text, &none) == 0);
    CHECK(none.identity.inode == made.identity.inode);
    shx_segment_detach(&none);
    CHECK(shx_os_remove(called.text) == 0);
    shx_segment_detach(&made);
    CHECK(attach(called.text, &none) == ENOENT);
    CHECK(step == SHX_STEP_OPEN);
    /* Where words have 32 bits, an address space may have room for any size.
     */
    struct rlimit before, limit;
    CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    limit = before;
    limit.rlim_cur = 1;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    CHECK(shx_segment_create(&request, &none) == ENOMEM);
    CHECK(request.step == SHX_STEP_MAP);
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
    CHECK(attach(called.text, &none) == ENOENT);
}

static void
test_unlink_spares_what_has_the_name_by_now(void)
{
    name called = name_of("reused");
    shx_segment first = create(called.text, 64, true);
    CHECK(shx_os_remove(called.text) == 0);
    CHECK(shx_segment_unlink(called.text, &first.identity) == ENOENT);
    shx_segment second = create(called.text, 64, true), found;
    CHECK(shx_segment_unlink(called.text, &first.identity) == SHX_REPLACED);
    CHECK(attach(called.text, &found) == 0);
    CHECK(shx_segment_unlink(called.text, &second.identity) == 0);
    CHECK(attach(called.text, &first) == ENOENT);
    shx_segment_detach(&first);
    shx_segment_detach(&second);
    shx_segment_detach(&found);
}

static void
test_segment_grows_and_others_refresh(void)
{
    name called = name_of("growing");
    shx_segment old = create(called.text, 5000, true), longer, again, same;
    const shx_space space = {.reserve = true};
    int fd;
    shx_file file;
    memcpy(old.address, "bytes", 6);
    CHECK(attach(called.text, &again) == 0);
    CHECK(shx_segment_open(called.text, &old.identity, O_RDWR, &fd) == 0);
    CHECK(shx_segment_grow(&old, fd, 50000, SHX_GROW_APART, &space, &longer) ==
          0);
    CHECK(longer.size == 50000 && strcmp(longer.address, "bytes") == 0);
    CHECK(shx_os_inspect(fd, &file) == 0);
    CHECK(file.size == 50000 && file.held >= 50000);
    /* Somebody else was faster and wanted more. */
    CHECK(shx_segment_grow(&again, fd, 6000, SHX_GROW_APART, &space, &same) ==
          0);
    CHECK(same.size == 50000);
    shx_segment_detach(&same);
    CHECK(shx_segment_refresh(&again, fd, SHX_GROW_APART, &same) == 0 &&
          same.size == 50000);
    shx_segment_detach(&same);
    CHECK(shx_segment_refresh(&longer, fd, SHX_GROW_APART, &same) == 0);
    CHECK(same.address == NULL);
    ((char *)longer.address)[49999] = 'x';
    ((char *)longer.address)[4999] = 'y';
    CHECK(((char *)old.address)[4999] == 'y');
    shx_os_close(fd);
    CHECK(shx_os_remove(called.text) == 0);
    shx_segment_detach(&old);
    shx_segment_detach(&again);
    shx_segment_detach(&longer);
}

enum { STEPS = 20000, STEP = 100, FOLLOWERS = 3 };

typedef struct {
    pthread_t thread;
    shx_segment first;
    int fd, place;
    size_t seen[STEPS + 1], count;
} follower;

/* Writes one byte near the end as soon as that is somewhere else. */
static void *
follow(void *context)
{
    follower *self = context;
    shx_segment last = self->first, now;
    while (last.size < (STEPS + 1) * STEP) {
        CHECK(shx_segment_refresh(&last, self->fd, SHX_GROW_APART, &now) == 0);
        if (now.address != NULL) {
            ((char *)now.address)[now.size - (size_t)self->place] = 'x';
            self->seen[self->count++] = now.size;
            if (last.address != self->first.address) {
                shx_segment_detach(&last);
            }
            last = now;
        }
    }
    return NULL;
}

/* On a disk too: see shx_os_settle(). */
static void
test_what_is_written_at_a_new_end_stays(void)
{
    static follower followers[FOLLOWERS];
    char files[] = "/tmp/shmemext-core-XXXXXX", path[64];
    CHECK(mkdtemp(files) != NULL);
    (void)snprintf(path, sizeof path, "%s/file", files);
    shx_file_request request = {
        .path = path, .directory = files, .size = STEP, .mode = 0600};
    const shx_space space = {.reserve = true};
    shx_segment made, longer;
    CHECK(shx_mapped_file_create(&request, &made) == 0);
    for (int i = 0; i < FOLLOWERS; i++) {
        follower *each = &followers[i];
        *each = (follower){.first = made, .place = i + 1};
        CHECK(shx_mapped_file_open(path, &made.identity, O_RDWR, &each->fd) ==
              0);
        CHECK(pthread_create(&each->thread, NULL, follow, each) == 0);
    }
    for (size_t size = STEP; size <= (STEPS + 1) * STEP; size += STEP) {
        int fd;
        CHECK(shx_mapped_file_open(path, &made.identity, O_RDWR, &fd) == 0);
        CHECK(shx_segment_grow(&made, fd, size, SHX_GROW_APART, &space,
                               &longer) == 0);
        shx_os_close(fd);
        shx_segment_detach(&longer);
    }
    CHECK(shx_mapped_file_attach(&request, &longer) == 0);
    for (int i = 0; i < FOLLOWERS; i++) {
        follower *each = &followers[i];
        CHECK(pthread_join(each->thread, NULL) == 0);
        for (size_t seen = 0; seen < each->count; seen++) {
            size_t at = each->seen[seen] - (size_t)each->place;
            CHECK(((char *)longer.address)[at] == 'x');
        }
        shx_os_close(each->fd);
    }
    CHECK(shx_os_remove_path(path) == 0);
    CHECK(rmdir(files) == 0);
}

static void
test_await_finds_what_is_there_and_gives_up(void)
{
    name called = name_of("awaited");
    shx_space space = {.reserve = true};
    shx_attach request = {.name = called.text, .flags = O_RDWR};
    shx_segment found;
    struct timespec end;
    shx_os_now(&end);
    CHECK(shx_segment_await(&request, &end, &space, &found) == ENOENT);
    shx_segment made = create(called.text, 100, true);
    CHECK(shx_segment_await(&request, &end, &space, &found) == 0);
    shx_segment_detach(&found);
    CHECK(shx_os_remove(called.text) == 0);
    shx_segment_detach(&made);
}

static void
test_anonymous_memory_and_its_seals(void)
{
    const shx_space space = {.reserve = true};
    shx_segment made, again, reader;
    int fd, handle;
    CHECK(shx_anonymous_memory_create(5000, &space, &made, &fd) == 0);
    CHECK(shx_os_resize(fd, 100) == EPERM);
    CHECK(shx_anonymous_memory_attach(fd, &again) == 0 && again.writable);
    CHECK(shx_anonymous_memory_seal(fd, &made, &reader) == EBUSY);
    ((char *)made.address)[0] = 'a';
    CHECK(((char *)again.address)[0] == 'a');
    shx_segment_detach(&again);
    CHECK(shx_anonymous_memory_share_readonly(fd, &handle) == 0);
    CHECK(shx_anonymous_memory_attach(handle, &again) == 0);
    CHECK(!again.writable);
    ((char *)made.address)[0] = 'b';
    CHECK(((char *)again.address)[0] == 'b');
    shx_segment_detach(&again);
    shx_os_close(handle);
    CHECK(!shx_anonymous_memory_is_sealed(fd));
    CHECK(shx_anonymous_memory_seal(fd, &made, &reader) == 0);
    CHECK(shx_anonymous_memory_is_sealed(fd) && !reader.writable);
    ((char *)made.address)[0] = 'c';
    CHECK(((char *)reader.address)[0] == 'b');
    shx_segment_detach(&made);
    shx_segment_detach(&reader);
    shx_os_close(fd);
}

static void
test_mapped_file_appears_whole(void)
{
    char directory[] = "/tmp/shmemext-core-XXXXXX", path[64];
    CHECK(mkdtemp(directory) != NULL);
    (void)snprintf(path, sizeof path, "%s/file", directory);
    shx_file_request request = {.path = path,
                                .directory = directory,
                                .size = 5000,
                                .mode = 0640,
                                .space = {.reserve = true, .durable = true}};
    shx_segment made, again;
    CHECK(shx_mapped_file_attach(&request, &made) == ENOENT);
    CHECK(shx_mapped_file_create(&request, &made) == 0);
    CHECK(shx_mapped_file_create(&request, &again) == EEXIST);
    request.size = 5001;
    CHECK(shx_mapped_file_attach(&request, &again) == SHX_TOO_SMALL);
    CHECK(request.found.size == 5000 && request.found.mode == 0640);
    request.size = 0;
    CHECK(shx_mapped_file_attach(&request, &again) == 0);
    ((char *)made.address)[4999] = 'x';
    CHECK(((char *)again.address)[4999] == 'x');
    int fd;
    CHECK(shx_mapped_file_open(path, &made.identity, O_RDWR, &fd) == 0);
    shx_os_close(fd);
    CHECK(shx_os_remove_path(path) == 0);
    CHECK(shx_mapped_file_open(path, &made.identity, O_RDWR, &fd) == SHX_GONE);
    request.path = directory;
    CHECK(shx_mapped_file_attach(&request, &again) == SHX_NOT_MEMORY);
    shx_segment_detach(&made);
    shx_segment_detach(&again);
    CHECK(rmdir(directory) == 0);
}

static int openings;

static shx_err
open_anonymous(void *context, int *fd)
{
    openings++;
    return shx_os_reopen(*(int *)context, O_RDWR, fd);
}

/* Every way of copying, around the borders of strips and pages. */
static void
test_copies_are_exact(void)
{
    enum { SIZE = 3 << 20 };
    const shx_space space = {.reserve = true};
    shx_segment made;
    shx_strips strips = {0};
    int fd;
    CHECK(shx_anonymous_memory_create(SIZE, &space, &made, &fd) == 0);
    shx_copying copy = {&made, &strips, open_anonymous, &fd};
    char *data = malloc(SIZE), *back = malloc(SIZE);
    CHECK(data != NULL && back != NULL);
    for (size_t i = 0; i < SIZE; i++) {
        data[i] = (char)(i * 7 + i / 4096);
    }
    for (int i = 1; i <= 6; i++) { /* the fifth makes the pages present */
        CHECK(shx_copy_in(&copy, 0, data, SIZE) == 0);
        CHECK(openings == (i < 4 ? i : 4));
    }
    CHECK(memcmp(made.address, data, SIZE) == 0);
    CHECK(shx_copy_out(&copy, 0, back, SIZE) == 0);
    CHECK(memcmp(back, data, SIZE) == 0);
    const size_t ends[] = {0, 1, 4095, 4096, 4097, 300000, SIZE - 1};
    for (size_t i = 0; i < 7; i++) {
        memset(back, 0, 10000);
        size_t size = SIZE - ends[i] < 10000 ? SIZE - ends[i] : 10000;
        CHECK(shx_copy_in(&copy, ends[i], data + 5, size) == 0);
        CHECK(shx_copy_out(&copy, ends[i], back, size) == 0);
        CHECK(memcmp(back, data + 5, size) == 0);
    }
    CHECK(shx_copy_in(&copy, SIZE, data, 0) == 0);
    /* Within the memory, forwards and backwards, as memmove() does. */
    memcpy(back, made.address, SIZE);
    memmove(back + 100, back, SIZE - 100);
    CHECK(shx_copy_in(&copy, 100, made.address, SIZE - 100) == 0);
    CHECK(memcmp(back, made.address, SIZE) == 0);
    CHECK(shx_copy_populate(&copy, &space) == 0);
    shx_segment_detach(&made);
    shx_os_close(fd);
    free(data);
    free(back);
}

static shx_value
text(shx_kind kind, const char *of, size_t length)
{
    shx_value value = {.kind = kind};
    value.text = of;
    value.length = value.characters = length;
    return value;
}

/* A list in memory of exactly its size. */
static char *
list_of(const shx_value *values, size_t count, size_t *size, shx_list *list)
{
    size_t data = 0, offset = 0;
    for (size_t i = 0; i < count; i++) {
        data += shx_value_slot(&values[i]);
    }
    CHECK(shx_list_size(count, data, size) == 0);
    char *memory = calloc(1, *size);
    CHECK(memory != NULL);
    shx_list_create(memory, count, data, list);
    for (size_t i = 0; i < count; i++) {
        shx_list_append(list, i, &offset, &values[i]);
    }
    CHECK(offset == data && shx_list_offset(list, count) == data);
    return memory;
}

static void
test_list_keeps_values(void)
{
    const shx_value values[] = {
        {.kind = SHX_INT, .integer = INT64_MIN},
        {.kind = SHX_FLOAT, .number = -0.5},
        {.kind = SHX_BOOL, .integer = 1},
        {.kind = SHX_NONE},
        text(SHX_BYTES, "a\0b\0\0", 5),
        text(SHX_STR, "12345678", 8),
    };
    enum { COUNT = sizeof values / sizeof values[0] };
    const char *formats[COUNT] = {"q",        "d",  "xxxxxxx?",
                                  "xxxxxx?x", "8s", "16s"};
    shx_list list, opened;
    shx_value value;
    size_t size, length;
    char format[SHX_FORMAT];
    char *memory = list_of(values, COUNT, &size, &list);
    CHECK(shx_list_open(memory, size, &opened) == 0);
    CHECK(opened.marks != 0);
    for (size_t i = 0; i < COUNT; i++) {
        length = shx_list_format(&opened, i, format);
        CHECK(length == strlen(formats[i]));
        CHECK(memcmp(format, formats[i], length) == 0);
        CHECK(shx_list_get(&opened, i, &value) == 0);
        CHECK(value.kind == values[i].kind);
    }
    CHECK(shx_list_get(&opened, 0, &value) == 0);
    CHECK(value.integer == INT64_MIN);
    CHECK(shx_list_get(&opened, 4, &value) == 0 && value.length == 5);
    CHECK(memcmp(value.text, "a\0b\0\0", 5) == 0);

    char *before = malloc(size);
    CHECK(before != NULL);
    memcpy(before, memory, size);
    value = text(SHX_STR, "123456789", 9);
    CHECK(shx_list_set(&opened, 0, &value) == SHX_TOO_LONG);
    CHECK(memcmp(before, memory, size) == 0);
    value = text(SHX_STR, "12345678", 8);
    CHECK(shx_list_set(&opened, 0, &value) == 0);
    CHECK(shx_list_get(&list, 0, &value) == 0 && value.kind == SHX_STR);
    CHECK(value.length == 8 && memcmp(value.text, "12345678", 8) == 0);

    CHECK(shx_list_open(memory, 15, &opened) == SHX_CORRUPT);
    CHECK(shx_list_open(memory, 100, &opened) == SHX_CORRUPT);
    memset(memory, 0xff, 8);
    CHECK(shx_list_open(memory, size, &opened) == SHX_NEGATIVE);
    CHECK(shx_list_length_now(&list, size, &length) == SHX_NEGATIVE);
    memset(memory + 7, 0, 1);
    CHECK(shx_list_length_now(&list, size, &length) == SHX_CORRUPT);
    free(before);
    free(memory);
    CHECK(shx_list_size(SIZE_MAX, 0, &size) == SHX_TOO_LONG);
    CHECK(shx_list_size(0, SIZE_MAX, &size) == SHX_TOO_LONG);
}

static void
test_formats_of_texts(void)
{
    char expected[32];
    for (size_t slot = 8; slot <= shx_value_text_max + 1; slot += 8) {
        shx_format format = {.word = shx_value_text_format(slot)};
        (void)memset(expected, 0, sizeof expected);
        (void)snprintf(expected, sizeof expected, "%zus", slot);
        CHECK(memcmp(format.text, expected, SHX_FORMAT) == 0);
        CHECK(shx_value_text_size(format.word) == slot);
        if (slot > 2000) {
            slot = 8 * slot / 7;
            slot -= slot % 8;
        }
    }
    CHECK(shx_value_text_size(shx_value_text_format(9999992)) == 9999992);
}

/* A mark that its text does not agree with any more is not believed. */
static void
test_list_forgets_marks_of_what_was_changed(void)
{
    const shx_value values[] = {text(SHX_BYTES, "ab\0", 3)};
    shx_list list;
    shx_value value;
    size_t size;
    char *memory = list_of(values, 1, &size, &list);
    CHECK(shx_list_get(&list, 0, &value) == 0 && value.length == 3);
    memory[list.data] = 'A';
    CHECK(shx_list_get(&list, 0, &value) == 0 && value.length == 2);
    memory[list.data] = 'a';
    CHECK(shx_list_get(&list, 0, &value) == 0 && value.length == 3);
    shx_list_set_code(&list, 0, 1);
    CHECK(shx_list_get(&list, 0, &value) == 0 && value.length == 2);
    /* A number takes the mark away: the bytes may come back without it. */
    value = (shx_value){.kind = SHX_INT, .integer = 1};
    CHECK(shx_list_set(&list, 0, &value) == 0);
    memcpy(memory + list.data, "ab\0\0\0\0\0\0", 8);
    shx_list_set_format(&list, 0, "8s\0\0\0\0\0");
    shx_list_set_code(&list, 0, 2);
    CHECK(shx_list_get(&list, 0, &value) == 0 && value.length == 2);
    free(memory);
}

typedef struct {
    char *memory;
    size_t size;
    atomic_bool started;
    atomic_bool stop;
} victim;

/* Rubbish everywhere, mostly where it hurts: N, offsets, formats. */
static void *
scribble(void *context)
{
    static const uint64_t words[] = {
        0, 1, 7, 8, 64, 1u << 20, UINT64_MAX, INT64_MAX, 0x7338, 'q'};
    victim *target = context;
    uint64_t random = 88172645463325252u;
    atomic_store(&target->started, true);
    while (!atomic_load(&target->stop)) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        size_t at = random % (target->size / 8) * 8;
        uint64_t word = random >> 60 < 10 ? words[random >> 60] : random;
        memcpy(target->memory + at, &word, 8);
    }
    return NULL;
}

static void
touch(const shx_list *list, size_t size, const shx_value *values, size_t count)
{
    shx_value value;
    char format[SHX_FORMAT];
    unsigned sum = 0;
    for (size_t i = 0; i < list->length; i++) {
        if (shx_list_get(list, i, &value) == 0 &&
            (value.kind == SHX_STR || value.kind == SHX_BYTES)) {
            for (size_t at = 0; at < value.length; at++) {
                sum += (unsigned char)value.text[at];
            }
        }
        (void)shx_list_set(list, i, &values[(i + sum) % count]);
        CHECK(shx_list_format(list, i, format) <= SHX_FORMAT);
    }
    size_t length;
    if (shx_list_length_now(list, size, &length) == 0) {
        CHECK(length <= size / 17);
    }
}

static void
test_list_under_a_hostile_peer(void)
{
    const shx_value values[] = {
        {.kind = SHX_INT, .integer = -1},
        {.kind = SHX_FLOAT, .number = 0.5},
        {.kind = SHX_BOOL, .integer = 1},
        {.kind = SHX_NONE},
        text(SHX_BYTES, "nul\0", 4),
        text(SHX_STR, "a text of more than one word", 28),
    };
    enum { COUNT = sizeof values / sizeof values[0], ROUNDS = 200000 };
    shx_list list, opened;
    victim target = {0};
    target.memory = list_of(values, COUNT, &target.size, &list);
    char *good = malloc(target.size);
    CHECK(good != NULL);
    memcpy(good, target.memory, target.size);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, scribble, &target) == 0);
    while (!atomic_load(&target.started)) {
        (void)sched_yield();
    }
    for (int i = 0; i < ROUNDS; i++) {
        memcpy(target.memory, good, target.size);
        touch(&list, target.size, values, COUNT);
        if (shx_list_open(target.memory, target.size, &opened) == 0) {
            touch(&opened, target.size, values, COUNT);
        }
    }
    atomic_store(&target.stop, true);
    CHECK(pthread_join(thread, NULL) == 0);
    free(good);
    free(target.memory);
}

static void
test_every_error_has_a_text(void)
{
    for (int err = SHX_REPLACED; err <= 40; err++) {
        CHECK(shx_error_text(err) != NULL && *shx_error_text(err) != '\0');
    }
}

int
main(int argc, char **argv)
{
    begin(argc, argv);
    test_names();
    test_segment_is_shared_and_outlives_its_name();
    test_discard_spares_what_is_beside_it();
    test_segment_errors_leave_everything_as_it_was();
    test_unlink_spares_what_has_the_name_by_now();
    test_segment_grows_and_others_refresh();
    test_what_is_written_at_a_new_end_stays();
    test_await_finds_what_is_there_and_gives_up();
    test_anonymous_memory_and_its_seals();
    test_mapped_file_appears_whole();
    test_copies_are_exact();
    test_list_keeps_values();
    test_formats_of_texts();
    test_list_forgets_marks_of_what_was_changed();
    test_list_under_a_hostile_peer();
    test_every_error_has_a_text();
    (void)puts("all passed");
    return 0;
}

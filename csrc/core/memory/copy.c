/* SPDX-License-Identifier: MIT */
#include "core/memory/copy.h"

#include <errno.h>
#include <string.h> /* memmove */

/* Below, opening a descriptor costs more than it saves. */
static const size_t large = 256u << 10;

/* Pages are made present so many bytes ahead of the copy: they are still in
 * the processor's cache when their turn comes. */
static const size_t piece = 2u << 20;

/* The strips that a range touches, or those that it covers. */
static uint64_t
strips_of(const shx_segment *segment, size_t offset, size_t size, bool covered)
{
    size_t width = segment->size / 64 + 1;
    size_t first = offset / width, end = (offset + size - 1) / width + 1;
    if (covered) {
        first = (offset + width - 1) / width;
        end = offset + size == segment->size ? end : (offset + size) / width;
    }
    if (first >= end) {
        return 0;
    }
    uint64_t up_to_end = end >= 64 ? UINT64_MAX : (UINT64_C(1) << end) - 1;
    return up_to_end & ~((UINT64_C(1) << first) - 1);
}

static bool
has(const _Atomic uint64_t *known, uint64_t strips)
{
    return (atomic_load_explicit(known, memory_order_relaxed) & strips) ==
           strips;
}

static void
note(_Atomic uint64_t *known, uint64_t strips)
{
    (void)atomic_fetch_or_explicit(known, strips, memory_order_relaxed);
}

static char *
byte_at(const shx_copying *copy, size_t offset)
{
    return (char *)copy->segment->address + offset;
}

/* Is the range in our page table, as far as we know or can find out? */
static bool
is_present(const shx_copying *copy, size_t offset, size_t size)
{
    uint64_t touched = strips_of(copy->segment, offset, size, false);
    if (has(&copy->strips->present, touched)) {
        return true;
    }
    if (size < large || !shx_os_is_present(byte_at(copy, offset), size,
                                           copy->segment->sparse)) {
        return false;
    }
    note(&copy->strips->present, strips_of(copy->segment, offset, size, true));
    return true;
}

/* In place, page by page ahead of the copy. SHX_NO_POPULATE. */
static shx_err
populate_and_copy(const shx_copying *copy, size_t offset, char *to,
                  const char *from, size_t size, bool writable)
{
    for (size_t done = 0; done < size;) {
        size_t length = size - done < piece ? size - done : piece;
        shx_err err;
        do {
            err = shx_os_populate(byte_at(copy, offset + done), length,
                                  writable);
        } while (err == EINTR);
        if (err != 0) {
            return err;
        }
        memmove(to + done, from + done, length);
        done += length;
    }
    note(&copy->strips->present, strips_of(copy->segment, offset, size, true));
    return 0;
}

static bool
overlap(const shx_copying *copy, const char *data, size_t size)
{
    const char *start = copy->segment->address;
    return data < start + copy->segment->size && data + size > start;
}

/* Through a descriptor: no page fault. ENOENT: there is none. */
static shx_err
write_through(const shx_copying *copy, size_t offset, const void *data,
              size_t size)
{
    int fd;
    if (copy->open(copy->context, &fd) != 0) {
        return ENOENT;
    }
    shx_file file; /* if it was cut short, this would make it longer again */
    shx_err err = shx_os_inspect(fd, &file);
    if (err == 0) {
        err = file.size < offset + size ? EFAULT
                                        : shx_os_write(fd, data, size, offset);
    }
    shx_os_close(fd);
    if (err == 0) {
        (void)atomic_fetch_add_explicit(&copy->strips->through, size,
                                        memory_order_relaxed);
    }
    return err;
}

shx_err
shx_copy_in(const shx_copying *copy, size_t offset, const void *data,
            size_t size)
{
    char *to = byte_at(copy, offset);
    if (size == 0) {
        return 0;
    }
    /* Data that lies in the segment may be overwritten on the way. */
    if (overlap(copy, data, size) || is_present(copy, offset, size)) {
        memmove(to, data, size);
        return 0;
    }
    uint64_t through =
        atomic_load_explicit(&copy->strips->through, memory_order_relaxed);
    shx_err err = ENOENT;
    if (size >= large && through / 4 < copy->segment->size) {
        err = write_through(copy, offset, data, size);
    }
    /* EFAULT: of the data, whose pages are lost. EFBIG: see setrlimit(2). */
    if (err == ENOENT || err == EPERM || err == EFAULT || err == EFBIG) {
        err = populate_and_copy(copy, offset, to, data, size, true);
    }
    if (err == SHX_NO_POPULATE) {
        err = write_through(copy, offset, data, size);
        if (err == ENOENT || err == EPERM) {
            memmove(to, data, size);
            err = 0;
        }
    }
    return err;
}

shx_err
shx_copy_out(const shx_copying *copy, size_t offset, void *data, size_t size)
{
    const char *from = byte_at(copy, offset);
    if (size == 0) {
        return 0;
    }
    if (overlap(copy, data, size) || is_present(copy, offset, size)) {
        memmove(data, from, size);
        return 0;
    }
    shx_err err = populate_and_copy(copy, offset, data, from, size, false);
    int fd;
    /* A hole can be read without a page for it. */
    if (err != 0 && copy->open(copy->context, &fd) == 0) {
        err = shx_os_read(fd, data, size, offset);
        shx_os_close(fd);
    }
    if (err == SHX_NO_POPULATE) {
        memmove(data, from, size);
        err = 0;
    }
    return err;
}

shx_err
shx_copy_populate(const shx_copying *copy, const shx_space *space)
{
    const shx_segment *segment = copy->segment;
    const size_t step = 64u << 20; /* may be interrupted after each */
    for (size_t done = 0; done < segment->size;) {
        size_t left = segment->size - done;
        size_t length = left < step ? left : step;
        shx_err err =
            shx_os_populate(byte_at(copy, done), length, segment->writable);
        if (err != 0 && err != EINTR) {
            return err;
        }
        done += err == 0 ? length : 0;
        if (done < segment->size && shx_space_ask(space) != 0) {
            return SHX_INTERRUPTED;
        }
    }
    note(&copy->strips->present, UINT64_MAX);
    return 0;
}

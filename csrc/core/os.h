/* SPDX-License-Identifier: MIT */
/* What the library asks of the operating system, and nothing else.
 *
 * Rules that hold for every function here:
 *   - it returns 0 or an errno, never -1, and retries EINTR unless it says
 *     otherwise;
 *   - on error nothing is left open, and results are untouched;
 *   - descriptors are close-on-exec;
 *   - a `name` is bare: no slash, not empty, checked by the caller.
 *
 * A difference between systems is a body in os_<system>.c, or one of the
 * constants at the top of it; callers hold no #if.
 */
#ifndef SHX_OS_H
#define SHX_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* Where named segments live, for people to read in messages. */
extern const char shx_os_directory[];

/* The longest name, in bytes, and what shm_open() says of a longer one: that
 * differs with the C library and its version, so it is asked. */
extern const size_t shx_os_name_max;
shx_err shx_os_refuse_long(const char *name);

/* What tells one file from every other while it exists. */
typedef struct {
    uint64_t device;
    uint64_t inode;
} shx_identity;

typedef struct {
    shx_identity identity;
    uint64_t size; /* in bytes, as is held: the pages that really exist */
    uint64_t held;
    unsigned mode; /* permission bits only */
    bool regular;
} shx_file;

/* A new file of size 0 that has no name yet and vanishes with its descriptor
 * unless published. Its permission bits are `mode` less the umask. */
shx_err shx_os_create_unnamed(unsigned mode, int *fd);
shx_err shx_os_set_mode(int fd, unsigned mode);

/* Gives the file its name, in one step. EEXIST if the name is taken. */
shx_err shx_os_publish(int fd, const char *name);

/* Opens what the name stands for: never follows a link, never blocks, never
 * creates. `flags` is O_RDONLY or O_RDWR. */
shx_err shx_os_open(const char *name, int flags, int *fd);

/* Removes the name; the memory lives on while it is mapped anywhere. */
shx_err shx_os_remove(const char *name);

shx_err shx_os_inspect(int fd, shx_file *out);
shx_err shx_os_inspect_name(const char *name, shx_file *out);
void shx_os_close(int fd);

/* Sets the length without promising that the pages exist. */
shx_err shx_os_resize(int fd, uint64_t size);

/* Makes the pages of [offset, offset + length) exist, and the file as long
 * as that. EINTR is returned, not retried: the caller decides. */
shx_err shx_os_reserve(int fd, uint64_t offset, uint64_t length);

/* Bytes that a segment could still take, UINT64_MAX where nobody can say. */
uint64_t shx_os_room(void);

/* Starts a program that is no child of ours and shares nothing with us: its
 * parent is init, its signals are blocked, its environment is empty. It has
 * one argument. Does nothing, successfully, where the orphan would come back
 * to us: in a process that adopts orphans, or below such a one that runs the
 * same program as we do. */
shx_err shx_os_start_detached(const char *program, const char *argument);

/* Maps [0, size) shared, readable and writable. */
shx_err shx_os_map(int fd, size_t size, void **address);
void shx_os_unmap(void *address, size_t size);

/* Makes the pages of a mapping present, faster than touching them one by
 * one. A kernel before 5.14 cannot: then they come when they are touched. */
void shx_os_populate(void *address, size_t size);

/* The file API of a mapping: flush is msync(MS_SYNC). */
shx_err shx_os_flush(void *address, size_t size);
shx_err shx_os_advise(void *address, size_t size, int advice);
size_t shx_os_page_size(void);

#endif

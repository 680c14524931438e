/* SPDX-License-Identifier: MIT */
/* Who this process is in the file of a memory. */
#include "py/memory/memory.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDONLY */
#include <stdio.h>  /* snprintf */
#include <string.h> /* strchr */

/* Where the file may be found again: in `text`, if it has a path. */
static const char *
path_of(const shx_place *place, char *text, size_t size)
{
    if (place->err != 0 || place->path == NULL) {
        return NULL;
    }
    if (strchr(place->path, '/') != NULL) {
        return place->path;
    }
    int length = snprintf(text, size, "%s/%s", shx_os_directory, place->path);
    return length > 0 && (size_t)length < size ? text : NULL;
}

/* Opens the file for that, if this process is no party yet; by `known`, if
 * that is a descriptor, without asking the Memory. */
shx_err
shx_memory_join(PyObject *memory, const shx_identity *identity, int known,
                shx_party **out)
{
    char text[512];
    shx_place place = {.kind = MEMORY(memory)->kind, .fd = known};
    int fd;
    *out = shx_party_find(identity);
    if (*out != NULL) {
        return 0;
    }
    if (known >= 0) {
        place.err = EBADF; /* it has no name */
    }
    else {
        Py_BEGIN_CRITICAL_SECTION(memory);
        shx_place_take_to_open_locked(memory, &place);
        Py_END_CRITICAL_SECTION();
    }
    shx_err err = shx_place_open(&place, identity, O_RDONLY, &fd);
    if (err == 0) {
        const char *path = path_of(&place, text, sizeof text);
        Py_BEGIN_ALLOW_THREADS
        err = shx_party_join(fd, path, out);
        Py_END_ALLOW_THREADS
        if (err != 0) {
            shx_os_close(fd);
        }
    }
    shx_place_leave(&place);
    return err;
}

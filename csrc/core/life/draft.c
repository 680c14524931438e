/* SPDX-License-Identifier: MIT */
#include "core/life/draft.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDWR */
#include <stdio.h>  /* snprintf */
#include <string.h> /* strspn */

/* The letter, 16 hexadecimal digits. */
enum { FILE_LETTER = 'd', DIGITS = SHX_DRAFT_FILE - 2 };

bool
shx_draft_is(const char *file)
{
    return file[0] == FILE_LETTER &&
           strspn(file + 1, "0123456789abcdef") == DIGITS &&
           file[1 + DIGITS] == '\0';
}

shx_err
shx_draft_remove(int directory, const char *file)
{
    shx_file found;
    shx_err err = shx_os_inspect_in(directory, file, &found);
    if (err != 0) {
        return err;
    }
    return found.regular ? shx_os_remove_in(directory, file) : SHX_NOT_MEMORY;
}

/* One that cannot be opened has its final mode, which it gets at the very
 * end: hardly anybody is just then at work on it. */
static void
remove_if_unused(int directory, const char *file)
{
    int fd;
    shx_err err = shx_os_open_in(directory, file, O_RDWR, &fd);
    if (err == 0) {
        if (shx_os_use(fd, SHX_LOCK_ALONE, false) == 0) {
            (void)shx_os_remove_in(directory, file);
        }
        shx_os_close(fd);
    }
    else if (err == EACCES) {
        (void)shx_os_remove_in(directory, file);
    }
}

/* A visitor. A child that was forked while the file is open here would be one
 * who uses it. */
static shx_err
remove_if_left(void *context, int directory, const char *file)
{
    shx_file found;
    (void)context;
    if (!shx_draft_is(file) ||
        shx_os_inspect_in(directory, file, &found) != 0 || !found.regular) {
        return 0;
    }
    if (found.names > 1) {
        (void)shx_os_remove_in(directory, file);
    }
    else if (shx_os_put_off_forks() == 0) {
        remove_if_unused(directory, file);
        shx_os_let_forks();
    }
    return 0;
}

shx_err
shx_draft_place(int directory, shx_draft *out)
{
    uint64_t number;
    shx_err err = shx_os_random(&number, sizeof number);
    if (err == 0) {
        (void)shx_os_visit(directory, remove_if_left, NULL);
        *out = (shx_draft){.fd = -1, .directory = directory};
        (void)snprintf(out->file, sizeof out->file, "%c%016llx", FILE_LETTER,
                       (unsigned long long)number);
    }
    return err;
}

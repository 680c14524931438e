/* SPDX-License-Identifier: MIT */
#include "core/life/draft.h"

#include <errno.h>
#include <fcntl.h>  /* O_RDWR */
#include <stdio.h>  /* snprintf */
#include <string.h> /* strspn */

#include "core/name.h"

/* The letter, 16 hexadecimal digits. */
#define FILE_LETTER "d"
enum { DIGITS = 16 };

bool
shx_draft_is(const char *file)
{
    return file[0] == FILE_LETTER[0] &&
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

static shx_err
draw(const char *prefix, int directory, shx_draft *out)
{
    uint64_t number;
    shx_err err = shx_os_random(&number, sizeof number);
    if (err == 0) {
        *out = (shx_draft){.fd = -1, .directory = directory};
        (void)snprintf(out->file, sizeof out->file, "%s%016llx", prefix,
                       (unsigned long long)number);
    }
    return err;
}

shx_err
shx_draft_place(int directory, shx_draft *out)
{
    shx_err err = draw(FILE_LETTER, directory, out);
    if (err == 0) {
        (void)shx_os_visit(directory, remove_if_left, NULL);
    }
    return err;
}

shx_err
shx_draft_place_beside(shx_draft *out)
{
    int directory;
    shx_err err = shx_os_open_directory(shx_os_directory, &directory);
    if (err == 0) {
        err = draw(SHX_NAME_OWN FILE_LETTER, directory, out);
        if (err != 0) {
            shx_os_close(directory);
        }
    }
    return err;
}

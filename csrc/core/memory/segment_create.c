/* SPDX-License-Identifier: MIT */
/* A new segment: from a draft to a name. */
#include <errno.h>

#include "core/memory/contest.h"
#include "core/memory/segment.h"

/* From this size on, a name that is taken is worth a look before the work. */
static const size_t large = 64u << 10;

static bool
is_taken(const char *name)
{
    shx_file file;
    return shx_os_inspect_name(name, &file) == 0;
}

static bool
is_worth_a_look(const shx_create *request)
{
    return request->may_exist ||
           (request->size >= large && !request->is_random);
}

static bool
is_of_users(unsigned mode)
{
    return (mode & SHX_MODE_USERS) != 0;
}

/* A share of its use, on the very open file that is mapped: so it lasts as
 * long as the mapping. It is taken before there is a name. */
static shx_err
use_new(int fd, unsigned mode)
{
    return is_of_users(mode) ? shx_os_use(fd, SHX_LOCK_SHARED, false) : 0;
}

static bool
is_hidden(const shx_draft *draft)
{
    return draft->directory >= 0;
}

/* Somebody may take it for one that a killed process has left, until it is in
 * use: then another one is made. Without locks nobody takes it for anything.
 */
static shx_err
make_hidden(shx_draft *draft, shx_file *file)
{
    shx_err err = shx_os_create_hidden(draft);
    if (err == 0) {
        err = shx_os_use(draft->fd, SHX_LOCK_SHARED, false);
        err = err == EAGAIN ? ESTALE : err == SHX_NO_LOCKS ? 0 : err;
    }
    if (err == 0) {
        err = shx_os_inspect(draft->fd, file);
    }
    return err == 0 && file->names == 0 ? ESTALE : err;
}

static shx_err
make_unnamed(unsigned mode, shx_draft *draft, shx_file *file)
{
    shx_err err = shx_os_create_unnamed(mode, draft);
    if (err == 0) {
        err = shx_os_inspect(draft->fd, file);
    }
    if (err == 0 && file->mode != mode) {
        err = shx_os_set_mode(draft->fd, mode);
    }
    return err;
}

static shx_err
make_and_map(shx_create *request, shx_draft *draft, shx_file *file,
             void **address)
{
    shx_err err = is_hidden(draft) ? make_hidden(draft, file)
                                   : make_unnamed(request->mode, draft, file);
    if (err == 0) {
        request->step = SHX_STEP_MAP;
        err = shx_os_map(draft->fd, request->size, true, address);
    }
    return err;
}

/* A child that has the file open, and not the memory, would be a user for as
 * long as it lives: there is none in between. */
static shx_err
make_without_forks(shx_create *request, shx_draft *draft, shx_file *file,
                   void **address)
{
    if (!is_of_users(request->mode)) {
        return make_and_map(request, draft, file, address);
    }
    shx_err err = shx_os_put_off_forks();
    if (err == 0) {
        err = make_and_map(request, draft, file, address);
        shx_os_let_forks();
    }
    return err;
}

static shx_err
make_mapped(shx_create *request, shx_draft *draft, shx_file *file,
            void **address)
{
    shx_err err = make_without_forks(request, draft, file, address);
    if (err == EOPNOTSUPP && draft->fd < 0 && request->draft != NULL) {
        err = request->draft(request->owner, draft);
        if (err == 0) {
            err = make_without_forks(request, draft, file, address);
        }
    }
    return err;
}

/* A hidden one has its mode only now: until then whoever looks for what the
 * killed have left must be able to open it. */
static shx_err
publish(const shx_create *request, shx_draft *draft,
        const shx_identity *identity)
{
    shx_err err = use_new(draft->fd, request->mode);
    if (err == 0 && is_hidden(draft)) {
        err = shx_os_set_mode(draft->fd, request->mode);
    }
    if (err != 0) {
        return err;
    }
    err = request->publish == NULL ? shx_os_publish(draft, request->name)
                                   : request->publish(request->owner, draft,
                                                      request->name, identity);
    if (err == 0 && is_hidden(draft) && !is_of_users(request->mode)) {
        (void)shx_os_use(draft->fd, SHX_LOCK_NONE, false);
    }
    return err;
}

/* By a write: a touch of the mapping could be SIGBUS. */
static shx_err
fill(const shx_create *request, int fd)
{
    shx_err err = shx_space_fill(&request->space, fd, request->size);
    return err != 0 || request->content == NULL
               ? err
               : shx_os_write(fd, request->content, request->content_size, 0);
}

static shx_err
create_once(shx_create *request, shx_segment *out)
{
    shx_draft draft = SHX_NO_DRAFT;
    void *address = NULL;
    shx_file file;

    request->step = SHX_STEP_OPEN;
    if (is_worth_a_look(request) && is_taken(request->name)) {
        return EEXIST; /* before much work, and much memory, for nothing */
    }
    shx_err err = make_mapped(request, &draft, &file, &address);
    if (err != 0) {
        goto done;
    }
    request->step = SHX_STEP_RESERVE;
    err = fill(request, draft.fd);
    if (err != 0) {
        goto done;
    }
    request->step = SHX_STEP_PUBLISH;
    err = publish(request, &draft, &file.identity);
    if (err != 0) {
        goto done;
    }
    *out = (shx_segment){.address = address,
                         .size = request->size,
                         .identity = file.identity,
                         .writable = true,
                         .sparse = !request->space.reserve,
                         .users = is_of_users(request->mode)};
    address = NULL;
done:
    /* shm_open() looks at the name before anybody looks at the size. */
    if (err != 0 && draft.fd >= 0 && err != SHX_INTERRUPTED &&
        is_taken(request->name)) {
        request->step = SHX_STEP_PUBLISH;
        err = EEXIST;
    }
    if (address != NULL) {
        shx_os_unmap(address, request->size);
    }
    shx_os_drop(&draft);
    return err;
}

/* A draft may be lost before it has its name: where it lay somebody has swept,
 * or removed everything; or the system makes files without a name, and only
 * says when one is to have one that it will not. */
static shx_err
create_at_last(shx_create *request, shx_segment *out)
{
    enum { TRIES = 16 };
    shx_err err = ESTALE;
    for (int tries = 0; err == ESTALE && tries < TRIES; tries++) {
        err = create_once(request, out);
    }
    return err;
}

static uint64_t
room_for_names(const void *of)
{
    (void)of;
    return shx_os_room(-1);
}

static uint64_t
most_for_names(const void *of)
{
    (void)of;
    return shx_os_most_room(-1);
}

static bool
is_made(const void *of)
{
    return is_taken(((const shx_create *)of)->name);
}

shx_err
shx_segment_create(shx_create *request, shx_segment *out)
{
    shx_contest contest = {.space = &request->space,
                           .wanted =
                               request->space.reserve ? request->size : 0,
                           .room = room_for_names,
                           .most = most_for_names,
                           .made = request->may_exist ? is_made : NULL,
                           .of = request};
    shx_err err;
    do {
        err = create_at_last(request, out);
    } while (request->step != SHX_STEP_OPEN && /* that is of inodes */
             shx_contest_again(&contest, &err));
    return err;
}

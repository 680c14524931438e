/* SPDX-License-Identifier: MIT */
#include "core/life/party_anchor.h"

#include <errno.h>
#include <fcntl.h> /* O_RDONLY, O_NONBLOCK */

bool
shx_party_owns(const shx_party *party, int fd)
{
    shx_file file;
    return shx_os_inspect(fd, &file) == 0 &&
           shx_same_file(&file.identity, &party->identity);
}

/* The very file, opened anew: by the descriptor that is kept, or by its path.
 * What either stands for may have become another file's, of which some block
 * who opens them, and some do something: so it is looked at before and after.
 * EBADF, ESTALE: the descriptor is another's. Else it says why not: a path
 * that is another's by now says nothing. */
static shx_err
open_anew(const shx_party *party, int *out)
{
    int fd;
    shx_err err = EBADF;
    if (shx_party_owns(party, party->fd)) {
        err = shx_os_reopen(party->fd, O_RDONLY | O_NONBLOCK, &fd);
        if (err == 0 && !shx_party_owns(party, fd)) {
            shx_os_close(fd);
            err = ESTALE;
        }
    }
    if (err != 0 && party->path != NULL &&
        shx_os_open_path(party->path, O_RDONLY, &fd) == 0) {
        if (shx_party_owns(party, fd)) {
            err = 0;
        }
        else {
            shx_os_close(fd);
        }
    }
    if (err == 0) {
        *out = fd;
    }
    return err;
}

/* A program that has closed every descriptor, ours too. */
void
shx_party_mend_fd(shx_party *party)
{
    int fd;
    if (!party->over && !shx_party_owns(party, party->fd) &&
        open_anew(party, &fd) == 0) {
        party->fd = fd;
    }
}

/* Numbers that nobody living has: 0 is none. */
static shx_err
draw(int fd, shx_member *out)
{
    enum { DRAWS = 8 };
    shx_err err = EAGAIN;
    for (int draws = 0; err == EAGAIN && draws < DRAWS; draws++) {
        err = shx_os_random(out, sizeof *out);
        out->token &= SHX_TOKEN;
        if (err == 0) {
            err =
                out->token == 0 ? EAGAIN : shx_os_claim_token(fd, out->token);
        }
    }
    return err == EAGAIN ? EBUSY : err;
}

/* Has somebody this token, as far as this descriptor can say, which may come
 * to mean another file at any moment? An error: it cannot. */
static shx_err
look(const shx_party *party, int fd, uint32_t token, bool *claimed)
{
    if (!shx_party_owns(party, fd)) {
        return ESTALE;
    }
    shx_err err = shx_os_find_token(fd, token, claimed);
    return err == 0 && !shx_party_owns(party, fd) ? ESTALE : err;
}

/* The number of the descriptor may have been given to another file while it
 * was used: then nobody could see that we live. So it is looked at from
 * without, when nothing but the mapping keeps the token any more. */
shx_err
shx_party_cast(shx_party *party, shx_anchor *out)
{
    int fd;
    bool claimed = false;
    shx_anchor made = {.hold = NULL};
    shx_party_mend_fd(party);
    shx_err err = open_anew(party, &fd);
    if (err != 0) {
        return err;
    }
    err = draw(fd, &made.who);
    if (err == 0) {
        err = shx_os_hold(fd, &made.hold);
    }
    shx_os_close(fd);
    if (err == 0) {
        err = look(party, party->fd, made.who.token, &claimed);
    }
    if (err == 0 && !claimed) {
        err = ESTALE;
    }
    if (err == 0) {
        *out = made;
    }
    else if (made.hold != NULL) {
        shx_os_let_go(made.hold);
    }
    return err;
}

static bool
is_free(const shx_party *party, int fd, uint32_t token)
{
    bool claimed = true;
    return look(party, fd, token, &claimed) == 0 && !claimed;
}

bool
shx_party_prove_death(shx_party *party, uint32_t token)
{
    static const struct timespec moment = {.tv_nsec = 1000000};
    int fd;
    shx_party_mend_fd(party);
    if (party->over || !is_free(party, party->fd, token)) {
        return false;
    }
    shx_err err = open_anew(party, &fd);
    if (err == 0) {
        bool dead = is_free(party, fd, token);
        shx_os_close(fd);
        return dead;
    }
    if (err == EBADF || err == ESTALE) {
        return false; /* somebody is at it: what was seen proves nothing */
    }
    (void)shx_os_pause(&moment);
    return is_free(party, party->fd, token);
}

/* SPDX-License-Identifier: MIT */
/* What others do to a name just before a lock is asked for, from a plain C
 * program: each lock goes by the fcntl() that is here. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/life/users.h"

#include "check.h"

#ifdef SYS_fcntl64 /* where words have 32 bits */
#define FCNTL SYS_fcntl64
#else
#define FCNTL SYS_fcntl
#endif

static void (*before_lock)(void); /* once */
static short of_type;
static long of_lease = -1; /* before that lease, not before a lock */
static int somebody;       /* a descriptor */
static name shared;
static shx_segment other;

static long
pass_on(int fd, int command, long argument)
{
    void (*now)(void) = before_lock;
    bool is_meant = of_lease >= 0
                        ? command == F_SETLEASE && argument == of_lease
                        : command == F_OFD_SETLK &&
                              ((struct flock *)argument)->l_type == of_type;
    if (now == NULL || !is_meant) {
        return syscall(FCNTL, fd, command, argument);
    }
    before_lock = NULL;
    if (of_lease != F_UNLCK) {
        now();
        return syscall(FCNTL, fd, command, argument);
    }
    long result = syscall(FCNTL, fd, command, argument);
    now(); /* while there is a lease nobody can open the file */
    return result;
}

/* By the name that the core calls, too: the C library may have another one for
 * files of 64 bits. */
int
fcntl(int fd, int command, ...)
{
    va_list rest;
    va_start(rest, command);
    long argument = va_arg(rest, long);
    va_end(rest);
    return (int)pass_on(fd, command, argument);
}

static shx_segment
create_of_users(void)
{
    shx_segment made;
    shx_create request = {.name = shared.text,
                          .size = 100,
                          .mode = 0600 | SHX_MODE_USERS,
                          .draft = find_draft,
                          .space.reserve = true};
    CHECK(shx_segment_create(&request, &made) == 0 && made.users);
    return made;
}

static void
remove_it(void)
{
    CHECK(shx_os_remove(shared.text) == 0);
}

static void
replace_it(void)
{
    remove_it();
    other = create_of_users();
}

static bool
is_named(const shx_segment *segment)
{
    shx_file file;
    return shx_os_inspect_name(shared.text, &file) == 0 &&
           shx_same_file(&file.identity, &segment->identity);
}

static void
leave(const shx_segment *segment, shx_err expected)
{
    shx_segment_detach(segment);
    CHECK(shx_users_leave(shared.text, &segment->identity) == expected);
    CHECK(before_lock == NULL);
}

/* Another one of the name is not removed in the place of ours. */
static void
test_name_is_replaced_while_the_last_one_leaves(void)
{
    shx_segment mine = create_of_users();
    before_lock = replace_it;
    of_type = F_WRLCK;
    leave(&mine, SHX_REPLACED);
    CHECK(is_named(&other));
    leave(&other, 0);
    CHECK(!is_named(&other));
}

/* And it is not asked about. */
static void
test_name_is_another_ones_when_the_last_one_leaves(void)
{
    shx_segment mine = create_of_users();
    replace_it();
    leave(&mine, SHX_REPLACED);
    CHECK(is_named(&other));
    leave(&other, 0);
}

/* Who attaches has what the name stands for, or nothing. */
static void
test_name_goes_while_somebody_attaches(void)
{
    shx_segment mine = create_of_users(), made;
    shx_attach request = {.name = shared.text, .flags = O_RDWR};
    before_lock = remove_it;
    of_type = F_RDLCK;
    CHECK(shx_segment_attach(&request, &made) == ENOENT);
    leave(&mine, ENOENT);

    mine = create_of_users();
    before_lock = replace_it;
    CHECK(shx_segment_attach(&request, &made) == 0);
    CHECK(is_named(&made) && shx_same_file(&made.identity, &other.identity));
    leave(&mine, SHX_REPLACED);
    shx_segment_detach(&other);
    leave(&made, 0);
}

static void
close_it(void)
{
    shx_os_close(somebody);
}

static void
open_it(void)
{
    CHECK(shx_os_open(shared.text, O_RDWR, &somebody) == 0);
    before_lock = close_it;
}

static void
have_it_alone(void)
{
    CHECK(shx_os_open(shared.text, O_RDWR, &somebody) == 0);
    CHECK(shx_os_use(somebody, SHX_LOCK_ALONE, false) == 0);
    before_lock = close_it; /* when it is tried again */
}

/* Who is there for a moment is not taken for a user. */
static void
test_somebody_looks_while_the_last_one_leaves(void)
{
    shx_segment mine = create_of_users();
    before_lock = open_it;
    of_lease = F_WRLCK;
    leave(&mine, 0);
    of_lease = -1;

    mine = create_of_users();
    before_lock = have_it_alone;
    of_type = F_WRLCK;
    leave(&mine, 0);
}

/* Between the last look and the end of the name nobody becomes a user. */
static void
try_to_use_it(void)
{
    int fd;
    CHECK(shx_os_open(shared.text, O_RDONLY, &fd) == 0);
    CHECK(shx_os_use(fd, SHX_LOCK_SHARED, false) == EAGAIN);
    shx_os_close(fd);
}

static void
test_nobody_comes_while_the_last_one_leaves(void)
{
    shx_segment mine = create_of_users();
    before_lock = try_to_use_it;
    of_lease = F_UNLCK;
    leave(&mine, 0);
    of_lease = -1;
}

int
main(int argc, char **argv)
{
    begin(argc, argv);
    shared = name_of("users");
    test_name_is_replaced_while_the_last_one_leaves();
    test_name_is_another_ones_when_the_last_one_leaves();
    test_name_goes_while_somebody_attaches();
    test_somebody_looks_while_the_last_one_leaves();
    test_nobody_comes_while_the_last_one_leaves();
    (void)puts("all passed");
    return 0;
}

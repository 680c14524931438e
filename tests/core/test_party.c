/* SPDX-License-Identifier: MIT */
/* Who is a party of a memory, by which token, from a plain C program: readers,
 * children of every sort, and programs that close what is not theirs. Who is
 * dead is test_death.c's. */
#define _GNU_SOURCE

#include <grp.h> /* setgroups */
#include <pthread.h>
#include <sys/file.h>     /* flock */
#include <sys/resource.h> /* setrlimit */
#include <sys/stat.h>     /* chmod */
#include <sys/syscall.h>  /* SYS_clone, SYS_close_range */

#include "sync.h"

static bool
is_claimed(int fd, uint32_t token)
{
    bool claimed;
    CHECK(shx_os_find_token(fd, token, &claimed) == 0);
    return claimed;
}

static unsigned
count(const memory *in)
{
    unsigned found;
    CHECK(shx_party_count(in->party, &found) == 0);
    return found;
}

/* How many descriptors this process has. */
static int
descriptors(void)
{
    int found = 0;
    for (int fd = 0; fd < 1024; fd++) {
        found += fcntl(fd, F_GETFD) >= 0;
    }
    return found;
}

static void
destroy(memory *in)
{
    shx_party_leave(in->party);
    CHECK(munmap(in->bytes, in->size) == 0);
    shx_os_close(in->fd);
}

/* A file under a name, open. */
static int
make_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && shx_os_resize(fd, 4096) == 0);
    return fd;
}

static void
test_party_of_readers(void)
{
    int fd, reader;
    shx_party *party;
    CHECK(shx_os_create_anonymous(&fd) == 0);
    CHECK(shx_os_resize(fd, 4096) == 0);
    CHECK(shx_os_reopen(fd, O_RDONLY, &reader) == 0);
    CHECK(shx_party_join(reader, NULL, &party) == 0);
    shx_member me = me_in(party);
    CHECK(me.token != 0 && me.token <= SHX_TOKEN);
    CHECK(is_claimed(fd, me.token));
    /* No anchor is for writing: it may be sealed, and joined again. */
    CHECK(shx_os_seal(fd, SHX_SEAL_WRITE) == 0);
    shx_party_leave(party);
    CHECK(!is_claimed(fd, me.token));
    CHECK(shx_os_reopen(fd, O_RDONLY, &reader) == 0);
    CHECK(shx_party_join(reader, NULL, &party) == 0);
    shx_member again = me_in(party);
    CHECK(again.nonce != me.nonce && again.token != me.token);
    shx_party_leave(party);
    shx_os_close(fd);
}

static void
test_party_is_one_for_a_process_and_file(void)
{
    memory in = make_memory(4096);
    shx_file file;
    int other;
    shx_party *party;
    int before = descriptors();
    CHECK(shx_os_inspect(in.fd, &file) == 0);
    CHECK(shx_party_find(&file.identity) == in.party);
    CHECK(shx_os_reopen(in.fd, O_RDWR, &other) == 0);
    CHECK(shx_party_join(other, NULL, &party) == 0 && party == in.party);
    CHECK(descriptors() == before && count(&in) == 1);
    shx_party_leave(party);
    shx_party_leave(party);
    CHECK(count(&in) == 1);
    destroy(&in);
    CHECK(shx_party_find(&file.identity) == NULL);
}

/* Six processes draw from four numbers, and no two ever have the same. */
enum { RACERS = 6, SPACE = 4, DRAWS = 3000 };
static struct {
    int fd;
    _Atomic int *owner; /* of each number */
    _Atomic int *taken; /* how often any was */
} race;

static void
draw_again_and_again(int self)
{
    uint32_t next = (uint32_t)self;
    for (int i = 0; i < DRAWS; i++) {
        int fd;
        void *hold;
        next = next * 1664525 + 1013904223;
        uint32_t token = 1 + (next >> 16) % SPACE;
        CHECK(shx_os_reopen(race.fd, O_RDONLY, &fd) == 0);
        shx_err err = shx_os_claim_token(fd, token);
        CHECK(err == 0 || err == EAGAIN);
        if (err == 0) {
            CHECK(shx_os_hold(fd, &hold) == 0);
        }
        shx_os_close(fd);
        if (err == 0) {
            CHECK(atomic_exchange(&race.owner[token], self + 1) == 0);
            atomic_fetch_add(race.taken, 1);
            atomic_store(&race.owner[token], 0);
            shx_os_let_go(hold);
        }
    }
}

static void
test_party_token_is_nobody_elses(void)
{
    pid_t racers[RACERS];
    race.owner = make_notes(4096);
    race.taken = race.owner + SPACE + 1;
    CHECK(shx_os_create_anonymous(&race.fd) == 0);
    for (int i = 0; i < RACERS; i++) {
        racers[i] = spawn(draw_again_and_again, i);
    }
    for (int i = 0; i < RACERS; i++) {
        check_ended(racers[i]);
    }
    CHECK(*race.taken > DRAWS / 10);
    shx_os_close(race.fd);
}

/* Locks of the user's own that have nothing to do with ours, and some that
 * leave no byte to us: those are told at once. */
static void
lock_by_another(const memory *in, int how, short type, off_t length)
{
    struct flock lock = {.l_type = type, .l_len = length};
    int fd;
    CHECK(shx_os_reopen(in->fd, O_RDWR, &fd) == 0);
    CHECK(fcntl(fd, how, &lock) == 0); /* lives with `fd`, or the process */
    if (how == F_SETLK) {
        CHECK(flock(fd, LOCK_EX) == 0);
    }
}

static memory *users;

static void
check_joined_beside_users_lock(int type)
{
    unsigned found;
    int fd;
    shx_party *party;
    CHECK(shx_os_reopen(users->fd, O_RDONLY, &fd) == 0);
    lock_by_another(users, F_SETLK, (short)type, 4096);
    CHECK(shx_party_join(fd, NULL, &party) == 0);
    /* What is locked later, and only for reading, may hide who there is. */
    lock_by_another(users, F_OFD_SETLK, F_RDLCK, 0);
    CHECK(shx_party_count(party, &found) == EBUSY);
    shx_party_leave(party);
    /* And nobody joins any more. */
    CHECK(shx_os_reopen(users->fd, O_RDONLY, &fd) == 0);
    CHECK(shx_party_join(fd, NULL, &party) == EBUSY);
}

static void
check_refused_by_users_lock(int type)
{
    int fd;
    shx_party *party;
    lock_by_another(users, F_OFD_SETLK, (short)type, 0);
    CHECK(shx_os_reopen(users->fd, O_RDONLY, &fd) == 0);
    CHECK(shx_party_join(fd, NULL, &party) == EBUSY);
    CHECK(fcntl(fd, F_GETFD) >= 0); /* it stays the caller's */
}

static void
test_party_and_locks_of_the_user(void)
{
    memory in = make_memory(4096);
    shx_party_leave(in.party);
    users = &in;
    check_ended(spawn(check_joined_beside_users_lock, F_WRLCK));
    check_ended(spawn(check_refused_by_users_lock, F_WRLCK));
    check_ended(spawn(check_refused_by_users_lock, F_RDLCK));
    CHECK(munmap(in.bytes, in.size) == 0);
    shx_os_close(in.fd);
}

/* Whose locks are the affair of who knows which machine. */
static void
test_party_of_a_foreign_file_system(void)
{
    static const char *const paths[] = {"/proc/self/stat", "/sys/kernel"};
    for (int i = 0; i < 2; i++) {
        shx_party *party;
        int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
        if (fd >= 0) { /* there are places without the one or the other */
            CHECK(shx_party_join(fd, NULL, &party) == SHX_NOT_LOCAL);
            shx_os_close(fd);
        }
    }
}

/* Children. Each finds its parent's lock at 0, held, and a free one at 64. */
static memory inherited;
static shx_member parent;

static void
check_child_locks(int number)
{
    (void)number;
    shx_site held = make_lock(&inherited, 0, 0);
    shx_site free_one = make_lock(&inherited, 64, 0);
    shx_member me = me_in(inherited.party);
    CHECK(me.token != parent.token && me.nonce != parent.nonce);
    CHECK(!shx_lock_is_ours(&held, &me));
    CHECK(release(&held) == SHX_NOT_OWNER);
    CHECK(try_acquire(&held) == EAGAIN);
    CHECK(acquire(&held, MS) == ETIMEDOUT);
    CHECK(acquire(&free_one, SECOND) == 0);
    CHECK(shx_lock_look(&free_one).pid == (uint32_t)getpid());
    CHECK(release(&free_one) == 0);
    CHECK(!shx_party_is_dead(inherited.party, parent.token));
}

static void
leave_root(void)
{
    CHECK(mkdir(directory, 0755) == 0 || errno == EEXIST);
    if (chroot(directory) == 0) { /* who is not root cannot */
        CHECK(chdir("/") == 0 && setgroups(0, NULL) == 0);
        CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    }
}

static void
use_up_descriptors(void)
{
    const struct rlimit few = {8, 8};
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    while (dup(2) >= 0) {
    }
    CHECK(errno == EMFILE);
}

static void
check_child_that(int what)
{
    switch (what) {
    case 0: /* and has a child of its own */
        check_ended(spawn(check_child_locks, 0));
        break;
    case 1:
        leave_root();
        break;
    case 2:
        use_up_descriptors();
        break;
    default:
        leave_root();
        CHECK(syscall(SYS_close_range, 3, ~0U, 0) == 0);
        use_up_descriptors();
    }
    check_child_locks(0);
}

static pid_t
clone_raw(void)
{
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    CHECK(pid >= 0);
    return pid;
}

static void
check_clone(void)
{
    shx_party *party;
    int fd;
    memory other = {0};
    CHECK(shx_os_create_anonymous(&other.fd) == 0);
    CHECK(shx_os_duplicate(other.fd, &fd) == 0);
    CHECK(shx_party_join(fd, NULL, &party) == 0);
    /* It has joined a file before it found that it is somebody else. */
    uint32_t token = atomic_load(&party->token);
    CHECK(me_in(party).token == token);
    other.party = party;
    CHECK(count(&other) == 1);
    check_child_locks(0);
    CHECK(me_in(party).token == token && count(&other) == 1);
    shx_party_leave(party);
}

static void
test_party_of_children(void)
{
    inherited = make_memory(4096);
    parent = me_in(inherited.party);
    shx_site held = make_lock(&inherited, 0, 0);
    CHECK(acquire(&held, 0) == 0);
    for (int what = 0; what < 4; what++) {
        check_ended(spawn(check_child_that, what));
    }
    pid_t clone = clone_raw();
    if (clone == 0) {
        check_clone();
        _exit(0);
    }
    check_ended(clone);
    CHECK(count(&inherited) == 1);
    CHECK(release(&held) == 0);
}

/* Of raw clone(2) the child leaves before it was anybody: its parent stays. */
static void
test_party_is_left_by_a_clone(void)
{
    pid_t clone = clone_raw();
    if (clone == 0) {
        shx_party_leave(inherited.party);
        _exit(0);
    }
    check_ended(clone);
    CHECK(is_claimed(inherited.fd, parent.token));
}

/* vfork()'s child has the descriptors and the memory of its parent, until it
 * is another program: and nothing of ours after that. */
static void
test_party_over_vfork_and_exec(void)
{
    shx_site held = make_lock(&inherited, 0, 0);
    CHECK(acquire(&held, 0) == 0);
    pid_t pid = vfork();
    if (pid == 0) {
        (void)execl("/bin/sleep", "sleep", "60", (char *)NULL);
        _exit(127);
    }
    CHECK(pid > 0 && count(&inherited) == 1);
    CHECK(me_in(inherited.party).token == parent.token);
    CHECK(release(&held) == 0);
    kill_and_wait(pid);
    destroy(&inherited);
}

/* Threads join and leave while another one forks: no child keeps what its
 * parent was, however long it lives. */
enum { THREADS = 3, JOINS = 300, CHILDREN = 40 };
static struct {
    int fd;
    uint32_t tokens[JOINS];
} joined[THREADS];

static void *
join_and_leave(void *argument)
{
    int self = *(int *)argument;
    for (int i = 0; i < JOINS; i++) {
        int fd;
        shx_party *party;
        CHECK(shx_os_duplicate(joined[self].fd, &fd) == 0);
        CHECK(shx_party_join(fd, NULL, &party) == 0);
        joined[self].tokens[i] = me_in(party).token;
        shx_party_leave(party);
    }
    return NULL;
}

static void
stay(int number)
{
    (void)number;
    for (;;) {
        (void)pause();
    }
}

/* What its parent was goes with its parent. */
static void
test_party_is_left_while_a_child_lives(void)
{
    memory left = make_memory(4096);
    uint32_t token = me_in(left.party).token;
    pid_t child = spawn(stay, 0);
    wait_until_it_is(child, 'S'); /* it ends with us from here on */
    CHECK(is_claimed(left.fd, token));
    shx_party_leave(left.party);
    CHECK(!is_claimed(left.fd, token));
    kill_and_wait(child);
    CHECK(munmap(left.bytes, left.size) == 0);
    shx_os_close(left.fd);
}

static void
test_party_joins_while_others_fork(void)
{
    pthread_t threads[THREADS];
    int selves[THREADS];
    pid_t children[CHILDREN];
    for (int i = 0; i < THREADS; i++) {
        selves[i] = i;
        CHECK(shx_os_create_anonymous(&joined[i].fd) == 0);
        CHECK(pthread_create(&threads[i], NULL, join_and_leave, &selves[i]) ==
              0);
    }
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = spawn(stay, 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        for (int j = 0; j < JOINS; j++) {
            CHECK(!is_claimed(joined[i].fd, joined[i].tokens[j]));
        }
        shx_os_close(joined[i].fd);
    }
    for (int i = 0; i < CHILDREN; i++) {
        kill_and_wait(children[i]);
    }
}

/* What it costs: a descriptor a memory, and one page a process that forks
 * wipe ("wf"), beside those that the C library may have for itself. */
static int
wiped_pages(void)
{
    char line[512];
    int found = 0;
    FILE *file = fopen("/proc/self/smaps", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        found +=
            strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " wf") != NULL;
    }
    (void)fclose(file);
    return found;
}

static void
ignore(int number)
{
    (void)number;
}

static void
test_party_costs_one_descriptor(void)
{
    enum { MEMORIES = 5 };
    memory many[MEMORIES];
    int before = descriptors(), wiped = 0;
    for (int i = 0; i < MEMORIES; i++) {
        many[i] = make_memory(4096);
        (void)me_in(many[i].party);
        wiped = i == 0 ? wiped_pages() : wiped;
    }
    CHECK(descriptors() == before + 2 * MEMORIES); /* one is the memory's */
    CHECK(wiped >= 1 && wiped_pages() == wiped);
    check_ended(spawn(ignore, 0)); /* what was made for it is gone */
    CHECK(descriptors() == before + 2 * MEMORIES);
    for (int i = 0; i < MEMORIES; i++) {
        destroy(&many[i]);
    }
    CHECK(descriptors() == before);
}

/* A daemon closes all that it did not open, and has its numbers again. */
static void
test_party_whose_descriptor_was_closed(void)
{
    name path = name_of("closed");
    char full[160];
    int kept, other;
    memory in = {0};
    (void)snprintf(full, sizeof full, "%s/%s", directory, path.text);
    in.fd = make_file(full);
    CHECK(shx_os_duplicate(in.fd, &kept) == 0);
    CHECK(shx_party_join(kept, full, &in.party) == 0);
    CHECK(shx_os_create_anonymous(&other) == 0);
    CHECK(dup2(other, kept) == kept);
    CHECK(count(&in) == 1); /* by its path */
    CHECK(fcntl(kept, F_GETFD) >= 0);
    pid_t child = spawn(stay, 0);
    CHECK(count(&in) == 2);
    kill_and_wait(child);
    int again = in.party->fd;
    CHECK(dup2(other, again) == again);
    shx_party_leave(in.party);
    CHECK(fcntl(kept, F_GETFD) >= 0); /* another's: it is not closed */
    CHECK(fcntl(again, F_GETFD) >= 0);
    shx_os_close(kept);
    shx_os_close(again);
    shx_os_close(other);
    shx_os_close(in.fd);
    CHECK(unlink(full) == 0);
}

int
main(int argc, char **argv)
{
    begin(argc, argv);
    test_party_of_readers();
    test_party_is_one_for_a_process_and_file();
    test_party_token_is_nobody_elses();
    test_party_and_locks_of_the_user();
    test_party_of_a_foreign_file_system();
    test_party_of_children();
    test_party_is_left_by_a_clone();
    test_party_over_vfork_and_exec();
    test_party_is_left_while_a_child_lives();
    test_party_joins_while_others_fork();
    test_party_costs_one_descriptor();
    test_party_whose_descriptor_was_closed();
    (void)puts("all passed");
    return 0;
}

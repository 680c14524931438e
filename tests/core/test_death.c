/* SPDX-License-Identifier: MIT */
/* Who is taken for dead, from a plain C program: all that end, however they
 * do it, and nobody who lives, whatever a program does to its descriptors. */
#define _GNU_SOURCE

#include <pthread.h>
#include <sched.h>    /* unshare */
#include <sys/stat.h> /* fchmod */

#include "sync.h"

enum { NOBODY = 65534 };

static memory in;
static shx_site lock;

/* What a child tells its parent. */
static struct {
    _Atomic uint32_t token; /* of who holds the lock, or has just joined */
    _Atomic uint32_t pid;
    _Atomic uint64_t steps[64];
} * notes;

static bool
is_dead(uint32_t token)
{
    return shx_party_is_dead(in.party, token);
}

static void
hold(int number)
{
    (void)number;
    CHECK(acquire(&lock, SECOND) == 0);
    atomic_store(&notes->pid, (uint32_t)getpid());
    atomic_store(&notes->token, me_in(in.party).token);
    for (;;) {
        (void)pause();
    }
}

/* Runs a child that comes to hold the lock, itself or by another process. */
static pid_t
start(void (*run)(int))
{
    atomic_store(&notes->token, 0);
    pid_t pid = spawn(run, 0);
    SOON(atomic_load(&notes->token) != 0);
    return pid;
}

/* It lives: so who waits for it waits. */
static void
check_alive(void)
{
    CHECK(!is_dead(atomic_load(&notes->token)));
    CHECK(acquire(&lock, 10 * MS) == ETIMEDOUT);
}

/* It is dead: so whoever waits is told, and again until it is repaired. */
static void
check_told(void)
{
    CHECK(acquire(&lock, SECOND) == SHX_OWNER_DIED);
    CHECK(is_dead(atomic_load(&notes->token)));
    CHECK(acquire(&lock, SECOND) == SHX_OWNER_DIED);
    CHECK(try_acquire(&lock) == SHX_OWNER_DIED);
    CHECK(shx_lock_look(&lock).victim == atomic_load(&notes->pid));
    CHECK(acquire_torn(&lock, SECOND) == SHX_OWNER_DIED);
    CHECK(shx_lock_look(&lock).torn && shx_lock_look(&lock).ours);
    CHECK(release(&lock) == 0); /* not repaired yet */
    CHECK(acquire_torn(&lock, SECOND) == SHX_OWNER_DIED);
    CHECK(release_mended(&lock) == 0);
    CHECK(acquire(&lock, 0) == 0 && release(&lock) == 0);
}

static void
test_death_by_kill(void)
{
    pid_t pid = start(hold);
    check_alive();
    kill_and_wait(pid);
    check_told();
}

static void
test_death_of_a_zombie(void)
{
    pid_t pid = start(hold);
    CHECK(kill(pid, SIGKILL) == 0);
    wait_until_it_is(pid, 'Z');
    check_told(); /* nobody has waited for it */
    CHECK(waitpid(pid, NULL, 0) == pid);
}

static void
test_death_is_not_to_be_stopped(void)
{
    pid_t pid = start(hold);
    CHECK(kill(pid, SIGSTOP) == 0);
    wait_until_it_is(pid, 'T');
    check_alive();
    kill_and_wait(pid);
    check_told();
}

static void
hold_and_exec(int number)
{
    (void)number;
    CHECK(acquire(&lock, SECOND) == 0);
    atomic_store(&notes->pid, (uint32_t)getpid());
    atomic_store(&notes->token, me_in(in.party).token);
    (void)execl("/bin/sleep", "sleep", "60", (char *)NULL);
    _exit(127);
}

static void
test_death_by_exec(void)
{
    pid_t pid = start(hold_and_exec);
    check_told();
    kill_and_wait(pid);
}

static pid_t orphan;

static void
hold_and_have_a_child(int number)
{
    CHECK(acquire(&lock, SECOND) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)alarm(5); /* nobody will wait for it */
        for (;;) {
            (void)pause();
        }
    }
    CHECK(release(&lock) == 0);
    atomic_store(&notes->steps[0], (uint64_t)child);
    hold(number);
}

static void
test_death_while_its_child_lives(void)
{
    pid_t pid = start(hold_and_have_a_child);
    orphan = (pid_t)atomic_load(&notes->steps[0]);
    check_alive();
    kill_and_wait(pid);
    check_told();
    CHECK(kill(orphan, SIGKILL) == 0);
}

static void
hold_elsewhere(int number)
{
    if (unshare(CLONE_NEWPID) != 0 &&
        unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) {
        hold(number); /* nobody may do that here */
    }
    int status;
    (void)waitpid(spawn(hold, 0), &status, 0); /* pid 1 */
}

static void
test_death_in_another_pid_namespace(void)
{
    int children[2];
    char path[64];
    pid_t pid = start(hold_elsewhere);
    check_alive();
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid,
                   (int)pid);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    int found = fscanf(file, "%d", children);
    (void)fclose(file);
    CHECK(kill(found == 1 ? children[0] : pid, SIGKILL) == 0);
    CHECK(waitpid(pid, NULL, 0) == pid);
    check_told();
}

/* No instruction of the dead runs when its death is seen: threads that write
 * as fast as they can are killed, and what they wrote does not change. */
enum { KILLS = 300, WRITERS = 4, APART = 8 };

static void *
write_for_ever(void *argument)
{
    _Atomic uint64_t *steps = argument;
    for (;;) {
        atomic_store_explicit(
            steps, atomic_load_explicit(steps, memory_order_relaxed) + 1,
            memory_order_relaxed);
    }
    return NULL;
}

static void
hold_and_write(int number)
{
    pthread_t thread;
    for (int i = 1; i < WRITERS; i++) {
        CHECK(pthread_create(&thread, NULL, write_for_ever,
                             &notes->steps[i * APART]) == 0);
    }
    atomic_store(&notes->token, me_in(in.party).token);
    (void)write_for_ever(&notes->steps[0]);
    hold(number);
}

static void
test_death_is_after_the_last_instruction(void)
{
    for (int kills = 0; kills < KILLS; kills++) {
        uint64_t seen[WRITERS];
        pid_t pid = start(hold_and_write);
        SOON(atomic_load(&notes->steps[(WRITERS - 1) * APART]) != 0);
        uint32_t token = atomic_load(&notes->token);
        CHECK(!is_dead(token) && kill(pid, SIGKILL) == 0);
        while (!is_dead(token)) {
        }
        for (int i = 0; i < WRITERS; i++) {
            seen[i] = atomic_load(&notes->steps[i * APART]);
        }
        sleep_for(MS);
        for (int i = 0; i < WRITERS; i++) {
            CHECK(atomic_exchange(&notes->steps[i * APART], 0) == seen[i]);
        }
        CHECK(waitpid(pid, NULL, 0) == pid);
    }
}

/* Numbers of descriptors that are ours at one moment, and another file's at
 * the next. */
static struct {
    int ours;
    int other;
    _Atomic bool stop;
} numbers;

static void *
give_ours_away_and_back(void *argument)
{
    const volatile int *kept = argument;
    while (!atomic_load(&numbers.stop)) {
        int number = *kept;
        CHECK(dup2(numbers.other, number) == number);
        CHECK(dup2(numbers.ours, number) == number);
    }
    return NULL;
}

static void
look_while_numbers_change(int number)
{
    (void)number;
    pthread_t thread;
    uint32_t token = atomic_load(&notes->token);
    numbers.ours = in.fd;
    CHECK(shx_os_create_anonymous(&numbers.other) == 0);
    CHECK(pthread_create(&thread, NULL, give_ours_away_and_back,
                         &in.party->fd) == 0);
    for (int i = 0; i < 100000; i++) {
        CHECK(!is_dead(token));
    }
    atomic_store(&numbers.stop, true);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(!is_dead(token));
}

static void
test_death_is_not_a_number_used_again(void)
{
    pid_t pid = start(hold);
    check_ended(spawn(look_while_numbers_change, 0));
    check_alive();
    kill_and_wait(pid);
    check_told();
}

/* From a number on, all are given to another file again and again: what was
 * opened is not what is asked for the next moment. */
enum { FIRST = 64, LAST = 66 };

static void
stay_so(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    for (volatile uint32_t i = *seed >> 20; i > 0; i--) {
    }
}

static void *
take_numbers(void *argument)
{
    uint32_t seed = 1;
    while (!atomic_load(&numbers.stop)) {
        for (int number = FIRST; number < LAST; number++) {
            (void)dup2(numbers.other, number);
        }
        stay_so(&seed);
        for (int number = FIRST; number < LAST; number++) {
            (void)close(number);
        }
        stay_so(&seed);
    }
    return argument;
}

static void
join_while_numbers_change(int number)
{
    (void)number;
    int fd, joins = 0;
    shx_party *party;
    shx_file ours;
    pthread_t thread;
    CHECK(shx_os_create_anonymous(&numbers.other) == 0);
    CHECK(shx_os_create_anonymous(&numbers.ours) == 0);
    CHECK(shx_os_inspect(numbers.ours, &ours) == 0);
    while (dup(2) < FIRST - 2) { /* what is kept gets the last */
    }
    CHECK(pthread_create(&thread, NULL, take_numbers, NULL) == 0);
    for (int i = 0; i < 50000; i++) {
        bool claimed;
        if (shx_os_duplicate(numbers.ours, &fd) != 0 ||
            shx_party_join(fd, NULL, &party) != 0) {
            continue;
        }
        if (shx_same_file(&party->identity, &ours.identity)) {
            uint32_t token = me_in(party).token;
            joins++;
            CHECK(shx_os_find_token(numbers.ours, token, &claimed) == 0);
            CHECK(claimed);
        }
        shx_party_leave(party);
    }
    CHECK(joins > 0);
    atomic_store(&numbers.stop, true);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void
test_death_is_not_a_join_while_numbers_change(void)
{
    check_ended(spawn(join_while_numbers_change, 0));
}

/* Where neither the descriptor nor a path is left, nothing can be proven. */
static void
look_without_descriptors(int number)
{
    (void)number;
    shx_os_close(in.party->fd);
    CHECK(!is_dead(atomic_load(&notes->token)));
    CHECK(acquire(&lock, 20 * MS) == ETIMEDOUT);
}

static void
test_death_that_cannot_be_proven(void)
{
    pid_t pid = start(hold);
    kill_and_wait(pid);
    check_ended(spawn(look_without_descriptors, 0));
    check_told();
}

/* One that has left is dead to the others: nothing of it is left. */
/* It may not open the file anew, neither by number nor by name: which stands
 * for another one by now. */
static void
prove_without_rights(int number)
{
    name path;
    int fd, other;
    (void)snprintf(path.text, sizeof path.text, "%s/%s-death",
                   shx_os_directory, prefix);
    CHECK((fd = open(path.text, O_RDWR | O_CREAT | O_EXCL, 0600)) >= 0);
    shx_party *party;
    CHECK(number == 0 && shx_party_join(fd, path.text, &party) == 0);
    CHECK(unlink(path.text) == 0);
    CHECK((other = open(path.text, O_RDWR | O_CREAT | O_EXCL, 0644)) >= 0);
    CHECK(fchmod(fd, 0) == 0);
    if (geteuid() == 0) {
        CHECK(setresuid(NOBODY, NOBODY, -1) == 0);
    }
    bool dead = shx_party_is_dead(party, me_in(party).token ^ 1);
    if (geteuid() == NOBODY) {
        CHECK(setresuid(0, 0, -1) == 0);
    }
    CHECK(unlink(path.text) == 0 && dead);
    close(other);
}

static void
test_death_where_the_name_is_anothers(void)
{
    check_ended(spawn(prove_without_rights, 0));
}

static void
hold_and_leave(int number)
{
    (void)number;
    uint32_t token = me_in(in.party).token;
    CHECK(acquire(&lock, SECOND) == 0);
    atomic_store(&notes->pid, (uint32_t)getpid());
    shx_party_leave(in.party);
    atomic_store(&notes->token, token);
    for (;;) {
        (void)pause();
    }
}

static void
test_death_by_leaving(void)
{
    pid_t pid = start(hold_and_leave);
    check_told();
    kill_and_wait(pid);
}

int
main(int argc, char **argv)
{
    begin(argc, argv);
    in = make_memory(4096);
    lock = make_lock(&in, 0, 0);
    notes = make_notes(sizeof *notes);
    test_death_by_kill();
    test_death_of_a_zombie();
    test_death_is_not_to_be_stopped();
    test_death_by_exec();
    test_death_while_its_child_lives();
    test_death_in_another_pid_namespace();
    test_death_is_not_a_number_used_again();
    test_death_is_not_a_join_while_numbers_change();
    test_death_that_cannot_be_proven();
    test_death_where_the_name_is_anothers();
    test_death_by_leaving();
    test_death_is_after_the_last_instruction();
    (void)puts("all passed");
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* The guard from a plain C program: what happens at a touch of lost memory,
 * and who else is told.
 *
 *   test_guard CASE
 *
 * Each case has a process of its own, since many of them end by the signal.
 * Handlers write their letter. */
#define _GNU_SOURCE

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/memory/guard.h"

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__,          \
                          #condition);                                        \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

const char *__asan_default_options(void);

/* The signals are the program's, and so is their stack. */
const char *
__asan_default_options(void)
{
    return "handle_sigbus=0:handle_segv=0:use_sigaltstack=0:detect_leaks=0";
}

/* In the system's place, for a kernel that cannot populate. */
static bool old_kernel;

int
madvise(void *address, size_t size, int advice)
{
    if (old_kernel && (advice == 22 || advice == 23)) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_madvise, address, size, advice);
}

static size_t page;
static volatile int calls;
static bool deaf; /* the next call takes no note */

static bool
notify(void)
{
    calls++;
    bool heard = !deaf;
    deaf = false;
    return heard;
}

typedef struct {
    int fd;
    volatile char *bytes;
    size_t size;
    shx_guard guard;
} memory;

static memory *
map(size_t pages, bool writable)
{
    memory *made = calloc(1, sizeof *made);
    CHECK(made != NULL);
    made->size = pages * page;
    made->fd = memfd_create("test", MFD_CLOEXEC);
    CHECK(made->fd >= 0 && ftruncate(made->fd, (off_t)made->size) == 0);
    made->bytes =
        mmap(NULL, made->size, writable ? PROT_READ | PROT_WRITE : PROT_READ,
             MAP_SHARED, made->fd, 0);
    CHECK(made->bytes != MAP_FAILED);
    return made;
}

static void
cut(const memory *of, size_t pages)
{
    CHECK(ftruncate(of->fd, (off_t)(pages * page)) == 0);
}

static memory *
guarded(size_t pages)
{
    memory *made = map(pages, true);
    shx_guard_add(&made->guard, "test", (void *)made->bytes, made->size, true);
    return made;
}

static void
touch_guarded(void)
{
    memory *lost = guarded(1);
    cut(lost, 0);
    CHECK(lost->bytes[0] == 0);
    shx_guard_remove(&lost->guard);
}

/* What ends the process, or calls the handlers that are chained. */
static void
touch_foreign(void)
{
    memory *lost = map(1, true);
    cut(lost, 0);
    CHECK(lost->bytes[0] == 0);
}

/* The signal as the kernel sends it: another thread's, whose handler was slow,
 * or the hardware's. */
static void
tell(int code, volatile void *address)
{
    siginfo_t info = {0};
    info.si_signo = SIGBUS;
    info.si_code = code;
    info.si_addr = (void *)address;
    CHECK(syscall(SYS_rt_sigqueueinfo, getpid(), SIGBUS, &info) == 0);
}

/* Handlers as others have them. */

enum { A, B, HANDLERS };
static struct sigaction kept[HANDLERS];

static void
say(int who)
{
    CHECK(write(1, who == A ? "A" : "B", 1) == 1);
}

/* faulthandler's way: puts back what was there and raises. */
static void
raises(int who, int number)
{
    say(who);
    (void)sigaction(number, &kept[who], NULL);
    (void)raise(number);
}

/* Puts back and returns, so that the instruction runs again. */
static void
returns(int who, int number)
{
    say(who);
    (void)sigaction(number, &kept[who], NULL);
}

/* Calls what was there. */
static void
calls_on(int who, int number, siginfo_t *info, void *context)
{
    say(who);
    if ((kept[who].sa_flags & SA_SIGINFO) != 0) {
        kept[who].sa_sigaction(number, info, context);
    }
    else if (kept[who].sa_handler == SIG_DFL) {
        (void)sigaction(number, &kept[who], NULL);
    }
}

#define HANDLER(how, who)                                                     \
    static void how##_##who(int number, siginfo_t *info, void *context)       \
    {                                                                         \
        (void)info;                                                           \
        (void)context;                                                        \
        how(who, number);                                                     \
    }
HANDLER(raises, A)
HANDLER(raises, B)
HANDLER(returns, A)
HANDLER(returns, B)

static void
calls_on_A(int number, siginfo_t *info, void *context)
{
    calls_on(A, number, info, context);
}

static void
calls_on_B(int number, siginfo_t *info, void *context)
{
    calls_on(B, number, info, context);
}

typedef void handler(int, siginfo_t *, void *);

static void
take(int who, handler *as, int flags)
{
    struct sigaction action = {.sa_sigaction = as,
                               .sa_flags = SA_SIGINFO | flags};
    (void)sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGBUS, &action, &kept[who]) == 0);
}

static void
give_back(int who)
{
    CHECK(sigaction(SIGBUS, &kept[who], NULL) == 0);
}

static void
install(void)
{
    CHECK(shx_guard_install(notify) == 0);
}

/* Each after the other, and the guard on top: those that were told last are
 * asked first. */
static void
chain(handler *a, handler *b, int flags)
{
    install();
    take(A, a, flags);
    shx_guard_look();
    take(B, b, flags);
    shx_guard_look();
    touch_guarded();
    touch_foreign();
}

static void
case_chain_raises(void)
{
    chain(raises_A, raises_B, SA_NODEFER);
}

static void
case_chain_raises_later(void)
{
    chain(raises_A, raises_B, 0);
}

static void
case_chain_returns(void)
{
    chain(returns_A, returns_B, 0);
}

static void
case_chain_calls(void)
{
    chain(calls_on_A, calls_on_B, 0);
}

/* One that was there first, put back behind our back: ours is not asked. */
static void
case_given_back(void)
{
    install();
    take(A, raises_A, SA_NODEFER);
    shx_guard_look();
    give_back(A);
    shx_guard_look();
    touch_guarded();
    touch_foreign();
}

/* Many times over: each handler has one place in the chain. */
static void
case_again_and_again(void)
{
    install();
    for (int i = 0; i < 1000; i++) {
        take(A, raises_A, SA_NODEFER);
        shx_guard_look();
        touch_guarded();
        give_back(A);
        take(B, raises_B, SA_NODEFER);
        shx_guard_look();
        touch_guarded();
        give_back(B);
    }
    touch_foreign();
}

/* Takes the signal from us, who found it: its circle has no end. */
static void
circle(handler *a, int flags)
{
    install();
    take(A, a, flags);
    shx_guard_look();
    take(A, a, flags);
    shx_guard_look();
    touch_guarded();
    touch_foreign();
}

static void
case_circle_raises(void)
{
    circle(raises_A, SA_NODEFER);
}

static void
case_circle_raises_later(void)
{
    circle(raises_A, 0);
}

static void
case_circle_returns(void)
{
    circle(returns_A, 0);
}

static void
case_circle_calls(void)
{
    circle(calls_on_A, 0);
}

/* More handlers than there is room for: the last one stays, and works. */
static void
case_too_many(void)
{
    install();
    for (int number = 1; number <= 20; number++) {
        struct sigaction action = {.sa_sigaction = raises_A,
                                   .sa_flags = SA_SIGINFO | SA_NODEFER};
        (void)sigemptyset(&action.sa_mask);
        CHECK(sigaddset(&action.sa_mask, number) == 0);
        CHECK(sigaction(SIGBUS, &action, NULL) == 0);
        shx_guard_look();
    }
    kept[A].sa_handler = SIG_DFL;
    touch_foreign();
}

static void
case_ignored(void)
{
    (void)signal(SIGBUS, SIG_IGN);
    install();
    (void)raise(SIGBUS);
    tell(BUS_MCEERR_AO, NULL); /* the hardware, of memory nobody touched */
    touch_guarded();
    say(A);
    touch_foreign();
}

static void
case_hardware_kills_by_default(void)
{
    install();
    tell(BUS_MCEERR_AO, NULL);
}

static sigset_t inside;

static void
looks(int number)
{
    (void)number;
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &inside) == 0);
}

static void
case_mask(void)
{
    struct sigaction action = {.sa_handler = looks};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaddset(&action.sa_mask, SIGUSR1);
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
    install();
    (void)raise(SIGBUS);
    CHECK(sigismember(&inside, SIGUSR1) == 1);
    CHECK(sigismember(&inside, SIGBUS) == 1);
    looks(0);
    CHECK(sigismember(&inside, SIGUSR1) == 0);
    CHECK(sigismember(&inside, SIGBUS) == 0);
    action.sa_flags = SA_NODEFER;
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
    shx_guard_look();
    (void)raise(SIGBUS);
    CHECK(sigismember(&inside, SIGUSR1) == 1);
    CHECK(sigismember(&inside, SIGBUS) == 0);
}

static void
says(int number)
{
    (void)number;
    say(A);
}

static void
case_once(void)
{
    struct sigaction action = {.sa_handler = says, .sa_flags = SA_RESETHAND};
    (void)sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
    install();
    (void)raise(SIGBUS);
    touch_guarded();
    (void)raise(SIGBUS);
    CHECK(false);
}

/* There is no handler to call: the kernel ends the process. */
static void
case_blocked(void)
{
    install();
    sigset_t all;
    (void)sigfillset(&all);
    CHECK(pthread_sigmask(SIG_BLOCK, &all, NULL) == 0);
    touch_guarded();
}

/* Pages */

static int
mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    int count = 0;
    for (int c = getc(maps); c != EOF; c = getc(maps)) {
        count += c == '\n';
    }
    (void)fclose(maps);
    return count;
}

static void
touch_every_second_page(void)
{
    enum { PAGES = 20000, FEW = 40 };
    install();
    memory *lost = guarded(PAGES);
    lost->bytes[page - 1] = 'x';
    cut(lost, 1);
    int before = mappings();
    for (size_t i = 1; i < PAGES; i += 2) {
        CHECK(lost->bytes[i * page] == 0);
    }
    CHECK(mappings() - before < FEW);
    CHECK(lost->bytes[page - 1] == 'x' && calls == 1);
    CHECK(shx_guard_tears(&lost->guard) < FEW);
    /* Backwards, every piece ends where the one before it begins. */
    cut(lost, 0);
    lost = guarded(PAGES);
    cut(lost, 0);
    before = mappings();
    for (size_t i = PAGES; i > 1; i -= 2) {
        CHECK(lost->bytes[(i - 1) * page] == 0);
    }
    CHECK(mappings() - before < FEW);
}

static void
case_pieces(void)
{
    touch_every_second_page();
}

static void
case_pieces_of_an_old_kernel(void)
{
    old_kernel = true;
    touch_every_second_page();
}

/* What a larger piece comes across is left alone. */
static void
keep_what_was_written(void)
{
    enum { PAGES = 512 };
    install();
    memory *lost = guarded(PAGES);
    cut(lost, 0);
    for (size_t i = 0; i < PAGES; i += 16) {
        lost->bytes[i * page + 7] = (char)(1 + i / 16);
    }
    for (size_t i = 0; i < PAGES; i++) {
        CHECK(lost->bytes[i * page] == 0);
        CHECK(lost->bytes[i * page + 7] ==
              (i % 16 == 0 ? (char)(1 + i / 16) : 0));
    }
}

static void
case_what_was_written_is_kept(void)
{
    keep_what_was_written();
}

static void
case_what_was_written_is_kept_by_an_old_kernel(void)
{
    old_kernel = true;
    keep_what_was_written();
}

/* A second thread touched the page at the same time, and its handler comes
 * later: the first one's bytes are there by then. */
static void
come_late(void)
{
    install();
    memory *lost = guarded(4);
    cut(lost, 0);
    lost->bytes[page] = 'x';
    tell(BUS_ADRERR, lost->bytes + page + 8);
    CHECK(lost->bytes[page] == 'x');
    CHECK(mprotect((void *)lost->bytes, lost->size, PROT_READ) == 0);
}

static void
case_second_thread(void)
{
    come_late();
}

static void
case_second_thread_of_an_old_kernel(void)
{
    old_kernel = true;
    come_late();
}

/* Cut and lengthened before the handler came to look: nothing is lost. */
static void
case_there_again(void)
{
    install();
    memory *here = guarded(2);
    here->bytes[page] = 'x';
    tell(BUS_ADRERR, here->bytes + page);
    CHECK(here->bytes[page] == 'x' && calls == 0);
    CHECK(shx_guard_tears(&here->guard) == 0);
    CHECK(pwrite(here->fd, "y", 1, (off_t)page) == 1);
    CHECK(here->bytes[page] == 'y');
}

static void
case_readonly_stays_readonly(void)
{
    install();
    memory *lost = map(2, false);
    shx_guard_add(&lost->guard, "test", (void *)lost->bytes, lost->size,
                  false);
    cut(lost, 0);
    CHECK(lost->bytes[page] == 0);
    lost->bytes[page] = 1;
}

/* Each of two threads has a byte in each page of lost memory, and keeps it.
 * The pages are guarded one by one, so that each is replaced for itself. */

enum { RACES = 2000 };
static memory *track;
static _Atomic(size_t) reached[2];

static void *
race(void *byte)
{
    size_t mine = (size_t)(uintptr_t)byte;
    for (size_t i = 0; i < RACES; i++) {
        atomic_store(&reached[mine], i + 1);
        for (int n = 1; atomic_load(&reached[1 - mine]) <= i; n++) {
            if (n % 10000 == 0) {
                (void)sched_yield();
            }
        }
        track->bytes[i * page + mine] = 7;
    }
    return NULL;
}

static void
case_threads(void)
{
    install();
    static shx_guard guards[RACES];
    pthread_t other;
    track = map(RACES, true);
    for (size_t i = 0; i < RACES; i++) {
        shx_guard_add(&guards[i], "test", (char *)track->bytes + i * page,
                      page, true);
    }
    cut(track, 0);
    CHECK(pthread_create(&other, NULL, race, (void *)1) == 0);
    (void)race((void *)0);
    CHECK(pthread_join(other, NULL) == 0);
    for (size_t i = 0; i < RACES; i++) {
        CHECK(track->bytes[i * page] == 7 && track->bytes[i * page + 1] == 7);
    }
}

/* Who is told, and how often. */
static void
case_told(void)
{
    char name[SHX_GUARD_NAME];
    install();
    memory *one = guarded(8), *two = guarded(8);
    cut(one, 0);
    cut(two, 0);
    CHECK(!shx_guard_tell(name));
    deaf = true;
    CHECK(one->bytes[0] == 0 && calls == 1);
    CHECK(one->bytes[2 * page] == 0 && calls == 2); /* since it was deaf */
    CHECK(one->bytes[7 * page] == 0 && calls == 2);
    CHECK(shx_guard_tell(name) && strcmp(name, "test") == 0);
    CHECK(!shx_guard_tell(name));
    CHECK(two->bytes[0] == 0 && calls == 3);
    shx_guard_remove(&two->guard);
    CHECK(!shx_guard_tell(name));
    shx_guard_remove(&one->guard);
    shx_guard_remove(&one->guard);
}

/* Guards come and go in any order, and each is found by its address. */
static void
case_many(void)
{
    enum { MANY = 1000, ROUNDS = 20000 };
    static shx_guard guards[MANY];
    static bool listed[MANY];
    install();
    memory *lost = map(MANY, true);
    uint64_t random = 1;
    for (int round = 0; round < ROUNDS; round++) {
        random = random * UINT64_C(6364136223846793005) + 1;
        size_t i = (random >> 33) % MANY;
        char name[SHX_GUARD_NAME];
        (void)snprintf(name, sizeof name, "%zu", i);
        CHECK(shx_guard_knows(name) == listed[i]);
        if (listed[i]) {
            shx_guard_remove(&guards[i]);
        }
        else {
            shx_guard_add(&guards[i], name, (char *)lost->bytes + i * page,
                          page, true);
        }
        listed[i] = !listed[i];
    }
    cut(lost, 0);
    for (size_t i = 0; i < MANY; i++) {
        if (listed[i]) {
            CHECK(lost->bytes[i * page + 1] == 0);
            CHECK(shx_guard_tears(&guards[i]) == 1);
        }
    }
}

#define CASE(name)                                                            \
    {                                                                         \
#name, case_##name                                                    \
    }
static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    CASE(chain_raises),
    CASE(chain_raises_later),
    CASE(chain_returns),
    CASE(chain_calls),
    CASE(given_back),
    CASE(again_and_again),
    CASE(circle_raises),
    CASE(circle_raises_later),
    CASE(circle_returns),
    CASE(circle_calls),
    CASE(too_many),
    CASE(ignored),
    CASE(hardware_kills_by_default),
    CASE(mask),
    CASE(once),
    CASE(blocked),
    CASE(pieces),
    CASE(pieces_of_an_old_kernel),
    CASE(what_was_written_is_kept),
    CASE(what_was_written_is_kept_by_an_old_kernel),
    CASE(second_thread),
    CASE(second_thread_of_an_old_kernel),
    CASE(there_again),
    CASE(readonly_stays_readonly),
    CASE(threads),
    CASE(told),
    CASE(many),
};

int
main(int argc, char **argv)
{
    CHECK(argc == 2);
    page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run();
            return 0;
        }
    }
    return 2;
}

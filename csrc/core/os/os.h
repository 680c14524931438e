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
 * What sleeps and wakes is in os_sleep.h, by the same rules.
 *
 * A difference between systems is a body in os_<system>.c, or one of the
 * constants at the top of it; callers hold no #if.
 */
#ifndef SHX_OS_H
#define SHX_OS_H

#include <pthread.h> /* pthread_mutex_t */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h> /* off_t */
#include <time.h>      /* struct timespec */

#include "core/error.h"
#include "core/os/os_sleep.h"

/* Where words have 32 bits, a C library has both kinds of calls. */
_Static_assert(sizeof(off_t) == 8, "compile with -D_FILE_OFFSET_BITS=64");

/* Where named segments live, and the same as a part of a sentence: " in
 * /dev/shm". */
extern const char shx_os_directory[];
extern const char shx_os_place[];

/* The longest name, in bytes, and what shm_open() says of a longer one: that
 * differs with the C library and its version, so it is asked. */
extern const size_t shx_os_name_max;
shx_err shx_os_refuse_long(const char *name);

/* What tells one file from every other, also from one that is given the same
 * inode when it is gone. */
typedef struct {
    uint64_t device;
    uint64_t inode;
    uint64_t born; /* a time; 0 where nobody can say */
} shx_identity;

bool shx_same_file(const shx_identity *a, const shx_identity *b);

typedef struct {
    shx_identity identity;
    uint64_t size; /* in bytes, as is held: the pages that really exist */
    uint64_t held;
    unsigned mode; /* permission bits only */
    bool regular;
    bool directory;
    unsigned names;   /* how many are left, anywhere */
    unsigned user;    /* whose it is */
    const char *kind; /* for people: "a FIFO" */
} shx_file;

/* A bit of the mode that says how a name goes: with the last process that uses
 * the memory, see shx_os_use(). It is the sticky bit, which means nothing to
 * the system on a file. */
enum { SHX_MODE_USERS = 01000 };

/* A new file of size 0 that is to get a name, and has none yet: it vanishes
 * with its descriptor unless published. Where the system makes no such file,
 * or will not name it later, it lies under a hidden name until then. */
enum { SHX_DRAFT_FILE = 32 };
typedef struct {
    int fd;                    /* -1: there is none yet */
    int directory;             /* of the hidden name; -1: it is without */
    char file[SHX_DRAFT_FILE]; /* the hidden name */
} shx_draft;
#define SHX_NO_DRAFT                                                          \
    {                                                                         \
        .fd = -1, .directory = -1                                             \
    }

/* Without any name. Its permission bits are `mode` less the umask. EOPNOTSUPP:
 * this system has no such thing. */
shx_err shx_os_create_unnamed(unsigned mode, shx_draft *out);

/* The same under the hidden name that the draft has. Its permission bits are
 * 0600 exactly. ESTALE: not under this one, or not in this directory. */
shx_err shx_os_create_hidden(shx_draft *draft);

/* Gives the file its name, in one step. EEXIST if the name is taken. ESTALE:
 * this draft gets none, whatever it is; another one may, which is made anew. A
 * hidden name goes after that: a SIGKILL between leaves both. */
shx_err shx_os_publish(shx_draft *draft, const char *name);

/* Closes what is open, and removes the hidden name if it is still there. */
void shx_os_drop(shx_draft *draft);

shx_err shx_os_set_mode(int fd, unsigned mode);

/* Opens what the name stands for: never follows a link, never blocks, never
 * creates. `flags` is O_RDONLY or O_RDWR. */
shx_err shx_os_open(const char *name, int flags, int *fd);

/* Removes the name; the memory lives on while it is mapped anywhere. */
shx_err shx_os_remove(const char *name);

shx_err shx_os_inspect(int fd, shx_file *out);
shx_err shx_os_inspect_name(const char *name, shx_file *out);
void shx_os_close(int fd);

/* Another descriptor of the same file, opened anew: with locks of its own,
 * and for reading only if `flags` is O_RDONLY. SHX_NO_PROC. */
shx_err shx_os_reopen(int fd, int flags, int *out);

/* Another number for the same open file. */
shx_err shx_os_duplicate(int fd, int *out);

/* Was it opened for writing? */
bool shx_os_is_writable(int fd);

/* Sets the length without promising that the pages exist. */
shx_err shx_os_resize(int fd, uint64_t size);

/* Makes the pages of [offset, offset + length) exist, and the file at least
 * as long as that. EINTR is returned, not retried: the caller decides. Where
 * the system cannot, zeros are appended, on an open file that is nobody
 * else's: so nothing is done to what is there, and the file may get longer
 * than that if others lengthen it at the same time. SHX_NO_RESERVE: a seal
 * forbids to write. */
shx_err shx_os_reserve(int fd, uint64_t offset, uint64_t length);

/* The same beyond the end of the file, whose length stays; and all that is
 * there given back. EOPNOTSUPP: it cannot be done without a new length. */
shx_err shx_os_reserve_beyond(int fd, uint64_t offset, uint64_t length);
void shx_os_release_beyond(int fd);

/* Gives the pages of [offset, offset + length) back: zeros are there next.
 * Whole pages; the length stays. EOPNOTSUPP: this file system cannot. */
shx_err shx_os_punch(int fd, uint64_t offset, uint64_t length);

/* Returns when whoever is making the file so long at this moment is done with
 * that. Its length is seen before; and then some file systems clear the rest
 * of what was the last page, with all that others have written there since. */
void shx_os_settle(int fd, uint64_t size);

/* Bytes that the file, or with -1 a named segment, could still take:
 * UINT64_MAX where nobody can say. */
uint64_t shx_os_room(int fd);

/* The same, if nobody else had anything. */
uint64_t shx_os_most_room(int fd);
uint64_t shx_os_free_memory(void);

/* How many more names the place could take, of how many. False: nobody
 * counts. */
bool shx_os_room_for_names(uint64_t *left, uint64_t *most);

/* Returns when content and length are on the disk. */
shx_err shx_os_sync(int fd);

/* How many descriptors a process may have. */
int shx_os_descriptors(void);

/* The effective user of the process, and its pid, which tells people which
 * one it is: it is no way to know who lives. */
unsigned shx_os_user(void);
uint32_t shx_os_process(void);

/* Random bytes that nobody can guess: 256 at most. SHX_NO_RANDOM. */
shx_err shx_os_random(void *bytes, size_t size);

/* Maps [0, size) shared, readable and, if asked, writable. SHX_CROWDED: the
 * process has so many mappings that it would soon have no more, for threads,
 * modules or malloc(): an eighth of what the system allows is left to them. */
shx_err shx_os_map(int fd, size_t size, bool writable, void **address);
void shx_os_unmap(void *address, size_t size);

/* Maps [offset, offset + size), which begins a page, readable and writable:
 * what is written there nobody else sees. SHX_CROWDED as above. */
shx_err shx_os_map_private(int fd, uint64_t offset, size_t size,
                           void **address);

/* Makes the pages of a mapping present, for writing or for reading, faster
 * than touching them one by one. EFAULT: a touch would be SIGBUS. EINTR: a
 * signal came. SHX_NO_POPULATE. */
shx_err shx_os_populate(void *address, size_t size, bool writable);

/* The same for pages whose bytes are of no account: they may be zeros after
 * that. It needs no call that is young. ENOENT: nobody can say. */
shx_err shx_os_overwrite(void *address, size_t size);

/* Gives the pages of a shared mapping that lie whole in it back to the system,
 * for all: zeros are there next, if there is room for them. Nothing, where it
 * lacks the call. */
void shx_os_discard(void *address, size_t size);

/* Are these pages in this process's page table, so that a touch costs
 * nothing? Looks at each of them, or only at some; false where nobody can
 * say. */
bool shx_os_is_present(const void *address, size_t size, bool each);

/* pwrite(2) and pread(2), all of it. Less to be read than asked: EFAULT. */
shx_err shx_os_write(int fd, const void *data, size_t size, uint64_t offset);
shx_err shx_os_read(int fd, void *data, size_t size, uint64_t offset);

/* The file API of a mapping: flush is msync(MS_SYNC). */
shx_err shx_os_flush(void *address, size_t size);
shx_err shx_os_advise(void *address, size_t size, int advice);
size_t shx_os_page_size(void);

/* Files by path, see os_linux_file.c: the same, wherever they are. Links are
 * followed. */
shx_err shx_os_create_unnamed_in(const char *directory, unsigned mode,
                                 int *fd);
shx_err shx_os_publish_at(int fd, const char *path);

/* Does the error say that a way is barred, and nothing of the name, the room
 * or the process's means? Then another way may be open. */
bool shx_os_is_refusal(shx_err err);
shx_err shx_os_open_path(const char *path, int flags, int *fd);
shx_err shx_os_remove_path(const char *path);
shx_err shx_os_inspect_path(const char *path, shx_file *out);
shx_err shx_os_sync_directory(const char *directory);

/* Memory without a name, see os_linux_memory.c. A seal forbids something
 * to everybody, for ever. SHX_NO_MEMFD; SHX_NO_SEALS, SHX_NO_READERS. */
typedef enum {
    SHX_SEAL_SHRINK = 1,
    SHX_SEAL_GROW = 2,
    SHX_SEAL_WRITE = 4,        /* EBUSY while it is mapped writable anywhere,
                                * SHX_HELD while pages are with the system */
    SHX_SEAL_FUTURE_WRITE = 8, /* but for those who have it mapped by now */
    SHX_SEAL_SEAL = 16,        /* no more seals */
} shx_seals;

shx_err shx_os_create_anonymous(int *fd);
shx_err shx_os_seal(int fd, unsigned seals);
shx_err shx_os_seals(int fd, unsigned *seals);

/* Maps the pages of a mapping once more, `size` bytes of them, as writable as
 * it is. SHX_CROWDED as above. SHX_NO_REMAP. */
shx_err shx_os_map_again(void *address, size_t size, void **again);

/* Replaces a mapping, at its address, with a private or a shared one of the
 * file: what was written to a private one nobody else has seen. */
shx_err shx_os_remap(int fd, void *address, size_t size, bool shared);

/* Waiting for a name, see os_linux_watch.c. */
shx_err shx_os_watch(int *watch);

/* Waits for a change of the name, at most until then. ETIMEDOUT. EINTR is
 * returned. A watch of -1 waits for a moment. */
shx_err shx_os_await(int watch, const char *name, const struct timespec *end);

/* Locks, see os_linux_lock.c: each belongs to the open file, is shared by who
 * inherits that, and is kept by a mapping when the descriptor is closed. Alone
 * wants a descriptor for writing, shared one for reading. EAGAIN: somebody
 * else has it, and we do not wait. SHX_NO_LOCKS. */
typedef enum { SHX_LOCK_NONE, SHX_LOCK_SHARED, SHX_LOCK_ALONE } shx_lock;

/* Of the whole file. Who has it, but for this open file, can be asked without
 * disturbing anybody. */
shx_err shx_os_claim(int fd, shx_lock how, bool wait);
shx_lock shx_os_claimed(int fd);

/* Of being one who uses it, which has nothing to do with its bytes. */
shx_err shx_os_use(int fd, shx_lock how, bool wait);
shx_lock shx_os_used(int fd);

/* Has nobody else the file open or mapped, in whichever way? EAGAIN: somebody
 * has. SHX_NO_LEASES, or anything else: the system does not tell. */
shx_err shx_os_is_idle(int fd);

/* The same of those who may write; `fd` is for reading only. So those who ask
 * at the same time do not take each other for one. */
shx_err shx_os_is_unwritten(int fd);

/* Those who lengthen a file share a lock, and who gives back what lies beyond
 * its end has it alone. Nobody waits. EAGAIN: not now. EBUSY: nobody can have
 * it alone, since somebody has locked all of the file, see lockf(3), which
 * flock(2) does not meet; or since there are no such locks. */
shx_err shx_os_lock(int fd, bool alone);
void shx_os_unlock(int fd);

/* Of being one party, which has a number from 1 on that nobody else has who
 * lives: on a descriptor for reading, of an open file that is nobody else's.
 * EAGAIN: somebody has that number, or all of the file. */
enum { SHX_TOKEN_BITS = 29 };
shx_err shx_os_claim_token(int fd, uint32_t token);

/* Has a party that number, but for this open file? */
shx_err shx_os_find_token(int fd, uint32_t token, bool *claimed);

/* The least number from `token` on that somebody has: 0 if nobody. EBUSY:
 * somebody has locked all of the file, and hides who there is. */
shx_err shx_os_next_token(int fd, uint32_t token, uint32_t *next);

/* 0: the locks of this file system are those of this machine, whoever has it
 * mounted. SHX_NOT_LOCAL. */
shx_err shx_os_check_locality(int fd);

/* Keeps the open file, and so its locks, without a descriptor: by a mapping
 * that cannot be touched. fork() inherits it, unless it is withheld, exec
 * drops it. SHX_NO_DONTFORK. */
shx_err shx_os_hold(int fd, void **hold);
shx_err shx_os_withhold(void *hold);
void shx_os_let_go(void *hold);

/* A page of zeros that a child finds full of zeros again, however it came to
 * be. ENOTSUP: this system does not do that, or does not say. */
shx_err shx_os_wiped_page(void **page);

/* One of the process, not of an object: the caller says what happens to it
 * over fork(). */
typedef struct {
    pthread_mutex_t system;
} shx_mutex;
#define SHX_MUTEX                                                             \
    {                                                                         \
        PTHREAD_MUTEX_INITIALIZER                                             \
    }

void shx_mutex_lock(shx_mutex *mutex);
void shx_mutex_unlock(shx_mutex *mutex);
shx_err shx_os_at_fork(void (*before)(void), void (*in_parent)(void),
                       void (*in_child)(void));

/* What a thread opens in between, no child inherits that another one forks: it
 * waits. For microseconds only, and without the GIL, which it may have. Any
 * number of threads at once. */
shx_err shx_os_put_off_forks(void);
void shx_os_let_forks(void);

/* Directories, see os_linux_directory.c. What is made is this user's alone,
 * whatever the umask; links are not followed. `file` is a bare name. */
shx_err shx_os_make_directory(const char *path);
shx_err shx_os_open_directory(const char *path, int *directory);

/* `file` may be "..", too. */
shx_err shx_os_open_directory_in(int parent, const char *file, int *directory);

/* `flags` may have O_CREAT and O_EXCL. Never blocks. */
shx_err shx_os_open_in(int directory, const char *file, int flags, int *fd);
shx_err shx_os_inspect_in(int directory, const char *file, shx_file *out);
shx_err shx_os_remove_in(int directory, const char *file);
shx_err shx_os_remove_directory(const char *path);
shx_err shx_os_remove_directory_in(int directory, const char *file);

/* Calls `visit` for each entry, until it returns something else than 0. What
 * comes or goes meanwhile may be missing, and hide others. */
typedef shx_err (*shx_visitor)(void *context, int directory, const char *file);
shx_err shx_os_visit(int directory, shx_visitor visit, void *context);

/* A program beside us, see os_linux_start.c. */

/* Starts one that is no child of ours and shares nothing with us: its parent
 * is init, its signals are blocked, its environment is empty. It has one
 * argument, and calls shx_os_detach() first. Returns when it shares our memory
 * no more. SHX_NO_ORPHANS: the orphan would
 * come back to us, in a process that adopts orphans or below such a one that
 * runs the same program as we do; or would be of another pid namespace. */
shx_err shx_os_start_detached(const char *program, const char *argument);

/* Called by that program: ends every tie to whoever started it, terminal,
 * pipes, files, directory, umask, signals. The leader of a group forks
 * itself and exits: with 0, or the errno of that fork. */
shx_err shx_os_detach(void);

/* The touch of a page that cannot be had, see os_linux_fault.c.
 *
 * A mender is asked in the handler of the signal, in the thread that touched
 * the address: false if that is none of ours. */
typedef bool (*shx_mender)(void *touched);

/* Has it asked from now on. What is none of ours goes to whoever handled the
 * signal until now, and that is looked at again at each call: for others take
 * the signal too. One call at a time. ENOSPC: seven others were found before,
 * and the one that is there now stays. */
shx_err shx_os_catch_faults(shx_mender mend);

/* Is it still asked? 0.1 us. */
bool shx_os_catches_faults(void);

/* From here on for use in a handler, too. Can the page be read? EFAULT: it is
 * lost. Anything else: nobody can say. Makes it present. */
shx_err shx_os_probe(void *page);

/* Puts pages of this process alone in the place of some that are there: of
 * zeros, or a writable one with the same bytes. EFAULT: it has lost them. */
shx_err shx_os_put_zeros(void *page, size_t size, bool writable);
shx_err shx_os_put_copy(void *page, size_t size);

#endif

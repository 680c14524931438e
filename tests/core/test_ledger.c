/* SPDX-License-Identifier: MIT */
/* Ledgers from a plain C program, by one thread and by several. */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h> /* open, O_DIRECTORY */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/life/ledger.h"

#include "check.h"

static void
count_names(void *context, const char *text, uint64_t bytes, shx_err err)
{
    (void)text;
    CHECK(bytes > 0 && err == 0);
    ++*(int *)context;
}

static shx_mutex mutex = SHX_MUTEX;

static shx_record *
write_record(shx_ledgers *ledgers, const char *called, uint64_t inode)
{
    shx_record *record = NULL;
    const shx_identity identity = {.inode = inode};
    shx_err err = shx_ledger_write(ledgers, called, &identity, &record);
    if (err == EAGAIN) {
        CHECK(shx_ledger_make_room(ledgers) == 0);
        err = shx_ledger_write(ledgers, called, &identity, &record);
    }
    CHECK(err == 0 && atomic_load(&record->inode) == inode);
    CHECK(strcmp(record->name, called) == 0);
    return record;
}

/* How many files the directory has, and the name of the last one. */
static int
ledger_files(char file[32])
{
    int count = 0;
    FILE *list = popen("ls \"$SHX_DIRECTORY\"", "r");
    CHECK(list != NULL);
    while (fscanf(list, "%31s", file) == 1) {
        CHECK(shx_ledger_is(file));
        count++;
    }
    CHECK(pclose(list) == 0);
    return count;
}

static int
open_directory(void)
{
    int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(folder >= 0);
    return folder;
}

/* Three records: a name that is there, one that was struck out, and one that
 * another inode has now. Only the first is removed. */
static void
test_ledger_removes_what_is_still_its_own(void)
{
    const char *suffixes[] = {"own", "struck", "others"};
    name called[3];
    shx_segment made[3];
    shx_record *records[3];
    shx_ledgers ledgers = {.directory = directory, .mutex = &mutex};
    for (int i = 0; i < 3; i++) {
        called[i] = name_of(suffixes[i]);
        made[i] = create(called[i].text, 64, true);
        uint64_t inode = made[i].identity.inode + (i == 2 ? 1000003 : 0);
        records[i] = write_record(&ledgers, called[i].text, inode);
        CHECK(shx_ledger_settle(&ledgers, records[i]));
    }
    uint64_t struck = made[1].identity.inode;
    CHECK(!shx_ledger_strike(&ledgers, records[1], struck + 1));
    CHECK(atomic_load(&records[1]->inode) == struck);
    CHECK(shx_ledger_strike(&ledgers, records[1], struck));
    CHECK(atomic_load(&records[1]->inode) == 0);
    CHECK(!shx_ledger_strike(&ledgers, records[1], struck));
    /* In a mapping, but no record: where one was in another mapping. */
    shx_record *between = (void *)&records[0]->name[SHX_RECORD_NAME - 16];
    CHECK(!shx_ledger_strike(&ledgers, between, struck));
    CHECK(ledgers.free_count == ledgers.capacity - 2);

    int removed = 0, folder = open_directory();
    shx_outcome out = {.failed = 0};
    shx_file place;
    shx_names names;
    CHECK(shx_os_open_directory(shx_os_directory, &names.directory) == 0);
    CHECK(shx_os_inspect(names.directory, &place) == 0);
    names.device = place.identity.device;
    char file[32] = "";
    CHECK(ledger_files(file) == 1);
    shx_sweep_options options = {true, count_names, &removed};
    CHECK(shx_ledger_execute(folder, &names, file, &options, &out) == 0);
    CHECK(removed == 1 && out.failed == 0 && out.ended == 0);
    options.dry_run = false;
    CHECK(shx_ledger_execute(folder, &names, file, &options, &out) == 0);
    CHECK(removed == 2 && out.failed == 0 && out.ended == 1);
    CHECK(shx_ledger_execute(folder, &names, file, &options, &out) == 0);
    CHECK(removed == 2 && out.ended == 1);
    shx_names_close(&names);
    CHECK(shx_os_remove(called[0].text) == ENOENT);
    CHECK(shx_os_remove(called[1].text) == 0);
    CHECK(shx_os_remove(called[2].text) == 0);
    shx_os_close(folder);
    shx_ledger_forget(&ledgers);
    for (int i = 0; i < 3; i++) {
        CHECK(!shx_ledger_strike(&ledgers, records[i],
                                 atomic_load(&records[i]->inode)));
        CHECK(!shx_ledger_settle(&ledgers, records[i]));
        shx_segment_detach(&made[i]);
    }
}

/* None of these names is there, but the hand leaves alone what is pending. */
static void
test_ledger_room_is_found_and_given_back(void)
{
    enum { MANY = 3000 };
    static shx_record *records[MANY];
    shx_ledgers ledgers = {.directory = directory, .mutex = &mutex};
    name called = name_of("not-there");
    char file[32];
    for (int i = 0; i < MANY; i++) { /* each page has 15 */
        records[i] = write_record(&ledgers, called.text, (uint64_t)i + 1);
        CHECK(i == 0 || records[i] != records[i - 1]);
    }
    CHECK(ledgers.capacity >= MANY && ledgers.capacity < MANY + 600);
    int files = ledger_files(file);
    CHECK((size_t)files == ledgers.count && files < 40);
    for (size_t i = 0; i < ledgers.count; i++) {
        CHECK(ledgers.list[i].count <= SHX_LEDGER_MOST);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK(atomic_load(&records[i]->inode) == (uint64_t)i + 1);
        CHECK(shx_ledger_settle(&ledgers, records[i]));
    }
    /* Out of date now: room for as many again, and for one at a time. */
    size_t capacity = ledgers.capacity;
    for (int i = 0; i < 10 * MANY; i++) {
        shx_record *record = write_record(&ledgers, called.text, 1);
        CHECK(shx_ledger_settle(&ledgers, record));
    }
    CHECK(ledgers.capacity <= capacity + SHX_LEDGER_MOST);
    /* All names gone: what is left is little, and nothing is lost count of. */
    {
        CHECK(shx_ledger_strike_name(&ledgers, called.text, 0));
    }
    CHECK(ledgers.capacity == ledgers.free_count);
    CHECK(ledgers.capacity <= 2 * SHX_LEDGER_MOST);
    CHECK((size_t)ledger_files(file) == ledgers.count);
    for (int i = 0; i < MANY; i++) { /* some of them are not mapped any more */
        CHECK(!shx_ledger_strike(&ledgers, records[i], (uint64_t)i + 1));
    }
    shx_ledger_forget(&ledgers);
    CHECK(system("rm \"$SHX_DIRECTORY\"/*") == 0);
}

/* What comes and goes at a border makes no files come and go. */
static void
test_ledger_at_a_border_stays(void)
{
    shx_ledgers ledgers = {.directory = directory, .mutex = &mutex};
    name called = name_of("border");
    shx_record *record = NULL;
    for (uint64_t i = 1; ledgers.count < 2; i++) {
        record = write_record(&ledgers, called.text, i);
        CHECK(ledgers.count == 2 || ledgers.free_count > 0 || i % 15 == 0);
    }
    char before[32], after[32];
    CHECK(ledger_files(before) == 2);
    const shx_record *first = record;
    for (uint64_t i = 1000; i < 1100; i++) {
        uint64_t inode = atomic_load(&record->inode);
        CHECK(shx_ledger_strike(&ledgers, record, inode));
        CHECK(ledgers.count == 2);
        record = write_record(&ledgers, called.text, i);
        CHECK(record == first);
    }
    CHECK(ledger_files(after) == 2 && strcmp(before, after) == 0);
    shx_ledger_forget(&ledgers);
    CHECK(system("rm \"$SHX_DIRECTORY\"/*") == 0);
}

/* After fork() the child strikes out in what it inherited, and writes its
 * own. The parent finds the record free when it needs one. */
static void
test_ledger_that_is_inherited(void)
{
    shx_ledgers ledgers = {.directory = directory, .mutex = &mutex};
    name called = name_of("inherited"), again = name_of("again");
    shx_record *record = write_record(&ledgers, called.text, 7);
    CHECK(shx_ledger_settle(&ledgers, record));
    shx_ledgers parents = ledgers;
    parents.list = malloc(ledgers.count * sizeof *parents.list);
    CHECK(parents.list != NULL);
    memcpy(parents.list, ledgers.list, ledgers.count * sizeof *parents.list);
    ledgers.list[0].notes = NULL; /* the parent's; a child has a copy */
    shx_ledger_inherit(&ledgers);
    CHECK(ledgers.inherited == 1 && ledgers.capacity == 0);
    shx_record *own = write_record(&ledgers, again.text, 8);
    CHECK(ledgers.count == 2);
    CHECK(!shx_ledger_settle(&ledgers, record));
    CHECK(shx_ledger_settle(&ledgers, own));
    CHECK(!shx_ledger_strike_name(&ledgers, called.text, 0));
    CHECK(shx_ledger_strike(&ledgers, record, 7));
    CHECK(atomic_load(&record->inode) == 0);
    shx_record copy;
    size_t free_before = parents.free_count;
    CHECK(shx_ledger_hand(&parents, &copy) == record);
    CHECK(atomic_load(&copy.inode) == 0);
    CHECK(shx_ledger_strike(&parents, record, 0));
    CHECK(parents.free_count == free_before + 1);
    CHECK(shx_ledger_hand(&parents, &copy) == NULL);
    shx_ledger_forget(&ledgers);
    shx_ledger_forget(&parents);
    CHECK(system("rm \"$SHX_DIRECTORY\"/*") == 0);
}

typedef struct {
    shx_ledgers *ledgers;
    uint64_t first; /* inode */
} writer;

/* As a create and an unlink do it, and sometimes somebody else unlinks. */
static void *
write_and_strike(void *context)
{
    writer *self = context;
    name called = name_of("thread");
    shx_record *kept[40] = {NULL}; /* maybe unmapped: only for a strike */
    uint64_t inodes[40] = {0};
    for (uint64_t i = 0; i < 20000; i++) {
        shx_record **slot = &kept[i * 7 % 40];
        uint64_t inode = self->first + i;
        const shx_identity identity = {.inode = inode};
        shx_err err = EAGAIN;
        shx_mutex_lock(&mutex);
        if (*slot != NULL && i % 3 != 0) {
            (void)shx_ledger_strike(self->ledgers, *slot, inodes[i * 7 % 40]);
        }
        while ((err = shx_ledger_write(self->ledgers, called.text,
                                       &identity, slot)) == EAGAIN) {
            shx_mutex_unlock(&mutex);
            CHECK(shx_ledger_make_room(self->ledgers) == 0);
            shx_mutex_lock(&mutex);
        }
        CHECK(err == 0);
        shx_mutex_unlock(&mutex);
        if (i % 1000 == 0) {
            shx_ledger_tidy(self->ledgers);
        }
        shx_mutex_lock(&mutex);
        CHECK(atomic_load(&(*slot)->inode) == inode); /* nobody else took it */
        CHECK(shx_ledger_settle(self->ledgers, *slot));
        shx_mutex_unlock(&mutex);
        *slot = i % 5 == 0 ? NULL : *slot;
        inodes[i * 7 % 40] = inode;
    }
    return NULL;
}

static void
test_ledger_is_written_by_threads(void)
{
    enum { THREADS = 4 };
    shx_ledgers ledgers = {.directory = directory, .mutex = &mutex};
    pthread_t threads[THREADS];
    writer writers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        writers[i] = (writer){&ledgers, (uint64_t)(i + 1) << 32};
        CHECK(pthread_create(&threads[i], NULL, write_and_strike,
                             &writers[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(ledgers.capacity <= 4 * SHX_LEDGER_MOST);
    size_t in_use = 0, capacity = 0;
    for (size_t i = 0; i < ledgers.count; i++) {
        const shx_ledger *ledger = &ledgers.list[i];
        for (size_t j = 0; j < ledger->count; j++) {
            in_use += ledger->notes[j].mark != 0;
        }
        capacity += ledger->count;
    }
    CHECK(capacity == ledgers.capacity);
    CHECK(in_use + ledgers.free_count == capacity);
    shx_ledger_forget(&ledgers);
    CHECK(system("rm \"$SHX_DIRECTORY\"/*") == 0);
}

int
main(int argc, char **argv)
{
    begin(argc, argv);
    CHECK(setenv("SHX_DIRECTORY", directory, 1) == 0);
    test_ledger_removes_what_is_still_its_own();
    test_ledger_room_is_found_and_given_back();
    test_ledger_at_a_border_stays();
    test_ledger_that_is_inherited();
    test_ledger_is_written_by_threads();
    (void)puts("all passed");
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Room for records: where it is found when there is none, and where it goes
 * when there is too much. The functions here take the ledgers' mutex, and ask
 * the system only when they have let go of it. */
#include "core/life/ledger.h"
#include "core/life/users.h"
#include "core/os/os.h"

static void
lock(shx_ledgers *ledgers)
{
    shx_mutex_lock(ledgers->mutex);
}

static void
unlock(shx_ledgers *ledgers)
{
    shx_mutex_unlock(ledgers->mutex);
}

/* Is the record out of date, because somebody removed the name, or because
 * the last of its users was killed? */
static bool
is_over(const shx_record *copy, const shx_names *names)
{
    shx_file file;
    if (!shx_ledger_is_true(copy, names, &file)) {
        return true;
    }
    return (file.mode & SHX_MODE_USERS) != 0 &&
           shx_users_remove(names->directory, copy->name, &file.identity,
                            false) == 0;
}

static size_t
look_in(shx_ledgers *ledgers, const shx_names *names, size_t most)
{
    size_t freed = 0;
    for (size_t i = 0; i < most; i++) {
        shx_record copy;
        lock(ledgers);
        shx_record *record = shx_ledger_hand(ledgers, &copy);
        unlock(ledgers);
        if (record == NULL) {
            break;
        }
        if (is_over(&copy, names)) {
            lock(ledgers);
            freed +=
                shx_ledger_strike(ledgers, record, atomic_load(&copy.inode));
            unlock(ledgers);
        }
    }
    return freed;
}

/* Looks at so many records, and frees those that are out of date. How many
 * were? */
static size_t
look(shx_ledgers *ledgers, size_t most)
{
    int directory;
    shx_names names;
    size_t freed = 0;
    if (shx_os_open_directory(ledgers->directory, &directory) != 0) {
        return 0;
    }
    if (shx_names_open(directory, &names) == 0) {
        freed = look_in(ledgers, &names, most);
        shx_names_close(&names);
    }
    shx_os_close(directory);
    return freed;
}

/* With one, the hand would follow what is written and never come round. */
void
shx_ledger_look(shx_ledgers *ledgers)
{
    (void)look(ledgers, 2);
}

/* *gained: its free records. */
static shx_err
list(shx_ledgers *ledgers, const shx_ledger *made, size_t *gained)
{
    lock(ledgers);
    size_t before = ledgers->free_count;
    shx_err err = shx_ledger_list(ledgers, made);
    *gained = ledgers->free_count - before;
    unlock(ledgers);
    return err;
}

/* What is wanted of the files that dead members have left. */
typedef struct {
    shx_ledgers *ledgers;
    size_t wanted; /* free records */
    size_t looks;  /* that may be spent on it */
} search;

static size_t
less(size_t a, size_t b)
{
    return a > b ? a - b : 0;
}

/* A visitor: 1 when that is enough. */
static shx_err
take_over(void *context, int directory, const char *file)
{
    search *now = context;
    shx_ledger made;
    size_t gained;
    if (!shx_ledger_is(file) ||
        shx_ledger_take_over(directory, file, &made) != 0) {
        return 0;
    }
    if (list(now->ledgers, &made, &gained) != 0) {
        shx_ledger_let_go(&made);
        return 1;
    }
    gained += look(now->ledgers, made.count);
    now->looks = less(now->looks, made.count);
    now->wanted = less(now->wanted, gained);
    return now->looks == 0 || now->wanted == 0;
}

static shx_err
add(shx_ledgers *ledgers, int directory, size_t records)
{
    shx_ledger made;
    size_t gained;
    shx_err err = shx_ledger_add(directory, records, &made);
    if (err == 0) {
        err = list(ledgers, &made, &gained);
        if (err != 0) {
            shx_ledger_give_back(ledgers->directory, &made);
        }
    }
    return err;
}

static shx_err
take_over_or_add(shx_ledgers *ledgers, size_t wanted, size_t size)
{
    int directory;
    shx_err err = shx_os_open_directory(ledgers->directory, &directory);
    if (err == 0) {
        search now = {ledgers, wanted, SHX_LEDGER_MOST};
        (void)shx_os_visit(directory, take_over, &now);
        if (now.wanted > 0) {
            err = add(ledgers, directory, size);
        }
        shx_os_close(directory);
    }
    return err;
}

/* A quarter as many records are looked at as a new ledger would have. Where
 * none of them is out of date few are, and there is to be a new ledger, so
 * that looking stays cheap on average; where some are, the others are looked
 * at too. Ledgers of the dead come before new ones. What is found other
 * threads may have taken by then: the caller tries again. */
shx_err
shx_ledger_make_room(shx_ledgers *ledgers)
{
    lock(ledgers);
    size_t size = shx_ledger_next_size(ledgers);
    unlock(ledgers);
    size_t wanted = size / 4;
    size_t freed = look(ledgers, wanted);
    if (freed > 0 && freed < wanted) {
        freed += look(ledgers, size - wanted);
    }
    shx_err err = 0;
    if (freed < wanted) {
        err = take_over_or_add(ledgers, wanted - freed, size);
    }
    return freed > 0 ? 0 : err;
}

void
shx_ledger_tidy(shx_ledgers *ledgers)
{
    int directory;
    search wanted = {ledgers, SIZE_MAX, SHX_LEDGER_MOST};
    if (shx_os_open_directory(ledgers->directory, &directory) == 0) {
        (void)shx_os_visit(directory, take_over, &wanted);
        shx_os_close(directory);
    }
}

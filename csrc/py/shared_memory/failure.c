/* SPDX-License-Identifier: MIT */
#include "py/shared_memory/failure.h"

#include <errno.h>

#include "py/memory/memory.h"

int
shx_size_as_number(PyObject *size, const char *bare, PyObject *name,
                   size_t *out)
{
    long number = PyLong_AsLong(size);
    if (number == -1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            shx_note("size=%R, for %R: at most %zd bytes", size, name,
                     (Py_ssize_t)PTRDIFF_MAX);
        }
        shx_file file;
        if (shx_os_inspect_name(bare, &file) == 0) {
            PyErr_Clear();
            shx_raise(EEXIST, name);
        }
        return -1;
    }
    *out = (size_t)number;
    return 0;
}

enum { MODE_SIZE = 8 };

/* PyUnicode_FromFormat() has no %o before 3.12. */
static void
write_mode(unsigned mode, char out[MODE_SIZE])
{
    (void)PyOS_snprintf(out, MODE_SIZE, "0o%03o", mode & 07777u);
}

static void
note_missing(const char *place)
{
    shx_note("there is no %s here: mount -t tmpfs -o mode=1777 tmpfs %s; in a "
             "chroot, mount --bind it; a container has one with another "
             "--ipc= than none. AnonymousMemory and MappedFile do without",
             place, place);
}

static void
note_denied(const char *place, const shx_file *found)
{
    char mode[MODE_SIZE];
    write_mode(found->mode, mode);
    shx_note("%s is of user %u, with mode %s, and denies it to user %u: chmod "
             "1777 %s",
             place, found->user, mode, shx_os_user(), place);
}

/* Each name takes an inode, a family four more. */
static void
note_full(const char *place)
{
    uint64_t left, most;
    bool counted = shx_os_room_for_names(&left, &most);
    if (counted && left < 8) {
        shx_note("%llu of %llu inodes are free in %s, and each name takes "
                 "one, a program's first up to five: see df -i %s, and mount "
                 "-o remount,nr_inodes=",
                 (unsigned long long)left, (unsigned long long)most, place,
                 place);
        return;
    }
    shx_note("%llu bytes are free in %s, and a family's list of its names "
             "takes a page: see df %s, and docker --shm-size",
             (unsigned long long)shx_os_room(-1), place, place);
}

void
shx_note_place(shx_err err)
{
    const char *place = shx_os_directory;
    shx_file found;
    shx_err looked = shx_os_inspect_path(place, &found);
    if (looked != 0) {
        if (looked == ENOENT && err == ENOENT) {
            note_missing(place);
        }
    }
    else if (err == ENOTDIR && !found.directory) {
        shx_note("%s is %s: put a directory there, and mount a tmpfs on it",
                 place, found.kind);
    }
    else if (err == EACCES && found.directory) {
        note_denied(place, &found);
    }
    else if (err == EROFS) {
        shx_note("%s is mounted read-only: mount -o remount,rw %s, or give "
                 "the container one of its own: --tmpfs %s",
                 place, place, place);
    }
    else if (err == ENOSPC) {
        note_full(place);
    }
    else if (err == EDQUOT) {
        shx_note("what user %u may have in %s is used up: see "
                 "usrquota_block_hardlimit in tmpfs(5)",
                 shx_os_user(), place);
    }
    else if (err == EMFILE) {
        shx_note("this process has as many files open as it may, and this "
                 "takes three for a moment: see ulimit -n");
    }
    else if (err == ENFILE) {
        shx_note("the machine has as many files open as it may: see sysctl "
                 "fs.file-max");
    }
}

PyObject *
shx_raise_place(shx_err err)
{
    PyObject *place = PyUnicode_FromString(shx_os_directory);
    if (place != NULL) {
        shx_raise(err, place);
        shx_note_place(err);
        Py_DECREF(place);
    }
    return NULL;
}

/* Whoever publishes one with a content makes something else of it, a Channel
 * or a Lock, which is reserved whatever SharedMemory is told of that: in time
 * each of its bytes is written. */
static shx_words
words_of(PyObject *op, const shx_create *request)
{
    shx_words words = MEMORY(op)->kind->words;
    if (request->content != NULL) {
        words.hint = "containers give it 64 MB unless told otherwise: docker "
                     "run --shm-size";
    }
    return words;
}

int
shx_raise_create(PyObject *op, const shx_create *request, shx_err err,
                 PyObject *name)
{
    if (err == ENOSPC && request->step == SHX_STEP_RESERVE) {
        const shx_words words = words_of(op, request);
        shx_raise_full(&words, name, request->size, shx_os_room(-1));
    }
    else if (request->step == SHX_STEP_MAP) {
        shx_raise(err, NULL);
    }
    else {
        shx_raise(err, name);
        shx_note_place(err);
    }
    if (err == ENOMEM) {
        shx_note("%R with %zu bytes is more than this process can map: ask "
                 "for less, or see ulimit -v",
                 name, request->size);
    }
    return -1;
}

/* exist_ok=True, and the name is somebody's who is not we. */
static void
note_whose(const shx_attach *request, PyObject *name)
{
    shx_file file;
    if (shx_os_inspect_name(request->name, &file) != 0) {
        return;
    }
    const char *way_out =
        request->step == SHX_STEP_TRUST
            ? "another user's memory is taken only with a mode= that shares "
              "one's own with others too, mode=0o666; or choose another name"
            : "choose another name, or have it created with mode=0o666";
    char mode[MODE_SIZE];
    write_mode(file.mode, mode);
    shx_note("%R is there, of user %u, with mode %s: %s", name, file.user,
             mode, way_out);
}

/* Is it the directory that is missing, or denies it? Then the name cannot even
 * be looked at. */
static bool
is_of_the_place(const char *name, shx_err err)
{
    shx_file file;
    shx_err looked = shx_os_inspect_name(name, &file);
    if (looked == ENOENT) {
        looked = shx_os_inspect_path(shx_os_directory, &file);
    }
    return err == looked || err == EMFILE || err == ENFILE;
}

int
shx_raise_attach(const shx_call *call, const shx_attach *request, shx_err err,
                 PyObject *name)
{
    bool mapping = request->step == SHX_STEP_MAP;
    int sized = err == ENOENT ? PyObject_IsTrue(call->size) : 0;
    if (sized < 0) {
        PyErr_Clear();
    }
    shx_raise(err, mapping ? NULL : name);
    if (is_of_the_place(request->name, err)) {
        shx_note_place(err);
    }
    else if (err == ENOENT && sized > 0) {
        shx_note("a size is given, and nothing has that name: create=True "
                 "creates it");
    }
    else if (err == SHX_EMPTY) {
        shx_note("%R has no bytes: timeout= waits until whoever makes it has "
                 "given it a size",
                 name);
    }
    else if (err == EAGAIN && request->step == SHX_STEP_USE) {
        shx_note("somebody who is about to remove %R has been stopped: try "
                 "again when he has gone on, or is gone",
                 name);
    }
    else if (err == EACCES && call->may_exist) {
        note_whose(request, name);
    }
    else if ((err == EACCES || err == EROFS) && !request->readonly) {
        shx_note_place(err == EROFS ? err : 0);
        if (call->content == NULL) {
            shx_note("readonly=True attaches for reading, if its mode permits "
                     "that");
        }
        else if (err == EACCES) {
            shx_note("whoever uses it writes to it: choose another name, or "
                     "have it created with mode=0o666");
        }
    }
    else if (mapping && err == ENOMEM) {
        shx_note("%R is more than this process can map: see ulimit -v", name);
    }
    return -1;
}

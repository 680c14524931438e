/* SPDX-License-Identifier: MIT */
/* Which family a process is in, and how its children come to be in it. What
 * multiprocessing is told is Python's affair: shmemext_family.py. */
#include "py/shared_memory/lifetime.h"

#include <errno.h> /* ESTALE */

#include "core/memory/guard.h"
#include "py/errors.h"
#include "py/shared_memory/attributes.h"
#include "py/shared_memory/failure.h"

/* Python's part of it, which knows where the reaper is. */
static PyObject *
reaper_path(void)
{
    PyObject *module = PyImport_ImportModule("shmemext._family");
    if (module == NULL) {
        return NULL;
    }
    PyObject *path = PyObject_CallMethod(module, "prepare", NULL);
    Py_DECREF(module);
    return path;
}

static bool
is_development_mode(void)
{
    PyObject *flags = Py_XNewRef(PySys_GetObject("flags"));
    PyObject *mode =
        flags == NULL ? NULL : PyObject_GetAttrString(flags, "dev_mode");
    bool is = mode == Py_True;
    Py_XDECREF(mode);
    Py_XDECREF(flags);
    PyErr_Clear();
    return is;
}

/* That it cannot be given fails no create. */
static void
warn_of_no_reaper(shx_err err, PyObject *path)
{
    if (is_development_mode() &&
        PyErr_WarnFormat(PyExc_ResourceWarning, 1,
                         "no reaper waits for the end of this program: %s "
                         "(it is %R). Where all of its processes are killed, "
                         "their shared memory stays until the next sweep, "
                         "see python -m shmemext gc",
                         shx_error_text(err), path) < 0) {
        PyErr_WriteUnraisable(NULL);
    }
}

static int
prepare(shx_family *family, bool users)
{
    bool attend = users && !shx_family_is_attended(family);
    if (shx_family_is_prepared(family) && !attend) {
        return 0;
    }
    PyObject *path = reaper_path();
    const char *reaper = path == NULL ? NULL : PyUnicode_AsUTF8(path);
    if (reaper != NULL) {
        shx_err err;
        Py_BEGIN_ALLOW_THREADS
        err = shx_family_prepare(family, reaper);
        if (attend) {
            shx_family_attend(family, reaper);
        }
        Py_END_ALLOW_THREADS
        if (err != 0) {
            warn_of_no_reaper(err, path);
        }
    }
    Py_XDECREF(path);
    return reaper == NULL ? -1 : 0;
}

int
shx_family_to_own(bool users, shx_family **out, shx_err *err)
{
    *err = 0;
    *out = shx_family_now();
    if (*out == NULL) {
        Py_BEGIN_ALLOW_THREADS
        *err = shx_family_own(out);
        Py_END_ALLOW_THREADS
    }
    return *err != 0 ? 0 : prepare(*out, users);
}

/* Return the id of this process's family, which is founded if there is none,
 * and a descriptor that holds a share of it, for a program that is about to
 * be started. */
PyDoc_STRVAR(share_doc, "_share($module, /)\n--\n\n");

static PyObject *
lifetime_share(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    char id[SHX_FAMILY_ID + 1];
    int fd = -1;
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_family_share(id, &fd);
    Py_END_ALLOW_THREADS
    if (err != 0) {
        return shx_raise_place(err);
    }
    PyObject *pair = Py_BuildValue("(si)", id, fd);
    if (pair == NULL) {
        shx_os_close(fd);
    }
    return pair;
}

/* Be of that family, by a descriptor that holds a share of it, and close
 * that. Return whether what is created goes to it: not where its directory is
 * not to be seen from here. */
PyDoc_STRVAR(enter_doc, "_enter($module, id, fd, /)\n--\n\n");

static PyObject *
lifetime_enter(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *id;
    int fd;
    if (!PyArg_ParseTuple(args, "si:_enter", &id, &fd)) {
        return NULL;
    }
    if (strlen(id) != SHX_FAMILY_ID) {
        PyErr_SetString(PyExc_ValueError, "not a family's id");
        return NULL;
    }
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_family_enter(id, fd);
    Py_END_ALLOW_THREADS
    if (err != 0 && err != ESTALE) {
        return shx_raise(err, NULL);
    }
    return PyBool_FromLong(err == 0);
}

/* This process forks for others, and the families of those: its forks found
 * none. */
PyDoc_STRVAR(serve_doc, "_serve($module, /)\n--\n\n");

static PyObject *
lifetime_serve(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    shx_family_serve();
    Py_RETURN_NONE;
}

/* Leave all families, at the end of a process that does not finalize its
 * interpreter. */
PyDoc_STRVAR(leave_doc, "_leave($module, /)\n--\n\n");

static PyObject *
lifetime_leave(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    Py_BEGIN_ALLOW_THREADS
    shx_family_leave();
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* Return the id of this process's family, or None where there has been no use
 * for one. */
PyDoc_STRVAR(own_doc, "_own($module, /)\n--\n\n");

static PyObject *
lifetime_own(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    const shx_family *own = shx_family_now();
    if (own == NULL) {
        Py_RETURN_NONE;
    }
    return PyUnicode_FromString(shx_family_id(own));
}

/* Found one more family, of this process and its children, and return its id.
 * It owns what it adopts. */
PyDoc_STRVAR(found_doc, "_found($module, /)\n--\n\n");

static PyObject *
lifetime_found(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    shx_family *family;
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_family_found(&family);
    Py_END_ALLOW_THREADS
    if (err != 0) {
        return shx_raise_place(err);
    }
    return PyUnicode_FromString(shx_family_id(family));
}

/* Make a segment's name that of a family, by the id of one that this process
 * is in. The others who own it go on owning it. */
PyDoc_STRVAR(adopt_doc, "_adopt($module, name, family, /)\n--\n\n");

static PyObject *
lifetime_adopt(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *name;
    const char *bare, *id;
    if (!PyArg_ParseTuple(args, "Us:_adopt", &name, &id) ||
        shx_bare_name(name, "_adopt", &bare) < 0) {
        return NULL;
    }
    shx_family *family = shx_family_find(id);
    if (family == NULL) {
        return shx_raise(ESTALE, name);
    }
    shx_file file = {.mode = 0};
    (void)shx_os_inspect_name(bare, &file);
    if (prepare(family, (file.mode & SHX_MODE_USERS) != 0) < 0) {
        return NULL;
    }
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_family_adopt(family, bare);
    Py_END_ALLOW_THREADS
    if (err != 0) {
        shx_raise(err, name);
        shx_note_place(err);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Nobody in this process owns the name any more. Return whether anybody had,
 * or has it mapped. */
PyDoc_STRVAR(disown_doc, "_disown($module, name, /)\n--\n\n");

static PyObject *
lifetime_disown(PyObject *Py_UNUSED(module), PyObject *name)
{
    const char *bare;
    if (shx_bare_name(name, "_disown", &bare) < 0) {
        return NULL;
    }
    bool owned;
    Py_BEGIN_ALLOW_THREADS
    owned = shx_family_disown(bare);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(owned || shx_guard_knows(bare));
}

static PyMethodDef lifetime_methods[] = {
    {"_adopt", lifetime_adopt, METH_VARARGS, adopt_doc},
    {"_disown", lifetime_disown, METH_O, disown_doc},
    {"_enter", lifetime_enter, METH_VARARGS, enter_doc},
    {"_found", lifetime_found, METH_NOARGS, found_doc},
    {"_leave", lifetime_leave, METH_NOARGS, leave_doc},
    {"_own", lifetime_own, METH_NOARGS, own_doc},
    {"_serve", lifetime_serve, METH_NOARGS, serve_doc},
    {"_share", lifetime_share, METH_NOARGS, share_doc},
    {NULL, NULL, 0, NULL},
};

int
shx_lifetime_add(PyObject *module)
{
    bool first = false;
    shx_err err = shx_family_begin(&first);
    if (err != 0) {
        shx_raise(err, NULL);
        return -1;
    }
    if (first) {
        (void)Py_AtExit(shx_family_end);
    }
    return PyModule_AddFunctions(module, lifetime_methods);
}

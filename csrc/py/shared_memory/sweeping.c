/* SPDX-License-Identifier: MIT */
/* What nobody will miss: the sweep for Python, and names without users. */
#include "py/shared_memory/sweeping.h"

#include <stdlib.h> /* malloc, free */
#include <string.h> /* strncpy */

#include "core/life/sweep.h"
#include "core/life/users.h"
#include "py/errors.h"
#include "py/shared_memory/attributes.h"
#include "py/shared_memory/failure.h"

/* Collects what a sweep tells, without the GIL: in the system's memory. */
typedef struct telling {
    struct telling *next;
    uint64_t bytes;
    shx_err err;
    char name[SHX_RECORD_NAME];
} telling;

typedef struct {
    telling *list;
    bool forgot; /* there was no memory for one */
} tellings;

static void
hear(void *context, const char *name, uint64_t bytes, shx_err err)
{
    tellings *heard = context;
    telling *one = malloc(sizeof *one);
    if (one == NULL) {
        heard->forgot = true;
        return;
    }
    *one = (telling){.next = heard->list, .bytes = bytes, .err = err};
    (void)strncpy(one->name, name, sizeof one->name - 1);
    heard->list = one;
}

static PyObject *
as_list(tellings *heard)
{
    PyObject *list = PyList_New(0);
    while (heard->list != NULL) {
        telling *one = heard->list;
        heard->list = one->next;
        PyObject *item =
            list == NULL
                ? NULL
                : Py_BuildValue("(NKi)", PyUnicode_DecodeFSDefault(one->name),
                                (unsigned long long)one->bytes,
                                shx_errno(one->err));
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
        free(one);
    }
    return list;
}

/* Remove what this user's dead families left. Return a list of (name, bytes
 * held, errno or 0). */
PyDoc_STRVAR(sweep_doc, "_sweep($module, dry_run, /)\n--\n\n");

static PyObject *
lifetime_sweep(PyObject *Py_UNUSED(module), PyObject *dry_run)
{
    int dry = PyObject_IsTrue(dry_run);
    if (dry < 0) {
        return NULL;
    }
    tellings heard = {NULL, false};
    shx_sweep_options options = {dry, hear, &heard};
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_sweep_all(&options);
    Py_END_ALLOW_THREADS
    PyObject *list = as_list(&heard);
    if (list != NULL && heard.forgot) {
        Py_DECREF(list);
        return PyErr_NoMemory();
    }
    if (list != NULL && err != 0) {
        Py_DECREF(list);
        return shx_raise_place(err);
    }
    return list;
}

/* Whether it is gone, or, dry, would be: 0; EAGAIN: it is in use. */
static shx_err
remove_unused(const char *name, uint64_t inode, bool dry)
{
    int names;
    shx_file file;
    shx_err err = shx_os_open_directory(shx_os_directory, &names);
    if (err != 0) {
        return err;
    }
    err = shx_os_inspect_in(names, name, &file);
    if (err == 0 && file.identity.inode != inode) {
        err = SHX_REPLACED;
    }
    if (err == 0) {
        err = shx_users_remove(names, name, &file.identity, dry);
    }
    shx_os_close(names);
    return err;
}

/* Remove the name of a segment of its users, if it stands for that inode and
 * nobody uses it or has it open. Return whether that is so. */
PyDoc_STRVAR(remove_unused_doc,
             "_remove_unused($module, name, inode, dry_run, /)\n--\n\n");

static PyObject *
lifetime_remove_unused(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *name; /* bytes: any that there are */
    unsigned long long inode;
    int dry;
    if (!PyArg_ParseTuple(args, "O&Kp:_remove_unused", PyUnicode_FSConverter,
                          &name, &inode, &dry)) {
        return NULL;
    }
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = remove_unused(PyBytes_AS_STRING(name), inode, dry);
    Py_END_ALLOW_THREADS
    Py_DECREF(name);
    if (err == 0) {
        Py_RETURN_TRUE;
    }
    if (err == EAGAIN || err == ENOENT || err == SHX_REPLACED) {
        Py_RETURN_FALSE;
    }
    return shx_raise(err, PyTuple_GET_ITEM(args, 0));
}

static PyMethodDef sweeping_methods[] = {
    {"_remove_unused", lifetime_remove_unused, METH_VARARGS,
     remove_unused_doc},
    {"_sweep", lifetime_sweep, METH_O, sweep_doc},
    {NULL, NULL, 0, NULL},
};

int
shx_sweeping_add(PyObject *module)
{
    return PyModule_AddFunctions(module, sweeping_methods);
}

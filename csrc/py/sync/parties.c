/* SPDX-License-Identifier: MIT */
/* Who lives, for who only looks: `shmemext locks`. */
#include "py/sync/parties.h"

#include "core/life/party.h"
#include "py/errors.h"

/* Return the least number from token on of a living party of the file, but
 * for those of this very open file; 0 if there is none. */
PyDoc_STRVAR(next_token_doc, "_next_token($module, fd, token, /)\n--\n\n");

static PyObject *
next_token(PyObject *Py_UNUSED(module), PyObject *args)
{
    int fd;
    unsigned long token;
    if (!PyArg_ParseTuple(args, "ik:_next_token", &fd, &token)) {
        return NULL;
    }
    if (token == 0 || token > SHX_TOKEN) {
        PyErr_SetString(PyExc_ValueError, "no party has such a number");
        return NULL;
    }
    uint32_t next;
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_os_next_token(fd, (uint32_t)token, &next);
    Py_END_ALLOW_THREADS
    return err != 0 ? shx_raise(err, NULL) : PyLong_FromUnsignedLong(next);
}

static PyMethodDef parties_methods[] = {
    {"_next_token", next_token, METH_VARARGS, next_token_doc},
    {NULL, NULL, 0, NULL},
};

int
shx_parties_add(PyObject *module)
{
    return PyModule_AddFunctions(module, parties_methods);
}

/* SPDX-License-Identifier: MIT */
/* Where a synchronizer is that is given no place. */
#include "py/sync/synchronizer.h"

int
shx_synchronizer_take(const shx_state *state, size_t size, shx_own_place *out)
{
    PyObject *cells = PyImport_ImportModule("shmemext._cells");
    PyObject *count, *found = NULL;
    int status = -1;
    if (cells != NULL) {
        found = PyObject_CallMethod(cells, "take", "n", (Py_ssize_t)size);
    }
    if (found != NULL &&
        PyArg_ParseTuple(found, "O!ni", state->synchronizer_type, &count,
                         &out->offset, &out->fd)) {
        shx_mapping *mapping = SYNCHRONIZER(count)->mapping;
        out->mapping = (shx_mapping *)Py_NewRef((PyObject *)mapping);
        out->memory = Py_NewRef(SYNCHRONIZER(count)->memory);
        status = 0;
    }
    Py_XDECREF(found);
    Py_XDECREF(cells);
    return status;
}

/* SPDX-License-Identifier: MIT */
#include "py/shared_memory/tracker.h"

int
shx_tracker_call(const char *function, PyObject *name)
{
    PyObject *tracker =
        PyImport_ImportModule("multiprocessing.resource_tracker");
    if (tracker == NULL) {
        return -1;
    }
    PyObject *result =
        PyObject_CallMethod(tracker, function, "Os", name, "shared_memory");
    Py_DECREF(tracker);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

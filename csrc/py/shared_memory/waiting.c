/* SPDX-License-Identifier: MIT */
#include "py/shared_memory/waiting.h"

#include <errno.h>

#include "py/memory/memory.h"
#include "py/waiting.h"

static struct timespec
end_of(double timeout)
{
    struct timespec end;
    shx_os_now(&end);
    time_t seconds = (time_t)timeout;
    end.tv_sec += seconds;
    end.tv_nsec += (long)((timeout - (double)seconds) * 1e9);
    if (end.tv_nsec >= 1000000000) {
        end.tv_nsec -= 1000000000;
        end.tv_sec++;
    }
    return end;
}

static double
seconds_until(const struct timespec *end)
{
    struct timespec now;
    shx_os_now(&now);
    return (double)(end->tv_sec - now.tv_sec) +
           (double)(end->tv_nsec - now.tv_nsec) / 1e9;
}

/* What a program has put in the place of time.sleep(), a new reference; NULL
 * if it has not. */
static int
find_sleep(PyObject **sleep)
{
    PyObject *module = PyImport_ImportModule("time");
    PyObject *found =
        module == NULL ? NULL : PyObject_GetAttrString(module, "sleep");
    *sleep = NULL;
    if (found != NULL && !(PyCFunction_CheckExact(found) &&
                           PyCFunction_GetSelf(found) == module)) {
        *sleep = Py_NewRef(found);
    }
    Py_XDECREF(module);
    int status = found == NULL ? -1 : 0;
    Py_XDECREF(found);
    return status;
}

static shx_err
wait_by(PyObject *sleep, shx_attach *request, const struct timespec *end,
        shx_segment *segment)
{
    const double longest = 0.02;
    for (double slice = 0.001;; slice = slice < longest ? 2 * slice : slice) {
        double left = seconds_until(end);
        shx_err err;
        Py_BEGIN_ALLOW_THREADS
        err = shx_segment_attach(request, segment);
        Py_END_ALLOW_THREADS
        if ((err != ENOENT && err != SHX_EMPTY) || left <= 0) {
            return err;
        }
        PyObject *done =
            PyObject_CallFunction(sleep, "d", left < slice ? left : slice);
        if (done == NULL) {
            return SHX_INTERRUPTED;
        }
        Py_DECREF(done);
        if (PyErr_CheckSignals() < 0) {
            return SHX_INTERRUPTED;
        }
    }
}

static shx_err
wait_in_the_system(shx_attach *request, const struct timespec *end,
                   shx_segment *segment)
{
    shx_space space = {.poll = shx_poll_signals};
    PyThreadState *saved = PyEval_SaveThread();
    space.context = &saved;
    shx_err err = shx_segment_await(request, end, &space, segment);
    PyEval_RestoreThread(saved);
    return err;
}

shx_err
shx_attach_or_wait(shx_attach *request, double timeout, shx_segment *segment)
{
    const struct timespec end = end_of(timeout);
    PyObject *sleep;
    if (find_sleep(&sleep) < 0) {
        return SHX_INTERRUPTED;
    }
    if (sleep == NULL) {
        return wait_in_the_system(request, &end, segment);
    }
    shx_err err = wait_by(sleep, request, &end, segment);
    Py_DECREF(sleep);
    return err;
}

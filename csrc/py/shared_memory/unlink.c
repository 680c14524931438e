/* SPDX-License-Identifier: MIT */
/* How an object removes its name. */
#include "py/shared_memory/unlink.h"

#include <errno.h> /* ENOENT */

#include "py/shared_memory/attributes.h"
#include "py/shared_memory/object.h"
#include "py/shared_memory/tracker.h"

static int
audit_unlink(PyObject *op, const char *bare)
{
    PyObject *size;
    Py_BEGIN_CRITICAL_SECTION(op);
    size = Py_XNewRef(MEMORY(op)->size);
    Py_END_CRITICAL_SECTION();
    int status = PySys_Audit("shmemext.unlink", "sO", bare,
                             size == NULL ? Py_None : size);
    Py_XDECREF(size);
    return status;
}

/* The name is gone: the family need not remember it. */
static void
strike_record(PyObject *op)
{
    shx_record *record;
    uint64_t inode;
    Py_BEGIN_CRITICAL_SECTION(op);
    record = SHARED_MEMORY(op)->record;
    inode = MEMORY(op)->identity.inode;
    SHARED_MEMORY(op)->record = NULL;
    Py_END_CRITICAL_SECTION();
    if (record != NULL) {
        shx_family_strike(record, inode);
    }
}

int
shx_unlink_name(shx_state *state, PyObject *op, PyObject *name, int missing_ok)
{
    const char *bare;
    if (shx_bare_name(name, "shm_unlink", &bare) < 0 ||
        audit_unlink(op, bare) < 0) {
        return -1;
    }
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_os_remove(bare);
    Py_END_ALLOW_THREADS
    if (err == 0 || err == ENOENT) {
        strike_record(op);
    }
    if (err != 0) {
        if (err == ENOENT && missing_ok) {
            return 0;
        }
        shx_raise(err, name);
        return -1;
    }
    int tracked = shx_attribute_is_true(op, state->str._track);
    return tracked > 0 ? shx_tracker_call("unregister", name) : tracked;
}

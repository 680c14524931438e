/* SPDX-License-Identifier: MIT */
/* How an object removes its name. */
#include "py/shared_memory/unlink.h"

#include <errno.h> /* ENOENT, EROFS */

#include "py/shared_memory/attributes.h"
#include "py/shared_memory/failure.h"
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

/* What the object knows of the name that it is to remove. */
typedef struct {
    const char *bare;
    bool own;   /* the one that it was made with, of this very segment */
    bool drawn; /* nobody else comes upon it */
    shx_identity identity;
    shx_record *record; /* our family's, or NULL */
} target;

/* Programs may have set `_name`: then it is any name, and of the segment that
 * we know nothing happens. */
static target
find_target(PyObject *op, PyObject *name, const char *bare)
{
    target found = {.bare = bare};
    Py_BEGIN_CRITICAL_SECTION(op);
    PyObject *own_name = SHARED_MEMORY(op)->own_name;
    found.own = own_name == name ||
                (own_name != NULL && PyUnicode_Compare(own_name, name) == 0);
    found.drawn = found.own && SHARED_MEMORY(op)->drawn;
    SHARED_MEMORY(op)->drawn = false; /* from now on it is for others to use */
    found.identity = MEMORY(op)->identity;
    found.record = SHARED_MEMORY(op)->record;
    Py_END_CRITICAL_SECTION();
    return found;
}

/* Without the GIL. A record says what was true of the name when it was given:
 * it goes when that is over. */
static shx_err
remove_target(const target *of)
{
    if (!of->own) {
        return shx_os_remove(of->bare);
    }
    /* Looking whose it is takes a microsecond. */
    shx_err err = of->drawn ? shx_os_remove(of->bare)
                            : shx_segment_unlink(of->bare, &of->identity);
    bool over = err == 0 || err == ENOENT || err == SHX_REPLACED;
    if (over && of->record != NULL) {
        shx_family_strike(of->record, of->identity.inode);
    }
    else if (err == 0) {
        shx_family_forget(of->bare, of->identity.inode);
    }
    return err;
}

int
shx_unlink_name(shx_state *state, PyObject *op, PyObject *name, int missing_ok)
{
    const char *bare;
    if (shx_bare_name(name, "shm_unlink", &bare) < 0 ||
        audit_unlink(op, bare) < 0) {
        return -1;
    }
    const target of = find_target(op, name, bare);
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = remove_target(&of);
    Py_END_ALLOW_THREADS
    if (err != 0) {
        if ((err == ENOENT || err == SHX_REPLACED) && missing_ok) {
            return 0;
        }
        shx_raise(err, name);
        if (err == EROFS) {
            shx_note_place(err);
        }
        return -1;
    }
    int tracked = shx_attribute_is_true(op, state->str._track);
    return tracked > 0 ? shx_tracker_call("unregister", name) : tracked;
}

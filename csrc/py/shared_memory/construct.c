/* SPDX-License-Identifier: MIT */
/* SharedMemory.__init__: create or attach.
 *
 * Whatever can fail without touching the system is done first: the Mapping
 * object and the size are made before the segment has a name, so that a name,
 * once it is there, has an owner.
 */
#include "py/shared_memory/construct.h"

#include <errno.h>
#include <fcntl.h> /* O_RDWR */

#include "core/life/corpse.h"
#include "core/name.h"
#include "py/shared_memory/arguments.h"
#include "py/shared_memory/attributes.h"
#include "py/shared_memory/failure.h"
#include "py/shared_memory/filename.h"
#include "py/shared_memory/hidden.h"
#include "py/shared_memory/lifetime.h"
#include "py/shared_memory/object.h"
#include "py/shared_memory/tracker.h"
#include "py/shared_memory/unlink.h"
#include "py/shared_memory/users.h"
#include "py/shared_memory/waiting.h"
#include "py/waiting.h"

/* What a construction has got hold of. */
typedef struct {
    shx_mapping *mapping; /* made before the segment it will own */
    shx_record *record;   /* the family's, if it owns the name */
    bool created;
    bool drawn; /* under a name that was drawn by chance */
    bool unreserved;
    bool wary; /* takes another's memory only if it would share its own */
} opened;

/* "/" + name, as the stdlib writes it. New reference. */
static PyObject *
with_slash(shx_state *state, PyObject *op, PyObject *name)
{
    int prepend = shx_attribute_is_true(op, state->str._prepend_leading_slash);
    if (prepend < 0) {
        return NULL;
    }
    if (!prepend) {
        return Py_NewRef(name);
    }
    if (PyUnicode_CheckExact(name)) {
        return PyUnicode_FromFormat("/%U", name);
    }
    PyObject *slash = PyUnicode_FromString("/");
    PyObject *whole = slash == NULL ? NULL : PyNumber_Add(slash, name);
    Py_XDECREF(slash);
    return whole;
}

/* track=None: the name is our process family's, unless the program keeps its
 * names from the stdlib's tracker. */
static int
find_owner(shx_state *state, const shx_call *call, shx_family **owner,
           shx_err *err)
{
    *owner = NULL;
    *err = 0;
    int nobody = call->track != Py_None ? 1 : shx_tracker_is_replaced(state);
    if (nobody != 0) {
        return nobody < 0 ? -1 : 0;
    }
    return shx_family_to_own(call->of_users, owner, err);
}

/* A name that only the dead have is free; but for what begins with something:
 * there it is what they knew that counts. */
static shx_err
create_or_replace(shx_create *request, bool meets, shx_segment *out)
{
    if (request->may_exist && shx_corpse_is_alive(request->name)) {
        return EEXIST;
    }
    shx_err err = shx_segment_create(request, out);
    if (err == EEXIST && !request->is_random && !meets &&
        shx_corpse_remove(request->name)) {
        err = shx_segment_create(request, out);
    }
    return err;
}

/* Takes back a create whose last step failed. An exception is set and stays;
 * the name was encoded before, so encoding it again cannot fail. */
static void
undo_create(PyObject *name, const opened *segment)
{
    const shx_identity *identity = &segment->mapping->segment.identity;
    const char *bare;
    if (shx_name_bare(PyUnicode_AsUTF8(name), &bare) != 0) {
        return;
    }
    shx_err gone;
    Py_BEGIN_ALLOW_THREADS
    gone = shx_segment_unlink(bare, identity);
    (void)gone; /* or another's by now */
    if (segment->record != NULL) {
        shx_family_strike(segment->record, identity->inode);
    }
    Py_END_ALLOW_THREADS
}

/* `err`: there can be no owner. But shm_open() looks at the name before it
 * finds that the place will not do. */
static shx_err
create_owned(shx_create *request, bool meets, shx_err err, shx_segment *out)
{
    shx_file file;
    if (err == 0) {
        err = create_or_replace(request, meets, out);
    }
    if (err == 0 || err == EEXIST || err == SHX_INTERRUPTED ||
        request->step != SHX_STEP_OPEN) {
        return err;
    }
    return shx_os_inspect_name(request->name, &file) == 0 ? EEXIST : err;
}

/* 1: the name is taken, and that is no error. */
static int
create_segment(shx_state *state, PyObject *op, const shx_call *call,
               PyObject *name, opened *out)
{
    shx_create request = {.space.poll = shx_poll_signals};
    shx_ownership owner = {.users = call->of_users};
    shx_err err;
    int mode = 0, reserve = PyObject_IsTrue(call->reserve);
    if (reserve < 0 || shx_bare_name(name, "shm_open", &request.name) < 0 ||
        shx_mode_of(state, op, call, &mode) < 0 ||
        shx_size_as_number(call->size, request.name, name, &request.size) <
            0 ||
        find_owner(state, call, &owner.family, &err) < 0) {
        return -1;
    }
    if (request.size < call->content_size) {
        PyErr_SetString(PyExc_ValueError, "the content is longer than size");
        return -1;
    }
    request.mode = (unsigned)mode | (call->of_users ? SHX_MODE_USERS : 0u);
    out->wary = (mode & 077) == 0;
    request.space.reserve = reserve;
    request.may_exist = call->may_exist;
    request.is_random = call->name == Py_None;
    request.content = call->content;
    request.content_size = call->content_size;
    const shx_family *asked = owner.family;
    request.publish = asked != NULL ? shx_family_publish : NULL;
    request.draft = shx_family_draft;
    request.owner = &owner;
    if (PySys_Audit("shmemext.create", "sn", request.name,
                    (Py_ssize_t)request.size) < 0 ||
        (call->of_users && shx_users_expect(out->mapping, request.name) < 0)) {
        return -1;
    }
    PyThreadState *saved = PyEval_SaveThread();
    request.space.context = &saved;
    err = create_owned(&request, call->meets, err, &out->mapping->segment);
    PyEval_RestoreThread(saved);
    if (err == EEXIST && (call->name == Py_None || call->may_exist)) {
        return 1;
    }
    if (err != 0) {
        return shx_raise_create(op, &request, err, name);
    }
    out->record = owner.record;
    out->created = true;
    out->unreserved = !reserve;
    shx_mapping_guard(out->mapping, request.name);
    if (shx_users_begin(out->mapping, request.name, owner.record) < 0) {
        return -1;
    }
    /* One that was out of reach has been replaced by one without a reaper; and
     * where a segment needs a place until it has its name, there is one though
     * that is to be nobody's. */
    if (owner.family == asked ||
        shx_family_to_own(call->of_users, &owner.family, &err) == 0) {
        return 0;
    }
    undo_create(name, out);
    return -1;
}

/* 1: the name is taken, and that is no error; or it is gone, if it only might
 * be there. */
static int
attach_segment(const shx_call *call, int flags, PyObject *name, opened *out)
{
    shx_segment *segment = &out->mapping->segment;
    shx_attach request = {.flags = flags,
                          .readonly = call->is_readonly,
                          .wary = call->may_exist && out->wary};
    if (shx_bare_name(name, "shm_open", &request.name) < 0) {
        return -1;
    }
    shx_err err;
    if (call->seconds > 0) {
        err = shx_attach_or_wait(&request, call->seconds, segment);
    }
    else {
        Py_BEGIN_ALLOW_THREADS
        err = shx_segment_attach(&request, segment);
        Py_END_ALLOW_THREADS
    }
    if ((err == EEXIST && call->name == Py_None) ||
        (err == ENOENT && call->may_exist)) {
        return 1;
    }
    if (call->meets && (err == SHX_EMPTY || err == SHX_NOT_MEMORY)) {
        shx_raise(EEXIST, name);
        return -1;
    }
    if (err != 0) {
        return shx_raise_attach(call, &request, err, name);
    }
    if (shx_users_begin(out->mapping, request.name, NULL) < 0) {
        return -1;
    }
    shx_mapping_guard(out->mapping, request.name);
    return PySys_Audit("shmemext.attach", "sn", request.name,
                       (Py_ssize_t)segment->size);
}

/* What begins with something is for its users alone: nobody else's end would
 * leave it there. */
static int
check_users(PyObject *name, const opened *out)
{
    if (!out->mapping->segment.users) {
        shx_raise(EEXIST, name);
        return -1;
    }
    return 0;
}

/* exist_ok: the name was there when we tried to create it. 1: not any more. */
static int
attach_instead(const shx_call *call, PyObject *name, opened *out)
{
    int status = attach_segment(call, O_RDWR, name, out);
    if (status != 0 || call->meets) {
        return status != 0 ? status : check_users(name, out);
    }
    size_t wanted = PyLong_AsSize_t(call->size);
    size_t found = out->mapping->segment.size;
    if (wanted == (size_t)-1 && PyErr_Occurred()) {
        return -1;
    }
    if (found < wanted) {
        PyErr_Format(PyExc_ValueError,
                     "%R exists with %zu bytes, fewer than the %zu asked for: "
                     "ask for less, attach and grow() it, or unlink() it",
                     name, found, wanted);
        return -1;
    }
    return 0;
}

/* Opens under a name, or under generated ones until one is free. Returns the
 * name, a new reference. */
static PyObject *
open_segment(shx_state *state, PyObject *op, const shx_call *call, int create,
             opened *out)
{
    int mode = 0;
    if (call->meets) {
        if (shx_mode_of(state, op, call, &mode) < 0) {
            return NULL;
        }
        out->wary = (mode & 077) == 0;
    }
    for (;;) {
        PyObject *name = call->name == Py_None
                             ? shx_make_filename(state, &out->drawn)
                             : with_slash(state, op, call->name);
        if (name == NULL) {
            return NULL;
        }
        int status = call->meets ? attach_instead(call, name, out) : 1;
        if (status == 1) {
            status = create ? create_segment(state, op, call, name, out)
                            : attach_segment(call, call->flags, name, out);
        }
        if (status == 1 && call->may_exist && call->name != Py_None) {
            status = attach_instead(call, name, out);
        }
        if (status == 0) {
            return name;
        }
        Py_DECREF(name);
        if (status < 0 || PyErr_CheckSignals() < 0) {
            return NULL;
        }
    }
}

/* The object takes the segment over, and lets go of one it may have had. */
static void
adopt(PyObject *op, PyObject *name, PyObject *size, const opened *segment)
{
    shx_shared_memory *self = SHARED_MEMORY(op);
    shx_leftovers taken;
    PyObject *old_name, *old_own_name;
    Py_BEGIN_CRITICAL_SECTION(op);
    taken = shx_take_over_locked(op, segment->mapping, size, SHX_FD_UNASKED);
    old_name = self->name;
    old_own_name = self->own_name;
    self->name = name;
    self->own_name = Py_NewRef(name);
    self->drawn = segment->created && segment->drawn;
    self->record = segment->record;
    self->created = segment->created;
    self->unlinked = false;
    self->base.unreserved = segment->unreserved;
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(old_name);
    Py_XDECREF(old_own_name);
    shx_drop(&taken);
}

/* Registers with the stdlib's tracker if asked to. */
static int
track(const shx_call *call, PyObject *name)
{
    int tracked = PyObject_IsTrue(call->track);
    return tracked > 0 ? shx_tracker_call("register", name) : tracked;
}

/* Takes back a create when the object has it already. */
static void
undo(shx_state *state, PyObject *op, PyObject *name, bool created)
{
    PyObject *error = PyErr_GetRaisedException();
    if (created && shx_unlink_name(state, op, name, true) < 0) {
        PyErr_Clear();
    }
    if (shx_memory_close(state, op) < 0) {
        PyErr_Clear();
    }
    PyErr_SetRaisedException(error);
}

static int
construct(shx_state *state, PyObject *op, const shx_call *call, int create,
          opened *segment)
{
    segment->mapping = shx_mapping_new(state);
    if (segment->mapping == NULL) {
        return -1;
    }
    PyObject *size = NULL;
    PyObject *name = open_segment(state, op, call, create, segment);
    if (name == NULL) {
        goto failed;
    }
    size = PyLong_FromSize_t(segment->mapping->segment.size);
    if (size == NULL || track(call, name) < 0) {
        if (segment->created) {
            undo_create(name, segment);
        }
        goto failed;
    }
    adopt(op, Py_NewRef(name), size, segment);
    int status = shx_hidden_fill(state, op);
    if (status < 0) {
        undo(state, op, name, segment->created);
    }
    Py_DECREF(name);
    return status;
failed:
    Py_XDECREF(size);
    Py_XDECREF(name);
    Py_DECREF(segment->mapping);
    return -1;
}

static int
init(PyObject *op, PyObject *args, PyObject *kwargs, shx_call call)
{
    shx_state *state = shx_state_of(Py_TYPE(op));
    opened segment = {.mapping = NULL};
    if (state == NULL || shx_parse_call(state, op, args, kwargs, &call) < 0) {
        return -1;
    }
    int create = shx_check_call(state, op, &call);
    int status = -1;
    if (create >= 0 &&
        PyObject_SetAttr(op, state->str._track, call.track) == 0) {
        status = construct(state, op, &call, create, &segment);
    }
    shx_clear_call(&call);
    return status;
}

int
shx_shared_memory_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    return init(op, args, kwargs, (shx_call){.content = NULL});
}

int
shx_shared_memory_init_with(PyObject *op, PyObject *args, PyObject *kwargs,
                            const Py_buffer *content, bool meets)
{
    return init(op, args, kwargs,
                (shx_call){.content = content->buf,
                           .content_size = (size_t)content->len,
                           .meets = meets});
}

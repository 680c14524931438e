/* SPDX-License-Identifier: MIT */
/* The arguments of SharedMemory(...): taken as a Python function would, and
 * checked in the stdlib's order. */
#include "py/shared_memory/arguments.h"

#include <fcntl.h> /* O_CREAT, O_EXCL, O_RDWR, O_RDONLY */

#include "py/memory/memory.h"
#include "py/shared_memory/attributes.h"

/* The complaint about a call that does not fit is left to the interpreter: a
 * Python function with the same signature is called in the same way. */
static int
complain(shx_state *state, PyObject *op, PyObject *args, PyObject *kwargs)
{
    PyObject *module = PyImport_Import(state->public_module);
    if (module == NULL) {
        return -1;
    }
    PyObject *function = PyObject_GetAttrString(module, "_complain");
    Py_DECREF(module);
    PyObject *self_tuple = PyTuple_Pack(1, op);
    PyObject *all =
        self_tuple == NULL ? NULL : PySequence_Concat(self_tuple, args);
    PyObject *result = NULL;
    if (function != NULL && all != NULL) {
        result = PyObject_Call(function, all, kwargs);
    }
    Py_XDECREF(function);
    Py_XDECREF(self_tuple);
    Py_XDECREF(all);
    if (result != NULL) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_SystemError, "arguments fit after all");
    }
    return -1;
}

/* Which argument a keyword means; NULL if none. */
static PyObject **
argument_of(shx_call *call, PyObject *keyword)
{
#define X(name, fallback)                                                     \
    if (PyUnicode_CompareWithASCIIString(keyword, #name) == 0) {              \
        return &call->name;                                                   \
    }
    SHX_ARGUMENTS(X)
#undef X
    return NULL;
}

int
shx_parse_call(shx_state *state, PyObject *op, PyObject *args,
               PyObject *kwargs, shx_call *call)
{
    PyObject **const positional[] = {&call->name, &call->create, &call->size};
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (count > (Py_ssize_t)Py_ARRAY_LENGTH(positional)) {
        return complain(state, op, args, kwargs);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        *positional[i] = PyTuple_GET_ITEM(args, i);
    }
    PyObject *keyword, *value;
    Py_ssize_t at = 0;
    while (kwargs != NULL && PyDict_Next(kwargs, &at, &keyword, &value)) {
        PyObject **target = argument_of(call, keyword);
        if (target == NULL || *target != NULL) {
            return complain(state, op, args, kwargs);
        }
        *target = value;
    }
#define X(name, fallback)                                                     \
    call->name = Py_NewRef(call->name == NULL ? (fallback) : call->name);
    SHX_ARGUMENTS(X)
#undef X
    return 0;
}

void
shx_clear_call(shx_call *call)
{
#define X(name, fallback) Py_CLEAR(call->name);
    SHX_ARGUMENTS(X)
#undef X
}

/* What Python does with `not size >= 0` and `size == 0`. */
static int
compare_with_zero(shx_state *state, PyObject *size, int how)
{
    return PyObject_RichCompareBool(size, state->zero, how);
}

static int
value_error(const char *text)
{
    PyErr_SetString(PyExc_ValueError, text);
    return -1;
}

/* The checks that come before any name is looked at. Returns whether to
 * create, or -1. */
static int
check_old(shx_state *state, PyObject *op, const shx_call *call, int *flags)
{
    int fits = compare_with_zero(state, call->size, Py_GE);
    if (fits <= 0) {
        return fits < 0 ? -1
                        : value_error("'size' must be a positive integer");
    }
    int create = PyObject_IsTrue(call->create);
    if (create < 0) {
        return -1;
    }
    if (create) {
        PyObject *value = PyLong_FromLong(O_CREAT | O_EXCL | O_RDWR);
        int status = value == NULL
                         ? -1
                         : PyObject_SetAttr(op, state->str._flags, value);
        Py_XDECREF(value);
        int zero = compare_with_zero(state, call->size, Py_EQ);
        if (status < 0 || zero < 0) {
            return -1;
        }
        if (zero) {
            return value_error(
                "'size' must be a positive number different from zero");
        }
    }
    if (shx_int_attribute(op, state->str._flags, flags) < 0) {
        return -1;
    }
    if (call->name == Py_None && (*flags & O_EXCL) == 0) {
        return value_error("'name' can only be None if create=True");
    }
    return create;
}

static int
seconds_of(PyObject *timeout, double *seconds)
{
    *seconds = PyFloat_AsDouble(timeout);
    if (*seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (!(*seconds >= 0)) {
        return value_error("'timeout' must be a number of seconds, 0 or more");
    }
    const double year = 366 * 86400.0; /* "for ever" fits into no timespec */
    *seconds = *seconds > year ? year : *seconds;
    return 0;
}

static bool
is_text(PyObject *value, const char *text)
{
    return PyUnicode_Check(value) &&
           PyUnicode_CompareWithASCIIString(value, text) == 0;
}

static int
check_lifetime(shx_call *call, int create)
{
    call->of_users = is_text(call->lifetime, "users");
    if (!call->of_users && !is_text(call->lifetime, "family")) {
        PyErr_Format(PyExc_ValueError,
                     "'lifetime' must be 'family' or 'users', not %R",
                     call->lifetime);
        return -1;
    }
    if (call->of_users && !create) {
        return value_error("lifetime='users' is for create=True: leave it "
                           "out, a segment keeps the lifetime that it has");
    }
    if (call->of_users && call->track != Py_None) {
        return value_error("lifetime='users' and 'track' do not go together: "
                           "leave 'track' out, the name goes with its last "
                           "user");
    }
    return 0;
}

/* What the stdlib does not have. */
static int
check_new(shx_call *call, int create)
{
    int readonly = PyObject_IsTrue(call->readonly);
    int exist_ok = PyObject_IsTrue(call->exist_ok);
    if (readonly < 0 || exist_ok < 0) {
        return -1;
    }
    if (create && readonly) {
        return value_error("'readonly' is for attaching: a new segment is "
                           "there to be written");
    }
    if (create && call->timeout != Py_None) {
        return value_error("'timeout' is for attaching: a create does not "
                           "wait");
    }
    if (!create && exist_ok) {
        return value_error("'exist_ok' is for create=True: an attach never "
                           "creates");
    }
    if (!create && call->mode != Py_None) {
        return value_error("'mode' is for create=True: a segment keeps the "
                           "mode that it has");
    }
    if (check_lifetime(call, create) < 0) {
        return -1;
    }
    call->may_exist = exist_ok;
    if (readonly) {
        call->flags = O_RDONLY;
        call->is_readonly = true;
    }
    return call->timeout == Py_None
               ? 0
               : seconds_of(call->timeout, &call->seconds);
}

int
shx_check_call(shx_state *state, PyObject *op, shx_call *call)
{
    int create = check_old(state, op, call, &call->flags);
    return create < 0 || check_new(call, create) < 0 ? -1 : create;
}

/* How a name goes is no permission. But the last user has to open it for
 * writing, to have its lock alone. */
static int
check_mode(const shx_call *call, int mode)
{
    const char *text = NULL;
    if ((mode & SHX_MODE_USERS) != 0) {
        text = "'mode' must be without 0o1000: lifetime='users' creates a "
               "segment that goes with its last user";
    }
    else if (call->of_users && (mode & 0200) == 0) {
        text = "'mode' must have 0o200 with lifetime='users': who may not "
               "write the segment cannot remove its name";
    }
    if (text != NULL) {
        PyErr_SetString(PyExc_ValueError, text);
    }
    return text == NULL ? 0 : -1;
}

int
shx_mode_of(shx_state *state, PyObject *op, const shx_call *call, int *mode)
{
    if (call->mode == Py_None) {
        int status = shx_int_attribute(op, state->str._mode, mode);
        *mode &= 07777;
        return status < 0 ? status : check_mode(call, *mode);
    }
    *mode = PyLong_AsInt(call->mode);
    return (*mode == -1 && PyErr_Occurred()) || shx_check_mode(*mode) < 0
               ? -1
               : check_mode(call, *mode);
}

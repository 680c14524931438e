/* SPDX-License-Identifier: MIT */
/* Which family a process is in, and what dead ones have left.
 *
 * A family is known by the effective user and multiprocessing's authkey, the
 * secret that reaches every child by every start method. Both may change, so
 * they are looked at before each create.
 */
#include "py/shared_memory/lifetime.h"

#include "core/life/sweep.h"
#include "core/memory/guard.h"
#include "py/errors.h"
#include "py/shared_memory/attributes.h"

/* current_process().authkey, by the shorter way that has been the same in all
 * versions. NULL without an exception if it is not there. */
static PyObject *
authkey_inside(shx_state *state, PyObject *module)
{
    PyObject *config = NULL, *authkey = NULL;
    PyObject *process = PyObject_GetAttr(module, state->str._current_process);
    if (process != NULL) {
        config = PyObject_GetAttr(process, state->str._config);
    }
    if (config != NULL && PyDict_CheckExact(config)) {
        (void)PyDict_GetItemRef(config, state->str.authkey, &authkey);
    }
    Py_XDECREF(process);
    Py_XDECREF(config);
    if (authkey == NULL) {
        PyErr_Clear();
    }
    return authkey;
}

static PyObject *
current_authkey(shx_state *state)
{
    PyObject *module = PyImport_GetModule(state->process_module);
    if (module == NULL && !PyErr_Occurred()) {
        module = PyImport_Import(state->process_module);
    }
    if (module == NULL) {
        return NULL;
    }
    PyObject *authkey = authkey_inside(state, module);
    if (authkey != NULL) {
        Py_DECREF(module);
        return authkey;
    }
    PyObject *process =
        PyObject_CallMethodNoArgs(module, state->str.current_process);
    Py_DECREF(module);
    if (process == NULL) {
        return NULL;
    }
    authkey = PyObject_GetAttr(process, state->str.authkey);
    Py_DECREF(process);
    return authkey;
}

/* shmemext._family.family_id(authkey, euid): a str. Text that is not one of
 * ours cannot come of it, but may of a patched one: the core cuts it off. */
static PyObject *
id_of(PyObject *authkey, unsigned euid)
{
    PyObject *module = PyImport_ImportModule("shmemext._family");
    if (module == NULL) {
        return NULL;
    }
    PyObject *id = PyObject_CallMethod(module, "family_id", "Ok", authkey,
                                       (unsigned long)euid);
    Py_DECREF(module);
    return id;
}

/* Joins by id. */
static int
join(PyObject *id, shx_family **out)
{
    const char *text = PyUnicode_AsUTF8(id);
    if (text == NULL) {
        return -1;
    }
    shx_err err;
    bool first = false;
    Py_BEGIN_ALLOW_THREADS
    err = shx_family_join(text, out, &first);
    Py_END_ALLOW_THREADS
    if (err != 0) {
        shx_raise(err, NULL);
        return -1;
    }
    if (first) {
        (void)Py_AtExit(shx_family_leave);
    }
    return 0;
}

static int
join_by_secret(PyObject *authkey, unsigned euid, shx_family **out)
{
    PyObject *id = id_of(authkey, euid);
    int status = id == NULL ? -1 : join(id, out);
    Py_XDECREF(id);
    return status;
}

static int
family_of_caller(PyObject *module, shx_family **out)
{
    shx_state *state = shx_state_of_module(module);
    PyObject *authkey = current_authkey(state);
    if (authkey == NULL) {
        return -1;
    }
    unsigned euid = shx_os_user();
    shx_family *family = NULL;
    PyObject *old = NULL;
    Py_BEGIN_CRITICAL_SECTION(module);
    if (state->authkey == authkey && state->euid == euid) {
        family = state->family;
    }
    Py_END_CRITICAL_SECTION();
    int status = family == NULL ? join_by_secret(authkey, euid, &family) : 0;
    if (status == 0) {
        Py_BEGIN_CRITICAL_SECTION(module);
        old = state->authkey;
        state->authkey = Py_NewRef(authkey);
        state->euid = euid;
        state->family = family;
        Py_END_CRITICAL_SECTION();
        *out = family;
    }
    Py_XDECREF(old);
    Py_DECREF(authkey);
    return status;
}

static PyObject *
reaper_path(void)
{
    PyObject *module = PyImport_ImportModule("shmemext._family");
    if (module == NULL) {
        return NULL;
    }
    PyObject *path = PyObject_GetAttrString(module, "REAPER");
    Py_DECREF(module);
    return path;
}

static int
prepare(shx_family *family)
{
    if (shx_family_is_prepared(family)) {
        return 0;
    }
    PyObject *path = reaper_path();
    const char *reaper = path == NULL ? NULL : PyUnicode_AsUTF8(path);
    if (reaper != NULL) {
        Py_BEGIN_ALLOW_THREADS
        shx_family_prepare(family, reaper);
        Py_END_ALLOW_THREADS
    }
    Py_XDECREF(path);
    return reaper == NULL ? -1 : 0;
}

int
shx_family_to_own(PyObject *module, shx_family **out)
{
    return family_of_caller(module, out) < 0 ? -1 : prepare(*out);
}

PyDoc_STRVAR(join_doc, "_join($module, /)\n--\n\n"
                       "Join the family of this process.");

static PyObject *
lifetime_join(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    shx_family *family;
    if (family_of_caller(module, &family) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

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
                                (unsigned long long)one->bytes, one->err);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
        free(one);
    }
    return list;
}

PyDoc_STRVAR(sweep_doc,
             "_sweep($module, dry_run, /)\n--\n\n"
             "Remove what this user's dead families left. Return a list of\n"
             "(name, bytes held, errno or 0).");

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
        return shx_raise(err, NULL);
    }
    return list;
}

PyDoc_STRVAR(adopt_doc,
             "_adopt($module, name, family, /)\n--\n\n"
             "Make a segment's name that of a family, by its id, which this\n"
             "process joins. The others who own it go on owning it.");

static PyObject *
lifetime_adopt(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *name, *id;
    const char *bare;
    shx_family *family;
    if (!PyArg_ParseTuple(args, "UU:_adopt", &name, &id) ||
        shx_bare_name(name, "_adopt", &bare) < 0 || join(id, &family) < 0 ||
        prepare(family) < 0) {
        return NULL;
    }
    shx_err err;
    Py_BEGIN_ALLOW_THREADS
    err = shx_family_adopt(family, bare);
    Py_END_ALLOW_THREADS
    if (err != 0) {
        return shx_raise(err, name);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(disown_doc,
             "_disown($module, name, /)\n--\n\n"
             "Nobody in this process owns the name any more. Return whether\n"
             "anybody had, or has it mapped.");

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
    {"_join", lifetime_join, METH_NOARGS, join_doc},
    {"_sweep", lifetime_sweep, METH_O, sweep_doc},
    {NULL, NULL, 0, NULL},
};

int
shx_lifetime_add(PyObject *module)
{
    return PyModule_AddFunctions(module, lifetime_methods);
}

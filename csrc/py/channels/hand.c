/* SPDX-License-Identifier: MIT */
#include "py/channels/hand.h"

#include "core/channels/queue.h"

struct shx_hand {
    PyObject_HEAD
    _Atomic(shx_link *) link; /* a reference; NULL: the queue is gone */
    bool full;
    shx_ring_record record;
    PyObject *references; /* of the record, or NULL */
    PyObject *next;       /* in the link's list */
};

#define HAND(op) ((shx_hand *)(op))

/* Progress is marked first: of who dies in between a reference stays in
 * flight, and none is withdrawn twice. */
static void
withdraw(const shx_opened *opened, PyObject *references)
{
    PyObject *function = shx_import("shmemext._queues", "withdraw");
    uint32_t first = atomic_load(&opened->letter->done);
    Py_ssize_t count = PyTuple_GET_SIZE(references);
    Py_ssize_t i = first == 0 ? 0 : (Py_ssize_t)first - 1;
    for (; function != NULL && i < count; i++) {
        atomic_store(&opened->letter->done, (uint32_t)i + 2);
        PyObject *done =
            PyObject_CallOneArg(function, PyTuple_GET_ITEM(references, i));
        if (done == NULL) {
            PyErr_WriteUnraisable(function);
        }
        Py_XDECREF(done);
    }
    if (function == NULL) {
        PyErr_WriteUnraisable(NULL);
    }
    Py_XDECREF(function);
}

/* Code that runs meanwhile may find any exception that was set. */
void
shx_hand_finish(shx_link *link, const shx_member *me,
                const shx_ring_record *record, PyObject *references, bool done)
{
    shx_opened opened;
    if (references != NULL && record->token == me->token &&
        shx_queue_read(&link->ring, record, &opened) == 0) {
        PyObject *error = PyErr_GetRaisedException();
        uint32_t none = 0;
        (void)atomic_compare_exchange_strong(&opened.letter->done, &none, 1);
        withdraw(&opened, references);
        PyErr_SetRaisedException(error);
    }
    shx_queue_give(&link->ring, me, record, done);
}

/* A message, out of a hand. */
typedef struct {
    shx_ring_record record;
    PyObject *references;
} held;

/* Of the link's, with its lock held. */
static bool
take_out_locked(shx_hand *hand, held *out)
{
    bool full = hand->full;
    *out = (held){hand->record, full ? hand->references : NULL};
    hand->full = false;
    hand->references = full ? NULL : hand->references;
    return full;
}

static void
give_back(shx_link *link, held *it, bool done)
{
    shx_member me;
    if (shx_party_me(link->party, &me) == 0) {
        shx_hand_finish(link, &me, &it->record, it->references, done);
    }
    Py_XDECREF(it->references);
}

bool
shx_hand_empty(shx_hand *hand, shx_link *link, bool done)
{
    held it;
    bool full;
    Py_BEGIN_CRITICAL_SECTION(link);
    full = take_out_locked(hand, &it);
    Py_END_CRITICAL_SECTION();
    if (full) {
        give_back(link, &it, done);
    }
    return full;
}

bool
shx_hand_empty_any(shx_link *link, bool done)
{
    held it;
    bool full = false;
    Py_BEGIN_CRITICAL_SECTION(link);
    for (PyObject *op = link->hands; op != NULL && !full;
         op = HAND(op)->next) {
        full = take_out_locked(HAND(op), &it);
    }
    Py_END_CRITICAL_SECTION();
    if (full) {
        give_back(link, &it, done);
    }
    return full;
}

void
shx_hand_empty_all(shx_link *link)
{
    while (shx_hand_empty_any(link, false)) {
    }
}

/* The reference to the link is whose who takes it out: of its thread, which
 * ends, or of who closes the queue. */
static shx_link *
link_of(shx_hand *hand)
{
    return atomic_exchange(&hand->link, NULL);
}

static void
remove_locked(shx_hand *hand, shx_link *link)
{
    PyObject **at = &link->hands;
    while (*at != NULL && HAND(*at) != hand) {
        at = &HAND(*at)->next;
    }
    if (*at != NULL) {
        *at = hand->next;
    }
}

/* The dict of this thread, if it has one. */
static void
forget(shx_link *link)
{
    PyObject *error = PyErr_GetRaisedException();
    shx_state *state = shx_state_of(Py_TYPE(link));
    PyObject *dict = state == NULL ? NULL : PyThreadState_GetDict();
    PyObject *key = dict == NULL ? NULL : PyLong_FromVoidPtr(link);
    PyObject *hands = NULL;
    if (key != NULL &&
        PyDict_GetItemRef(dict, state->str._shmemext_hands, &hands) > 0) {
        (void)PyDict_DelItem(hands, key); /* or it has none */
    }
    PyErr_Clear();
    Py_XDECREF(hands);
    Py_XDECREF(key);
    PyErr_SetRaisedException(error);
}

void
shx_hand_leave_all(shx_link *link)
{
    unsigned count = 0;
    atomic_store(&link->left, true);
    shx_hand_empty_all(link);
    Py_BEGIN_CRITICAL_SECTION(link);
    while (link->hands != NULL) {
        shx_hand *hand = HAND(link->hands);
        link->hands = hand->next;
        count += link_of(hand) != NULL;
    }
    Py_END_CRITICAL_SECTION();
    forget(link);
    for (; count > 0; count--) {
        Py_DECREF((PyObject *)link);
    }
}

void
shx_hand_hold(shx_hand *hand, shx_link *link, const shx_ring_record *record,
              PyObject *references)
{
    Py_BEGIN_CRITICAL_SECTION(link);
    hand->full = true;
    hand->record = *record;
    hand->references = references;
    Py_END_CRITICAL_SECTION();
    if (atomic_load(&link->left)) {
        (void)shx_hand_empty(hand, link, false);
    }
}

/* Those of this thread, by the link's address. NULL with an exception. */
static PyObject *
hands_of_thread(shx_state *state)
{
    PyObject *name = state->str._shmemext_hands;
    PyObject *dict = PyThreadState_GetDict();
    PyObject *hands = NULL;
    if (dict == NULL) {
        return PyErr_NoMemory();
    }
    if (PyDict_GetItemRef(dict, name, &hands) == 0) {
        hands = PyDict_New();
        if (hands != NULL && PyDict_SetItem(dict, name, hands) < 0) {
            Py_CLEAR(hands);
        }
    }
    return hands;
}

static PyObject *
hand_new(shx_state *state)
{
    PyTypeObject *type = state->hand_type;
    return type->tp_alloc(type, 0);
}

/* The list has it, from now on, and it the link; until its object goes. */
static void
attach(shx_hand *hand, shx_link *link)
{
    Py_INCREF((PyObject *)link);
    Py_BEGIN_CRITICAL_SECTION(link);
    hand->next = link->hands;
    link->hands = (PyObject *)hand;
    atomic_store(&hand->link, link);
    Py_END_CRITICAL_SECTION();
    if (atomic_load(&link->left)) {
        shx_hand_leave_all(link);
    }
}

shx_hand *
shx_hand_of(shx_state *state, shx_link *link)
{
    PyObject *op = NULL;
    PyObject *hands = hands_of_thread(state);
    PyObject *key = hands == NULL ? NULL : PyLong_FromVoidPtr(link);
    if (key != NULL && PyDict_GetItemRef(hands, key, &op) == 0) {
        op = hand_new(state);
        if (op != NULL && PyDict_SetItem(hands, key, op) < 0) {
            Py_CLEAR(op);
        }
    }
    Py_XDECREF(key);
    Py_XDECREF(hands);
    if (op != NULL && atomic_load(&HAND(op)->link) != link) {
        attach(HAND(op), link);
    }
    return HAND(op);
}

/* Its thread has ended, or the interpreter does. */
static void
hand_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    shx_link *link = link_of(HAND(op));
    if (link != NULL) {
        (void)shx_hand_empty(HAND(op), link, false);
        Py_BEGIN_CRITICAL_SECTION(link);
        remove_locked(HAND(op), link);
        Py_END_CRITICAL_SECTION();
        Py_DECREF((PyObject *)link);
    }
    Py_XDECREF(HAND(op)->references);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyType_Slot hand_slots[] = {
    {Py_tp_dealloc, hand_dealloc},
    {0, NULL},
};

static PyType_Spec hand_spec = {
    .name = "shmemext._shmemext.Hand",
    .basicsize = sizeof(shx_hand),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = hand_slots,
};

int
shx_hand_add(PyObject *module)
{
    shx_state *state = shx_state_of_module(module);
    state->hand_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &hand_spec, NULL);
    return state->hand_type == NULL ? -1 : 0;
}

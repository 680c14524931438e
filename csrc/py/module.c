/* SPDX-License-Identifier: MIT */
/* The roof: makes the module shmemext._shmemext, room by room. */
#include "py/awaited.h"
#include "py/channels/broadcast.h"
#include "py/channels/hand.h"
#include "py/channels/queue.h"
#include "py/channels/channel.h"
#include "py/channels/message.h"
#include "py/channels/reservation.h"
#include "py/list/shareable_list.h"
#include "py/memory/anonymous_memory.h"
#include "py/memory/mapped_file.h"
#include "py/memory/memory.h"
#include "py/pool/block.h"
#include "py/pool/lease.h"
#include "py/pool/pool.h"
#include "py/pool/reference.h"
#include "py/shared_memory/lifetime.h"
#include "py/shared_memory/publish.h"
#include "py/shared_memory/shared_memory.h"
#include "py/shared_memory/sweeping.h"
#include "py/shared_memory/users.h"
#include "py/sync/atomic.h"
#include "py/sync/barrier.h"
#include "py/sync/bounded_semaphore.h"
#include "py/sync/condition.h"
#include "py/sync/event.h"
#include "py/sync/lock.h"
#include "py/sync/parties.h"
#include "py/sync/rlock.h"
#include "py/sync/rwlock.h"
#include "py/sync/semaphore.h"
#include "py/sync/store.h"

/* In this order: a type comes after its base. One a line. */
/* clang-format off */
static int (*const rooms[])(PyObject *module) = {
    shx_state_init,
    shx_mapping_add,
    shx_memory_add,
    shx_mapped_file_add,
    shx_anonymous_memory_add,
    shx_shared_memory_add,
    shx_lifetime_add,
    shx_sweeping_add,
    shx_users_add,
    shx_publish_add,
    shx_shareable_list_add,
    shx_awaited_add,
    shx_store_add,
    shx_parties_add,
    shx_synchronizer_add,
    shx_lock_add,
    shx_rlock_add,
    shx_rwlock_add,
    shx_barrier_add,
    shx_condition_add,
    shx_atomic_add_type,
    shx_semaphore_add,
    shx_bounded_semaphore_add,
    shx_event_add,
    shx_link_add,
    shx_message_add,
    shx_reservation_add,
    shx_channel_add,
    shx_broadcast_add,
    shx_hand_add,
    shx_queue_add,
    shx_py_pool_add,
    shx_lease_add,
    shx_reference_add,
    shx_block_add,
};
/* clang-format on */

static int
module_exec(PyObject *module)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(rooms); i++) {
        if (rooms[i](module) < 0) {
            return -1;
        }
    }
    return PyModule_AddStringConstant(module, "DIRECTORY", shx_os_directory);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    SHX_MODULE_SLOTS{0, NULL},
};

/* The definition is on the ground, where types look it up, and the ground does
 * not know the roof: so the slots are put in here, the same ones each time. */
PyMODINIT_FUNC
PyInit__shmemext(void)
{
    shx_module.m_slots = module_slots;
    return PyModuleDef_Init(&shx_module);
}

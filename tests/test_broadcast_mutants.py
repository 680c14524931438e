# SPDX-License-Identifier: MIT
"""Faults of a broadcast that its tests must catch: see mutants.py."""

import pytest
from mutants import Mutant, check_caught
from plain_c import SANITIZERS, THREADS, compiler, works

BROADCAST = "channels/broadcast.c"
READ = "channels/broadcast_read.c"
WRITE = "channels/broadcast_write.c"

STORM = ("storm_broadcast", ("4",))
HOSTILE = ("hostile_broadcast", ("2",), ("-O1", *SANITIZERS))
TSAN = ("threads_broadcast", (), ("-O1", *THREADS))

MUTANTS = [
    Mutant(
        "does not look at the entry again",
        READ,
        "if (atomic_load(&cast->entries[at]) == entry) {",
        "if (true) {",
        *STORM,
    ),
    Mutant(
        "writes what somebody holds",
        WRITE,
        "block = slot == 0 ? cast->blocks : shx_held_block(slot);",
        "block = cast->blocks + 0 * (unsigned)slot;",
        "directed_broadcast",
    ),
    Mutant(
        "writes what may be received",
        WRITE,
        "block = entry == 0 ? cast->blocks : shx_block_of(entry);",
        "block = cast->blocks + 0 * (unsigned)entry;",
        *STORM,
    ),
    Mutant(
        "frees what the living hold",
        BROADCAST,
        ": is_dead(cast->party, token));",
        ": true);",
        *STORM,
    ),
    Mutant(
        "does not forget the dead",
        BROADCAST,
        ": is_dead(cast->party, token));",
        ": false);",
        "directed_broadcast",
    ),
    Mutant(
        "who frees nobody has no place that others have freed",
        READ,
        "(void)shx_broadcast_reap(cast, me, shx_party_is_dead);",
        "if (shx_broadcast_reap(cast, me, shx_party_is_dead) == 0) {"
        " return SHX_TOO_MANY; }",
        "directed_broadcast",
    ),
    Mutant(
        "takes a dead one's place for ours",
        BROADCAST,
        "(ours ? !shx_is_hold_of(slot, me)",
        "(ours ? false",
        "directed_broadcast",
    ),
    Mutant(
        "wakes nobody",
        WRITE,
        "if (shx_is_waited(cast->watchers)) {",
        "if (false) {",
        "directed_broadcast",
    ),
    Mutant(
        "wakes one",
        READ,
        "(void)shx_os_wake(word, UINT_MAX);",
        "(void)shx_os_wake(word, 1);",
        "directed_broadcast",
    ),
    Mutant(
        "who finds a frame by itself wakes nobody",
        READ,
        "if (err != EAGAIN && unwoken) {",
        "if (false) {",
        "directed_broadcast",
    ),
    Mutant(
        "who sees a frame by itself wakes nobody",
        READ,
        "            if (unwoken) {",
        "            if (false) {",
        "directed_broadcast",
    ),
    Mutant(
        "a dead writer's last frame is written once more",
        WRITE,
        "last = shx_seq_of(entry) > last ? shx_seq_of(entry) : last;",
        "last = atomic_load(&cast->front->newest);",
        "directed_broadcast",
    ),
    Mutant(
        "two handles of one process write",
        WRITE,
        "    if (err != 0) {\n        return err == EAGAIN ?",
        "    if (err != 0 && !shx_lock_is_ours(&cast->writer, me)) {\n"
        "        return err == EAGAIN ?",
        "directed_broadcast",
    ),
    Mutant(
        "takes the control of another one",
        BROADCAST,
        "atomic_load(&about->pair) != pair",
        "false",
        "directed_broadcast",
    ),
    Mutant(
        "each handle claims what a child is to hold",
        BROADCAST,
        "(has_enough(cast, i, me, child) ||",
        "(false ||",
        "forks_broadcast",
    ),
    Mutant(
        "a child for whom there is no place holds nothing",
        BROADCAST,
        "slot | SHX_PINNED);",
        "slot);",
        "forks_broadcast",
    ),
    Mutant(
        "dead children keep places from those who come",
        BROADCAST,
        "(void)shx_broadcast_reap(cast, me, shx_party_prove_death);",
        "(void)me;",
        "forks_broadcast",
    ),
    Mutant(
        "children hold nothing",
        "life/party.c",
        "            bequeath(party);\n",
        "            (void)bequeath;\n",
        "forks_broadcast",
    ),
    Mutant(
        "gives another frame for the one that is inherited",
        READ,
        "uint32_t flag = frame->token == me->token ? 0 : SHX_HEIR;",
        "uint32_t flag = 0;",
        "forks_broadcast",
    ),
    Mutant(
        "a child publishes what its parent writes",
        WRITE,
        "return frame->token == me->token &&\n"
        "           atomic_load(&cast->reserving) == me->token;",
        "return me != NULL && atomic_load(&cast->reserving) == frame->token;",
        "forks_broadcast",
    ),
    Mutant(
        "publishes without order",
        WRITE,
        "    atomic_store(&cast->entries[seq % cast->shape.depth],\n"
        "                 shx_entry_of(seq, frame->block));\n"
        "    atomic_store(&cast->front->newest, seq);\n",
        "    atomic_store_explicit(&cast->entries[seq % cast->shape.depth],\n"
        "                          shx_entry_of(seq, frame->block),\n"
        "                          memory_order_relaxed);\n"
        "    atomic_store_explicit(&cast->front->newest, seq,\n"
        "                          memory_order_relaxed);\n",
        *TSAN,
    ),
    Mutant(
        "believes an entry",
        READ,
        "return shx_is_entry(cast, *entry, *at) &&",
        "return",
        *HOSTILE,
    ),
    Mutant(
        "believes a length",
        READ,
        "if (out->length > cast->shape.size) {",
        "if (false) {",
        *HOSTILE,
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.why)
def test_broadcast_mutant_is_caught(mutant, name, tmp_path):
    if not works(tuple(compiler()), mutant.flags):
        pytest.skip("this compiler has no such sanitizer that works")
    check_caught(mutant, name, tmp_path)

# SPDX-License-Identifier: MIT
"""Faults of the queue that its tests must catch: see mutants.py."""

import pytest
from mutants import Mutant, check_caught

QUEUE = "channels/queue.c"
PAGES = "channels/queue_pages.c"
TALLY = "channels/queue_tally.c"
RECOVER = "channels/ring_recover.c"

ALL = "1000000"  # instructions

MUTANTS = [
    Mutant(
        "pages are not made present",
        PAGES,
        "    return at + span <= backed ? 0 : extend(",
        "    return at + span >= 0 * backed ? 0 : extend(",
        "directed_queue",
    ),
    Mutant(
        "pages are never given back",
        PAGES,
        "    if (from < to) {\n",
        "    if (false) {\n",
        "directed_queue",
    ),
    Mutant(
        "pages are given back that records lie in",
        PAGES,
        "    return position & ~(uint64_t)(GRAIN - 1);\n}\n\nstatic uint64_t\n"
        "up(uint64_t position)\n{\n    return down(position + GRAIN - 1);\n",
        "    return position & ~(uint64_t)(GRAIN - 1);\n}\n\nstatic uint64_t\n"
        "up(uint64_t position)\n{\n    return down(position);\n",
        "directed_queue",
    ),
    Mutant(
        "idle pages stay until somebody puts",
        TALLY,
        "    shx_queue_tidy(ring, me);\n}\n\nstatic bool\nis_done",
        "}\n\nstatic bool\nis_done",
        "directed_queue",
    ),
    Mutant(
        "one more may wait",
        QUEUE,
        "count < ring->most ? err",
        "count <= ring->most ? err",
        "directed_queue",
    ),
    Mutant(
        "what was dropped counts for ever",
        QUEUE,
        "err : dropped ? ESTALE : EAGAIN;",
        "err : EAGAIN;",
        "directed_queue",
    ),
    Mutant(
        "who takes wakes nobody who waits to put",
        QUEUE,
        "    if (err == 0 && ring->most != 0) {\n"
        "        shx_ring_notify(ring->room, 1);\n    }\n",
        "",
        "directed_queue",
    ),
    Mutant(
        "who never waits does not look after the dead",
        QUEUE,
        "    look_after(ring, me);\n",
        "    (void)look_after;\n",
        "directed_queue",
    ),
    Mutant(
        "what is owed is counted when the record is free",
        TALLY,
        "    if (!done) {\n        shx_queue_owe(ring, me);\n    }\n"
        "    shx_ring_give(ring, me, record, 1);\n",
        "    shx_ring_give(ring, me, record, 1);\n"
        "    if (!done) {\n        if (shx_queue_join(ring, me,\n"
        "            &(shx_ring_wait){.patience = shx_patience_for(\n"
        "            1000000, 0, 0)}) == 0) {\n"
        "            __builtin_trap();\n        }\n"
        "        shx_queue_owe(ring, me);\n    }\n",
        "directed_queue",
    ),
    Mutant(
        "what the dead owe is waited for",
        TALLY,
        "    (void)forgive(ring);\n    return shx_ring_recover",
        "    return shx_ring_recover",
        "directed_queue",
    ),
    Mutant(
        "what is owed is not waited for",
        TALLY,
        "    return count != 0 || is_anything_owed(ring) ||",
        "    return count != 0 || !ring ||",
        "directed_queue",
    ),
    Mutant(
        "what nobody has a place for is forgotten",
        TALLY,
        "        atomic_fetch_add(unnamed(ring), 1);\n",
        "        ;\n",
        "directed_queue",
    ),
    Mutant(
        "who joins is told of nothing",
        TALLY,
        "        shx_ring_wake(shx_queue_done(ring), UINT_MAX);\n",
        "        ;\n",
        "directed_queue",
    ),
    Mutant(
        "what is marked as done is waited for",
        TALLY,
        "atomic_load(&letter->done) != 0;\n",
        "atomic_load(&letter->done) == 77;\n",
        "directed_queue",
    ),
    Mutant(
        "a child gives back its parent's",
        TALLY,
        "        return; /* of who has forked us */\n",
        "        ;\n",
        "directed_queue",
    ),
    Mutant(
        "what is in hand is no task",
        TALLY,
        "    return count != 0 || is_anything_owed(ring) ||",
        "    return is_anything_owed(ring) ||",
        "directed_queue",
    ),
    Mutant(
        "references beyond the message",
        QUEUE,
        "    if (count > length / sizeof(shx_reference)) {\n",
        "    if (false) {\n",
        "directed_queue",
    ),
    Mutant(
        "the tail before the letter",
        QUEUE,
        "    uint64_t number =\n"
        "        atomic_load_explicit(&ring->in->number, "
        "memory_order_relaxed);\n"
        "    write_letter(ring, it, number);\n",
        "    uint64_t number =\n"
        "        atomic_load_explicit(&ring->in->number, "
        "memory_order_relaxed);\n"
        "    atomic_store(&ring->in->tail, tail);\n"
        "    write_letter(ring, it, number);\n",
        "crash_queue",
        (ALL, "put: small, new"),
    ),
    Mutant(
        "a taken one that is given back is owed and lost",
        RECOVER,
        "    shx_record_state then = taken ? SHX_RETURNED : SHX_FREE;\n",
        "    shx_record_state then = SHX_FREE;\n",
        "crash_queue",
        (ALL, "give: owing"),
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.why)
def test_mutant_is_caught(mutant, name, tmp_path):
    check_caught(mutant, name, tmp_path)

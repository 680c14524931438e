# SPDX-License-Identifier: MIT
"""Faults of the ring that the tests of channels must catch: see mutants.py."""

import pytest
from mutants import Mutant, check_caught
from plain_c import THREADS, compiler, works

PUT = "channels/ring_put.c"
TAKE = "channels/ring_take.c"
WAIT = "channels/ring_wait.c"
RECOVER = "channels/ring_recover.c"
RING = "channels/ring.c"

ALL = "1000000"  # instructions
TSAN = ("-O1", *THREADS)

MUTANTS = [
    Mutant(
        "who looks at several keeps what it was woken for",
        "channels/ring_look.c",
        "    shx_ring_tell(one->what, 1);\n",
        "    (void)one;\n",
        "directed_wakes_ring",
    ),
    Mutant(
        "who looks at several does not say that it sleeps",
        "sync/awaited.c",
        "        if ((seen & one->kind->mark) != 0) {\n",
        "        if (err == EAGAIN) {\n",
        "directed_wakes_ring",
    ),
    Mutant(
        "who looks believes that one is back that is not",
        "channels/ring_look.c",
        "    shx_err err = peek_returned(ring);\n",
        "    shx_err err = atomic_load(shx_ring_returned(ring)) != 0 ? 0\n"
        ": peek_returned(ring);\n",
        "directed_wakes_ring",
    ),
    Mutant(
        "moves next before it is taken",
        TAKE,
        "        *next = at + shx_span_of(word);\n",
        "        *next = at + shx_span_of(word);\n"
        "        atomic_store(&ring->out->next, *next);\n",
        "crash_take_ring",
        (ALL, "take, return"),
    ),
    Mutant(
        "bytes after the tail",
        PUT,
        "    *tail += units * SHX_UNIT;\n    return 0;\n",
        "    *tail += units * SHX_UNIT;\n"
        "    atomic_store(&ring->in->tail, *tail);\n    return 0;\n",
        "threads_ring",
        flags=TSAN,
    ),
    Mutant(
        "publishes without order",
        PUT,
        "    atomic_store(&ring->in->tail, tail);\n",
        "    atomic_store_explicit(&ring->in->tail, tail,\n"
        "                          memory_order_relaxed);\n",
        "threads_ring",
        flags=TSAN,
    ),
    Mutant(
        "gives without order",
        TAKE,
        "(shx_ring_change(ring, record->at, record->word, next) ||",
        "(atomic_compare_exchange_strong_explicit(\n"
        "&shx_ring_header(ring, record->at)->word,\n"
        "&(uint64_t){record->word}, next, memory_order_relaxed,\n"
        "memory_order_relaxed) ||",
        "threads_ring",
        flags=TSAN,
    ),
    Mutant(
        "looks at what may be another's bytes",
        WAIT,
        "    shx_err err = attempt(ring, me, what, wait);\n"
        "    if (err == ESTALE) {\n",
        "    uint64_t word;\n"
        "    shx_err err = attempt(ring, me, what, wait);\n"
        "    if (err == EAGAIN) {\n"
        "        (void)shx_ring_read(ring, atomic_load(&ring->out->next),\n"
        "                            atomic_load(&ring->in->tail), &word);\n"
        "    }\n"
        "    if (err == ESTALE) {\n",
        "threads_ring",
        flags=TSAN,
    ),
    Mutant(
        "the mark goes while somebody sleeps",
        WAIT,
        "    if (shx_os_wake(&side->word, count) == 0 &&",
        "    (void)shx_os_wake(&side->word, count);\n"
        "#define shx_os_wake(word, all) 0\n"
        "    if (",
        "directed_wakes_ring",
    ),
    Mutant(
        "who falls asleep does not say so",
        "channels/waited.c",
        "    if ((seen & SHX_WAITED) == 0) {\n",
        "    if (false) {\n",
        "directed_wakes_ring",
    ),
    Mutant(
        "who takes some of the room wakes no other",
        WAIT,
        "err != 0 || unwoken || leaves_something(ring, side)",
        "err != 0 || unwoken",
        "directed_wakes_ring",
    ),
    Mutant(
        "who never waits does not look after the dead",
        WAIT,
        "return atomic_load_explicit(&ring->looked, memory_order_relaxed) !=",
        "return (void)ring, shx_os_tick() !=",
        "directed_ring",
    ),
    Mutant(
        "what was dropped is no room",
        WAIT,
        "    if (err == ESTALE) {\n",
        "    if (false) {\n",
        "directed_ring",
    ),
    Mutant(
        "nobody is ever dead",
        RECOVER,
        "        seen->dead = shx_party_is_dead(ring->put.party, token);\n",
        "        (void)ring;\n",
        "directed_ring",
    ),
    Mutant(
        "everybody is dead",
        RECOVER,
        "        seen->dead = shx_party_is_dead(ring->put.party, token);\n",
        "        seen->dead = ring != NULL;\n",
        "storm_ring",
        ("3", "get"),
    ),
    Mutant(
        "what the dead had taken is free",
        RECOVER,
        "taken ? SHX_RETURNED : SHX_FREE",
        "SHX_FREE",
        "directed_ring",
    ),
    Mutant(
        "what the dead began is a message",
        RECOVER,
        "taken ? SHX_RETURNED : SHX_FREE",
        "taken ? SHX_RETURNED : SHX_READY",
        "directed_ring",
    ),
    Mutant(
        "ends while another has a message",
        RECOVER,
        "seen.back != 0 ? EAGAIN : SHX_SHUT_DOWN",
        "SHX_SHUT_DOWN",
        "directed_end_ring",
    ),
    Mutant(
        "two wait for each other's end",
        RECOVER,
        "if (state == SHX_TAKEN && ours) {",
        "if (false) {",
        "directed_end_ring",
    ),
    Mutant(
        "what a dead one kept is nobody's",
        RECOVER,
        "!ours && is_dead(ring, seen, token)",
        "false",
        "directed_end_ring",
    ),
    Mutant(
        "a child gives what its parent has",
        TAKE,
        "return record->token == me->token &&",
        "return",
        "directed_ring",
    ),
    Mutant(
        "a child commits what its parent has reserved",
        PUT,
        "if (record->token == me->token &&",
        "if (",
        "directed_ring",
    ),
    Mutant(
        "deliveries go on at 16",
        TAKE,
        "before < SHX_MOST_DELIVERIES ? before + 1 : before",
        "before + 1",
        "directed_ring",
    ),
    Mutant(
        "forgets what comes back meanwhile",
        TAKE,
        "(void)atomic_compare_exchange_strong(shx_ring_returned(ring),"
        " &times, 0);",
        "(void)times, atomic_store(shx_ring_returned(ring), 0);",
        "crash_take_ring",
        (ALL, "paused: take"),
    ),
    Mutant(
        "puts after the end",
        PUT,
        "    if (shx_ring_is_shut_down(ring)) {\n"
        "        shx_ring_unlock(&ring->put, me);\n",
        "    if (false) {\n        shx_ring_unlock(&ring->put, me);\n",
        "crash_ring",
        (ALL, "paused: put"),
    ),
    Mutant(
        "who waits for the end is not told",
        TAKE,
        "            shx_ring_tell(ring, 1);\n",
        "            shx_ring_notify(ring->messages, 1);\n",
        "directed_wakes_ring",
    ),
    Mutant(
        "who waits for the end is not told of what was dropped",
        PUT,
        "        shx_ring_tell(ring, 1);\n",
        "        shx_ring_notify(ring->messages, 1);\n",
        "directed_wakes_ring",
    ),
    Mutant(
        "who only looks keeps what it was woken for",
        "channels/ring_look.c",
        "        shx_ring_notify(ring->messages, 1);\n    }\n    return err;",
        "    }\n    return err;",
        "directed_wakes_ring",
    ),
    Mutant(
        "the end wakes nobody",
        RING,
        "    shx_ring_notify(ring->messages, UINT_MAX);\n",
        "",
        "directed_wakes_ring",
    ),
    Mutant(
        "believes that the rest of the data is room",
        PUT,
        "span <= rest ? span : rest + span;",
        "span;",
        "storm_ring",
        ("3", "get"),
    ),
    Mutant(
        "believes what a message says of its length",
        TAKE,
        "    if (length >= units * SHX_UNIT || shx_units_for(length) !="
        " units) {\n",
        "    (void)units;\n    if (false) {\n",
        "hostile_ring",
        ("3",),
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.why)
def test_channels_mutant_is_caught(mutant, name, tmp_path):
    if mutant.flags == TSAN and not works(tuple(compiler()), THREADS):
        pytest.skip("this compiler has no ThreadSanitizer that works")
    check_caught(mutant, name, tmp_path)

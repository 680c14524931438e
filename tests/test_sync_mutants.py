# SPDX-License-Identifier: MIT
"""Faults of locks, their like, and parties that the tests must catch: see
mutants.py."""

import pytest
from mutants import Mutant, check_caught

LOCK = "sync/lock.c"
PARTY = "life/party.c"
ANCHOR = "life/party_anchor.c"
OS_LOCK = "os/os_linux_lock.c"

MUTANTS = [
    Mutant(
        "steals without a proof",
        LOCK,
        "!shx_party_is_dead(at->party, word & SHX_TOKEN)",
        "false",
        "test_death",
    ),
    Mutant(
        "who has slept takes without WAITED",
        LOCK,
        "(slept ? SHX_LOCK_WAITED : 0)",
        "0",
        "directed_sync",
    ),
    Mutant(
        "does not tell that it is torn",
        LOCK,
        "uint32_t mark = ignores_death(at) ? 0 : SHX_LOCK_TORN;",
        "uint32_t mark = 0;",
        "test_death",
    ),
    Mutant(
        "tells once only",
        LOCK,
        "return release(at, me, SHX_LOCK_TORN, UINT_MAX);",
        "return release(at, me, 0, UINT_MAX);",
        "test_death",
    ),
    Mutant(
        "tells who ignores deaths",
        LOCK,
        "uint32_t mark = ignores_death(at) ? 0 : SHX_LOCK_TORN;",
        "uint32_t mark = SHX_LOCK_TORN;",
        "storm_sync",
        ("3", "ignoring"),
    ),
    Mutant(
        "repairs what looks sound meanwhile",
        LOCK,
        "me->token | (word & (SHX_LOCK_TORN | SHX_LOCK_WAITED))",
        "me->token | (word & SHX_LOCK_WAITED)",
        "test_death",
    ),
    Mutant(
        "takes what another has",
        LOCK,
        "return (word & SHX_TOKEN) == 0 &&",
        "return",
        "test_death",
    ),
    Mutant(
        "does not tell who only tries",
        LOCK,
        "if ((word & SHX_LOCK_TORN) != 0 && torn == SHX_TORN_TELLS) {",
        "if (false) {",
        "test_death",
    ),
    Mutant(
        "wakes nobody",
        LOCK,
        "(void)shx_os_wake(&at->cell->word, wake);",
        "",
        "directed_sync",
    ),
    Mutant(
        "tells one of those who sleep",
        LOCK,
        "return release(at, me, SHX_LOCK_TORN, UINT_MAX);",
        "return release(at, me, SHX_LOCK_TORN, 1);",
        "directed_sync",
    ),
    Mutant(
        "releases what another process has",
        LOCK,
        "if ((word & SHX_TOKEN) != me->token) {",
        "if (false) {",
        "test_party",
    ),
    Mutant(
        "nobody looks when a slice is over",
        "sync/patience.c",
        "return err == 0 ? SHX_SLICE_OVER : err;",
        "return err;",
        "test_death",
    ),
    Mutant(
        "all sleepers look often",
        "sync/patience.c",
        "if ((next & 0xff) > most) {",
        "if (false) {",
        "directed_sync",
    ),
    Mutant(
        "a signal begins another slice",
        "sync/patience.c",
        "if (patience->ends == 0 && "
        "looks_after(patience, watches, watched, at)) {",
        "if (looks_after(patience, watches, watched, at)) {",
        "patience_sync",
    ),
    Mutant(
        "threads of one process look for all",
        "sync/patience.c",
        "SHARE = 4,",
        "SHARE = 255,",
        "patience_sync",
    ),
    Mutant(
        "who was notified by the dead sleeps on",
        "sync/condition.c",
        "            wake_granted(condition);\n",
        "            (void)wake_granted;\n",
        "patience_sync",
    ),
    Mutant(
        "who comes too late for what woke it ends with nothing",
        "sync/awaited.c",
        "        *patience = shx_patience_anew(patience);",
        "        return err;",
        "late_sync",
    ),
    Mutant(
        "makes a cell of what is somebody's",
        "sync/cell.c",
        "if (is_zeros(cell, size)) {",
        "if (true) {",
        "directed_sync",
    ),
    Mutant(
        "frees the slots of the living",
        "sync/slots.c",
        "if (token != 0 && !shx_party_is_dead(party, token)) {",
        "if (false) {",
        "storm_sync",
        ("3", "bounded"),
    ),
    Mutant(
        "frees no slots",
        "sync/slots.c",
        "if (token != 0 && !shx_party_is_dead(party, token)) {",
        "if (true) {",
        "directed_sync",
    ),
    Mutant(
        "takes a dead one's slot for ours",
        "sync/slots.c",
        "memory_order_relaxed) == value &&",
        "memory_order_relaxed) << 32 == value << 32 && ((ours = slots[at]),"
        " true) &&",
        "directed_sync",
    ),
    Mutant(
        "takes a dead one's lock for ours",
        "sync/rlock.c",
        "get(at, NONCE) == me->nonce",
        "true",
        "directed_sync",
    ),
    Mutant(
        "a permit that comes back wakes nobody",
        "sync/bounded_semaphore.c",
        "(void)shx_os_wake(gate, count);",
        "",
        "directed_sync",
    ),
    Mutant(
        "who has slept wakes no other",
        "sync/bounded_semaphore.c",
        "    if (patience->naps != 0) {\n        pass_on(at);\n    }",
        "",
        "directed_sync",
    ),
    Mutant(
        "units wake nobody",
        "sync/semaphore.c",
        "(void)shx_os_wake(&at->cell->word, units);",
        "",
        "directed_sync",
    ),
    Mutant(
        "an event wakes one",
        "sync/event.c",
        "(void)shx_os_wake(word, UINT_MAX);",
        "(void)shx_os_wake(word, 1);",
        "directed_sync",
    ),
    Mutant(
        "an event that is clear again was not set",
        "sync/event.c",
        "(seen & SET) == 0 && seen >> SHIFT == times",
        "(seen & SET) == 0",
        "directed_sync",
    ),
    Mutant(
        "a reader does not look at the writer",
        "sync/rwlock.c",
        "if (!free_one || (word & SHX_LOCK_TORN) != 0 ||",
        "if ((word & SHX_LOCK_TORN) != 0 ||",
        "directed_groups_sync",
    ),
    Mutant(
        "a writer does not look at the readers",
        "sync/rwlock_write.c",
        "    }\n    if (find_own(at, memory, me) >= 0) {\n",
        "    }\n    if (true) {\n        return 0;\n",
        "directed_groups_sync",
    ),
    Mutant(
        "a writer waits for dead readers",
        "sync/rwlock_write.c",
        "if (err == SHX_SLICE_OVER) {\n            (void)shx_slots_reap(",
        "if (err == SHX_SLICE_OVER) {\n            (void)(",
        "directed_groups_sync",
    ),
    Mutant(
        "the dead keep what they were notified of",
        "sync/condition.c",
        "if (may_inherit(condition, slot)) {",
        "if (false) {",
        "directed_groups_sync",
    ),
    Mutant(
        "the dead keep their slots",
        "sync/condition_grant.c",
        "return (who & SHX_GONE) != 0 ||",
        "return (who & SHX_GONE) != 0 &&",
        "directed_groups_sync",
    ),
    Mutant(
        "notifies any, not the first",
        "sync/condition_grant.c",
        "            since = order;\n",
        "",
        "directed_groups_sync",
    ),
    Mutant(
        "a notification is received by two",
        "sync/condition_grant.c",
        "(is & (SHX_GRANTED | SHX_GONE)) == 0 &&",
        "(is & SHX_GONE) == 0 &&",
        "directed_groups_sync",
    ),
    Mutant(
        "a barrier waits for the dead",
        "sync/barrier.c",
        "return token != visit->me.token && shx_party_is_dead",
        "return false && shx_party_is_dead",
        "directed_groups_sync",
    ),
    Mutant(
        "who has ended well is dead",
        "sync/barrier_reset.c",
        "shx_barrier_leave(const shx_site *at, const shx_member *me)\n{",
        "shx_barrier_leave(const shx_site *at, const shx_member *me)\n{\n"
        "    (void)me;\n    if (at != NULL) {\n        return;\n    }",
        "directed_groups_sync",
    ),
    Mutant(
        "a child is who its parent is",
        PARTY,
        "forget(party); /* what was mapped there is not here */\n        if (",
        "if (party->ours.hold == NULL && ",
        "test_party",
    ),
    Mutant(
        "no token is made for a child",
        PARTY,
        "(void)shx_party_cast(party, &party->child);",
        "",
        "test_party",
    ),
    Mutant(
        "children keep alive who forked them",
        PARTY,
        "if (shx_os_withhold(party->child.hold) == 0) {",
        "if (true) {",
        "test_death",
    ),
    Mutant(
        "children keep alive who left",
        PARTY,
        "err = shx_os_withhold(made.hold);",
        "err = 0;",
        "test_party",
    ),
    Mutant(
        "what raw clone(2) made is who made it",
        PARTY,
        "if (parties.belt == NULL || atomic_load(parties.belt) != 0) {",
        "if (true) {",
        "test_party",
    ),
    Mutant(
        "joins without looking whether others see it",
        ANCHOR,
        "if (err == 0 && !claimed) {",
        "if (false) {",
        "test_death",
    ),
    Mutant(
        "proves death by a number of a descriptor, once",
        ANCHOR,
        "return err == 0 && !shx_party_owns(party, fd) ? ESTALE : err;\n}",
        "return err;\n}\n#define open_anew(party, out) EMFILE\n"
        "#define shx_os_pause(moment) 0",
        "test_death",
    ),
    Mutant(
        "closes what is another's",
        PARTY,
        "if (shx_party_owns(party, party->fd)) {\n"
        "        shx_os_close(party->fd);",
        "{\n        shx_os_close(party->fd);",
        "test_party",
    ),
    Mutant(
        "finds nobody else who draws the same number",
        OS_LOCK,
        "return err == 0 && claimed ? EAGAIN : err;",
        "return err;",
        "test_party",
    ),
    Mutant(
        "trusts every file system",
        OS_LOCK,
        "if ((uint32_t)system.f_type == known[i]) {",
        "if (true) {",
        "test_party",
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.why)
def test_mutant_is_caught(mutant, name, tmp_path):
    check_caught(mutant, name, tmp_path)

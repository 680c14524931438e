# SPDX-License-Identifier: MIT
"""Faults of a pool that its tests must catch: see mutants.py."""

import pytest
from mutants import Mutant, check_caught
from plain_c import SANITIZERS, compiler, works

POOL = "pool/pool.c"
HOLD = "pool/pool_hold.c"
REFERENCE = "pool/pool_reference.c"
TAKE = "pool/pool_take.c"
SPACE = "pool/pool_space.c"

STORM = ("storm_pool", ("4",))


def beside(row):
    """After each instruction of it."""
    return "crash_beside_pool", ("1000", row)


HOSTILE = ("hostile_pool", ("2",), ("-O1", *SANITIZERS))

MUTANTS = [
    Mutant(
        "does not look at the word again",
        POOL,
        "atomic_compare_exchange_strong(&block->word, &word,\n"
        "                                          word | SHX_POOL_FREED);",
        "(atomic_fetch_or(&block->word, SHX_POOL_FREED), true);",
        *beside("free, beside send"),
    ),
    Mutant(
        "looks at the holders first",
        POOL,
        "uint64_t word = atomic_load(&block->word);\n"
        "    return !shx_pool_is_out(word) && "
        "shx_pool_is_unheld(block, but) &&",
        "bool unheld = shx_pool_is_unheld(block, but);\n"
        "    uint64_t word = atomic_load(&block->word);\n"
        "    return !shx_pool_is_out(word) && unheld &&",
        *beside("free, beside send, claim"),
    ),
    Mutant(
        "uses what is in flight",
        POOL,
        "return !shx_pool_is_out(word) && shx_pool_is_unheld(block, but) &&",
        "return shx_pool_is_unheld(block, but) &&",
        "directed_pool",
    ),
    Mutant(
        "uses what others hold",
        POOL,
        "return !shx_pool_is_out(word) && shx_pool_is_unheld(block, but) &&",
        "return !shx_pool_is_out(word) && but > 0 &&",
        *STORM,
    ),
    Mutant(
        "takes the living for dead owners",
        POOL,
        "shx_party_is_dead(pool->party, token);",
        "true;",
        *STORM,
    ),
    Mutant(
        "pools of the dead stay",
        POOL,
        "abandoned = free_all(pool, ours ? pool->place : SHX_NO_PLACE);",
        "abandoned = ours && free_all(pool, pool->place);",
        *STORM,
    ),
    Mutant(
        "abandons what was claimed since",
        POOL,
        "!shx_pool_try_free(&pool->words[i], but)) {",
        "false) {",
        "directed_pool",
    ),
    Mutant(
        "frees the places of the living",
        HOLD,
        "is_dead(pool->party, token);",
        "true;",
        *STORM,
    ),
    Mutant(
        "does not forget the dead",
        HOLD,
        "is_dead(pool->party, token);",
        "false;",
        "directed_pool",
    ),
    Mutant(
        "gives places whose bits are set",
        HOLD,
        "        clear_bits(pool, bits);\n",
        "        (void)clear_bits;\n",
        *STORM,
    ),
    Mutant(
        "does not make a dead one's place its own",
        HOLD,
        "atomic_compare_exchange_strong(&pool->places[i], &place,\n"
        "                                           shx_slot_of(&pool->who, 0"
        "))) {",
        "(atomic_store(&pool->places[i], 0), true)) {",
        "crash_beside_pool",
        ("40", "reap, beside claim"),
    ),
    Mutant(
        "a place is given back before its bit is cleared",
        HOLD,
        "    shx_pool_clear_locked(pool, block);\n"
        "    shx_pool_leave_locked(pool);\n",
        "    unsigned place = pool->place;\n"
        "    shx_pool_leave_locked(pool);\n"
        "    pool->place = place;\n"
        "    shx_pool_clear_locked(pool, block);\n"
        "    pool->place = pool->held == 0 ? SHX_NO_PLACE : place;\n",
        *beside("drop"),
    ),
    Mutant(
        "a bit stays when the last hold has gone",
        HOLD,
        "    shx_pool_clear_locked(pool, block);\n    shx_pool_leave",
        "    shx_pool_leave",
        "directed_pool",
    ),
    Mutant(
        "a bit goes with the first hold",
        HOLD,
        "if (--local->count > 0) {",
        "if (--local->count > 1000) {",
        "directed_pool",
    ),
    Mutant(
        "who holds something gives its place back",
        HOLD,
        "if (pool->held == 0 && pool->place != SHX_NO_PLACE) {",
        "if (pool->place != SHX_NO_PLACE) {",
        "directed_pool",
    ),
    Mutant(
        "who holds nothing keeps its place",
        HOLD,
        "if (pool->held == 0 && pool->place != SHX_NO_PLACE) {",
        "if (false) {",
        "directed_pool",
    ),
    Mutant(
        "children hold nothing",
        HOLD,
        "    if (pool->held == 0) {\n        return;",
        "    if (pool->held < pool->blocks) {\n        return;",
        *STORM,
    ),
    Mutant(
        "a fork changes no word",
        HOLD,
        "(void)atomic_fetch_add(&block->word, SHX_POOL_SEND);",
        "(void)block;",
        *beside("free, beside fork"),
    ),
    Mutant(
        "a child for whom there is no place holds nothing",
        HOLD,
        "        pin_all(pool);\n",
        "        (void)pin_all;\n",
        "forks_pool",
    ),
    Mutant(
        "a child gives its parent's holds back",
        HOLD,
        "        pool->place = pool->willed;\n",
        "        pool->willed = pool->place;\n",
        "forks_pool",
    ),
    Mutant(
        "a child owns its parent's pool",
        HOLD,
        "if (pool->estate != NULL && !shx_is_same_member",
        "if (false && !shx_is_same_member",
        "forks_pool",
    ),
    Mutant(
        "claims without a bit",
        REFERENCE,
        "    if (!held) {\n        shx_pool_set_locked",
        "    if (false) {\n        shx_pool_set_locked",
        *STORM,
    ),
    Mutant(
        "claims before there is a bit",
        REFERENCE,
        "    if (!held) {\n        shx_pool_set_locked(pool, number);\n    }\n"
        "    err = receive(pool, reference, &offset, &size);\n",
        "    err = receive(pool, reference, &offset, &size);\n"
        "    if (!held) {\n        shx_pool_set_locked(pool, number);\n"
        "    }\n",
        *beside("claim, beside take"),
    ),
    Mutant(
        "claims what is not in flight",
        REFERENCE,
        "(kept || (word & SHX_POOL_IN_FLIGHT) != 0) &&",
        "(kept || word != 0) &&",
        *STORM,
    ),
    Mutant(
        "claims another generation",
        REFERENCE,
        "atomic_load(&block->generation) == generation;",
        "generation != 0;",
        *STORM,
    ),
    Mutant(
        "claims what is free",
        REFERENCE,
        "return !shx_pool_is_freed(word) &&",
        "return",
        *STORM,
    ),
    Mutant(
        "who keeps one that is kept changes no word",
        REFERENCE,
        "reference->kept ? word + SHX_POOL_SEND : word - 1;",
        "reference->kept ? word : word - 1;",
        *beside("free, beside claim"),
    ),
    Mutant(
        "who sends counts what is in flight alone",
        REFERENCE,
        "word + SHX_POOL_SEND + 1));",
        "word + 1));",
        *beside("free, beside send, claim"),
    ),
    Mutant(
        "what is spent is held",
        REFERENCE,
        "    else if (!held) {",
        "    else if (false) {",
        *STORM,
    ),
    Mutant(
        "what is copied out stays in flight",
        REFERENCE,
        "    return receive(pool, reference, &offset, &size);",
        "    return 0;",
        *STORM,
    ),
    Mutant(
        "takes back what was received",
        REFERENCE,
        "while (is_out(at, word, generation, false) &&",
        "while (generation != 0 &&",
        "directed_pool",
    ),
    Mutant(
        "believes where a block is",
        REFERENCE,
        "return shx_is_within(*offset, *size, 0, pool->size) &&",
        "return",
        *HOSTILE,
    ),
    Mutant(
        "believes where the bytes of a reference are",
        REFERENCE,
        "shx_is_within(reference->offset, reference->length, *offset,\n"
        "                                 *size)",
        "reference->length > 0",
        *HOSTILE,
    ),
    Mutant(
        "believes that nobody has what it has itself",
        TAKE,
        "return pool->local[number].count == 0 &&",
        "return",
        *HOSTILE,
    ),
    Mutant(
        "a block has one generation",
        TAKE,
        "    own->generation++;\n",
        "    own->generation = 1;\n",
        *STORM,
    ),
    Mutant(
        "does not hold what it takes",
        TAKE,
        "    shx_pool_set_locked(pool, number);\n",
        "",
        "forks_pool",
    ),
    Mutant(
        "two have the same pages",
        SPACE,
        "            one->offset += part;\n",
        "",
        "space_pool",
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.why)
def test_pool_mutant_is_caught(mutant, name, tmp_path):
    if not works(tuple(compiler()), mutant.flags):
        pytest.skip("this compiler has no such sanitizer that works")
    check_caught(mutant, name, tmp_path)

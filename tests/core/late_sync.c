/* SPDX-License-Identifier: MIT */
/* Who waits for several things, and comes too late for what woke it. */
#define _GNU_SOURCE

#include "core/sync/awaited.h"

#include "sync.h"

enum { PAGE = 4096, MARK = 1 };

static int looks;

/* It is there after the first sleep, gone at the last look, and comes again.
 */
static shx_err
look(shx_awaited *one)
{
    (void)one;
    looks++;
    return looks == 3 || looks >= 8 ? 0 : EAGAIN;
}

static void
pass_on(shx_awaited *one, bool unwoken)
{
    (void)one, (void)unwoken;
}

static const shx_awaited_kind kind = {
    .mark = MARK, .look = look, .pass_on = pass_on};

int
main(void)
{
    memory in = make_memory(PAGE);
    shx_site at = make_site(&in, 0, 64, SHX_CELL_EVENT, 0);
    atomic_store(&at.cell->word, MARK);
    shx_awaited one = {.kind = &kind, .cell = at.cell};
    shx_awaited *things[] = {&one};
    shx_readable none = {.count = 0};
    shx_patience patience = shx_patience_for(-1, NULL, NULL);
    CHECK(shx_await_any(things, 1, &none, &patience, true) == 0);
    CHECK(one.is_there);
    CHECK(looks >= 8);
    return 0;
}

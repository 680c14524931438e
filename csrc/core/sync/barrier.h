/* SPDX-License-Identifier: MIT */
/* A barrier: so many threads, of any processes, wait until all of them do.
 *
 *   cell   word    the lock of resets: see lock.h; it ignores deaths
 *          own 0   the state   31 generation 3 | RESETS | DIED | BROKEN 0
 *          own 1   the gate    31 a number 1 | WAITED 0: both are slept on
 *          own 2   the lead    the generation that has a leader, + 1
 *          slots   one for each party: see slots.h, with these flags
 *          pids    32 bits for each slot, of who took it: for people
 *
 *   0 or IDLE of another's ---+
 *                             v
 *   IDLE ------wait------> CLAIMED ---arrive---> IN, of even or odd generation
 *    ^                        |                   |
 *    |                      reset               reset
 *    |                        +------> OUT <------+
 *    +--- pass: the state is of another parity ---+     BROKEN, OUT ---> 0
 *
 * A slot that is neither 0 nor IDLE is its thread's alone: others only put it
 * OUT, or, where its process is dead, take it away. While it is CLAIMED
 * nothing can trip: so what the state says then is the generation that it
 * arrives in.
 *
 *   trip    Whoever sees all slots IN takes the lead, once a generation, and
 *           asks whether anybody is dead; the action runs; the next generation
 *           begins, and everybody is woken.
 *   IDLE    Who has passed keeps its slot, and is counted on: if it is killed
 *           before it arrives again, that breaks the barrier. A newcomer takes
 *           it over if it finds no other, and who ends normally gives it back.
 *   death   Who finds a slot of a dead process breaks the generation. It looks
 *           a second time when the death is proven: a slot that was given back
 *           before is no death.
 *   reset   Breaks the generation, puts those OUT who are IN it, empties what
 *           is IDLE, and only then begins a generation, two further: of the
 *           same parity, so that who has passed the one before is not IN this.
 *           Newcomers wait until it is over. A SIGKILL leaves it broken, once
 *           they have found that, and another reset begins anew.
 *   gate    Where all slots are taken one waits for one: whoever gives one up,
 *           or breaks the barrier, then gives the gate another number.
 *
 * Who leads has seen all arrive. An arrival is only taken back while nobody
 * leads: each of both first says what it does and then looks at the other.
 *
 * tests/models/barrier.pml is this, with a death between any two steps. Order
 * in memory: all is seq_cst.
 */
#ifndef SHX_BARRIER_H
#define SHX_BARRIER_H

#include "core/sync/cell.h"
#include "core/sync/patience.h"

/* The parameter of the cell is the number of parties. */
enum { SHX_BARRIER_PARTIES = 1 << 16 };

/* Bytes of the cell. 0: so many parties cannot be. */
size_t shx_barrier_size(uint32_t parties);

/* One thread's stay. The member's nonce tells those apart that are given back
 * apart: what shx_barrier_leave() is for. */
enum { SHX_NO_PLACE = SHX_BARRIER_PARTIES };
typedef struct {
    shx_member me;
    unsigned place;   /* its slot, or SHX_NO_PLACE; at first that */
    unsigned index;   /* what it was, of who has passed */
    uint32_t arrived; /* the slot's flags while it is IN */
    uint32_t state;   /* as seen by the last look */
    uint32_t gate;
    bool resets;     /* that look found a reset that is not over */
    uint32_t victim; /* the pid of who died, of who is told that it broke; 0:
                      * nobody did */
} shx_visit;

typedef enum {
    SHX_BARRIER_WAITS,
    SHX_BARRIER_LEADS, /* to run the action, then _trip() or _abandon() */
    SHX_BARRIER_PASSED,
    SHX_BARRIER_BROKEN,
} shx_arrival;

/* Arrives, or looks what has become of it. Never waits. */
shx_arrival shx_barrier_look(const shx_site *at, shx_visit *visit);

/* The same, until there is something other than to wait. When the time is over
 * the barrier breaks, unless somebody leads: then all have come in time.
 * SHX_INTERRUPTED, EFAULT: the arrival has been taken back. SHX_FORKED: this
 * is a child by now, see patience.h. It has not come, or all might go on one
 * too early; its parent has, and is left alone, also where it is interrupted.
 */
shx_err shx_barrier_wait(const shx_site *at, shx_visit *visit,
                         shx_patience *patience, shx_arrival *out);

/* Sleeps for a slice at most, and looks whether somebody died: then it is as
 * it was to be waited for. The results are those of a nap; or SHX_FORKED. */
shx_err shx_barrier_nap(const shx_site *at, shx_visit *visit,
                        shx_patience *patience);

/* The action has run: all pass. PASSED or BROKEN, for the leader. */
shx_arrival shx_barrier_trip(const shx_site *at, shx_visit *visit);

/* The action has failed: it breaks, and the leader is not in it any more. */
void shx_barrier_abandon(const shx_site *at, shx_visit *visit);

/* Takes an arrival back. If somebody leads, that breaks the barrier. */
void shx_barrier_take_back(const shx_site *at, shx_visit *visit);

void shx_barrier_abort(const shx_site *at);

/* Waits for others who reset it: the results are those of a lock. */
shx_err shx_barrier_reset(const shx_site *at, const shx_member *me,
                          shx_patience *patience);

/* At a normal end: this member is not counted on any more. If a thread of it
 * still waits, that breaks the barrier. */
void shx_barrier_leave(const shx_site *at, const shx_member *me);

bool shx_barrier_is_broken(const shx_site *at);
unsigned shx_barrier_waiting(const shx_site *at);

#endif

/* SPDX-License-Identifier: MIT */
/* The tasks of a queue, csrc/core/channels/queue.h, with a SIGKILL between any
 * two steps: who owes which, what a message refers to, and who waits for all.
 *
 * PUTS tasks are there at first. WORKERS take one at a time, have it in hand,
 * and are done with it; or, with OWES, give it back and say later that it is
 * done. With SPAWNS one puts another task before it says so. One process joins.
 * KILLS of the workers are killed, whom and when a killer likes, and a new one
 * takes the place of each.
 *
 * Records are taken as ring.pml has it, in one step here. Each refers to REFS
 * blocks, which are in flight until they are withdrawn; `done` of a record is
 * how far that has come.
 *
 * What must hold:
 *   - When join() returns all tasks were done at one moment at least since it
 *     began, but for those that a dead one owed.
 *   - Who gets a message has all that it refers to. Nothing is withdrawn
 *     twice; each one that is killed leaves one in flight at most.
 *   - Nobody waits for ever.
 */
/* quick: -DPUTS=2 -DWORKERS=1 -DREFS=1 -DKILLS=1 */
/* quick: -DPUTS=1 -DWORKERS=1 -DREFS=2 -DKILLS=1 */
/* quick: -DPUTS=1 -DWORKERS=1 -DREFS=0 -DOWES -DSPAWNS -DKILLS=1 */
/* run: -DPUTS=1 -DWORKERS=1 -DREFS=2 -DKILLS=2 */
/* run: -DPUTS=1 -DWORKERS=2 -DREFS=0 -DOWES -DSPAWNS */
/* run: -DPUTS=2 -DWORKERS=1 -DREFS=0 -DOWES -DKILLS=1 */
/* mutant: -DOWES_LATE -DPUTS=1 -DWORKERS=1 -DREFS=0 -DOWES -DSPAWNS
 * -DKILLS=1 */
/* mutant: -DONE_TAIL -DPUTS=1 -DWORKERS=1 -DREFS=0 -DOWES -DSPAWNS
 * -DKILLS=1 */
/* mutant: -DTALLY_FIRST -DPUTS=1 -DWORKERS=1 -DREFS=0 -DOWES -DSPAWNS
 * -DKILLS=1 */
/* mutant: -DDEAD_OWE -DPUTS=1 -DWORKERS=1 -DREFS=0 -DOWES -DSPAWNS
 * -DKILLS=1 */
/* mutant: -DFORGIVES_ALL -DPUTS=1 -DWORKERS=1 -DREFS=0 -DOWES -DSPAWNS
 * -DKILLS=1 */
/* mutant: -DMARKS_LATE -DPUTS=1 -DWORKERS=1 -DREFS=2 -DKILLS=1 */
/* mutant: -DMARKS_NONE -DPUTS=1 -DWORKERS=1 -DREFS=2 -DKILLS=1 */
/* mutant: -DIGNORES_MARKS -DPUTS=1 -DWORKERS=1 -DREFS=2 -DKILLS=1 */
/* mutant: -DBEGINS_ANEW -DPUTS=1 -DWORKERS=1 -DREFS=2 -DKILLS=1 */

#ifndef KILLS
#define KILLS 0
#endif

#ifdef SPAWNS
#define TASKS (PUTS + 1)
#else
#define TASKS PUTS
#endif
#define ALL (WORKERS + KILLS) /* who is ever there */
#define LOOKS 1               /* of who joins, whenever it likes */

#define READY 1
#define TAKEN 2
#define RETURNED 3
#define FREE 4

byte state[TASKS]; /* 0: not put yet */
byte by[TASKS];
byte done[TASKS];
byte flight[TASKS * (REFS + 1)];
byte owed[ALL];
bool alive[ALL];
byte tail, begun, killed, spawned;
bool over;

/* What nobody sees: is it done? And who owes it, if somebody does. */
bool finished[TASKS];
byte debtor[TASKS];

#define NOBODY 255
#define flying(i, j) flight[(i) * (REFS + 1) + (j)]

/* A step of a worker, which may be dead by then. */
#define STEP(what)                                                            \
    atomic {                                                                  \
        if                                                                    \
        :: !alive[me] -> goto dead                                            \
        :: else -> what                                                       \
        fi                                                                    \
    }

inline recover()
{
    d_step {
        k = 0;
        do
        :: k < TASKS && state[k] == TAKEN && !alive[by[k]] ->
            state[k] = RETURNED;
            k++
        :: k < TASKS && !(state[k] == TAKEN && !alive[by[k]]) -> k++
        :: k == TASKS -> break
        od;
        k = 0
    }
}

#define is_there(i)                                                           \
    ((i) < TASKS && (state[i] == READY || state[i] == RETURNED ||             \
                     (state[i] == TAKEN && !alive[by[i]])))

/* Is there anything to be taken? */
#if TASKS == 1
#define something is_there(0)
#elif TASKS == 2
#define something (is_there(0) || is_there(1))
#else
#define something (is_there(0) || is_there(1) || is_there(2))
#endif

/* Both a put, which others do not see halfway. */
inline put_task()
{
    assert(tail < TASKS);
    k = 0;
    do
    :: k < REFS -> flying(tail, k) = 1; k++
    :: k == REFS -> break
    od;
    k = 0;
    debtor[tail] = NOBODY;
    state[tail] = READY;
    tail++
}

/* Withdraws the rest of what it refers to; then it is free. */
inline finish()
{
#if REFS == 0
    skip
#else
#ifndef MARKS_NONE
    STEP(if :: done[at] == 0 -> done[at] = 1 :: else -> skip fi);
#endif
#ifdef BEGINS_ANEW
    j = 0;
#elif defined(MARKS_NONE)
    j = 0;
#else
    STEP(j = done[at] - 1);
#endif
    do
    :: j < REFS ->
#if !defined(MARKS_LATE) && !defined(MARKS_NONE)
        STEP(done[at] = j + 2);
#endif
        STEP(assert(flying(at, j) == 1); flying(at, j) = 0);
#ifdef MARKS_LATE
        STEP(done[at] = j + 2);
#endif
        j++
    :: j >= REFS -> break
    od;
    j = 0
#endif
}

proctype worker(byte me)
{
    byte at, j, k;
    do
    :: atomic {
        (over || something || !alive[me]) ->
        if
        :: !alive[me] -> goto dead
        :: alive[me] && over -> goto dead
        :: alive[me] && !over && something -> skip
        fi
    }
        recover();
        /* Takes one, what came back first. */
        atomic {
            at = NOBODY;
            k = 0;
            do
            :: k < TASKS ->
                if
                :: state[k] == RETURNED -> at = k; break
                :: state[k] == READY && at == NOBODY -> at = k
                :: else -> skip
                fi;
                k++
            :: k == TASKS -> break
            od;
            k = 0;
            if
            :: !alive[me] -> goto dead
            :: alive[me] && at != NOBODY -> state[at] = TAKEN; by[at] = me
            :: else -> skip
            fi
        }
        if
        :: at == NOBODY -> skip
#ifndef IGNORES_MARKS
        :: at != NOBODY && done[at] != 0 ->
            finish();
            STEP(state[at] = FREE; finished[at] = true)
        :: at != NOBODY && done[at] == 0 ->
#else
        :: at != NOBODY ->
#endif
            /* It has all of it. */
#if REFS != 0
            j = 0;
            do
            :: j < REFS -> STEP(assert(flying(at, j) == 1)); j++
            :: j >= REFS -> break
            od;
            j = 0;
#endif
#ifdef SPAWNS
            atomic {
                if
                :: !alive[me] -> goto dead
                :: alive[me] && spawned == 0 -> spawned = 1; put_task()
                :: alive[me] -> skip
                fi
            }
#endif
            if
            :: true ->
                finish();
                STEP(state[at] = FREE; finished[at] = true)
#ifdef OWES
            :: true ->
#ifndef OWES_LATE
                STEP(owed[me]++);
#endif
                finish();
                STEP(state[at] = FREE; debtor[at] = me);
#ifdef OWES_LATE
                STEP(owed[me]++);
#endif
#ifdef SPAWNS
                atomic {
                    if
                    :: !alive[me] -> goto dead
                    :: alive[me] && spawned == 0 -> spawned = 1; put_task()
                    :: alive[me] -> skip
                    fi
                }
#endif
                STEP(owed[me]--; finished[at] = true)
#endif
            fi
        fi
    od;
dead:
    skip
}

/* A task that a dead one owes is none. */
#define is_over(i)                                                            \
    (state[i] == 0 || finished[i] ||                                          \
     (state[i] == TAKEN && done[i] != 0) ||                                   \
     (state[i] == RETURNED && done[i] != 0) ||                                \
     (state[i] == FREE && debtor[i] != NOBODY && !alive[debtor[i]]))

inline look()
{
    good = true;
    seen = tail;
#ifdef TALLY_FIRST
    look_at_tally();
#endif
    i = 0;
    do
    :: i < seen ->
        atomic {
            good = good && (state[i] == FREE || done[i] != 0);
            i++
        }
    :: i == seen -> break
    od;
#ifndef TALLY_FIRST
    look_at_tally();
#endif
    i = 0;
    atomic {
#ifndef ONE_TAIL
        good = good && tail == seen;
#endif
        seen = 0;
        if
        :: good ->
            k = 0;
            do
            :: k < TASKS -> assert(is_over(k)); k++
            :: k == TASKS -> break
            od;
            k = 0
        :: else -> skip
        fi
    }
}

inline look_at_tally()
{
    i = 0;
    do
    :: i < ALL ->
        atomic {
#ifdef FORGIVES_ALL
            owed[i] = 0;
#elif !defined(DEAD_OWE)
            if
            :: !alive[i] -> owed[i] = 0
            :: else -> skip
            fi;
#endif
            good = good && owed[i] == 0;
            i++
        }
    :: i == ALL -> break
    od;
    i = 0
}

/* Would a look find that all is done? */
#ifdef DEAD_OWE
#define owes(w) (owed[w] != 0)
#else
#define owes(w) (alive[w] && owed[w] != 0)
#endif
#define is_past(i) (state[i] == 0 || state[i] == FREE || done[i] != 0)
#if TASKS == 1
#define past is_past(0)
#elif TASKS == 2
#define past (is_past(0) && is_past(1))
#else
#define past (is_past(0) && is_past(1) && is_past(2))
#endif
#if ALL == 2
#define settled (!owes(0) && !owes(1))
#elif ALL == 3
#define settled (!owes(0) && !owes(1) && !owes(2))
#else
#define settled (!owes(0) && !owes(1) && !owes(2) && !owes(3))
#endif

proctype joiner()
{
    byte i, k, seen, looks;
    bool good;
    do
    :: looks < LOOKS ->
        looks++;
        look();
        if
        :: good -> break
        :: else -> skip
        fi
    :: past && settled ->
        look();
        if
        :: good -> break
        :: else -> skip
        fi
    od;
    over = true
}

proctype killer()
{
    byte who;
    do
    :: killed < KILLS && !over ->
        atomic {
            if
            :: killed < KILLS && !over ->
                select(who : 0 .. ALL - 1);
                if
                :: alive[who] ->
                    alive[who] = false;
                    killed++;
                    alive[begun] = true;
                    run worker(begun);
                    begun++
                :: else -> skip
                fi;
                who = 0
            :: else -> skip
            fi
        }
    :: true -> break
    od
}

init
{
    byte k, leaks, t;
    atomic {
        do
        :: tail < PUTS -> put_task()
        :: tail == PUTS -> break
        od;
        do
        :: begun < WORKERS ->
            alive[begun] = true;
            run worker(begun);
            begun++
        :: begun == WORKERS -> break
        od;
        run joiner();
        run killer()
    }
    /* All have ended: one that died has left one at most. */
    (_nr_pr == 1);
    atomic {
        t = 0;
        do
        :: t < TASKS ->
            k = 0;
            do
            :: k < REFS && state[t] == FREE ->
                leaks = leaks + flying(t, k);
                k++
            :: !(k < REFS && state[t] == FREE) -> break
            od;
            t++
        :: t == TASKS -> break
        od;
        assert(leaks <= killed)
    }
}

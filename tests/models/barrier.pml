/* SPDX-License-Identifier: MIT */
/* The barrier of csrc/core/sync/barrier.h, with a SIGKILL between any two
 * steps. One step is one access to shared memory, or one system call, with
 * what is made of it at home.
 *
 * WORKERS threads wait ROUNDS times at a barrier of N: each is a process of
 * its own, but for THREADS, where the first two share one. A process is killed
 * KILLS times in all, or ends when its threads are through, and then gives its
 * slots back. ONE_BY_ONE, the first meets the others, each in its turn, when
 * the one before is gone. RESETTERS reset the barrier, and may be killed over
 * it; ABORTS come at any time; TIMEOUTS at any sleep, and so do INTERRUPTS,
 * who take their arrival back.
 *
 * What must hold:
 *   - Who passes was there when all were, in a slot of its own, once.
 *   - Who was there then passes, whatever happens afterwards.
 *   - The action runs once a generation, and not where one who is in it was
 *     dead before.
 *   - A death is only told where a process was killed that had arrived once,
 *     and not where one has ended.
 *   - Nobody sleeps without a reason, when nothing moves any more: not where
 *     one was killed who is counted on, nor where all are here, nor beside a
 *     slot that is to be had. A slice ends only where somebody was killed: so
 *     no other wake-up that is lost is made up for by it.
 */
/* quick: -DROUNDS=2 -DKILLS=1 */
/* quick: -DTHREADS -DROUNDS=2 -DKILLS=1 */
/* quick: -DWORKERS=3 -DONE_BY_ONE */
/* quick: -DROUNDS=2 -DINTERRUPTS=1 */
/* quick: -DRESETTERS=1 */
/* run: -DROUNDS=2 -DKILLS=2 */
/* run: -DROUNDS=2 -DTIMEOUTS=1 -DABORTS=1 */
/* run: -DRESETTERS=1 -DKILLS=1 */
/* run: -DROUNDS=2 -DRESETTERS=1 */
/* run: -DTHREADS -DRESETTERS=2 */
/* run: -DWORKERS=3 */
/* run: -DWORKERS=3 -DONE_BY_ONE -DKILLS=1 */
/* run: -DWORKERS=3 -DKILLS=1 */
/* run: -DN=3 -DWORKERS=3 -DKILLS=1 */
/* mutant: -DM_KEEPS_ITS_SLOTS -DWORKERS=3 -DONE_BY_ONE */
/* mutant: -DM_NO_SECOND_LOOK -DWORKERS=3 */
/* mutant: -DM_SLEEPS_FOR_EVER -DROUNDS=2 -DKILLS=1 */
/* mutant: -DM_ROBS_THE_DEAD -DWORKERS=3 -DONE_BY_ONE -DKILLS=1 */
/* mutant: -DM_TRIPS_WITHOUT_LEAD -DROUNDS=2 -DKILLS=1 */
/* mutant: -DM_TRIPS_WITHOUT_A_CALL -DROUNDS=2 -DKILLS=1 */
/* mutant: -DM_LEADS_THE_DEAD -DROUNDS=2 -DKILLS=1 */
/* mutant: -DM_LEADS_WITHOUT_A_LOOK -DROUNDS=2 -DINTERRUPTS=1 */
/* mutant: -DM_MARKS_AT_ONCE -DWORKERS=3 */
/* mutant: -DM_MARKS_THE_NEXT -DROUNDS=2 -DKILLS=1 */
/* mutant: -DM_MARKS_WHAT_IS_OUT -DRESETTERS=1 */
/* mutant: -DM_BEGINS_ANEW_TOO_EARLY -DRESETTERS=1 */
/* mutant: -DM_RESETS_AT_ONCE -DTHREADS -DRESETTERS=2 */
/* mutant: -DM_LEAVES_RESETS_OF_THE_DEAD -DRESETTERS=1 -DKILLS=1 */
/* mutant: -DM_CALLS_NOBODY -DWORKERS=3 */
/* mutant: -DM_TAKES_BACK_WHAT_COUNTS -DROUNDS=2 -DINTERRUPTS=1 */

#ifndef N
#define N 2
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifdef THREADS
#define PROCESS(id) ((id) == 0 -> 1 : (id))
#else
#define PROCESS(id) (id)
#endif
#define NONE 9
#ifdef ONE_BY_ONE
#define ROUNDS_OF(id) ((id) == 0 -> WORKERS - 1 : 1)
#define AFTER(id) ((id) < 2 -> NONE : (id) - 1)
#else
#define ROUNDS_OF(id) ROUNDS
#define AFTER(id) NONE
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef RESETTERS
#define RESETTERS 0
#endif
#ifndef ABORTS
#define ABORTS 0
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 0
#endif
#ifndef INTERRUPTS
#define INTERRUPTS 0
#endif

/* A slot: a token, and where in the barrier its thread is. */
#define IDLE 0
#define CLAIMED 8
#define IN 16 /* | parity of the generation */
#define PARITY 8
#define OUT 32
#define TOKEN 7
#define ME (PROCESS(id) + 1)

/* The state: the generation, and below it: */
#define BROKEN 1
#define DIED 2
#define RESETS 4
#define NEXT 8
#define GENERATION(s) ((s) >> 3)
#define IN_OF(s) (IN | (GENERATION(s) & 1) << 3)

/* The gate: a number, and below it: somebody waits for a slot. */
#define WAITED 1

byte slot[N];
byte state, lead, gate;
byte resetting; /* a lock that is taken from the dead */
bool killed[TOKEN + 1], ended[TOKEN + 1];
byte kills = KILLS, aborts = ABORTS;
byte timeouts = TIMEOUTS, interrupts = INTERRUPTS;
byte working[TOKEN + 1]; /* its threads that are not through */
byte at[WORKERS];        /* its slot; N: none */
bool asleep[WORKERS];    /* on the state, or without a slot on the gate, */
bool by_state[WORKERS];  /* unless it waits for a reset to be over */
#define IS_DEAD(t) (killed[t] || ended[t])
#define HOLDS_DEAD(i) (slot[i] != 0 && IS_DEAD(slot[i] & TOKEN))
#if N == 1
#define SOMEBODY_IS_DEAD HOLDS_DEAD(0)
#elif N == 2
#define SOMEBODY_IS_DEAD (HOLDS_DEAD(0) || HOLDS_DEAD(1))
#else
#define SOMEBODY_IS_DEAD (HOLDS_DEAD(0) || HOLDS_DEAD(1) || HOLDS_DEAD(2))
#endif
#if N == 1
#define IS_TO_BE_HAD (slot[0] < CLAIMED)
#elif N == 2
#define IS_TO_BE_HAD (slot[0] < CLAIMED || slot[1] < CLAIMED)
#else
#define IS_TO_BE_HAD \
  (slot[0] < CLAIMED || slot[1] < CLAIMED || slot[2] < CLAIMED)
#endif
/* The dead are to be seen; or one that was killed may not have called. */
#define SLICE_ENDS \
  (SOMEBODY_IS_DEAD || \
   (somebody_was_killed && (state != s || (at[id] == N && IS_TO_BE_HAD))))
bool somebody_was_killed;

/* For the claims alone: who passes, by slot and parity of the generation, and
 * the generation whose action has run. */
#define NOBODY 15
byte passes[N * 2];
byte acted = NOBODY;
#define PASSES(s, i) passes[(GENERATION(s) & 1) * N + (i)]

/* Had it the slot when it died? */
#ifdef M_NO_SECOND_LOOK
#define STILL_HAS(i, v) true
#else
#define STILL_HAS(i, v) (slot[i] == v)
#endif

#ifdef M_ROBS_THE_DEAD
#define ASKS_FIRST false
#else
#define ASKS_FIRST true
#endif

inline wake_state() {
  atomic {
    k = 0;
    do
    :: k < WORKERS ->
       if :: at[k] < N || by_state[k] -> asleep[k] = false :: else fi;
       k++
    :: else -> break
    od;
    k = 0
  }
}

/* Whoever gives up a slot, or breaks it, calls those who wait for one. */
inline call() {
#ifdef M_CALLS_NOBODY
  skip
#else
  do
  :: atomic { t = gate; if :: !(t & WAITED) -> t = 0; break :: else fi }
     atomic {
       done = gate == t;
       if :: done -> gate = (t + 1) & 31 :: else fi;
       t = 0
     }
     if
     :: atomic {
          done -> done = false;
          do
          :: k < WORKERS ->
             if
             :: at[k] == N && !by_state[k] -> asleep[k] = false
             :: else
             fi;
             k++
          :: else -> break
          od;
          k = 0; break
        }
     :: else
     fi
  od
#endif
}

/* what: BROKEN, or BROKEN | DIED. Only the generation of s. */
inline break_at(s, what) {
  do
  :: atomic {
       t = state;
       if
       :: (t & BROKEN) || GENERATION(t) != GENERATION(s) -> t = 0; break
       :: else
       fi
     }
     atomic {
       done = state == t;
       if :: done -> state = t | what :: else fi;
       t = 0
     }
     if
     :: done -> done = false; wake_state(); call(); break
     :: else
     fi
  od
}

inline give_back(with) {
  atomic { slot[at[id]] = with; at[id] = N }
  call()
}

/* All are here, and none is of those who passed before. */
inline trip() {
  assert(state == t);
  k = 0;
  do
  :: k < N ->
     assert((slot[k] & ~TOKEN) == parity ||
            (INTERRUPTS && (slot[k] & ~TOKEN) == CLAIMED));
     v = PASSES(s + NEXT, k);
     assert(v == NOBODY || killed[PROCESS(v) + 1]);
     PASSES(s + NEXT, k) = NOBODY;
     k++
  :: else -> break
  od;
  k = 0;
  do
  :: k < WORKERS ->
     if
     :: at[k] < N && !killed[PROCESS(k) + 1] ->
        assert(PASSES(s + NEXT, at[k]) == NOBODY);
        PASSES(s + NEXT, at[k]) = k
     :: else
     fi;
     k++
  :: else -> break
  od;
  k = 0; v = 0;
  state = GENERATION(t + NEXT) << 3
}

proctype worker(byte id; byte rounds) {
  byte s, t, g, v, k, l, parity, pass;
  bool done, doomed;
end_begin:
  AFTER(id) == NONE || IS_DEAD(AFTER(id) + 1);
  {
  skip;
again:
  atomic { if :: rounds == 0 -> goto through :: else -> rounds-- fi }

  /* ---- a slot: 0: an idle one of our own; 1: a free one; 2: an idle one of
   * another's, or one that a dead one has left */
enter:
  g = gate;
enter_state:
  atomic {
    s = state;
    if
    :: s & RESETS -> goto nap_for_reset
    :: !(s & RESETS) && (s & BROKEN) -> goto again
    :: else
    fi
  }
find:
  atomic {
    if :: k == N -> k = 0; pass++ :: else fi;
    if :: pass == 3 -> pass = 0; goto none :: else fi;
    v = slot[k];
    if
    :: pass == 0 && v == (ME | IDLE) -> goto take
    :: pass == 1 && v == 0 -> goto take
    :: pass == 2 && v != 0 && v < CLAIMED && (v & TOKEN) != ME ->
       if :: ASKS_FIRST -> goto ask :: else -> goto take fi
    :: pass == 2 && (v & OUT) -> goto ask
    :: else -> v = 0; k++; goto find
    fi
  }
ask:
  atomic {
    if
    :: IS_DEAD(v & TOKEN)
    :: !IS_DEAD(v & TOKEN) && (v & OUT) -> v = 0; k++; goto find
    :: !IS_DEAD(v & TOKEN) && !(v & OUT) -> goto take
    fi
  }
  atomic {
    if
    :: !STILL_HAS(k, v) -> v = 0; k++; goto find
    :: STILL_HAS(k, v) && !(v & OUT) -> goto member_died
    :: else
    fi
  }
take:
  atomic {
    if
    :: slot[k] == v ->
       assert(pass < 2 || ASKS_FIRST || !killed[v & TOKEN]);
       at[id] = k; k = 0; v = 0; pass = 0;
#ifdef M_MARKS_AT_ONCE
       slot[at[id]] = ME | IN_OF(s); parity = IN_OF(s);
       goto look
#else
       slot[at[id]] = ME | CLAIMED;
       goto mark
#endif
    :: else -> v = 0; k++; goto find
    fi
  }
none:
  /* All are taken. Who gives one up is to call us. */
  atomic {
    if
    :: g & WAITED -> goto nap_at_gate
    :: !(g & WAITED) && gate == g -> gate = g | WAITED
    :: else
    fi
  }
  goto enter;

  /* ---- the arrival: while the slot has no mark, nothing can trip */
mark:
  atomic { s = state; parity = IN_OF(s); if :: s & BROKEN -> goto out :: else fi
#ifdef M_MARKS_THE_NEXT
    parity = IN_OF(s + NEXT)
#endif
  }
  atomic {
    if
    :: slot[at[id]] == (ME | CLAIMED) -> slot[at[id]] = ME | parity
#ifdef M_MARKS_WHAT_IS_OUT
    :: slot[at[id]] == (ME | OUT) -> slot[at[id]] = ME | parity
#else
    :: slot[at[id]] == (ME | OUT) -> goto out
#endif
    fi
  }

  /* ---- what has become of it */
look:
  atomic { s = state; if :: IN_OF(s) != parity -> goto passed :: else fi }
  atomic {
    if
    :: slot[at[id]] == (ME | OUT) || (s & BROKEN) -> goto out
    :: else
    fi
  }
  /* Are all here? */
  atomic {
    l = lead;
#ifndef M_TRIPS_WITHOUT_LEAD
    if :: l == GENERATION(s) + 1 -> goto nap :: else fi
#endif
  }
count:
  atomic {
    if
    :: k < N && (slot[k] & ~TOKEN) == parity -> k++; goto count
    :: k < N && (slot[k] & ~TOKEN) != parity -> k = 0; goto nap
    :: k == N -> k = 0
    fi
  }
  atomic {
    if
    :: lead == l -> lead = GENERATION(s) + 1; l = 0;
       doomed = SOMEBODY_IS_DEAD
    :: else -> l = 0; goto look
    fi
  }
  /* The lead is ours. Has somebody left, or died? */
ask_all:
  atomic {
    if
    :: k == N -> k = 0; goto act
    :: k < N -> v = slot[k];
       if
#ifndef M_LEADS_WITHOUT_A_LOOK
       :: (v & ~TOKEN) != parity -> k = 0; v = 0; goto yield
#endif
#ifndef M_LEADS_THE_DEAD
       :: (v & ~TOKEN) == parity && (v & TOKEN) != ME
#endif
       :: else -> v = 0; k++; goto ask_all
       fi
    fi
  }
  atomic { if :: !IS_DEAD(v & TOKEN) -> v = 0; k++; goto ask_all :: else fi }
  atomic {
    if
    :: STILL_HAS(k, v) -> goto member_died
    :: else -> k = 0; v = 0; goto yield
    fi
  }
yield:
  atomic {
    if :: lead == GENERATION(s) + 1 -> lead = 0 :: else fi;
    goto look
  }
act:
  atomic { assert(acted != GENERATION(s)); acted = GENERATION(s) }
  atomic {
    t = state;
    if
    :: t != s -> t = 0; goto look
    :: else -> assert(!doomed); trip(); t = 0
    fi
  }
#ifndef M_TRIPS_WITHOUT_A_CALL
  wake_state();
#endif
  goto look;

passed:
  atomic { assert(PASSES(s, at[id]) == id); PASSES(s, at[id]) = NOBODY }
  give_back(ME | IDLE);
  goto again;

out:
  /* A reset ends the generation after it has put us out. */
  atomic {
    assert((slot[at[id]] & ~TOKEN) != parity || (state & BROKEN));
    assert(PASSES(state, at[id]) != id && PASSES(state + NEXT, at[id]) != id)
  }
  give_back(0);
  goto again;

  /* ---- the sleep */
nap:
  atomic { if :: state == s -> asleep[id] = true :: else -> goto woken fi }
  goto end_nap;
nap_at_gate:
  atomic { if :: gate == g -> asleep[id] = true :: else -> goto woken fi }
end_nap:
  if
  :: atomic { !asleep[id] -> goto woken }
#ifndef M_SLEEPS_FOR_EVER
  :: atomic { asleep[id] && SLICE_ENDS -> asleep[id] = false }
#endif
  :: atomic { asleep[id] && timeouts > 0 -> timeouts--; asleep[id] = false }
     /* All are here where somebody leads: nobody has come too late. */
     if
     :: at[id] < N && lead == GENERATION(s) + 1
     :: else -> break_at(s, BROKEN)
     fi;
     goto woken
  :: atomic {
       asleep[id] && interrupts > 0 -> interrupts--; asleep[id] = false;
       if :: at[id] == N -> goto again :: else -> goto take_back fi
     }
  fi;
  /* A slice is over. */
inspect:
  atomic {
    if
    :: k == N -> k = 0; v = 0; goto woken
    :: k < N -> v = slot[k];
       if
       :: v != 0 && (v & TOKEN) != ME
       :: else -> k++; goto inspect
       fi
    fi
  }
  atomic { if :: !IS_DEAD(v & TOKEN) -> k++; goto inspect :: else fi }
  atomic {
    if
    :: STILL_HAS(k, v) && (v & OUT) -> slot[k] = 0; k++
    :: STILL_HAS(k, v) && !(v & OUT) -> goto member_died
    :: else -> k++; goto inspect
    fi
  }
  pass = k;
  call();
  atomic { k = pass; pass = 0; goto inspect }
woken:
  if :: at[id] == N -> goto enter :: else -> goto look fi;

  /* ---- the sleep until a reset is over */
nap_for_reset:
  atomic {
    if
    :: state == s -> asleep[id] = true; by_state[id] = true
    :: else -> goto enter
    fi
  }
end_nap_for_reset:
  if
  :: atomic { !asleep[id] -> by_state[id] = false; goto enter }
#ifndef M_LEAVES_RESETS_OF_THE_DEAD
  :: atomic {
       asleep[id] && IS_DEAD(resetting) ->
       asleep[id] = false; by_state[id] = false
     }
#endif
  :: atomic {
       asleep[id] && (timeouts > 0 || interrupts > 0) ->
       if :: timeouts > 0 -> timeouts-- :: else -> interrupts-- fi;
       asleep[id] = false; by_state[id] = false; goto again
     }
  fi;
  atomic { if :: state == s -> state = s & ~RESETS :: else -> goto enter fi }
  wake_state();
  goto enter;

member_died:
  atomic { assert(killed[v & TOKEN]); k = 0; v = 0; pass = 0 }
  break_at(s, BROKEN | DIED);
  goto woken;

  /* ---- an arrival is taken back, unless it may have been counted */
take_back:
  atomic {
    if
    :: slot[at[id]] == (ME | parity) -> slot[at[id]] = ME | CLAIMED
    :: else -> goto out
    fi
  }
#ifndef M_TAKES_BACK_WHAT_COUNTS
  l = lead;
#endif
  atomic {
    s = state;
    if
    :: IN_OF(s) != parity -> l = 0; goto passed
    :: else ->
       if
       :: (s & BROKEN) -> l = 0; goto out
       :: else
       fi
    fi
  }
  if
  :: atomic { l == GENERATION(s) + 1 -> l = 0 }
     break_at(s, BROKEN);
     atomic {
       s = state; if :: IN_OF(s) != parity -> goto passed :: else -> goto out fi
     }
  :: else -> l = 0
  fi;
  atomic {
    if
    :: slot[at[id]] == (ME | CLAIMED) -> slot[at[id]] = ME | IDLE; at[id] = N
    :: else -> goto out
    fi
  }
  call();
  goto again;

  /* ---- the process ends when its threads have */
through:
  atomic { working[ME]--; if :: working[ME] > 0 -> goto gone :: else fi }
#ifndef M_KEEPS_ITS_SLOTS
leave:
  atomic {
    if
    :: pass == N -> pass = 0; goto left
    :: pass < N && slot[pass] == (ME | IDLE) -> slot[pass] = 0; pass++
    :: else -> pass++; goto leave
    fi
  }
  call();
  goto leave;
#endif
left:
  ended[ME] = true;
gone:
  skip
  } unless { killed[ME] -> asleep[id] = false; by_state[id] = false }
}

proctype resetter(byte id) {
  byte s, t, v, k, new;
  bool done;
  {
#ifndef M_RESETS_AT_ONCE
  atomic { resetting == 0 || IS_DEAD(resetting) -> resetting = ME }
#else
  skip;
#endif
  do
  :: s = state;
     atomic { if :: state == s -> state = s | BROKEN | RESETS; break :: else fi }
  od;
  wake_state();
  call();
#ifdef M_BEGINS_ANEW_TOO_EARLY
  state = GENERATION(s + 2 * NEXT) << 3;
#endif
scan:
  atomic {
    if
    :: k == N -> k = 0; v = 0; new = 0; goto anew
    :: k < N -> v = slot[k];
       if
       :: v == 0 -> k++; goto scan
       :: v != 0 && v < CLAIMED -> new = 0; goto put
       :: (v & ~TOKEN) == IN_OF(s) -> new = (v & TOKEN) | OUT; goto put
#ifndef M_MARKS_WHAT_IS_OUT
       :: (v & ~TOKEN) == CLAIMED -> new = (v & TOKEN) | OUT; goto put
#endif
       :: else -> new = 0
       fi
    fi
  }
  atomic { if :: !IS_DEAD(v & TOKEN) -> k++; goto scan :: else fi }
put:
  atomic { if :: slot[k] == v -> slot[k] = new; k++ :: else fi; goto scan }
anew:
#ifndef M_BEGINS_ANEW_TOO_EARLY
  atomic {
    assert(state & BROKEN);
    state = GENERATION(s + 2 * NEXT) << 3
  }
#endif
  s = 0;
  wake_state();
  call();
  atomic { resetting = 0; ended[ME] = true }
  } unless { killed[ME] }
}

/* SIGKILLs and aborts, and from some moment on no more of anything. */
proctype fate() {
  byte k, t, s;
  bool done;
  do
  :: atomic {
       kills > 0 ->
       k = 1;
       do
       :: k < WORKERS + RESETTERS -> k++
       :: break
       od;
       if
       :: !IS_DEAD(k) && working[k] -> killed[k] = true; kills--;
          somebody_was_killed = true
       :: else
       fi;
       k = 0
     }
  :: atomic { aborts > 0 -> aborts--; s = state }
     break_at(s, BROKEN)
  :: atomic {
       kills = 0; aborts = 0; timeouts = 0; interrupts = 0; s = 0; break
     }
  od
}

/* Nothing moves any more. */
proctype rest() {
  byte id, k;
  bool free;
  timeout;
  d_step {
    do
    :: id < WORKERS ->
       if
       :: asleep[id] ->
          assert(!by_state[id]);
          assert(!(state & BROKEN));
          assert(!SOMEBODY_IS_DEAD);
          k = 0; free = false;
          do
          :: k < N ->
             if
             :: at[id] < N ->
                free = free || (slot[k] & ~TOKEN) != IN_OF(state)
             :: else -> free = free || slot[k] < CLAIMED
             fi;
             k++
          :: else -> break
          od;
          assert(at[id] == N || (slot[at[id]] & ~TOKEN) == IN_OF(state));
          assert(at[id] == N || free);
          assert(at[id] < N || !free)
       :: else
       fi;
       id++
    :: else -> break
    od
  }
}

init {
  byte k;
  d_step {
    do :: k < N * 2 -> passes[k] = NOBODY; k++ :: else -> break od;
    k = 0;
    do
    :: k < WORKERS -> at[k] = N; working[PROCESS(k) + 1]++; k++
    :: else -> break
    od;
    k = 0;
    do :: k < RESETTERS -> working[WORKERS + k + 1]++; k++ :: else -> break od;
    k = 0
  }
  atomic {
    do
    :: k < WORKERS -> run worker(k, ROUNDS_OF(k)); k++
    :: else -> break
    od;
    do
    :: k < WORKERS + RESETTERS -> run resetter(k); k++
    :: else -> break
    od;
    run fate();
    run rest()
  }
}

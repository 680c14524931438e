/* SPDX-License-Identifier: MIT */
/* The barrier of csrc/core/sync/barrier.c, step by step.
 *
 * WORKERS threads wait ROUNDS times at a barrier of N. PROCESS says whose
 * threads they are: such a process is killed between any two steps, KILLS
 * times in all, or ends when its threads are through, and then gives its slots
 * back. A worker with AFTER begins when that process is gone. RESETTERS reset
 * the barrier, and may be killed over it; ABORTS come at any time, TIMEOUTS at
 * any sleep, and so do INTERRUPTS, who take an arrival back.
 *
 * A slice of a sleep is over only while there is a dead one to be seen, so that
 * the model comes to rest. Then whoever sleeps must have a reason to.
 */
#ifndef N
#define N 2
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef ROUNDS
#define ROUNDS(id) 2
#endif
#ifndef PROCESS
#define PROCESS(id) (id)
#endif
#ifndef AFTER
#define AFTER(id) 9
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
#define IN_OF(s) (IN | ((s) & PARITY))

/* The state: the generation, and below it: */
#define BROKEN 1
#define DIED 2
#define CROWD 4
#define NEXT 8
#define GENERATION(s) ((s) >> 3)

byte slot[N];
byte state, lead;
byte resetting; /* a lock that is taken from the dead */
bool killed[TOKEN + 1], ended[TOKEN + 1];
byte kills = KILLS, aborts = ABORTS;
byte timeouts = TIMEOUTS, interrupts = INTERRUPTS;
byte working[TOKEN + 1]; /* threads */
byte at[WORKERS];        /* its slot; N: none */
bool asleep[WORKERS];
#define IS_DEAD(t) (killed[t] || ended[t])
#define HOLDS_DEAD(i) (slot[i] != 0 && IS_DEAD(slot[i] & TOKEN))
#if N == 1
#define somebody_is_dead HOLDS_DEAD(0)
#elif N == 2
#define somebody_is_dead (HOLDS_DEAD(0) || HOLDS_DEAD(1))
#else
#define somebody_is_dead (HOLDS_DEAD(0) || HOLDS_DEAD(1) || HOLDS_DEAD(2))
#endif

/* For the claims alone: who is in the generation that has tripped, by slot and
 * parity, and the generation whose action has run. */
#define NOBODY 15
byte passes[N * 2];
byte acted = NOBODY;
#define PASSES(s, i) passes[((s) & PARITY) / PARITY * N + (i)]

inline wake_all() {
  d_step {
    k = 0;
    do :: k < WORKERS -> asleep[k] = false; k++ :: else -> break od;
    k = 0
  }
}

inline swap_state(old, new) {
  atomic {
    if
    :: state == old -> state = new; done = true
    :: else -> done = false
    fi
  }
}

/* what: BROKEN, or BROKEN | DIED. Only the generation of s. */
inline break_at(s, what) {
  do
  :: t = state;
     if
     :: (t & BROKEN) || GENERATION(t) != GENERATION(s) -> break
     :: else
     fi;
     swap_state(t, (t & ~CROWD) | what);
     if :: done -> wake_all(); break :: else fi
  od;
  d_step { t = 0; done = false }
}

/* Whoever is found dead: that must have been a SIGKILL. */
inline break_for(s, v) {
  assert(killed[v & TOKEN]);
  break_at(s, BROKEN | DIED)
}

/* Who gives up a slot looks whether somebody waits for one. */
inline call_crowd() {
#ifndef M_CALLS_NO_CROWD
  do
  :: t = state;
     if :: !(t & CROWD) -> break :: else fi;
     swap_state(t, t & ~CROWD);
     if :: done -> wake_all(); break :: else fi
  od;
  d_step { t = 0; done = false }
#endif
}

inline give_back(with) {
  d_step { slot[at[id]] = with; at[id] = N };
  call_crowd()
}

/* Is it dead, and was it when it still had the slot? */
inline judge(i, v) {
  dead = IS_DEAD(v & TOKEN);
#ifndef M_NO_SECOND_LOOK
  if :: dead -> dead = (slot[i] == v) :: else fi
#endif
}

#ifdef M_ROBS_THE_DEAD
#define alive_when_asked(v) !killed[v & TOKEN]
#else
#define alive_when_asked(v) true
#endif

inline claim() {
  atomic {
    if
    :: slot[k] == v ->
       assert(pass < 2 || (v & OUT) || alive_when_asked(v));
#ifdef M_MARKS_AT_ONCE
       slot[k] = ME | IN_OF(s); parity = IN_OF(s);
#else
       slot[k] = ME | CLAIMED;
#endif
       at[id] = k; k = 0; v = 0; pass = 0; found = false; dead = false;
#ifdef M_MARKS_AT_ONCE
       goto look
#else
       goto mark
#endif
    :: else
    fi
  }
}
/* pass 0: an idle one of our own; 1: a free one; 2: an idle one of another's,
 * or one that a dead one has left. */
inline find_slot() {
  do
  :: pass == 3 -> break
  :: else ->
     do
     :: k == N -> break
     :: else ->
        v = slot[k];
        if
        :: pass == 0 && v == (ME | IDLE) -> found = true
        :: pass == 1 && v == 0 -> found = true
        :: pass == 2 && v != 0 && v < CLAIMED && (v & TOKEN) != ME ->
#ifdef M_ROBS_THE_DEAD
           found = true
#else
           judge(k, v);
           if :: dead -> goto member_died :: else -> found = true fi
#endif
        :: pass == 2 && (v & OUT) -> judge(k, v); found = dead
        :: else
        fi;
        if
        :: found -> claim(); found = false; dead = false
        :: else
        fi;
        k++
     od;
     k = 0; pass++
  od;
  d_step { pass = 0; v = 0 }
}

inline trip() {
  atomic {
    if
    :: state == t ->
       k = 0;
       do
       :: k < N ->
          /* All are here, and none is of those who passed before. */
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
          :: at[k] < N && (slot[at[k]] & TOKEN) == PROCESS(k) + 1 ->
             assert(PASSES(s + NEXT, at[k]) == NOBODY ||
                    killed[PROCESS(k) + 1]);
             PASSES(s + NEXT, at[k]) = k
          :: else
          fi;
          k++
       :: else -> break
       od;
       k = 0; v = 0;
       state = (GENERATION(t) + 1) << 3; done = true
    :: else -> done = false
    fi
  }
}

proctype worker(byte id; byte rounds) {
  byte s, t, v, k, l, parity, pass;
  bool dead, done, found, taken_back;
  if :: AFTER(id) < 9 -> IS_DEAD(AFTER(id) + 1) :: else fi;
  {
  skip;
again:
  if :: rounds == 0 -> goto through :: else -> rounds-- fi;

  /* ---- a slot */
enter:
  s = state;
  if :: s & BROKEN -> goto again :: else fi;
  find_slot();
  /* All are taken. Who gives one up is to wake us. */
  if
  :: !(s & CROWD) ->
     atomic { if :: state == s -> state = s | CROWD :: else fi }
     goto enter
  :: else -> goto nap
  fi;

  /* ---- the arrival: while the slot has no mark, nothing can trip */
mark:
  s = state;
  if :: s & BROKEN -> give_back(0); goto again :: else fi;
  parity = IN_OF(s);
#ifdef M_MARKS_THE_NEXT
  parity = IN_OF(s + NEXT);
#endif
  atomic {
    if
    :: slot[at[id]] == (ME | CLAIMED) -> slot[at[id]] = ME | parity; goto look
#ifdef M_MARKS_WHAT_IS_OUT
    :: slot[at[id]] == (ME | OUT) -> slot[at[id]] = ME | parity; goto look
#endif
    :: else
    fi
  }
  assert(slot[at[id]] == (ME | OUT));
  goto out;

  /* ---- what has become of it */
look:
  s = state;
  if
  :: IN_OF(s) != parity ->
     d_step {
       assert(PASSES(s, at[id]) == id);
       PASSES(s, at[id]) = NOBODY
     }
     give_back(ME | IDLE);
     goto again
  :: else
  fi;
  if :: slot[at[id]] == (ME | OUT) -> goto out :: else fi;
  if
  :: s & BROKEN ->
     /* A reset ends the generation after it has put us out. */
out:
     atomic {
       assert(slot[at[id]] == (ME | OUT) || (state & BROKEN));
       assert(PASSES(state, at[id]) != id || killed[ME])
     }
     give_back(0);
     goto again
  :: else
  fi;
  /* Are all here? */
  l = lead;
#ifndef M_TRIPS_WITHOUT_LEAD
  if :: l == GENERATION(s) + 1 -> goto nap :: else fi;
#endif
  do
  :: k == N -> break
  :: (k < N) && (slot[k] & ~TOKEN) == parity -> k++
  :: else -> k = 0; goto nap
  od;
  k = 0;
  atomic {
    if :: lead == l -> lead = GENERATION(s) + 1 :: else -> goto look fi
  }
  /* The lead is ours. Has somebody gone, or died? */
  do
  :: k == N -> break
  :: else ->
     v = slot[k];
     if
#ifndef M_LEADS_WITHOUT_A_LOOK
     :: (v & ~TOKEN) != parity ->
        d_step { k = 0; v = 0 };
        atomic {
          if :: lead == GENERATION(s) + 1 -> lead = 0 :: else fi
        }
        goto look
#endif
#ifndef M_LEADS_THE_DEAD
     :: (v & ~TOKEN) == parity && IS_DEAD(v & TOKEN) -> goto member_died
#endif
     :: else
     fi;
     k++
  od;
  /* The action. */
  d_step {
    k = 0; v = 0;
    assert(acted != GENERATION(s));
    acted = GENERATION(s)
  };
  do
  :: t = state;
     if
     :: (t & BROKEN) || GENERATION(t) != GENERATION(s) -> t = 0; goto look
     :: else
     fi;
     trip();
     if :: done -> break :: else fi
  od;
#ifndef M_TRIPS_WITHOUT_A_CALL
  wake_all();
#endif
  d_step { t = 0; done = false };
  goto look;

  /* ---- the sleep */
nap:
  atomic {
    if
    :: state == s -> asleep[id] = true
    :: else -> goto woken
    fi
  }
end_nap:
  if
  :: !asleep[id] -> goto woken
#ifndef M_SLEEPS_FOR_EVER
  :: asleep[id] && somebody_is_dead -> asleep[id] = false
#endif
  :: asleep[id] && timeouts > 0 ->
     atomic { timeouts--; asleep[id] = false }
     /* All are here where somebody leads: no time is lost by them. */
     if
     :: at[id] < N && lead == GENERATION(s) + 1
     :: else -> break_at(s, BROKEN)
     fi;
     goto woken
  :: asleep[id] && interrupts > 0 ->
     atomic { interrupts--; asleep[id] = false }
     if :: at[id] == N -> goto again :: else -> goto take_back fi
  fi;
  /* A slice is over. */
  do
  :: k == N -> break
  :: else ->
     v = slot[k];
     if
     :: v != 0 && (v & TOKEN) != ME ->
        judge(k, v);
        if
        :: dead && (v & OUT) ->
           atomic { if :: slot[k] == v -> slot[k] = 0 :: else fi }
           call_crowd()
        :: dead && !(v & OUT) -> goto member_died
        :: else
        fi
     :: else
     fi;
     k++
  od;
  d_step { k = 0; v = 0; dead = false };
woken:
  if :: at[id] == N -> goto enter :: else -> goto look fi;

member_died:
  break_for(s, v);
  d_step { k = 0; v = 0; dead = false; pass = 0 };
  goto woken;

  /* ---- an arrival is taken back, unless it has been counted */
take_back:
  atomic {
    if
    :: slot[at[id]] == (ME | parity) -> slot[at[id]] = ME | CLAIMED
    :: else -> goto out
    fi
  }
  s = state;
  if
  :: IN_OF(s) != parity ->
counted:
     atomic {
       assert(PASSES(s, at[id]) == id);
       PASSES(s, at[id]) = NOBODY
     }
     give_back(ME | IDLE); goto again
  :: else
  fi;
  if
  :: s & BROKEN -> give_back(0); goto again
  :: else
  fi;
#ifndef M_TAKES_BACK_WHAT_COUNTS
  if
  :: lead == GENERATION(s) + 1 ->
     break_at(s, BROKEN);
     s = state;
     if :: IN_OF(s) != parity -> goto counted :: else -> give_back(0) fi;
     goto again
  :: else
  fi;
#endif
  atomic {
    if
    :: slot[at[id]] == (ME | CLAIMED) -> slot[at[id]] = ME | IDLE; at[id] = N
    :: else -> slot[at[id]] = 0; at[id] = N
    fi
  }
  call_crowd();
  goto again;

  /* ---- the process ends when its threads have */
through:
  atomic { working[ME]--; if :: working[ME] > 0 -> goto gone :: else fi }
#ifndef M_KEEPS_ITS_SLOTS
  do
  :: k == N -> break
  :: else ->
     atomic {
       if :: slot[k] == (ME | IDLE) -> slot[k] = 0 :: else fi
     }
     call_crowd();
     k++
  od;
  k = 0;
#endif
  ended[ME] = true;
gone:
  skip
  } unless { killed[ME] -> asleep[id] = false }
}

proctype resetter(byte id) {
  byte s, t, v, k, new;
  bool done, dead;
  {
#ifndef M_RESETS_AT_ONCE
  atomic { resetting == 0 || IS_DEAD(resetting) -> resetting = ME };
#endif
  do
  :: s = state;
     swap_state(s, (s | BROKEN) & ~CROWD);
     if :: done -> break :: else fi
  od;
  done = false;
  wake_all();
#ifdef M_BEGINS_ANEW_TOO_EARLY
  state = (GENERATION(s) + 2) << 3;
#endif
  do
  :: k == N -> break
  :: else ->
     v = slot[k];
     if
     :: v == 0 -> k++
     :: v != 0 ->
        if
        :: v < CLAIMED -> new = 0; done = true
#ifdef M_MARKS_WHAT_IS_OUT
        :: (v & ~TOKEN) == IN_OF(s)
#else
        :: (v & ~TOKEN) == IN_OF(s) || (v & ~TOKEN) == CLAIMED
#endif
           -> new = (v & TOKEN) | OUT; done = true
        :: else -> judge(k, v); new = 0; done = dead
        fi;
        if
        :: done ->
           atomic {
             if :: slot[k] == v -> slot[k] = new; k++ :: else fi
           }
        :: else -> k++
        fi
     fi
  od;
  d_step { k = 0; v = 0; new = 0; dead = false; done = false };
  lead = 0;
#ifndef M_BEGINS_ANEW_TOO_EARLY
  do
  :: t = state;
     swap_state(t, (GENERATION(s) + 2) << 3);
     if :: done -> break :: else fi
  od;
#endif
  d_step { s = 0; t = 0; done = false };
  wake_all();
  resetting = 0;
  ended[ME] = true
  } unless { killed[ME] }
}

/* SIGKILLs and aborts, and from some moment on no more of anything. */
proctype fate() {
  byte k, t, s;
  bool done;
  do
  :: kills > 0 ->
     k = 1;
     do
     :: k < WORKERS + RESETTERS -> k++
     :: break
     od;
     d_step { if :: !IS_DEAD(k) && working[k] -> killed[k] = true :: else fi;
              kills--; k = 0 }
  :: aborts > 0 -> aborts--; s = state; break_at(s, BROKEN)
  :: d_step { kills = 0; aborts = 0; timeouts = 0; interrupts = 0 }; break
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
          assert(!(state & BROKEN));
          assert(!somebody_is_dead);
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
    :: k < WORKERS -> run worker(k, ROUNDS(k)); k++
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

/* SPDX-License-Identifier: MIT */
/* The bounded semaphore of csrc/core/sync/bounded_semaphore.h.
 *
 * N workers take a permit and give it back, ROUNDS times each, of VALUE
 * permits, which are slots. A killer kills KILLS times, whom and when it
 * likes. One step is one access to shared memory, or one system call.
 *
 * What must hold:
 *   - Never more than VALUE of the living have a permit.
 *   - Nobody but its owner gives a permit back, unless that is dead.
 *   - Nobody sleeps for ever. No slice ends before somebody was killed: until
 *     then each sleep ends by a wake-up only, and none may be lost.
 *   - GIVEUPS sleeps may end by a time-out, a signal, or because a task was
 *     cancelled.
 * With ASYNC a worker may also wait as asyncio does: a watcher sleeps until the
 * word is another, and takes nothing; then it is tried again.
 */
/* quick: -DN=3 -DROUNDS=1 -DVALUE=1 */
/* quick: -DN=2 -DROUNDS=1 -DVALUE=1 -DKILLS=1 */
/* run: -DN=3 -DROUNDS=1 -DVALUE=2 */
/* run: -DN=2 -DROUNDS=2 -DVALUE=1 -DKILLS=1 */
/* run: -DN=3 -DROUNDS=1 -DVALUE=1 -DGIVEUPS=1 */
/* run: -DN=3 -DROUNDS=1 -DVALUE=1 -DASYNC -DGIVEUPS=1 */
/* run: -DN=3 -DROUNDS=1 -DVALUE=1 -DKILLS=1 */
/* mutant: -DNO_SECOND_LOOK -DN=3 -DROUNDS=1 -DVALUE=1 */
/* mutant: -DSLEEPER_FORGETS_W -DN=3 -DROUNDS=1 -DVALUE=1 */
/* mutant: -DSLEEPS_WITHOUT_W -DN=3 -DROUNDS=1 -DVALUE=1 */
/* mutant: -DREAPS_THE_LIVING -DN=3 -DROUNDS=1 -DVALUE=1 -DKILLS=1 */
/* mutant: -DWATCHER_KEEPS_IT -DN=3 -DROUNDS=1 -DVALUE=1 -DASYNC -DGIVEUPS=1 */

#ifndef GIVEUPS
#define GIVEUPS 0
#endif
#ifndef KILLS
#define KILLS 0
#endif

/* The word: times that permits came back, and WAITED. */
#define W 1
#define after(gate) (((gate) + 2) & 62)

byte gate;
byte slot[VALUE]; /* whose permit it is, 0: free */
byte asleep;      /* one bit a worker */
byte inside;      /* how many of the living have one */
bool dead[1 + N];
bool done_for[1 + N];
byte kills = KILLS;
byte giveups = GIVEUPS;

#define me (id + 1)
#define me_asleep (asleep & (1 << id))
#define slice_ends (kills < KILLS)

inline wake_one() {
    atomic {
        if
        :: asleep & 1 -> asleep = asleep & ~1
        :: asleep & 2 -> asleep = asleep & ~2
        :: asleep & 4 -> asleep = asleep & ~4
        :: asleep == 0
        fi
    }
}

/* Looks at the slots one by one: `got` is whether it has one, the i-th. */
inline take_slot() {
    atomic { i = 0; got = false };
    do
    :: got || i == VALUE -> break
    :: else ->
       atomic {
           if
           :: slot[i] == 0 ->
              slot[i] = me; got = true; inside++; assert(inside <= VALUE)
           :: else -> i++
           fi
       }
    od
}

/* For who was woken: others may sleep as well. */
inline pass_on() {
    gate = gate | W;
    k = 0;
    do
    :: k == VALUE -> break
    :: k < VALUE && slot[k] == 0 -> wake_one(); break
    :: k < VALUE && slot[k] != 0 -> k++
    od
}

/* A permit came back: the rest of it. */
inline tell() {
    told = false;
    do
    :: told -> break
    :: else ->
       g = gate;
       if
       :: g & W ->
          atomic {
              if
              :: gate == g -> gate = after(g); told = true
              :: else
              fi
          };
          if
          :: told -> wake_one()
          :: else
          fi
       :: else -> told = true
       fi
    od
}

proctype worker(byte id) {
    byte g, i, k;
    byte rounds = ROUNDS;
    bool napped, awaits, got, told;

    {
        skip;
again:
        atomic {
            if
            :: rounds == 0 -> done_for[me] = true; goto done
            :: else -> rounds--; napped = false; awaits = false; i = 0
            fi
        };
#ifdef ASYNC
        if
        :: true -> awaits = true
        :: true
        fi;
#endif
        take_slot();
        if
        :: got -> goto has
        :: else
        fi;

wait:
        atomic {
#ifdef SLEEPS_WITHOUT_W
            g = gate
#else
            gate = gate | W; g = gate
#endif
        };
#ifndef NO_SECOND_LOOK
        take_slot();
        if
        :: got -> goto taken
        :: else
        fi;
#endif
        atomic {
            napped = true; i = 0;
            if
            :: gate == g -> asleep = asleep | (1 << id)
            :: else -> goto woken
            fi
        };
        if
        :: !me_asleep -> goto woken
        :: atomic { giveups > 0 && me_asleep ->
               giveups--; asleep = asleep & ~(1 << id) };
           if
           :: awaits -> goto woken
           :: else -> goto again
           fi
        :: atomic { me_asleep && slice_ends -> asleep = asleep & ~(1 << id) }
        fi;
        k = 0;
        do
        :: k == VALUE -> break
        :: k < VALUE ->
           atomic {
               if
#ifdef REAPS_THE_LIVING
               :: slot[k] != 0 -> slot[k] = 0; goto freed
#else
               :: slot[k] != 0 && dead[slot[k]] -> slot[k] = 0; goto freed
#endif
               :: else -> k++
               fi
           }
        od;
        goto woken;
freed:
        tell();
woken:
        if
        :: awaits ->
#ifndef WATCHER_KEEPS_IT
           pass_on();
#endif
           if
           :: atomic { giveups > 0 -> giveups-- }; goto again
           :: true
           fi
        :: else
        fi;
        take_slot();
        if
        :: got && awaits -> goto has
        :: got && !awaits -> goto taken
        :: else -> goto wait
        fi;

taken:
#ifndef SLEEPER_FORGETS_W
        if
        :: napped -> pass_on()
        :: else
        fi;
#endif

has:
        atomic { assert(slot[i] == me); slot[i] = 0; inside-- };
        tell();
        goto again
    } unless {
        atomic {
            dead[me] ->
            asleep = asleep & ~(1 << id);
            goto done
        }
    };
done:
    skip
}

proctype killer() {
    byte victim, j;
end:
    do
    :: atomic {
           kills > 0 ->
           select (victim : 1 .. N);
           if
           :: !dead[victim] && !done_for[victim] ->
              kills--;
              dead[victim] = true;
              for (j : 0 .. VALUE - 1) {
                  if
                  :: slot[j] == victim -> inside--
                  :: else
                  fi
              };
              j = 0
           :: else
           fi;
           victim = 0
       }
    od
}

init {
    byte i;
    atomic {
        for (i : 0 .. N - 1) {
            run worker(i)
        };
        if
        :: kills > 0 -> run killer()
        :: else
        fi
    }
}

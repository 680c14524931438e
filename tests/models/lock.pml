/* SPDX-License-Identifier: MIT */
/* The lock of csrc/core/sync/lock.h, with a SIGKILL between any two steps.
 *
 * N workers take the lock, ROUNDS times each. A killer kills KILLS times,
 * whom and when it likes; a new process with another token takes the place
 * of a killed one. One step is one access to shared memory, or one system
 * call, with what a worker makes of it for itself.
 *
 * What must hold:
 *   - Two living processes never hold the lock at a time.
 *   - Nobody takes it from the living.
 *   - Once a holder died, nobody gets it by acquire() until it is repaired,
 *     and only then is anybody told so.
 *   - Nobody sleeps for ever. By default a sleep may end at any time, as
 *     slices do. Then, with NOSLICE, it ends by a wake-up only: nobody is
 *     killed, and none may be lost. With LAZY, holders alone are killed, and
 *     a slice ends only while the holder is dead: what a death needs is that
 *     one sleeper finds out, and the others are woken by it.
 *   - GIVEUPS sleeps may end by a time-out, a signal, or because a task was
 *     cancelled.
 * With ASYNC a worker may also wait as asyncio does: a watcher sleeps until the
 * word is another, and takes nothing; then it is tried once.
 */
/* quick: -DN=2 -DROUNDS=1 -DKILLS=1 */
/* quick: -DN=3 -DROUNDS=1 -DNOSLICE */
/* quick: -DN=2 -DROUNDS=2 -DKILLS=1 -DIGNORE */
/* run: -DN=2 -DROUNDS=2 -DKILLS=2 */
/* run: -DN=2 -DROUNDS=2 -DKILLS=3 */
/* run: -DN=2 -DROUNDS=1 -DKILLS=3 -DGIVEUPS=1 */
/* run: -DN=3 -DROUNDS=1 -DKILLS=1 */
/* run: -DN=3 -DROUNDS=1 -DKILLS=1 -DGIVEUPS=1 */
/* run: -DN=3 -DROUNDS=1 -DKILLS=1 -DLAZY */
/* run: -DN=3 -DROUNDS=2 -DNOSLICE */
/* run: -DN=3 -DROUNDS=2 -DNOSLICE -DGIVEUPS=1 */
/* run: -DN=3 -DROUNDS=1 -DNOSLICE -DASYNC -DGIVEUPS=1 */
/* run: -DN=3 -DROUNDS=1 -DKILLS=1 -DASYNC */
/* mutant: -DWATCHER_KEEPS_IT -DN=3 -DROUNDS=1 -DNOSLICE -DASYNC -DGIVEUPS=1 */
/* mutant: -DSLEEPER_FORGETS_W -DN=3 -DROUNDS=1 -DNOSLICE */
/* mutant: -DSLEEPS_WITHOUT_W -DN=3 -DROUNDS=1 -DNOSLICE */
/* mutant: -DNO_PROOF -DN=2 -DROUNDS=1 -DKILLS=1 */
/* mutant: -DBLIND_STEAL -DN=2 -DROUNDS=2 -DKILLS=2 */
/* mutant: -DNOT_TOLD -DN=2 -DROUNDS=1 -DKILLS=1 */
/* mutant: -DTORN_TAKEN -DN=2 -DROUNDS=2 -DKILLS=2 */
/* mutant: -DMARK_LOST -DN=2 -DROUNDS=2 -DKILLS=2 */
/* mutant: -DPROVER_WAKES_NOBODY -DN=3 -DROUNDS=1 -DKILLS=1 -DLAZY */
/* mutant: -DTORN_HUNGRY -DN=3 -DROUNDS=1 -DKILLS=1 -DLAZY */
/* mutant: -DHUNGRY_STAYS -DN=3 -DROUNDS=2 -DNOSLICE -DGIVEUPS=1 */
/* mutant: -DQUIET_GIVEUP -DN=3 -DROUNDS=2 -DNOSLICE -DGIVEUPS=1 */

#ifndef KILLS
#define KILLS 0
#endif
#ifndef GIVEUPS
#define GIVEUPS 0
#endif

/* The word, as in C but for the width of the token. */
#define W 128
#define TORN 64
#define HUNGRY 32
#define token(word) ((word) & 31)

#ifdef NOSLICE
#define slice_ends false
#else
#ifdef LAZY
#define slice_ends (token(word) != 0 && dead[token(word)])
#else
#define slice_ends true
#endif
#endif

/* Shared memory, and what the kernel knows. */
byte word;
byte asleep;              /* one bit a worker */
bool dead[1 + N + KILLS]; /* by token; a token is never used again */

/* Of the world outside: no worker decides by it. */
byte alive[N]; /* the workers' tokens, 0 when one is done */
byte next = N; /* the last one that was given */
byte kills = KILLS;
byte giveups = GIVEUPS;
byte failures = 1; /* repairs that may end with an exception */
byte inside;       /* who uses what the lock guards */
bool torn;         /* that is half written */
bool marked;       /* a holder died, and nothing was repaired since */

#define me_asleep (asleep & (1 << id))

/* Compare and exchange, one step. */
inline cas(seen, new, otherwise) {
    atomic {
        if
        :: word == seen -> word = new
        :: else -> goto otherwise
        fi
    }
}

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

proctype worker(byte id) {
    byte w;
    byte me = id + 1;
    byte rounds = ROUNDS;
    bool napped, repairing, sound, awaits;

born:
    alive[id] = me;
    {
        skip;
again:
        atomic {
            if
            :: rounds == 0 -> alive[id] = 0; goto done
            :: else -> rounds--; repairing = false; awaits = false
            fi
        };
#ifdef ASYNC
        if
        :: true -> awaits = true; goto try
        :: true
        fi;
#endif

/* acquire(), or repair() */
acquire:
        atomic {
            napped = false;
            if
            :: word == 0 -> word = me; goto holds
            :: else
            fi
        };
look:
        atomic {
            w = word;
            if
#ifndef TORN_TAKEN
            :: token(w) == 0 && (w & TORN) && !repairing ->
                assert(marked);
                goto told
#endif
            :: else
            fi;
            if
            :: token(w) == 0 && (!(w & HUNGRY) || napped)
            :: else -> goto wait
            fi
        };
#ifdef SLEEPER_FORGETS_W
        cas(w, me | (w & (TORN | W)), look);
#else
        cas(w, me | (w & (TORN | W)) | (napped -> W : 0), look);
#endif
        goto holds;

/* Tried once, by who did not nap itself; then watched until it may be had. */
try:
        atomic {
            w = word;
            if
            :: token(w) == 0 && (w & TORN) -> assert(marked); goto told
            :: token(w) == 0 && !(w & TORN)
            :: token(w) != 0 && dead[token(w)] -> goto steal
            :: token(w) != 0 && !dead[token(w)] -> goto watch
            fi
        };
        cas(w, me | (w & (TORN | W)), try);
        goto holds;
watch:
        atomic {
            w = word;
            if
            :: token(w) == 0 -> goto try
            :: else
            fi
        };
        cas(w, w | W, try);
        w = w | W;
        goto sleep;

wait:
#ifndef SLEEPS_WITHOUT_W
        if
        :: cas(w, w | W, look); w = w | W
        :: napped -> cas(w, w | W | HUNGRY, look); w = w | W | HUNGRY
        fi;
#endif
sleep:
        atomic {
            napped = true;
            if
            :: word == w -> asleep = asleep | (1 << id)
            :: else -> goto changed
            fi
        };
        if
        :: atomic { !me_asleep -> goto woken }
        :: atomic { me_asleep && slice_ends -> asleep = asleep & ~(1 << id) }
        :: atomic {
               me_asleep && giveups > 0 ->
               giveups--;
               asleep = asleep & ~(1 << id);
               goto give_up
           }
        fi;

        if
        :: awaits -> goto try
        :: else -> goto prove
        fi;
woken:
        if
        :: !awaits -> goto look
        :: awaits ->
#ifndef WATCHER_KEEPS_IT
/* Who takes nothing passes the wake-up on. */
            wake_one();
#endif
            if
            :: goto try
            :: giveups > 0 -> atomic { giveups--; goto again }
            fi
        fi;
changed:
        if
        :: awaits -> goto try
        :: else -> goto look
        fi;

/* A slice is over: does the holder live? */
prove:
        atomic {
            if
#ifdef NO_PROOF
            :: token(w) != 0
#else
            :: token(w) != 0 && dead[token(w)]
#endif
            :: else -> goto look
            fi
        };
steal:
        atomic {
            if
#ifdef BLIND_STEAL
            :: true ->
#else
            :: word == w ->
#endif
                assert(token(word) == 0 || dead[token(word)]);
#ifdef IGNORE
                word = me | W;
                goto holds
#else
#ifdef NOT_TOLD
                word = me | W;
                goto holds
#else
                word = me | W | TORN
#endif
#endif
            :: else -> goto changed
            fi
        };
        if
        :: repairing -> goto holds
        :: else
        fi;
/* It is released torn, all are woken, and told. Nobody is to queue up for what
 * nobody takes: it is not hungry then. */
prover:
        atomic { w = word; assert(token(w) == me) };
#ifdef TORN_HUNGRY
        cas(w, (w & HUNGRY) | TORN, prover);
#else
        cas(w, TORN, prover);
#endif
#ifndef PROVER_WAKES_NOBODY
        asleep = 0;
#endif
        goto told;

give_up:
        if
        :: awaits -> goto again
        :: else
        fi;
#ifndef HUNGRY_STAYS
        atomic { w = word; word = word & ~HUNGRY };
#ifndef QUIET_GIVEUP
/* Others that did not nap may sleep on a free word because it was hungry. */
        if
        :: token(w) == 0 && (w & HUNGRY) && (w & W) -> wake_one()
        :: else
        fi;
#endif
#endif
        goto again;

told:
        if
        :: !repairing ->
            atomic { repairing = true; awaits = false; goto acquire }
        :: goto again
        fi;

/* What the lock guards: while it is written, it is torn. */
holds:
        atomic {
            assert(inside == 0 || dead[inside]);
#ifndef IGNORE
            assert(repairing || (!marked && !torn));
#endif
            inside = me;
            torn = true
        };
        atomic {
            sound = true;
            if
            :: torn = false
            :: repairing && failures > 0 -> failures--; sound = false
            fi
        };
        atomic { assert(inside == me); inside = 0 };
        if
        :: repairing && sound -> atomic { word = word & ~TORN; marked = false }
        :: else
        fi;

/* Who has repaired it says so, and then releases it. */
        if
        :: repairing && sound ->
            atomic { word = word & ~TORN; marked = false }
        :: else
        fi;

/* release() */
        atomic {
            if
            :: sound && word == me -> word = 0; marked = false; goto again
            :: else
            fi
        };
release:
        atomic { w = word; assert(token(w) == me) };
        atomic {
            if
            :: word == w ->
#ifdef MARK_LOST
                word = w & HUNGRY;
#else
                word = (sound -> w & HUNGRY : TORN);
#endif
                marked = !sound
            :: else -> goto release
            fi
        };
        if
        :: (w & W) && sound -> wake_one()
        :: (w & W) && !sound -> asleep = 0
        :: else
        fi;
        goto again
    } unless {
        atomic {
            dead[me] ->
            asleep = asleep & ~(1 << id);
            w = 0; napped = false; repairing = false; sound = false;
            awaits = false;
            next++;
            me = next;
            goto born
        }
    };
done:
    skip
}

/* A killed worker does no step more. */
#ifdef LAZY
#define lives(id) (alive[id] != 0 && !dead[alive[id]] && inside == alive[id])
#else
#define lives(id) (alive[id] != 0 && !dead[alive[id]])
#endif

proctype killer() {
    byte victim;
end:
    do
    :: atomic {
           kills > 0 ->
           select (victim : 0 .. N - 1);
           if
           :: lives(victim) ->
              kills--;
              dead[alive[victim]] = true;
              if
              :: token(word) == alive[victim] -> marked = true
              :: else
              fi
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

/* SPDX-License-Identifier: MIT */
/* How one waits in csrc/core/channels/ring_wait.c, for messages of a ring
 * whose own steps are in ring.pml: to look at it, or to change it, is one.
 *
 * WRITERS write, each one of what there is to do: a message, with BATCH two at
 * once, with RESERVE one in place, which with DROP is perhaps dropped. TAKERS
 * take TAKES messages each and are gone; with WATCH they may only look whether
 * there is one. With SHUT it is shut down after that, or before what was
 * reserved comes, and takers go on until they are told that it is over. With
 * HOLD it is shut down already, and each has a message in hand while it waits,
 * for which others do not, once they know that its holder waits.
 * Of those who only look OTHERS sleep at something else, too, which ends their
 * sleep, woken or not, as csrc/core/sync/awaited.c has it.
 * GIVEUPS who are woken give up before they have looked. KILLS are killed,
 * whom and when a killer likes: then a sleep ends by itself when a look brings
 * something, otherwise by a wake-up alone. One waits for room in the same way:
 * what is given may be room for many, as what is committed may be before many.
 *
 * What must hold: when all is quiet, nobody sleeps while a message is there,
 * and nobody sleeps when it is over.
 */
/* quick: -DWRITERS=1 -DTAKERS=2 -DWATCH -DBATCH -DRESERVE */
/* quick: -DWRITERS=0 -DTAKERS=2 -DHOLD */
/* quick: -DWRITERS=1 -DTAKERS=2 -DBATCH -DKILLS=1 */
/* quick: -DWRITERS=1 -DTAKERS=2 -DWATCH -DOTHERS=1 */
/* run: -DWRITERS=2 -DTAKERS=2 -DRESERVE */
/* run: -DWRITERS=1 -DTAKERS=2 -DBATCH -DGIVEUPS=1 */
/* run: -DWRITERS=1 -DTAKERS=2 -DTAKES=2 -DSHUT -DRESERVE -DDROP */
/* mutant: -DLEAVES_UNSEEN -DWRITERS=1 -DTAKERS=2 -DWATCH -DOTHERS=1 */
/* mutant: -DLEAVES_SILENTLY -DWRITERS=1 -DTAKERS=2 -DWATCH -DOTHERS=1 */
/* mutant: -DSLEEPS_AT_ONCE -DWRITERS=1 -DTAKERS=2 -DBATCH -DGIVEUPS=1 */
/* mutant: -DNOTIFIES_FIRST -DWRITERS=1 -DTAKERS=2 -DBATCH -DGIVEUPS=1 */
/* mutant: -DNO_TIMES -DWRITERS=2 -DTAKERS=2 -DRESERVE */
/* mutant: -DWAKES_FIRST -DWRITERS=2 -DTAKERS=2 -DRESERVE */
/* mutant: -DCLEARS_ALWAYS -DWRITERS=2 -DTAKERS=2 -DRESERVE */
/* mutant: -DCLEARS_SILENTLY -DWRITERS=2 -DTAKERS=2 -DRESERVE */
/* mutant: -DCLEARS_UNCOUNTED -DWRITERS=2 -DTAKERS=2 -DRESERVE */
/* mutant: -DFINDER_IS_SILENT -DWRITERS=1 -DTAKERS=2 -DWATCH -DBATCH
 * -DRESERVE */
/* mutant: -DGIVEUP_IS_SILENT -DWRITERS=1 -DTAKERS=2 -DBATCH -DGIVEUPS=1 */
/* mutant: -DKEEPS_SILENTLY -DWRITERS=0 -DTAKERS=2 -DHOLD */
/* mutant: -DTOLD_IS_SILENT -DWRITERS=1 -DTAKERS=2 -DTAKES=2 -DSHUT -DRESERVE
 * -DDROP */
/* mutant: -DGIVES_SILENTLY -DWRITERS=1 -DTAKERS=2 -DTAKES=2 -DSHUT -DRESERVE
 * -DDROP */

#ifndef TAKES
#define TAKES 1
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef GIVEUPS
#define GIVEUPS 0
#endif
#ifndef OTHERS
#define OTHERS 0
#endif
#define ALL (TAKERS + WRITERS + 1)
#define MESSAGES (WRITERS * 2 + 1)
#define EVERYBODY 99

/* States of a record. */
#define FREE 0
#define BUSY 1
#define READY 2

/* Shared memory: the word, and the ring. */
bool W;
byte times;
byte state[MESSAGES];
byte who[MESSAGES];
byte next, tail;
bool shut;
byte taken, kept; /* by whom: one bit a taker */

/* What the kernel knows. */
byte asleep; /* one bit a taker */
bool dead[ALL];

/* Of the world outside: no process decides by it. */
byte kills = KILLS, giveups = GIVEUPS, others = OTHERS;

#define bit(id) (1 << (id))
#define me_bit bit(me)
#define is_there (next < tail && state[next] == READY)
#define is_over (next == tail && (taken & ~kept & ~me_bit) == 0)
#define any_left (next != tail)
#define is_same (times == seen && W == w)

/* What one finds who looks by itself. */
#define ruin(id) \
    (dead[id] && ((taken & bit(id)) || \
                  (next < tail && state[next] == BUSY && who[next] == id)))
#if KILLS
#define ruins (ruin(0) || ruin(1) || ruin(2))
#define slice_ends (is_there || (shut && is_over) || ruins)
#else
#define ruins false
#define slice_ends false
#endif

/* As many of those who sleep now; which, is the kernel's choice. */
inline wake(count) {
    atomic {
        woken = 0;
        do
        :: woken < count && (asleep & 1) -> asleep = asleep & ~1; woken++
        :: woken < count && (asleep & 2) -> asleep = asleep & ~2; woken++
        :: woken < count && (asleep & 4) -> asleep = asleep & ~4; woken++
        :: woken >= count || asleep == 0 -> break
        od
    }
}

/* The mark goes, if nothing has changed: else, as if somebody was woken. */
inline clear() {
    atomic {
        if
        :: times == now && W ->
#ifndef CLEARS_UNCOUNTED
           times++;
#endif
           W = false
        :: else -> woken = 1
        fi
    }
}

/* shx_ring_notify(); and shx_ring_wake(), if it has to. */
inline notify(count) {
    if
    :: W ->
       atomic {
           marked = W;
#ifndef NO_TIMES
           times++;
#endif
           now = times
       };
       wake(count);
       if
#ifdef CLEARS_ALWAYS
       :: marked -> clear()
#else
#ifdef WAKES_FIRST
       :: woken == 0 && marked -> wake(EVERYBODY); woken = 0; clear()
#else
       :: woken == 0 && marked ->
          clear();
#ifndef CLEARS_SILENTLY
          if
          :: woken == 0 -> wake(EVERYBODY)
          :: else
          fi
#endif
#endif
#endif
       :: else
       fi;
       atomic { woken = 0; now = 0; marked = false }
    :: else
    fi
}

proctype taker(byte me) {
    byte woken, now, seen, rest = TAKES;
    bool marked, w, slept, unwoken, watches, last, keeps;

    {
        skip;
again:
        atomic {
            slept = false; unwoken = false; last = false;
            if
            :: rest == 0 -> goto give
            :: else
            fi;
#ifdef WATCH
            if
            :: watches = true
            :: watches = false
            fi
#endif
        };
look:
        atomic { seen = times; w = W };
        last = shut;
        atomic {
            do
            :: next < tail && state[next] == FREE -> next++
            :: else -> break
            od;
            if
            :: is_there ->
               if
               :: watches
               :: else -> next++; rest--; taken = taken | me_bit
               fi;
               goto found
            :: else -> unwoken = false
            fi;
            if
            :: last -> keeps = (taken & ~kept & me_bit) != 0
            :: else -> goto nothing
            fi
        };

/* Is it over? What one has in hand itself, others are not to wait for; they
 * may be looked at before that, or after it. */
        if
        :: true -> kept = kept | (taken & me_bit); last = is_over
        :: keeps -> last = is_over; kept = kept | (taken & me_bit)
        fi;
        if
#ifndef KEEPS_SILENTLY
        :: keeps -> keeps = false; notify(EVERYBODY); goto nothing_or_over
#endif
        :: else -> keeps = false
        fi;
nothing_or_over:
        if
        :: last -> rest = 0; goto told
        :: else
        fi;

/* It says that it waits, and looks again. */
nothing:
        if
        :: w -> goto sleep
        :: else
        fi;
        atomic {
            if
            :: is_same -> W = true
            :: else
            fi;
#ifdef SLEEPS_AT_ONCE
            seen = times;
            w = true
#else
            goto look
#endif
        };
sleep:
        atomic {
            if
            :: is_same -> asleep = asleep | me_bit; slept = true
            :: else -> goto look
            fi;
            seen = 0;
            w = false
        };
end_sleep:
        if
        :: atomic { !(asleep & me_bit) -> goto look }
        :: atomic { !(asleep & me_bit) && giveups > 0 ->
               giveups--;
               rest = 0
           }
        :: atomic { watches && others > 0 ->
               others--;
               asleep = asleep & ~me_bit;
               goto leave
           }
        :: atomic { (asleep & me_bit) && slice_ends ->
               asleep = asleep & ~me_bit;
               unwoken = true;
               goto recover
           }
        fi;
#ifndef GIVEUP_IS_SILENT
        wake(1);
#endif
        goto give;

/* It sleeps nowhere any more, and looks for what it was woken for. */
leave:
#ifdef LEAVES_UNSEEN
        rest = 0;
        goto give;
#endif
        atomic {
            rest = 0;
            do
            :: next < tail && state[next] == FREE -> next++
            :: else -> break
            od;
            if
            :: is_there
            :: else -> goto give
            fi
        };
#ifndef LEAVES_SILENTLY
        notify(1);
#endif
        goto give;

/* What the dead have left. */
recover:
        atomic {
            if
            :: ruins ->
               do
               :: woken < ALL ->
                  if
                  :: ruin(woken) ->
                     taken = taken & ~bit(woken);
                     if
                     :: next < tail && state[next] == BUSY &&
                        who[next] == woken -> state[next] = FREE
                     :: else
                     fi
                  :: else
                  fi;
                  woken++
               :: else -> break
               od;
               woken = 0
            :: else -> goto look
            fi
        };
        notify(1);
        goto look;

/* Who leaves something tells another one, if nobody else would. */
found:
        if
        :: unwoken -> wake(1)
#ifndef FINDER_IS_SILENT
        :: !unwoken && slept && any_left -> wake(1)
        :: !unwoken && !(slept && any_left)
#else
        :: else
#endif
        fi;
        atomic { woken = 0; seen = 0; w = false; slept = false };
        if
        :: watches && true -> rest = 0
        :: watches -> watches = false; goto look
        :: !watches
        fi;
        goto give;
told:
#ifndef TOLD_IS_SILENT
        if
        :: slept -> wake(1)
        :: else
        fi;
#endif
#ifdef HOLD
        if
        :: true
        :: true -> goto holds /* for long */
        fi;
#endif
give:
        atomic {
            woken = 0; seen = 0; w = false; last = false; slept = false;
            unwoken = false;
            if
            :: taken & me_bit ->
               taken = taken & ~me_bit;
               kept = kept & ~me_bit
            :: else -> goto gave
            fi
        };
#ifndef GIVES_SILENTLY
        if
        :: shut -> notify(EVERYBODY)
        :: else
        fi;
#endif
gave:
        if
        :: rest > 0 -> goto again
        :: else
        fi;
holds:
        skip
    } unless {
        atomic { dead[me] -> asleep = asleep & ~me_bit }
    }
}

proctype writer(byte me) {
    byte woken, now, at;
    bool marked, reserved;

    {
        skip;
        if
        :: goto small
#ifdef BATCH
        :: goto batch
#endif
#ifdef RESERVE
        :: goto reserve
#endif
        fi;
small:
#ifdef NOTIFIES_FIRST
        notify(1);
#endif
        atomic {
            if
            :: shut -> goto done
            :: else -> state[tail] = READY; tail++
            fi
        };
#ifndef NOTIFIES_FIRST
        notify(1);
#endif
        goto last;
batch:
        atomic {
            if
            :: shut -> goto done
            :: else -> state[tail] = READY; state[tail + 1] = READY
            fi;
            tail = tail + 2
        };
        notify(2);
        goto last;
reserve:
        atomic {
            if
            :: shut -> goto done
            :: else -> at = tail; state[at] = BUSY; who[at] = me; tail++
            fi
        };
        reserved = true;
#ifdef SHUT
        goto last;
commit:
#endif
        reserved = false;
        if
        :: state[at] = READY
#ifdef DROP
        :: state[at] = FREE
#endif
        fi;
        notify(1);
#ifdef SHUT
        goto done;
#endif
last:
#ifdef SHUT
        shut = true;
        notify(EVERYBODY);
        if
        :: reserved -> goto commit
        :: else
        fi;
#endif
done:
        skip
    } unless {
        dead[me]
    }
}

proctype killer() {
    byte victim;
end:
    do
    :: atomic {
           kills > 0 ->
           select (victim : 0 .. TAKERS + WRITERS - 1);
           kills--;
           dead[victim] = true;
           victim = 0
       }
    od
}

init {
    byte i;
    atomic {
        for (i : 0 .. TAKERS - 1) {
            run taker(i)
        };
#if WRITERS
        for (i : TAKERS .. TAKERS + WRITERS - 1) {
            run writer(i)
        };
#endif
#ifdef HOLD
        shut = true;
        taken = bit(TAKERS) - 1;
#endif
        i = 0;
        if
        :: kills > 0 -> run killer()
        :: else
        fi
    };
    timeout;
#if defined(SHUT) || defined(HOLD)
    assert(asleep == 0)
#else
    assert(asleep == 0 || !is_there)
#endif
}

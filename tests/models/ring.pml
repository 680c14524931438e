/* SPDX-License-Identifier: MIT */
/* The ring of csrc/core/channels/ring.h, with a SIGKILL between any two steps.
 *
 * WRITERS put PUTS messages each into a ring of SLOTS records: small ones,
 * with BATCH two at once, with RESERVE in place, of which with DROP some are
 * dropped. TAKERS take as many as there are, MOST at most; they give them
 * back, with RETURNS some for another one, and with HOLD keep one while they
 * take more. With FORK a child inherits what one has in hand. With SHUT it is
 * shut down at any time, and everybody ends. FILLED are there at first. KILLS
 * of these processes are killed, whom and when a killer likes; but for those
 * of SHUT, a new taker takes the place of a killed one.
 *
 * One step is one access to memory that somebody else may change meanwhile.
 * The locks' own steps are in lock.pml: here a lock is taken in one, from the
 * dead as it is. A record is one unit, its position what the message is known
 * by. A sleep ends when a look brings something, as slices do: ring_wait.pml
 * has how one is woken.
 *
 * What must hold:
 *   - What is taken is written, and stays so while one has it in hand.
 *   - No two living have a message in hand, nor is one given back twice: so
 *     get(), which returns it after that, returns nothing twice.
 *   - Messages are taken in order, but for those that come back.
 *   - A message whose put has returned is given back by somebody in the end,
 *     if a taker lives; but for what was kept by one who lived when others
 *     learnt that there is no more.
 *   - Nobody waits for ever.
 */
/* quick: -DWRITERS=1 -DTAKERS=1 -DPUTS=3 -DBATCH -DKILLS=1 */
/* quick: -DWRITERS=2 -DTAKERS=0 -DPUTS=2 -DRESERVE -DDROP -DKILLS=1 */
/* quick: -DWRITERS=0 -DTAKERS=2 -DFILLED=1 -DKILLS=2 */
/* quick: -DWRITERS=1 -DTAKERS=1 -DPUTS=2 -DFORK -DKILLS=1 */
/* quick: -DWRITERS=1 -DTAKERS=1 -DPUTS=1 -DSHUT -DRESERVE -DDROP -DKILLS=1 */
/* run: -DWRITERS=1 -DTAKERS=1 -DPUTS=3 -DBATCH -DRESERVE -DDROP -DKILLS=2 */
/* run: -DWRITERS=1 -DTAKERS=2 -DPUTS=2 -DKILLS=1 */
/* run: -DWRITERS=1 -DTAKERS=2 -DPUTS=2 -DRETURNS=2 */
/* run: -DWRITERS=0 -DTAKERS=2 -DFILLED=2 -DKILLS=2 */
/* run: -DWRITERS=0 -DTAKERS=2 -DFILLED=2 -DSHUT -DHOLD -DKILLS=1 */
/* run: -DWRITERS=1 -DTAKERS=2 -DPUTS=1 -DSHUT -DHOLD -DRESERVE -DDROP */
/* run: -DWRITERS=2 -DTAKERS=1 -DPUTS=1 -DBATCH -DRESERVE -DKILLS=2 */
/* mutant: -DBYTES_LATE -DWRITERS=1 -DTAKERS=1 -DPUTS=3 -DBATCH -DKILLS=1 */
/* mutant: -DRECLAIMS_ANY -DWRITERS=1 -DTAKERS=1 -DPUTS=3 -DBATCH -DKILLS=1 */
/* mutant: -DSTALE_WALK -DWRITERS=1 -DTAKERS=1 -DPUTS=3 -DBATCH -DKILLS=1 */
/* mutant: -DDROPS_STAY -DWRITERS=2 -DTAKERS=0 -DPUTS=2 -DRESERVE -DDROP
 * -DKILLS=1 */
/* mutant: -DFORGETS_RETURNED -DWRITERS=0 -DTAKERS=2 -DFILLED=1 -DKILLS=2 */
/* mutant: -DCHILD_GIVES -DWRITERS=1 -DTAKERS=1 -DPUTS=2 -DFORK -DKILLS=1 */
/* mutant: -DENTERS_UNSEEN -DWRITERS=1 -DTAKERS=1 -DPUTS=1 -DSHUT -DRESERVE
 * -DDROP -DKILLS=1 */
/* mutant: -DSKIPS_BUSY -DWRITERS=1 -DTAKERS=1 -DPUTS=3 -DBATCH -DRESERVE
 * -DDROP -DKILLS=2 */
/* mutant: -DNEXT_FIRST -DWRITERS=1 -DTAKERS=2 -DPUTS=2 -DKILLS=1 */
/* mutant: -DNO_PROOF -DWRITERS=1 -DTAKERS=2 -DPUTS=2 -DKILLS=1 */
/* mutant: -DFLAG -DWRITERS=1 -DTAKERS=2 -DPUTS=2 -DRETURNS=2 */
/* mutant: -DNO_KEPT -DWRITERS=0 -DTAKERS=2 -DFILLED=2 -DSHUT -DHOLD
 * -DKILLS=1 */
/* mutant: -DKEPT_BY_DEAD -DWRITERS=0 -DTAKERS=2 -DFILLED=2 -DSHUT -DHOLD
 * -DKILLS=1 */
/* mutant: -DBLIND_END -DWRITERS=0 -DTAKERS=2 -DFILLED=2 -DSHUT -DHOLD
 * -DKILLS=1 */

#ifndef KILLS
#define KILLS 0
#endif
#ifndef RETURNS
#define RETURNS 0
#endif
#ifndef FILLED
#define FILLED 0
#endif
#ifndef PUTS
#define PUTS 0
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef MOST
#define MOST 2
#endif

#define ALL (WRITERS + TAKERS + 2)
#define NONE 15
#define MESSAGES (WRITERS * PUTS + FILLED)

/* States of a record. */
#define FREE 0
#define BUSY 1
#define READY 2
#define TAKEN 3
#define RETURNED 4
#define KEPT 5

/* Shared memory, and what the kernel knows. */
typedef Record {
    byte state;
    byte who;
    byte bytes; /* the position of what is written there, and one more */
};
Record data[SLOTS];
byte head, next, tail;
byte put, take; /* the locks' holders */
bool shut;
byte returned;
bool dead[ALL + KILLS + 1]; /* by token; a token is never used again */

/* Of the world outside: no process decides by it. */
byte alive[ALL + 1];
byte newest = ALL;
byte kills = KILLS, returns = RETURNS;
byte hold[MESSAGES]; /* who has it in hand */
short was_put, given, taken, excused; /* one bit a message */
byte takers; /* that were not killed */
byte inherited = NONE, parent; /* what a child has of its parent's */

#define at_place(at) data[(at) % SLOTS]
#define state_of(at) at_place(at).state
#define who_of(at) at_place(at).who
#define bit(at) (1 << (at))
#define is_held(at) (state_of(at) == TAKEN || state_of(at) == KEPT)
#define is_free(lock) (lock == 0 || dead[lock])

/* What one finds that looks by itself. */
#define room_is \
    (tail - head < SLOTS || (head < next && state_of(head) == FREE) || \
     skips)
#ifdef DROPS_STAY
#define skips false
#else
#define skips (next < tail && state_of(next) == FREE)
#endif
#if KILLS
#ifdef FORGETS_RETURNED
#define forgotten(i) false
#else
#define forgotten(i) (state_of(i) == RETURNED && returned == 0)
#endif
#define ruin(i) \
    (head <= (i) && (i) < tail && \
     (forgotten(i) || \
      (dead[who_of(i)] && \
       (state_of(i) == BUSY || (is_held(i) && (i) < next)))))
#if SLOTS == 2
#define ruins (ruin(head) || ruin(head + 1))
#else
#define ruins (ruin(head) || ruin(head + 1) || ruin(head + 2))
#endif
#else
#define ruins false
#endif
#ifdef BLIND_END
#define leaves(i) (state_of(i) != TAKEN && state_of(i) != KEPT)
#else
#define leaves(i) \
    (state_of(i) != KEPT && !(state_of(i) == TAKEN && who_of(i) == me))
#endif
#define left_at(i) \
    (head <= (i) && (i) < tail && state_of(i) != FREE && leaves(i))
#if SLOTS == 2
#define nothing_left !(left_at(head) || left_at(head + 1))
#else
#define nothing_left \
    !(left_at(head) || left_at(head + 1) || left_at(head + 2))
#endif

/* Moves `next` over what is free. */
inline skip_free() {
    atomic {
        is_free(take) ->
        take = me;
        at = next;
        do
        :: at < tail && state_of(at) == FREE -> at++
        :: else -> break
        od
    };
    atomic { next = at; at = 0 };
    take = 0
}

/* One record from `at` on under one lock, and so on. What others keep is
 * nothing that one waits for, unless they are dead. */
inline walk(over) {
    atomic {
        at = head; seen = next; back = 0; freed = 0; spared = 0
    };
portion:
    atomic {
        is_free(put) ->
        put = me;
        if
#ifndef STALE_WALK
        :: at < head -> at = head
#endif
        :: else
        fi;
        if
        :: at >= tail -> put = 0; goto walked
        :: else
        fi
    };
    atomic {
        assert(head <= at && at < tail);
        w = state_of(at);
        o = who_of(at);
        if
        :: over && w == FREE
        :: over && w == TAKEN && o == me
#ifndef NO_KEPT
           -> state_of(at) = KEPT
#endif
        :: over && w == KEPT && o == me
        :: over && w == TAKEN && o != me
#ifndef BLIND_END
           -> back = 1
#endif
        :: over && w == KEPT && o != me ->
           if
           :: dead[o]
#ifndef KEPT_BY_DEAD
              -> back = 1
#endif
           :: else -> spared = spared | bit(at)
           fi
        :: over && (w == BUSY || w == READY || w == RETURNED) -> back = 1
        :: !over ->
           if
#ifndef FORGETS_RETURNED
           :: w == RETURNED -> back = 1
#endif
#ifdef NO_PROOF
           :: (w == BUSY || ((w == TAKEN || w == KEPT) && at < seen)) ->
#else
#ifdef RECOVERS_ANY
           :: (w == BUSY || w == TAKEN || w == KEPT) && dead[o] ->
#else
           :: (w == BUSY || ((w == TAKEN || w == KEPT) && at < seen)) &&
              dead[o] ->
#endif
#endif
              goto change
           :: else
           fi
        fi;
        w = 0;
        o = 0
    };
unlock_walk:
    atomic { put = 0; at++; goto portion };
change:
    atomic {
        if
#ifdef RECOVERS_ANY
        :: true ->
#else
        :: state_of(at) == w && who_of(at) == o ->
#endif
           who_of(at) = 0;
           if
           :: w == BUSY -> state_of(at) = FREE; freed = 1
           :: else -> state_of(at) = RETURNED; back = 1
           fi
        :: else
        fi;
        w = 0;
        o = 0
    };
    goto unlock_walk;
walked:
    atomic { at = 0; seen = 0 };
}

/* What the walk of who recovers has found. */
inline recovered() {
    if
    :: back -> atomic { returned++; back = 0 }
    :: else
    fi;
    if
    :: freed -> freed = 0; skip_free()
    :: else
    fi
}

proctype writer(byte me) {
    byte t, n, count, at, seen, w, o;
    byte rest = PUTS;
    bool back, freed, big;
    short spared;

    {
        skip;
another:
        atomic {
            n = 0; t = 0; big = false; count = 1;
            if
            :: rest == 0 -> goto done
            :: else
            fi
        };
        if
        :: true
#ifdef BATCH
        :: rest > 1 -> count = 2
#endif
#ifdef RESERVE
        :: true -> big = true
#endif
        fi;
enter:
#ifdef ENTERS_UNSEEN
        if
        :: shut -> goto done
        :: else
        fi;
#endif
        atomic {
            is_free(put) ->
            put = me;
            t = tail;
#ifndef ENTERS_UNSEEN
            if
            :: shut -> put = 0; goto done
            :: else
            fi
#endif
        };
begin:
        atomic {
            if
            :: t - head == SLOTS ->
               do
#ifdef RECLAIMS_ANY
               :: head < next -> head++
#else
               :: head < next && state_of(head) == FREE -> head++
#endif
               :: else -> break
               od
            :: else
            fi;
            if
            :: t - head < SLOTS
            :: else ->
               if
               :: n > 0 -> goto leave
               :: else -> put = 0; goto no_room
               fi
            fi
        };
        atomic {
            state_of(t) = (big -> BUSY : READY);
            who_of(t) = (big -> me : 0);
            at_place(t).bytes = 0
        };
#ifndef BYTES_LATE
        if
        :: !big -> at_place(t).bytes = t + 1
        :: else
        fi;
#endif
        atomic {
            t++;
            n++;
            if
            :: n < count -> goto begin
            :: else
            fi
        };
leave:
        tail = t;
        put = 0;
        if
        :: big -> goto fill
        :: else
        fi;
#ifdef BYTES_LATE
        at_place(t - 1).bytes = t;
#endif
        atomic { /* it returns */
            do
            :: n > 0 -> t--; n--; rest--; was_put = was_put | bit(t)
            :: else -> break
            od;
            goto another
        };
fill:
        at_place(t - 1).bytes = t;
        atomic {
            t--;
            rest--;
            assert(state_of(t) == BUSY && who_of(t) == me);
            who_of(t) = 0;
            if
            :: state_of(t) = READY
#ifdef DROP
            :: state_of(t) = FREE; goto another
#endif
            fi
        };
        atomic { was_put = was_put | bit(t); goto another };

no_room:
#ifndef DROPS_STAY
        if
        :: skips -> skip_free(); goto enter
        :: else
        fi;
#endif
        if
        :: atomic { room_is || shut -> goto enter }
        :: atomic { ruins && !room_is && !shut }
#if TAKERS == 0
        :: atomic { /* it is full, and will stay so */
               !room_is && !ruins &&
               (state_of(head) == READY || state_of(head) == BUSY) ->
               goto done
           }
#endif
        fi;
        walk(false);
        recovered();
        goto enter
    } unless {
        atomic { dead[me] -> alive[me] = 0; goto gone }
    };
done:
    alive[me] = 0;
gone:
    skip
}

#define in_hand(at) (at == NONE -> 0 : bit(at))

proctype taker(byte id) {
    byte t, n, at, seen, w, o, most;
    byte me = id;
    byte mine0 = NONE, mine1 = NONE; /* what it has in hand */
    bool back, freed, last, over;
    short spared;

born:
    alive[id] = me;
    {
        skip;
again:
        atomic {
            last = shut;
            n = 0;
            most = MOST - (mine0 != NONE) - (mine1 != NONE);
            assert(most > 0);
            if
            :: true
#ifndef BATCH
            :: most > 1 -> most = 1
#endif
            fi
        };
/* One that came back. */
        if
        :: returned == 0 -> goto fresh
        :: else
        fi;
        atomic {
            is_free(put) -> put = me; at = head; t = next; w = returned
        };
        do
        :: atomic { at < t && state_of(at) == RETURNED ->
               state_of(at) = TAKEN;
               who_of(at) = me;
               goto has_returned
           }
        :: atomic { at < t && state_of(at) != RETURNED -> at++ }
        :: at == t -> break
        od;
        atomic {
            at = 0;
#ifdef FLAG
            returned = 0;
#else
            if
            :: returned == w -> returned = 0
            :: else
            fi;
#endif
            w = 0
        };
        put = 0;
        goto fresh;
has_returned:
        atomic {
            put = 0;
            w = 0;
            seen = at;
            at = 0
        };
        goto received;

/* Those at `next`. */
fresh:
        atomic {
            if
            :: next == tail -> goto none
            :: else
            fi
        };
        atomic { is_free(take) -> take = me; at = next; t = tail };
        seen = NONE;
look:
        atomic {
            if
            :: at == t || n == most -> goto said
            :: else -> w = state_of(at)
            fi;
            if
            :: w == FREE -> at++; w = 0; goto look
#ifdef SKIPS_BUSY
            :: w == BUSY -> at++; w = 0; goto look
#else
            :: w == BUSY -> w = 0; goto said
#endif
            :: else -> w = 0
            fi
        };
#ifdef NEXT_FIRST
        next = at + 1;
#endif
        atomic {
            state_of(at) = TAKEN;
            who_of(at) = me;
            assert((was_put & ~taken & (bit(at) - 1)) == 0);
            taken = taken | bit(at);
            n++;
            if
            :: n == 1 -> seen = at
            :: else -> o = at
            fi;
            at++;
            goto look
        };
said:
        next = at;
        atomic { take = 0; at = 0; t = 0 };
        if
        :: n == 0 -> seen = 0; goto none
        :: else
        fi;
received:
        atomic {
            assert(hold[seen] == 0 || dead[hold[seen]]);
            hold[seen] = me;
            if
            :: mine0 == NONE -> mine0 = seen
            :: else -> mine1 = seen
            fi;
            seen = 0;
            if
            :: n > 1 -> n = 1; seen = o; o = 0; goto received
            :: else -> n = 0
            fi
        };
        goto work;

/* Is there an end? */
none:
        if
        :: last -> walk(true)
        :: else -> goto wait
        fi;
        atomic {
            if
            :: back -> back = 0; spared = 0; goto wait
            :: else ->
               over = true;
               excused = excused | spared | in_hand(mine0) | in_hand(mine1);
               spared = 0;
               goto work
            fi
        };
wait:
        most = 0;
#ifndef SHUT
end_wait:
#endif
        if
        :: atomic {
               returned > 0 || (next < tail && state_of(next) != BUSY) ||
               (shut && (!last || nothing_left)) -> goto again
           }
        :: ruins
        fi;
        walk(false);
        recovered();
        goto again;

/* What one has in hand. */
work:
        atomic {
            if
            :: mine0 == NONE -> mine0 = mine1; mine1 = NONE
            :: else
            fi;
            if
            :: mine0 == NONE ->
               if
               :: over -> goto done
               :: else -> goto again
               fi
            :: else
            fi;
            assert(at_place(mine0).bytes == mine0 + 1);
            assert(is_held(mine0) && who_of(mine0) == me)
        };
#ifdef FORK
        if
        :: atomic { inherited == NONE -> inherited = mine0; parent = me }
        :: true
        fi;
#endif
        if
        :: true -> goto give
#ifdef HOLD
        :: atomic { !over && MOST == 2 && mine1 == NONE -> goto again }
#endif
#if RETURNS
        :: atomic { returns > 0 -> returns--; goto give_back }
#endif
        fi;
give:
        atomic {
            assert(at_place(mine0).bytes == mine0 + 1);
            assert(is_held(mine0) && who_of(mine0) == me);
            assert(!(given & bit(mine0)));
            state_of(mine0) = FREE;
            who_of(mine0) = 0;
            given = given | bit(mine0);
            hold[mine0] = 0;
            mine0 = NONE;
            goto work
        };
give_back:
        atomic {
            assert(is_held(mine0) && who_of(mine0) == me);
            state_of(mine0) = RETURNED;
            who_of(mine0) = 0;
            hold[mine0] = 0;
            mine0 = NONE
        };
        returned++;
        goto work
    } unless {
        atomic {
            dead[me] ->
            t = 0; n = 0; at = 0; seen = 0; w = 0; o = 0; most = 0;
            mine0 = NONE; mine1 = NONE;
            back = false; freed = false; spared = 0;
            last = false; over = false;
#ifdef SHUT
            alive[id] = 0;
            takers--;
            goto gone
#else
            newest++;
            me = newest;
            goto born
#endif
        }
    };
done:
    alive[id] = 0;
gone:
    skip
}

/* Of who has forked with a message in hand; at the end it gives back all that
 * it finds in its own hands. */
proctype child(byte me) {
    byte token;
end:
    inherited != NONE;
    token = parent;
#ifdef CHILD_GIVES
    if
    :: atomic {
           is_held(inherited) && who_of(inherited) == token ->
           state_of(inherited) = FREE;
           who_of(inherited) = 0
       }
    :: else
    fi
#else
    assert(token != me)
#endif
}

proctype closer(byte id) {
    byte me = id;
born:
    alive[id] = me;
    {
        skip;
        atomic { is_free(put) -> put = me };
        shut = true;
        put = 0;
        goto done
    } unless {
        atomic { dead[me] -> newest++; me = newest; goto born }
    };
done:
    alive[id] = 0
}

proctype killer() {
    byte victim;
end:
    do
    :: atomic {
           kills > 0 ->
           select (victim : 1 .. ALL);
           if
           :: alive[victim] != 0 && !dead[alive[victim]] ->
              kills--;
              dead[alive[victim]] = true
           :: else
           fi;
           victim = 0
       }
    od
}

init {
    byte i;
    atomic {
#if FILLED
        for (i : 0 .. FILLED - 1) {
            state_of(i) = READY;
            at_place(i).bytes = i + 1;
            was_put = was_put | bit(i)
        };
        tail = FILLED;
#endif
#if WRITERS
        for (i : 1 .. WRITERS) {
            alive[i] = i;
            run writer(i)
        };
#endif
#if TAKERS
        for (i : WRITERS + 1 .. WRITERS + TAKERS) {
            takers++;
            run taker(i)
        };
#endif
#ifdef FORK
        run child(ALL - 1);
#endif
#ifdef SHUT
        run closer(ALL);
#endif
        i = 0;
        if
        :: kills > 0 -> run killer()
        :: else
        fi
    };
    timeout;
#if TAKERS
#ifdef SHUT
    assert(takers == 0 || (was_put & ~(given | excused)) == 0)
#else
    assert((was_put & ~given) == 0)
#endif
#endif
}

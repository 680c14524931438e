/* SPDX-License-Identifier: MIT */
/* The condition of csrc/core/sync/condition.h, with a SIGKILL between any two
 * steps.
 *
 * WAITERS processes wait, WAITS times each, in SLOTS slots; one notifies,
 * NOTIFIES times, COUNT of them. KILLS of these processes are killed, whom and
 * when a killer likes. GIVEUPS waits may end by a time-out, by a signal whose
 * handler raises, or by a task's cancelling, which gives up without the lock.
 * One step is one access to shared memory, or one system call, with what a
 * process makes of it for itself. With AIMED only who has the lock or a grant
 * is killed. A walk over the slots is one step: they are
 * changed by who has the lock alone, but for who is gone. So are the lock's
 * own steps, which lock.pml has one by one; and it is not told here that its
 * holder died: who waits takes it all the same.
 *
 * What must hold:
 *   - A notification is received once, by who waited before it came, and has
 *     the lock.
 *   - Of those the first to wait is granted it, who lives.
 *   - None is lost to the dead: when all is quiet, one that nobody received
 *     leaves no living waiter behind who waited before it.
 *   - Nobody sleeps for ever who was granted one, or who wants the lock. By
 *     default a sleep may end at any time at which a look brings something, as
 *     slices do. With NOSLICE it ends by a wake-up only: nobody is killed,
 *     nobody is gone, and no wake-up may be lost.
 */
/* quick: -DWAITERS=2 -DSLOTS=2 -DNOTIFIES=1 -DCOUNT=1 -DKILLS=1 */
/* quick: -DWAITERS=2 -DSLOTS=2 -DNOTIFIES=1 -DCOUNT=1 -DGIVEUPS=1 */
/* quick: -DWAITERS=3 -DSLOTS=3 -DNOTIFIES=1 -DCOUNT=2 -DNOSLICE */
/* run: -DWAITERS=2 -DSLOTS=2 -DNOTIFIES=1 -DCOUNT=1 -DKILLS=1 -DGIVEUPS=1 */
/* run: -DWAITERS=2 -DSLOTS=2 -DNOTIFIES=1 -DCOUNT=2 -DKILLS=2 -DGIVEUPS=1 */
/* run: -DWAITERS=2 -DWAITS=2 -DSLOTS=2 -DNOTIFIES=2 -DCOUNT=1 -DKILLS=1 */
/* run: -DWAITERS=3 -DSLOTS=2 -DNOTIFIES=1 -DCOUNT=1 -DKILLS=1 */
/* run: -DWAITERS=3 -DSLOTS=3 -DNOTIFIES=1 -DCOUNT=1 -DKILLS=2 -DAIMED */
/* run: -DWAITERS=3 -DSLOTS=3 -DNOTIFIES=2 -DCOUNT=2 -DNOSLICE -DGIVEUPS=1 */
/* mutant: -DREUSE -DWAITERS=3 -DSLOTS=2 -DNOTIFIES=1 -DCOUNT=1 -DKILLS=1 */
/* mutant: -DNO_LOOK -DWAITERS=2 -DSLOTS=2 -DNOTIFIES=1 -DCOUNT=1 -DKILLS=1 */
/* mutant: -DTIMEOUT_DROPS -DWAITERS=2 -DSLOTS=2 -DNOTIFIES=1 -DCOUNT=1 -DGIVEUPS=1 */
/* mutant: -DRAISE_DROPS -DWAITERS=2 -DSLOTS=2 -DNOTIFIES=1 -DCOUNT=1 -DGIVEUPS=1 */
/* mutant: -DANY_ORDER -DWAITERS=2 -DSLOTS=2 -DNOTIFIES=1 -DCOUNT=1 -DKILLS=1 */
/* mutant: -DNO_W -DWAITERS=3 -DSLOTS=3 -DNOTIFIES=1 -DCOUNT=2 -DNOSLICE */
/* mutant: -DLEAVES_FIRST -DWAITERS=2 -DSLOTS=2 -DNOTIFIES=1 -DCOUNT=1 -DKILLS=1 */
/* mutant: -DLATE -DWAITERS=2 -DSLOTS=2 -DNOTIFIES=1 -DCOUNT=1 -DKILLS=1 -DGIVEUPS=1 */
/* mutant: -DCLEARS_FIRST -DWAITERS=3 -DSLOTS=3 -DNOTIFIES=1 -DCOUNT=1 -DKILLS=2 -DAIMED */
/* mutant: -DGRANTED_TWICE -DWAITERS=3 -DSLOTS=3 -DNOTIFIES=1 -DCOUNT=1 -DKILLS=2 -DAIMED */
/* mutant: -DOWN_FIRST -DWAITERS=3 -DSLOTS=3 -DNOTIFIES=1 -DCOUNT=1 -DKILLS=2 -DAIMED */

#ifndef WAITS
#define WAITS 1
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef GIVEUPS
#define GIVEUPS 0
#endif
#ifdef NOSLICE
#define slices false
#else
#define slices true
#endif

#define ALL (WAITERS + 1)
#define NONE 99
#define LOCK 100

/* A slot. Its first three are one word. */
typedef Slot {
    byte who; /* a process, 0: free */
    bool granted;
    bool gone;
    byte order; /* when it began to wait */
    byte stamp; /* which notification it is granted */
};

/* Shared memory, and what the kernel knows. */
Slot slot[SLOTS];
byte counter; /* of those who wait, and of notifications */
byte owner;   /* the lock: its holder, and whether somebody may sleep */
bool W;
byte where[5]; /* on what a process sleeps: a slot's number + 1, or LOCK */
bool dead[ALL + 1];

/* Of the world outside: no process decides by it. */
byte waits[ALL + 1]; /* since when, 0: it does not */
bool has[ALL + 1];   /* it was granted one */
short issued;        /* one bit a notification */
short received;
byte kills, giveups;

#define is_lost(i) (dead[slot[i].who] || slot[i].gone)


/* Is a notification granted to who is dead or gone, for which `i` waits? */
#define heir(i, k) \
    (slot[k].granted && is_lost(k) && slot[i].order < slot[k].stamp)
#if SLOTS == 2
#define has_heir(i) (heir(i, 0) || heir(i, 1))
#else
#define has_heir(i) (heir(i, 0) || heir(i, 1) || heir(i, 2))
#endif

inline clear(i) {
    slot[i].who = 0;
    slot[i].granted = false;
    slot[i].gone = false
}

/* Where a process goes on. */
#define locked \
    if \
    :: then == ENTER -> goto enter \
    :: then == LEAVE -> goto leave \
    :: then == NOTIFY -> goto notify \
    fi
#define gave \
    best = NONE; \
    now = 0; \
    if \
    :: after == ENTER || after == LEFT -> goto grant_on \
    :: after == NOTIFY -> goto notify \
    :: after == ROUND -> then = ROUND; goto unlock \
    fi
#define unlocked \
    if \
    :: then == SLEEP -> goto sleep \
    :: then == ROUND -> goto round \
    fi

mtype = { ENTER, NOTIFY, SLEEP, LEAVE, LEFT, ROUND };

proctype process(byte me; bool notifies) {
    byte mine = NONE;              /* its slot */
    byte best = NONE, from = NONE; /* of a grant: to whom, instead of whom */
    byte now, found, k;
    byte todo;
    byte rounds = (notifies -> NOTIFIES : WAITS);
    bool napped, over, looked;
#ifdef LEAVES_FIRST
    bool w;
#endif
    mtype then, after; /* where locks and grants lead */

    {
        skip;
round:
        atomic {
            mine = NONE;
            napped = false;
            over = false;
            looked = false;
            if
            :: rounds == 0 -> goto done
            :: else -> rounds--
            fi;
            then = (notifies -> NOTIFY : ENTER);
            todo = COUNT
        };

/* The lock is taken, on the way to `then`. Who slept takes it as one of
 * several who may do so. */
lock:
        atomic {
            if
            :: owner == 0 -> owner = me; W = W || napped; locked
            :: else -> W = true; where[me] = LOCK
            fi
        };
        if
        :: atomic { where[me] == 0 -> napped = true; goto lock }
        :: atomic {
               slices && where[me] && (owner == 0 || dead[owner]) ->
               where[me] = 0;
               napped = true;
               if
               :: owner == 0 -> goto lock
               :: else -> owner = me; W = true; locked
               fi
           }
        fi;

/* It is released, on the way to `then`. */
unlock:
        atomic {
            assert(owner == me);
            owner = 0;
            napped = false;
            if
            :: W -> W = false
            :: else -> unlocked
            fi
        };
        atomic {
            if
            :: where[1] == LOCK -> where[1] = 0
            :: where[2] == LOCK -> where[2] = 0
            :: where[3] == LOCK -> where[3] = 0
            :: where[4] == LOCK -> where[4] = 0
            :: else
            fi;
            unlocked
        };

/* enter(): a slot that is free. If there is none: what is granted to the dead
 * is granted on, and their slots are free. */
enter:
        atomic {
            d_step {
                for (k : 0 .. SLOTS - 1) {
                    if
                    :: mine == NONE && slot[k].who == 0 -> mine = k
#ifdef REUSE
                    :: mine == NONE && slot[k].who && is_lost(k) -> mine = k
#endif
                    :: mine == NONE && looked && slot[k].who && is_lost(k) &&
                       !slot[k].granted -> mine = k
                    :: else
                    fi
                };
                k = 0
            };
            if
            :: mine != NONE
            :: mine == NONE && !looked ->
               looked = true; after = ENTER; goto grant_on
            :: else -> then = ROUND; goto unlock /* too many wait */
            fi
        };
        atomic { counter++; slot[mine].order = counter };
        atomic {
            clear(mine);
            slot[mine].who = me;
            waits[me] = counter;
            then = SLEEP
        };
        goto unlock;

/* sleep(): until its word says that it was granted one. Who gives one sends
 * the sleeper on to sleep on the lock. When a slice is over: for a grant that
 * the dead will not take. */
sleep:
        atomic {
            if
            :: slot[mine].granted -> goto wake
            :: else -> where[me] = mine + 1
            fi
        };
end_sleep:
        if
        :: atomic { where[me] == 0 -> goto sleep }
        :: atomic {
               slices && where[me] && slot[mine].granted -> where[me] = 0
           }
#ifndef NO_LOOK
        :: atomic { slices && where[me] && has_heir(mine) -> where[me] = 0 }
#endif
        :: atomic {
               where[me] && giveups > 0 ->
               giveups--;
               where[me] = 0;
               over = true
           }
#ifndef NOSLICE
        :: atomic { /* and does not even take the lock for it */
               where[me] && giveups > 0 ->
               giveups--;
               where[me] = 0;
               slot[mine].gone = true;
               waits[me] = 0;
               has[me] = false;
               goto round
           }
#endif
        fi;
wake:
#ifdef LEAVES_FIRST
        atomic {
            w = slot[mine].granted;
            now = slot[mine].stamp;
            if
            :: w -> clear(mine)
            :: else
            fi
        };
#endif
        atomic { napped = true; then = LEAVE; goto lock };

/* leave(), with the lock: what is granted to the dead is granted on, perhaps
 * to who leaves. */
leave:
#ifdef LEAVES_FIRST
        atomic {
            if
            :: w -> goto has_one
            :: else
            fi
        };
#endif
        atomic {
#ifdef TIMEOUT_DROPS
            if
            :: over -> goto without
            :: else
            fi;
#endif
            if
            :: slot[mine].granted -> goto notified
            :: else -> after = LEFT; goto grant_on
            fi
        };
left:
        atomic {
            if
            :: slot[mine].granted -> goto notified
            :: !slot[mine].granted && !over -> then = SLEEP; goto unlock
            :: else
            fi
        };
without:
        atomic {
            clear(mine); waits[me] = 0; has[me] = false;
            then = ROUND;
            goto unlock
        };
notified:
        if
        :: atomic { /* its handler raised: it is not for who leaves */
               over ->
               over = false;
               waits[me] = 0;
               has[me] = false;
#ifdef RAISE_DROPS
               clear(mine);
               then = ROUND;
               goto unlock
#else
               from = mine;
               now = slot[mine].stamp;
               after = ROUND;
               goto grant
#endif
           }
        :: true
        fi;
        atomic { now = slot[mine].stamp };
#ifdef OWN_FIRST
        clear(mine);
#endif
/* Who granted this one on was killed before the slot it came from was free. */
        d_step {
            for (k : 0 .. SLOTS - 1) {
                if
                :: k != mine && slot[k].granted && slot[k].stamp == now ->
                    assert(is_lost(k)); clear(k)
                :: else
                fi
            };
            k = 0
        };
has_one:
        atomic {
            assert(owner == me && waits[me] != 0 && waits[me] < now);
            assert((issued & (1 << now)) && !(received & (1 << now)));
            received = received | (1 << now);
            now = 0;
#ifndef LEAVES_FIRST
            clear(mine);
#endif
            waits[me] = 0;
            has[me] = false;
            then = ROUND;
            goto unlock
        };

/* notify(), with the lock. */
notify:
        atomic {
            if
            :: todo == 0 -> then = ROUND; goto unlock
            :: else
            fi;
            todo--;
            counter++;
            now = counter;
            from = NONE;
            after = NOTIFY;
            goto grant
        };

/* With the lock: what is granted to the dead is granted on, one by one, on the
 * way to `after`. */
grant_on:
        atomic {
            d_step {
                from = NONE;
                for (k : 0 .. SLOTS - 1) {
                    if
                    :: from == NONE && slot[k].granted && is_lost(k) ->
                        from = k
                    :: else
                    fi
                };
                k = 0
            };
            if
            :: from != NONE -> now = slot[from].stamp
            :: from == NONE && after == ENTER -> goto enter
            :: from == NONE && after == LEFT -> goto left
            fi;
#ifndef GRANTED_TWICE
/* Who did so was killed before this slot was free. */
            d_step {
                found = NONE;
                for (k : 0 .. SLOTS - 1) {
                    if
                    :: k != from && slot[k].granted && slot[k].stamp == now ->
                        found = k
                    :: else
                    fi
                };
                k = 0
            };
            if
            :: found != NONE -> found = NONE; clear(from); goto grant_on
            :: else
            fi
#endif
        };
#ifdef CLEARS_FIRST
        clear(from);
        from = NONE;
#endif
        goto grant;

/* Notification `now`, instead of slot `from` if there is that, to the first
 * who waits for it. */
grant:
        atomic {
            d_step {
                best = NONE;
                for (k : 0 .. SLOTS - 1) {
                    if
                    :: slot[k].who && !slot[k].granted && !slot[k].gone &&
#ifndef LATE
                       slot[k].order < now &&
#endif
#ifdef ANY_ORDER
                       true ->
#else
                       (best == NONE || slot[k].order < slot[best].order) ->
#endif
                        best = k
                    :: else
                    fi
                };
                k = 0
            };
            if
            :: best != NONE
            :: else ->
                if
                :: from != NONE -> clear(from); from = NONE
                :: else
                fi;
                now = 0;
                if
                :: after == ENTER || after == LEFT -> goto grant_on
                :: else -> then = ROUND; goto unlock
                fi
            fi
        };
        slot[best].stamp = now;
        atomic {
            if
            :: slot[best].gone -> goto grant
            :: else
            fi;
            slot[best].granted = true;
            if
            :: dead[slot[best].who] /* and a new grant, by and by */
            :: else ->
                d_step {
                    assert(slot[best].order < now);
                    for (k : 1 .. ALL) {
                        assert(waits[k] == 0 || dead[k] || has[k] ||
                               waits[k] >= waits[slot[best].who])
                    };
                    k = 0
                };
                has[slot[best].who] = true
            fi;
            issued = issued | (1 << now);
            if
            :: from != NONE
            :: else -> goto requeue
            fi
        };
        atomic { clear(from); from = NONE };
requeue:
        atomic {
            if
            :: where[slot[best].who] == best + 1 ->
                where[slot[best].who] = LOCK
            :: else -> goto probe
            fi
        };
#ifndef NO_W
        atomic { W = true; gave };
#else
        atomic { gave };
#endif
probe:
        atomic {
            if
            :: is_lost(best) -> from = best; best = NONE; goto grant
            :: else -> gave
            fi
        }
    } unless {
        atomic { dead[me] -> where[me] = 0; goto done }
    };
done:
    skip
}

#ifdef AIMED
#define is_worth_it (owner == victim || has[victim])
#else
#define is_worth_it true
#endif

/* A killed process does no step more. */
proctype killer() {
    byte victim;
end:
    do
    :: atomic {
           kills > 0 ->
           select (victim : 1 .. ALL);
           if
           :: !dead[victim] && is_worth_it -> kills--; dead[victim] = true
           :: else
           fi;
           victim = 0
       }
    :: kills > 0 -> kills = 0
    :: giveups > 0 -> giveups = 0
    od
}

/* When nobody can do anything. */
proctype judge() {
    byte i, k;
end:
    atomic {
        timeout;
        for (k : 1 .. ALL) {
            for (i : 1 .. counter) {
                assert(dead[k] || waits[k] == 0 || waits[k] > i ||
                       !(issued & (1 << i)) || (received & (1 << i)))
            }
        }
    }
}

init {
    byte i;
    atomic {
        kills = KILLS;
        giveups = GIVEUPS;
        for (i : 1 .. ALL) {
            run process(i, i == ALL)
        };
        run killer();
        run judge()
    }
}

/* SPDX-License-Identifier: MIT */
/* A block of the pool of csrc/core/pool/pool.h, with a SIGKILL between any two
 * steps.
 *
 * The owner gives the block out GENS times: each time it holds it, as a peer
 * does that has claimed it; and it asks whether nobody has it any more before
 * it does so again. PEERS claim what is in the pipe, and drop it. Who holds
 * the block may send it on, SENDS times in all, or take that back. KEPT times
 * somebody claims it by a reference that may be loaded again and again,
 * DOUBLES times by one that was loaded before. With COPIES who finds no place
 * copies the bytes out. With FORK the first peer forks, once, while it holds
 * the block. A killer kills KILLS times, whom of the peers and when it likes;
 * with ABANDON the owner as well, and then others ask whether the pool is
 * abandoned. A new process with another token takes the place of a killed
 * peer. One step is one access to shared memory.
 *
 * What must hold:
 *   - No block is given out again, nor its pages given back, while a living
 *     process holds it, or it is in the pipe; nor is a pool taken for
 *     abandoned. What was copied out are its bytes.
 *   - A bit is cleared by who has its place, and by nobody else.
 *   - What was sent can be claimed, and not more often than it was sent.
 *   - In the end nothing is held by anybody who lives, and nothing is in
 *     flight but what is in the pipe, and one for each who was killed.
 */
/* quick: -DPEERS=1 -DGENS=2 -DSENDS=2 -DKILLS=1 */
/* quick: -DPEERS=1 -DGENS=2 -DSENDS=2 -DKEPT=1 -DDOUBLES=1 */
/* quick: -DPEERS=1 -DGENS=2 -DSENDS=1 -DDOUBLES=1 -DFORK -DPLACES=2 */
/* quick: -DPEERS=2 -DGENS=2 -DSENDS=1 -DDOUBLES=1 -DCOPIES -DPLACES=1 */
/* quick: -DPEERS=1 -DGENS=1 -DSENDS=2 -DABANDON -DKILLS=1 */
/* run: -DPEERS=2 -DGENS=2 -DSENDS=2 -DKILLS=1 */
/* run: -DPEERS=2 -DGENS=2 -DSENDS=2 -DKEPT=1 -DDOUBLES=1 */
/* run: -DPEERS=2 -DGENS=2 -DSENDS=1 -DKEPT=1 -DKILLS=1 */
/* run: -DPEERS=2 -DGENS=2 -DSENDS=1 -DFORK -DKILLS=1 */
/* run: -DPEERS=1 -DGENS=2 -DSENDS=2 -DFORK -DKEPT=1 -DKILLS=1 */
/* run: -DPEERS=2 -DGENS=2 -DSENDS=1 -DKEPT=1 -DKILLS=1 -DCOPIES
 * -DPLACES=1 */
/* run: -DPEERS=2 -DGENS=1 -DSENDS=1 -DKEPT=1 -DABANDON -DKILLS=1 */
/* run: -DPEERS=2 -DGENS=1 -DSENDS=2 -DABANDON -DKILLS=2 */
/* mutant: -DFORGETS_FLIGHT -DPEERS=1 -DGENS=2 -DSENDS=2 -DKILLS=1 */
/* mutant: -DHOLDERS_FIRST -DPEERS=1 -DGENS=2 -DSENDS=2 -DKILLS=1 */
/* mutant: -DLOOKS_ONCE -DPEERS=1 -DGENS=2 -DSENDS=2 -DKILLS=1 */
/* mutant: -DSENDS_QUIETLY -DPEERS=1 -DGENS=2 -DSENDS=2 -DKILLS=1 */
/* mutant: -DCLAIMS_FIRST -DPEERS=1 -DGENS=2 -DSENDS=2 -DKILLS=1 */
/* mutant: -DPLACE_FIRST -DPEERS=1 -DGENS=2 -DSENDS=2 -DKILLS=1 */
/* mutant: -DREAPS_THE_LIVING -DPEERS=1 -DGENS=2 -DSENDS=2 -DKILLS=1 */
/* mutant: -DCLEARS_UNOWNED -DPEERS=1 -DGENS=2 -DSENDS=2 -DKILLS=1 */
/* mutant: -DFORGETS_BITS -DPEERS=1 -DGENS=2 -DSENDS=2 -DKILLS=1 */
/* mutant: -DBUMPS_FIRST -DPEERS=1 -DGENS=2 -DSENDS=2 -DKEPT=1 -DDOUBLES=1 */
/* mutant: -DSAME_WORD -DPEERS=1 -DGENS=2 -DSENDS=2 -DKEPT=1 -DDOUBLES=1 */
/* mutant: -DGENERATION_LATE -DPEERS=1 -DGENS=2 -DSENDS=2 -DKEPT=1
 * -DDOUBLES=1 */
/* mutant: -DGENERATION_FIRST -DPEERS=1 -DGENS=2 -DSENDS=2 -DKEPT=1
 * -DDOUBLES=1 */
/* mutant: -DGENERATION_UNREAD -DPEERS=1 -DGENS=2 -DSENDS=2 -DKEPT=1
 * -DDOUBLES=1 */
/* mutant: -DFREED_IS_NOT_SEEN -DPEERS=1 -DGENS=2 -DSENDS=2 -DKEPT=1
 * -DDOUBLES=1 */
/* mutant: -DCLAIMS_ANYWAY -DPEERS=1 -DGENS=2 -DSENDS=2 -DKEPT=1 -DDOUBLES=1 */
/* mutant: -DKEEPS_QUIETLY -DPEERS=1 -DGENS=2 -DSENDS=2 -DKEPT=1 -DDOUBLES=1 */
/* mutant: -DBEQUEATHS_QUIETLY -DPEERS=1 -DGENS=2 -DSENDS=1 -DDOUBLES=1
 * -DFORK -DPLACES=2 */
/* mutant: -DHEIR_COMES_LATE -DPEERS=1 -DGENS=2 -DSENDS=1 -DDOUBLES=1 -DFORK
 * -DPLACES=2 */
/* mutant: -DPINS_NOT -DPEERS=1 -DGENS=2 -DSENDS=1 -DDOUBLES=1 -DFORK
 * -DPLACES=2 */
/* mutant: -DPINS_IN_FLIGHT -DPEERS=1 -DGENS=2 -DSENDS=1 -DDOUBLES=1 -DFORK
 * -DPLACES=2 */
/* mutant: -DDROPS_WHAT_IS_NOT_ITS_OWN -DPEERS=1 -DGENS=2 -DSENDS=1
 * -DDOUBLES=1 -DFORK -DPLACES=2 */
/* mutant: -DCOPIES_UNSEEN -DPEERS=2 -DGENS=2 -DSENDS=1 -DDOUBLES=1 -DCOPIES
 * -DPLACES=1 */
/* mutant: -DLOOKS_ONCE -DPEERS=2 -DGENS=1 -DSENDS=1 -DKEPT=1 -DABANDON
 * -DKILLS=1 */

#ifndef SENDS
#define SENDS 0
#endif
#ifndef KEPT
#define KEPT 0
#endif
#ifndef DOUBLES
#define DOUBLES 0
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef PLACES
#define PLACES (PEERS + 1)
#endif
#ifdef FORK
#define ALL (PEERS + 2) /* processes: the owner, the peers, the child */
#else
#define ALL (PEERS + 1)
#endif
#define CHILD (PEERS + 1)

#define OWNER 1 /* tokens: of a process 1 + its number */
#define HEIR (2 + PEERS + KILLS)
#define NONE PLACES

/* The word of the block: sends | FREED | PINNED | in flight. */
#define FLYING(word) ((word) & 7)
#define PINNED 8
#define FREED 16
#define SENT 32

/* How it is claimed. */
#define MOVED 0
#define AGAIN 1
#define KEEP 2

/* Shared memory, and what the kernel knows. */
short word = FREED;
byte gen;
bool holder[PLACES];
byte place[PLACES];    /* token; and */
bool cleaning[PLACES]; /* a flag: they are one word */
bool dead[HEIR + 1];
byte pipe[GENS + 1];   /* references in it, by generation */

/* Of the world outside: nobody decides by it. */
byte alive[ALL];         /* the processes' tokens, 0 when one is done */
byte newest = PEERS + 1; /* the last token that was given */
byte kills = KILLS, sends = SENDS, kept = KEPT, doubles = DOUBLES;
byte content;            /* the generation of the bytes; 0: punched out */
byte has[ALL];           /* the generation that it holds, surely */
bool sent[GENS + 1];
byte stolen;             /* by who loads twice, from who comes after */
byte leaked;             /* by who was killed, at most */
bool made, forking, forked;

/* Nobody may have it by now. */
inline must_be_free() {
    for (i : 0 .. ALL - 1) {
        assert(has[i] == 0)
    };
    i = 0;
    assert(pipe[gen] <= stolen)
}

/* Only by who has the place. */
inline clear(p) {
    assert(place[p] == me);
    holder[p] = false
}

#ifdef REAPS_THE_LIVING
#define is_ruin(p) (place[p] != 0 && place[p] != me)
#else
#define is_ruin(p) (place[p] != 0 && dead[place[p]])
#endif

/* Those of the dead: the first one is ours, or all are free. */
inline reap(keeps) {
    i = 0;
    do
    :: atomic { i == PLACES -> i = 0; break }
    :: atomic { i < PLACES && !is_ruin(i) -> i++ }
#ifdef CLEARS_UNOWNED
    :: i < PLACES && is_ruin(i) ->
       atomic { assert(place[i] == 0 || is_ruin(i)); holder[i] = false };
       atomic {
           if
           :: is_ruin(i) -> place[i] = me; cleaning[i] = true
           :: else -> i++; goto idle
           fi
       };
#else
    :: atomic {
           i < PLACES && is_ruin(i) ->
           place[i] = me;
           cleaning[i] = true
       };
#ifndef FORGETS_BITS
       atomic { clear(i) };
#endif
#endif
       atomic {
           cleaning[i] = false;
           if
           :: keeps -> mine = i; i = 0; break
           :: else -> place[i] = 0; i++
           fi
       }
    od
}

/* A place, if there is one. */
inline take_place() {
    i = 0;
    do
    :: atomic { i < PLACES && place[i] == 0 -> place[i] = me; mine = i; break }
    :: atomic { i < PLACES && place[i] != 0 -> i++ }
    :: i == PLACES -> reap(true); break
    od;
    i = 0
}

inline give_place() {
    atomic {
        assert(place[mine] == me);
        place[mine] = 0;
        mine = NONE
    }
}

inline look_at_holders() {
    do
    :: atomic { i < PLACES && holder[i] -> i = 0; o = 0; goto idle }
    :: atomic { i < PLACES && !holder[i] -> i++ }
    :: atomic { i == PLACES -> i = 0; break }
    od
}

inline look_at_word() {
    atomic {
        o = word;
        if
#ifdef FORGETS_FLIGHT
        :: o & FREED || o & PINNED -> o = 0; goto idle
#else
        :: o & FREED || o & PINNED || FLYING(o) > 0 -> o = 0; goto idle
#endif
        :: else -> i = 0
        fi
    }
}

/* Is it nobody's? Then it is free, and nobody can claim it any more. */
inline free_block() {
#ifdef HOLDERS_FIRST
    look_at_holders();
    look_at_word();
#else
    look_at_word();
    look_at_holders();
#endif
#ifdef BUMPS_FIRST
    atomic {
        if
        :: word != o -> o = 0; goto idle
        :: else
        fi
    };
    gen++;
    look_at_holders();
#endif
    atomic {
        if
#ifdef LOOKS_ONCE
        :: true -> word = word | FREED; must_be_free()
#else
        :: word == o -> word = o | FREED; must_be_free()
        :: else -> o = 0; goto idle
#endif
        fi;
        o = 0
    }
}

/* What who holds it has sent on, and has not written yet. */
inline send() {
    atomic {
        g = gen;
#ifndef BUMPS_FIRST
        assert(g == has[id])
#endif
    };
    if
    :: atomic { pipe[g]++; sent[g] = true }
    :: true ->
       do
       :: atomic {
              o = word;
              if
              :: FLYING(o) == 0 -> assert(stolen > 0); stolen--; break
              :: else
              fi
          };
          atomic {
              if
              :: gen != g -> assert(stolen > 0); stolen--; break
              :: else
              fi
          };
          atomic {
              if
              :: word == o -> word = o - 1; break
              :: else
              fi
          }
       od
    fi;
    atomic { o = 0; g = 0 }
}

inline drop() {
#ifdef PLACE_FIRST
    i = mine;
    give_place();
    atomic { has[id] = 0; clear(i) };
    i = 0
#else
    atomic {
        assert(holder[mine] && content == has[id]);
        clear(mine);
        has[id] = 0
    };
    give_place()
#endif
}

#ifdef SENDS_QUIETLY
#define one_sent 1
#else
#define one_sent (SENT + 1)
#endif

proctype owner(byte id) {
    byte i, g;
    short o;
    byte me = OWNER, mine = NONE;

    alive[id] = me;
    {
        skip;
idle:
        if
        :: gen == GENS -> goto done
        :: else
        fi;
        if
        :: atomic { word & FREED -> goto take }
        :: atomic { !(word & FREED) -> skip };
           reap(false);
           free_block()
        :: goto done
        fi;
        content = 0;
take:
        take_place();
        if
        :: mine == NONE -> goto take
        :: else
        fi;
        holder[mine] = true;
#ifndef BUMPS_FIRST
#ifndef GENERATION_LATE
        gen++;
#endif
#else
        if
        :: gen == 0 -> gen++
        :: else
        fi;
#endif
        atomic {
#ifdef SAME_WORD
            word = (word & ~FREED);
#else
            word = (word & ~FREED) + SENT;
#endif
            has[id] = gen
        };
#ifdef GENERATION_LATE
        gen++;
        has[id] = gen;
#endif
        atomic { content = has[id]; made = true };
holds:
        if
        :: atomic { sends > 0 -> sends--; word = word + one_sent };
           send();
           goto holds
        :: true
        fi;
        drop();
        goto idle
    } unless {
        atomic { dead[me] -> alive[id] = 0; goto gone }
    };
done:
    alive[id] = 0;
gone:
    skip
}

inline read_word() {
    atomic {
        o = word;
        if
#ifdef FREED_IS_NOT_SEEN
        :: kind != KEEP && FLYING(o) == 0 -> goto spent
#else
        :: o & FREED || (kind != KEEP && FLYING(o) == 0) -> goto spent
#endif
        :: else
        fi
    }
}

inline read_generation() {
    if
#ifdef GENERATION_UNREAD
    :: false -> goto spent
#else
    :: gen != g -> goto spent
#endif
    :: else
    fi
}

inline take_it() {
    atomic {
        if
#ifdef CLAIMS_ANYWAY
        :: kind != KEEP && FLYING(word) > 0 -> word--
        :: kind != KEEP && FLYING(word) == 0
#else
        :: word != o -> goto again
        :: word == o && kind != KEEP -> word = o - 1
#endif
#ifdef KEEPS_QUIETLY
        :: word == o && kind == KEEP
#else
        :: word == o && kind == KEEP -> word = o + SENT
#endif
        fi;
        if
        :: kind == AGAIN -> stolen++
        :: else
        fi
    }
}

proctype peer(byte id) {
    byte i, g, c, kind;
    short o;
    byte me = id + 1, mine = NONE;

born:
    alive[id] = me;
    {
        skip;
idle:
        if
        :: atomic { pipe[1] > 0 -> pipe[1]--; g = 1; kind = MOVED }
#if GENS > 1
        :: atomic { pipe[2] > 0 -> pipe[2]--; g = 2; kind = MOVED }
#endif
        :: atomic { kept > 0 && made -> kept--; kind = KEEP; g = 1 }
        :: atomic {
               doubles > 0 && sent[1] -> doubles--; kind = AGAIN; g = 1
           }
#ifdef ABANDON
        :: dead[OWNER] -> reap(false); free_block(); goto idle
#endif
        :: goto done
        fi;
claim:
        take_place();
        if
#ifdef COPIES
        :: mine == NONE -> goto copy
#else
        :: mine == NONE -> goto claim
#endif
        :: else
        fi;
#ifndef CLAIMS_FIRST
        holder[mine] = true;
#endif
again:
#ifdef GENERATION_FIRST
        read_generation();
        read_word();
#else
        read_word();
        read_generation();
#endif
        atomic {
            take_it();
#ifdef CLAIMS_FIRST
        };
        holder[mine] = true;
        atomic {
#endif
            assert(content == g);
            has[id] = g;
            o = 0; g = 0; kind = 0
        };
holds:
        if
        :: atomic { sends > 0 -> sends--; word = word + one_sent };
           send();
           goto holds
#ifdef FORK
        :: id == 1 && !forked && !dead[HEIR] -> skip
#endif
        :: true -> goto let_go
        fi;

#ifdef FORK
/* A place for a child that is not there yet, or the block stays for good. */
        atomic { forking = true; i = 0 };
#ifndef HEIR_COMES_LATE
        do
        :: atomic { i < PLACES && place[i] == 0 -> place[i] = HEIR; break }
        :: atomic { i < PLACES && place[i] != 0 -> i++ }
        :: i == PLACES -> break
        od;
        if
        :: i < PLACES ->
           holder[i] = true;
#ifndef BEQUEATHS_QUIETLY
           word = word + SENT
#endif
#ifdef PINS_IN_FLIGHT
        :: i == PLACES -> atomic { word = word + 1; leaked++ }
#else
#ifndef PINS_NOT
        :: i == PLACES -> word = word | PINNED
#endif
#endif
#ifdef PINS_NOT
        :: else
#endif
        fi;
#endif
        atomic {
            i = 0;
            forking = false;
            if
            :: has[CHILD] = has[id]; alive[CHILD] = HEIR; forked = true
            :: dead[HEIR] = true
            fi
        };
        goto holds;
#endif

let_go:
        drop();
        goto idle;
spent:
        atomic {
            if
            :: kind == MOVED -> assert(stolen > 0); stolen--
            :: else
            fi;
            o = 0; g = 0; c = 0; kind = 0;
            if
            :: mine == NONE -> goto idle
            :: else -> clear(mine)
            fi
        };
        give_place();
        goto idle;

#ifdef COPIES
copy:
        c = content;
        atomic {
            if
            :: content != c -> c = 0
            :: else
            fi
        };
        read_word();
        read_generation();
        atomic {
            if
#ifdef COPIES_UNSEEN
            :: true -> word = (FLYING(word) > 0 -> word - 1 : word)
#else
            :: word != o -> goto copy
            :: word == o && kind != KEEP -> word = o - 1
            :: word == o && kind == KEEP
#endif
            fi;
            if
            :: kind == AGAIN -> stolen++
            :: else
            fi;
            assert(c == g);
            o = 0; g = 0; c = 0; kind = 0;
            goto idle
        }
#endif
    } unless {
        atomic {
            dead[me] ->
            i = 0; g = 0; c = 0; kind = 0; o = 0;
            mine = NONE;
            newest++;
            me = newest;
            goto born
        }
    };
done:
    alive[id] = 0
}

#ifdef FORK
proctype child() {
    byte i;
    byte me = HEIR;
end:
    forked;
    {
        assert(content == has[CHILD]);
#ifdef HEIR_COMES_LATE
        do
        :: atomic { i < PLACES && place[i] == 0 -> place[i] = HEIR; break }
        :: atomic { i < PLACES && place[i] != 0 -> i = (i + 1) % PLACES }
        od;
        atomic { holder[i] = true; i = 0 };
#endif
/* Lets go of what is its own. */
        do
#ifdef DROPS_WHAT_IS_NOT_ITS_OWN
        :: atomic { i < PLACES && holder[i] -> break }
#else
        :: atomic { i < PLACES && place[i] == HEIR -> break }
#endif
        :: atomic { i < PLACES && place[i] != HEIR -> i++ }
        :: atomic { i == PLACES -> break }
        od;
        atomic {
            assert(content == has[CHILD]);
            has[CHILD] = 0;
            if
            :: i < PLACES -> clear(i)
            :: else -> goto done
            fi
        };
        place[i] = 0
    } unless {
        dead[HEIR]
    };
done:
    atomic { i = 0; alive[CHILD] = 0 }
}
#endif

/* A killed process does no step more. A child that was to be is dead. */
proctype killer() {
    byte victim;
    do
    :: break
    :: atomic {
           kills > 0 ->
#ifdef ABANDON
           select (victim : 0 .. ALL - 1);
#else
           select (victim : 1 .. ALL - 1);
#endif
           if
           :: alive[victim] != 0 && !dead[alive[victim]] ->
              kills--;
              leaked++;
              dead[alive[victim]] = true;
              has[victim] = 0;
              if
              :: forking && victim == 1 -> forking = false; dead[HEIR] = true
              :: else
              fi
           :: else
           fi;
           victim = 0
       }
    od
}

init {
    byte i, n;
    atomic {
        run owner(0);
        for (i : 1 .. PEERS) {
            run peer(i)
        };
#ifdef FORK
        run child();
#endif
        if
        :: kills > 0 -> run killer()
        :: else
        fi;
        i = 0
    };
    timeout;
    atomic {
        for (i : 0 .. PLACES - 1) {
            assert(place[i] == 0 || dead[place[i]]);
            assert(place[i] != 0 || !holder[i])
        };
        for (i : 0 .. GENS) {
            n = n + pipe[i]
        };
        assert(FLYING(word) + stolen <= n + leaked)
    }
}

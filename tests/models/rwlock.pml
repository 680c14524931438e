/* SPDX-License-Identifier: MIT */
/* The lock of csrc/core/sync/rwlock.h for READERS that share it among
 * themselves and WRITERS that share it with nobody, with a SIGKILL between
 * any two steps. The writers' word is that of lock.pml.
 *
 * Each worker takes it ROUNDS times, on SLOTS slots. KILLS, NOSLICE, LAZY and
 * GIVEUPS are those of lock.pml; with LAZY those who are inside are killed.
 *
 * What must hold:
 *   - Nobody else is inside beside a living writer.
 *   - Nothing is taken from the living: neither the word nor a slot.
 *   - Once a writer died, no reader and no writer is let in until it is
 *     repaired, and only then is anybody told so. Dead readers are forgotten.
 *   - Nobody sleeps for ever.
 */
/* quick: -DREADERS=1 -DWRITERS=1 -DSLOTS=1 -DROUNDS=1 -DKILLS=1 */
/* quick: -DREADERS=2 -DWRITERS=1 -DSLOTS=2 -DROUNDS=1 -DNOSLICE */
/* run: -DREADERS=1 -DWRITERS=1 -DSLOTS=1 -DROUNDS=2 -DKILLS=2 */
/* run: -DREADERS=1 -DWRITERS=1 -DSLOTS=2 -DROUNDS=1 -DKILLS=2 -DGIVEUPS=1 */
/* run: -DREADERS=1 -DWRITERS=1 -DSLOTS=1 -DROUNDS=1 -DKILLS=1 -DPAUSES=1
 * -DGIVEUPS=1 */
/* run: -DREADERS=2 -DWRITERS=1 -DSLOTS=1 -DROUNDS=1 -DNOSLICE */
/* run: -DREADERS=2 -DWRITERS=1 -DSLOTS=2 -DROUNDS=1 -DKILLS=1 -DLAZY */
/* run: -DREADERS=2 -DWRITERS=1 -DSLOTS=2 -DROUNDS=1 -DKILLS=1 */
/* run: -DREADERS=1 -DWRITERS=2 -DSLOTS=1 -DROUNDS=1 -DKILLS=1 */
/* run: -DREADERS=1 -DWRITERS=2 -DSLOTS=1 -DROUNDS=2 -DNOSLICE */
/* run: -DREADERS=2 -DWRITERS=1 -DSLOTS=1 -DROUNDS=1 -DNOSLICE -DGIVEUPS=1 */
/* mutant: -DSLEEPS_WITHOUT_W
 * -DREADERS=2 -DWRITERS=1 -DSLOTS=2 -DROUNDS=1 -DNOSLICE */
/* mutant: -DNO_PROOF
 * -DREADERS=1 -DWRITERS=1 -DSLOTS=1 -DROUNDS=2 -DKILLS=2 */
/* mutant: -DNOT_TOLD
 * -DREADERS=1 -DWRITERS=1 -DSLOTS=1 -DROUNDS=2 -DKILLS=2 */
/* mutant: -DMARK_LOST
 * -DREADERS=1 -DWRITERS=1 -DSLOTS=1 -DROUNDS=2 -DKILLS=2 */
/* mutant: -DREADER_IGNORES_TORN
 * -DREADERS=1 -DWRITERS=1 -DSLOTS=1 -DROUNDS=2 -DKILLS=2 */
/* mutant: -DREADER_IGNORES_WRITER
 * -DREADERS=2 -DWRITERS=1 -DSLOTS=2 -DROUNDS=1 -DNOSLICE */
/* mutant: -DWRITER_IGNORES_SLOTS
 * -DREADERS=2 -DWRITERS=1 -DSLOTS=2 -DROUNDS=1 -DNOSLICE */
/* mutant: -DLOOKS_FIRST
 * -DREADERS=2 -DWRITERS=1 -DSLOTS=2 -DROUNDS=1 -DNOSLICE */
/* mutant: -DGATE_NOT_COUNTED
 * -DREADERS=2 -DWRITERS=1 -DSLOTS=2 -DROUNDS=1 -DNOSLICE */
/* mutant: -DGATE_NOT_WOKEN
 * -DREADERS=2 -DWRITERS=1 -DSLOTS=2 -DROUNDS=1 -DNOSLICE */
/* mutant: -DUNCLAIMS_QUIETLY
 * -DREADERS=2 -DWRITERS=1 -DSLOTS=2 -DROUNDS=1 -DNOSLICE */
/* mutant: -DREAPS_THE_LIVING
 * -DREADERS=1 -DWRITERS=1 -DSLOTS=1 -DROUNDS=2 -DKILLS=2 */
/* mutant: -DRELEASE_WAKES_ONE
 * -DREADERS=2 -DWRITERS=1 -DSLOTS=2 -DROUNDS=1 -DNOSLICE */
/* mutant: -DHUNGRY_STAYS
 * -DREADERS=1 -DWRITERS=2 -DSLOTS=1 -DROUNDS=2 -DNOSLICE */

#ifndef KILLS
#define KILLS 0
#endif
#ifndef GIVEUPS
#define GIVEUPS 0
#endif
#ifndef PAUSES
#define PAUSES 0
#endif
#define N (READERS + WRITERS)

#define W 128
#define TORN 64
#define HUNGRY 32
#define token(word) ((word) & 31)

/* Of the gate: who leaves a slot is to change it, and to wake all. */
#define WATCHED 1
#define after(gate) (((gate) + 2) % 8 & ~WATCHED)

/* Shared memory, and what the kernel knows. */
byte word;
byte gate;
byte slot[SLOTS];
byte asleep;              /* on the word: one bit a worker */
byte asleep_at_gate;      /* the same */
bool dead[1 + N + KILLS]; /* by token; a token is never used again */

/* Of the world outside: no worker decides by it. */
byte alive[N]; /* the workers' tokens, 0 when one is done */
byte next = N; /* the last one that was given */
byte kills = KILLS;
byte giveups = GIVEUPS;
byte pauses = PAUSES;
byte failures = 1; /* repairs that may end with an exception */
byte writing;      /* who is inside as a writer */
byte reading;      /* who is inside as a reader: one bit a living worker */
bool torn;         /* what it guards is half written */
bool marked;       /* a writer died, and nothing was repaired since */

#ifdef NOSLICE
#define slice_ends false
#else
#ifdef LAZY
#define dead_in(i) (slot[i] != 0 && dead[slot[i]])
#define slice_ends (dead[token(word)] || dead_in(0) || dead_in(SLOTS - 1))
#else
#define slice_ends true
#endif
#endif

#define bit (1 << id)

/* Compare and exchange, one step. */
inline cas(seen, new, otherwise) {
    atomic {
        if
        :: word == seen -> word = new
        :: else -> goto otherwise
        fi
    }
}

/* Sleeps on the gate, whose value it has seen. */
inline wait_at_gate(otherwise) {
    atomic {
        napped = true;
        if
        :: gate == g -> asleep_at_gate = asleep_at_gate | bit
        :: else -> goto otherwise
        fi
    };
    if
    :: atomic { !(asleep_at_gate & bit) -> goto otherwise }
    :: atomic {
           (asleep_at_gate & bit) && slice_ends ->
           asleep_at_gate = asleep_at_gate & ~bit
       }
    :: atomic {
           (asleep_at_gate & bit) && giveups > 0 ->
           giveups--;
           asleep_at_gate = asleep_at_gate & ~bit;
           goto give_up_at_gate
       }
    fi
}

/* All slots of the dead are free: each look is a step, and each change. */
inline reap() {
    for (k : 0 .. SLOTS - 1) {
        atomic {
            s = slot[k];
            if
#ifdef REAPS_THE_LIVING
            :: s != 0 && s != me
#else
            :: s != 0 && dead[s]
#endif
            :: else -> s = 0
            fi
        };
        if
        :: s != 0 ->
            atomic {
                if
                :: slot[k] == s -> assert(dead[s]); slot[k] = 0
                :: else
                fi
            }
        :: else
        fi
    }
    k = 0;
    s = 0
}

/* A slot is left, and whoever waits for that is told. */
inline leave() {
    atomic { assert(slot[i] == me); slot[i] = 0 };
    if
    :: atomic { gate & WATCHED ->
#ifndef GATE_NOT_COUNTED
                gate = after(gate)
#endif
       };
#ifndef GATE_NOT_WOKEN
       asleep_at_gate = 0
#endif
    :: atomic { !(gate & WATCHED) }
    fi;
    i = 0
}

proctype worker(byte id; bool reader) {
    byte w, g, i, k, s;
    byte me = id + 1;
    byte rounds = ROUNDS;
    bool napped, reads, repairing, sound;

born:
    alive[id] = me;
    {
        skip;
again:
        atomic {
            w = 0; g = 0; napped = false; repairing = false; sound = false;
            reads = reader;
            if
            :: rounds == 0 -> alive[id] = 0; goto done
            :: else -> rounds--
            fi;
            if
            :: reads -> goto claim
            :: else -> goto take
            fi
        };

/* A reader takes a slot, and then looks whether there is a writer. */
claim:
#ifdef LOOKS_FIRST
        atomic {
            w = word;
            if
            :: token(w) != 0 || (w & (TORN | HUNGRY)) -> goto look
            :: else
            fi
        };
#endif
        for (i : 0 .. SLOTS - 1) {
            atomic {
                if
                :: slot[i] == 0 -> slot[i] = me; goto claimed
                :: else
                fi
            }
        }
        goto no_slot;
claimed:
        atomic {
#ifndef LOOKS_FIRST
            w = word;
#endif
            if
#ifndef READER_IGNORES_TORN
            :: token(w) == 0 && (w & TORN) -> goto unclaim
#endif
            :: else
            fi;
            if
#ifdef READER_IGNORES_WRITER
            :: true
#else
            :: token(w) == 0 && (!(w & HUNGRY) || napped)
#endif
            :: else -> goto unclaim
            fi;
            assert(!marked && !torn && (writing == 0 || dead[writing]));
            reading = reading | bit
        };
/* It was hungry itself, maybe: others need not queue up any more. */
        if
        :: (w & HUNGRY) ->
#ifndef HUNGRY_STAYS
            atomic { w = word; word = word & ~HUNGRY };
            if
            :: token(w) == 0 && (w & W) -> asleep = 0
            :: else
            fi
#endif
        :: else
        fi;
        atomic { assert(!torn && writing == 0); reading = reading & ~bit };
        leave();
        goto again;

unclaim:
#ifdef UNCLAIMS_QUIETLY
        atomic { slot[i] = 0; i = 0 };
#else
        leave();
#endif
        goto look;

/* A reader without a slot waits for one, once the dead have none. */
no_slot:
        i = 0;
        atomic { gate = gate | WATCHED; g = gate };
        reap();
        for (k : 0 .. SLOTS - 1) {
            atomic {
                if
                :: slot[k] == 0 -> k = 0; goto claim
                :: else
                fi
            }
        }
        k = 0;
        wait_at_gate(claim);
        goto claim;

/* A writer takes the word. */
take:
        atomic {
            napped = false;
            if
            :: word == 0 -> word = me; goto drain
            :: else
            fi
        };
look:
        atomic {
            w = word;
            if
            :: token(w) == 0 && (w & TORN) && !repairing ->
                assert(marked);
                goto told
            :: else
            fi;
            if
            :: token(w) == 0 && (!(w & HUNGRY) || napped) ->
                if
                :: reads -> goto claim
                :: else
                fi
            :: else -> goto wait
            fi
        };
        cas(w, me | (w & (TORN | W)) | (napped -> W : 0), look);
        goto drain;

/* Both wait on the word. */
wait:
#ifndef SLEEPS_WITHOUT_W
        if
        :: cas(w, w | W, look); w = w | W
        :: napped -> cas(w, w | W | HUNGRY, look); w = w | W | HUNGRY
        fi;
#endif
        atomic {
            napped = true;
            if
            :: word == w -> asleep = asleep | bit
            :: else -> goto look
            fi
        };
        if
        :: atomic { !(asleep & bit) -> goto look }
        :: atomic { (asleep & bit) && slice_ends -> asleep = asleep & ~bit }
        :: atomic {
               (asleep & bit) && giveups > 0 ->
               giveups--;
               asleep = asleep & ~bit;
               goto give_up
           }
        fi;

/* A slice is over: does the writer live? */
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
        atomic {
            if
            :: word == w ->
                assert(token(word) == 0 || dead[token(word)]);
#ifdef NOT_TOLD
                word = me | W
#else
                word = me | W | TORN
#endif
            :: else -> goto look
            fi
        };
        if
        :: repairing -> goto drain
        :: else
        fi;
prover:
        atomic { w = word; assert(token(w) == me) };
        cas(w, w & TORN, prover);
        asleep = 0;
        goto look;

give_up:
        atomic { w = word; word = word & ~HUNGRY };
        if
        :: token(w) == 0 && (w & HUNGRY) && (w & W) ->
            asleep = 0
        :: else
        fi;
        goto again;

told:
        if
        :: !repairing ->
            atomic { repairing = true; reads = false; goto take }
        :: goto again
        fi;

/* A writer waits until no slot is taken: new readers see the word. */
drain:
        i = 0;
slots:
#ifdef WRITER_IGNORES_SLOTS
        goto holds;
#endif
        atomic { gate = gate | WATCHED; g = gate };
        do
        :: atomic { i < SLOTS && slot[i] == 0 -> i++ }
        :: atomic { i < SLOTS && slot[i] != 0 -> break }
        :: atomic { i == SLOTS -> i = 0; goto holds }
        od;
        wait_at_gate(slots);
        reap();
        if
        :: goto slots
        :: pauses > 0 -> pauses--
        fi;
/* It lets go for a moment, to ask for signals. */
        atomic { i = 0; assert(token(word) == me); word = word & ~31 };
        if
        :: goto look
        :: giveups > 0 -> atomic { giveups--; asleep = 0; goto again }
        fi;
give_up_at_gate:
        if
        :: reads -> goto again
        :: else -> atomic { i = 0; sound = !(word & TORN); goto release }
        fi;

holds:
        atomic {
            assert(reading == 0 && (writing == 0 || dead[writing]));
            assert(repairing || (!marked && !torn));
            writing = me;
            torn = true
        };
        atomic {
            assert(reading == 0);
            sound = true;
            if
            :: torn = false
            :: repairing && failures > 0 -> failures--; sound = false
            fi
        };
        atomic { assert(writing == me && reading == 0); writing = 0 };

/* Who has repaired it says so, and then releases it. */
        if
        :: repairing && sound ->
            atomic { word = word & ~TORN; marked = false }
        :: else
        fi;

/* A writer releases: all are woken, for all readers may come in. */
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
        :: (w & W) ->
#ifdef RELEASE_WAKES_ONE
            atomic {
                if
                :: asleep & 1 -> asleep = asleep & ~1
                :: asleep & 2 -> asleep = asleep & ~2
                :: asleep & 4 -> asleep = asleep & ~4
                :: asleep == 0
                fi
            }
#else
            asleep = 0
#endif
        :: else
        fi;
        goto again
    } unless {
        atomic {
            dead[me] ->
            asleep = asleep & ~bit;
            asleep_at_gate = asleep_at_gate & ~bit;
            w = 0; g = 0; i = 0; k = 0; s = 0;
            next++;
            me = next;
            goto born
        }
    };
done:
    skip
}

/* A killed worker does no step more. */
#define lives(id) (alive[id] != 0 && !dead[alive[id]])
#ifdef LAZY
#define chosen(id) (lives(id) && (writing == alive[id] || reading & (1 << id)))
#else
#define chosen(id) lives(id)
#endif

proctype killer() {
    byte victim;
end:
    do
    :: atomic {
           kills > 0 ->
           select (victim : 0 .. N - 1);
           if
           :: chosen(victim) ->
               kills--;
               dead[alive[victim]] = true;
               reading = reading & ~(1 << victim);
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
            run worker(i, i < READERS)
        };
        if
        :: kills > 0 -> run killer()
        :: else
        fi
    }
}

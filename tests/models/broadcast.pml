/* SPDX-License-Identifier: MIT */
/* The broadcast of csrc/core/channels/broadcast.h, with a SIGKILL between any
 * two steps.
 *
 * WRITERS publish the frames 1 to FRAMES, one of them at a time; each of
 * READERS receives until it has had the last one. A killer kills KILLS times,
 * whom and when it likes; a new process with another token takes the place of
 * a killed one. One step is one access to shared memory, or one system call,
 * with what a process makes of it for itself. What is in a block is written in
 * two steps, and 0 between.
 *
 * What must hold:
 *   - No block is written while a living process holds it, or an entry says
 *     that it is there; so that what is held is whole, and stays so.
 *   - The writer always finds a block.
 *   - No number is there twice or left out, and each reader's grow.
 *   - Nobody sleeps for ever. By default a sleep may end at any time, as
 *     slices do. With NOSLICE it ends by a wake-up only: nobody is killed, and none
 *     may be lost. With POLLS nobody sleeps: what is held is all that is
 *     looked at.
 * With FORK the first reader forks with a frame in hand, once. What the child
 * holds is whole and stays so, whatever becomes of its parent.
 */
/* quick: -DREADERS=1 -DDEPTH=1 -DFRAMES=2 -DKILLS=1 */
/* quick: -DREADERS=2 -DDEPTH=1 -DFRAMES=1 -DNOSLICE */
/* run: -DREADERS=2 -DDEPTH=1 -DFRAMES=2 -DNOSLICE */
/* run: -DREADERS=1 -DDEPTH=1 -DFRAMES=4 -DKILLS=2 */
/* run: -DREADERS=1 -DDEPTH=2 -DFRAMES=4 -DKILLS=1 */
/* run: -DREADERS=2 -DDEPTH=1 -DFRAMES=2 -DKILLS=1
 * -DPOLLS */
/* run: -DREADERS=1 -DDEPTH=1 -DFRAMES=3 -DKILLS=1 -DFORK */
/* run: -DREADERS=1 -DDEPTH=1 -DFRAMES=2 -DKILLS=2 -DWRITERS=2 */
/* mutant: -DNO_SECOND_LOOK -DREADERS=1 -DDEPTH=1 -DFRAMES=4 -DKILLS=2 */
/* mutant: -DLOOKS_BEFORE_IT_HOLDS -DREADERS=1 -DDEPTH=1 -DFRAMES=4
 * -DKILLS=2 */
/* mutant: -DFEW_BLOCKS -DREADERS=1 -DDEPTH=1 -DFRAMES=4 -DKILLS=2 */
/* mutant: -DFORGETS_ENTRIES -DREADERS=1 -DDEPTH=2 -DFRAMES=4 -DKILLS=1 */
/* mutant: -DFORGETS_SLOTS -DREADERS=1 -DDEPTH=1 -DFRAMES=4 -DKILLS=2 */
/* mutant: -DREAPS_THE_LIVING -DREADERS=2 -DDEPTH=1 -DFRAMES=2 -DKILLS=1
 * -DPOLLS */
/* mutant: -DNEWEST_FIRST -DREADERS=1 -DDEPTH=1 -DFRAMES=2 -DKILLS=1 */
/* mutant: -DENTRY_FIRST -DREADERS=1 -DDEPTH=1 -DFRAMES=2 -DKILLS=1 */
/* mutant: -DGOES_ON_AT_NEWEST -DREADERS=1 -DDEPTH=1 -DFRAMES=2 -DKILLS=1 */
/* mutant: -DKEEPS_QUIET -DREADERS=2 -DDEPTH=1 -DFRAMES=1 -DNOSLICE */
/* mutant: -DWAKES_ONE -DREADERS=2 -DDEPTH=1 -DFRAMES=1 -DNOSLICE */
/* mutant: -DMARKS_NOT -DREADERS=2 -DDEPTH=1 -DFRAMES=1 -DNOSLICE */
/* mutant: -DLOOKS_NOT_AGAIN -DREADERS=2 -DDEPTH=1 -DFRAMES=1 -DNOSLICE */
/* mutant: -DHEIR_COMES_LATE -DREADERS=1 -DDEPTH=1 -DFRAMES=3 -DKILLS=1
 * -DFORK */
/* mutant: -DGIVES_WHAT_IS_NOT_ITS_OWN -DREADERS=1 -DDEPTH=1 -DFRAMES=3
 * -DKILLS=1 -DFORK */

#ifndef KILLS
#define KILLS 0
#endif
#ifndef WRITERS
#define WRITERS 1
#endif
#ifdef FORK
#define HEIRS 1
#else
#define HEIRS 0
#endif
#define N (WRITERS + READERS)
#define SLOTS (READERS + HEIRS)
#ifdef FEW_BLOCKS
#define BLOCKS (DEPTH + SLOTS)
#else
#define BLOCKS (DEPTH + SLOTS + 1)
#endif
#define HEIR (1 + N + KILLS) /* the child's token */
#define WAITED 128

#ifdef NOSLICE
#define slice_ends false
#else
#define slice_ends true
#endif

/* Shared memory, and what the kernel knows. */
byte entry[DEPTH];    /* seq; and */
byte which[DEPTH];    /* its block: they are one word */
byte newest;
byte owner[SLOTS];    /* token; and */
byte what[SLOTS];     /* the block */
byte content[BLOCKS]; /* seq, or 0 while it is written */
byte lock;            /* token of who writes */
byte word;            /* of the sleepers */
byte asleep;          /* one bit a reader */
bool dead[2 + N + KILLS];

/* Of the world outside: nobody decides by it. */
byte alive[N];    /* the processes' tokens, 0 when one is done */
byte next = N;    /* the last token that was given */
byte kills = KILLS;
byte top;         /* seq of the last frame that was published */
byte has[N + 1];  /* 1 + the block that it holds, surely: at N the child */
byte frame[N + 1]; /* and the seq of that frame */
bool forking;     /* the child has a token, and is not there yet */
bool forked;

/* It is written from now on. */
inline begin_block(b) {
    atomic {
        for (i : 0 .. N) {
            assert(has[i] != b + 1)
        };
        for (i : 0 .. DEPTH - 1) {
            assert(entry[i] == 0 || which[i] != b)
        };
        content[b] = 0;
        i = 0
    }
}

proctype writer(byte id) {
    byte i, b, w, seq, taken;
    byte me = id + 1;

born:
    alive[id] = me;
    {
        skip;
/* Becomes the writer: a lock that ignores deaths. */
        atomic { lock == 0 || dead[lock] -> lock = me };
        i = 0; seq = 0;
        do
        :: atomic { i < DEPTH && entry[i] > seq -> seq = entry[i]; i++ }
        :: atomic { i < DEPTH && entry[i] <= seq -> i++ }
        :: atomic { i == DEPTH -> i = 0; break }
        od;
#ifdef GOES_ON_AT_NEWEST
        seq = newest;
#else
        newest = seq;
#endif
        if
        :: word & WAITED -> atomic { word = (word + 1) & ~WAITED; asleep = 0 }
        :: else
        fi;

again:
        if
        :: atomic { seq == FRAMES -> lock = 0; goto done }
        :: else -> seq++
        fi;

/* Finds a block. */
        atomic { taken = 0; i = 0 };
        do
#ifdef FORGETS_ENTRIES
        :: true -> break
#endif
        :: atomic {
               i < DEPTH && entry[i] != 0 ->
               taken = taken | (1 << which[i]);
               i++
           }
        :: atomic { i < DEPTH && entry[i] == 0 -> i++ }
        :: atomic { i == DEPTH -> i = 0; break }
        od;
        do
#ifdef FORGETS_SLOTS
        :: true -> break
#endif
        :: atomic {
               i < SLOTS && owner[i] != 0 ->
               taken = taken | (1 << what[i]);
               i++
           }
        :: atomic { i < SLOTS && owner[i] == 0 -> i++ }
        :: atomic { i == SLOTS -> i = 0; break }
        od;
        atomic {
            i = 0;
            b = 0;
            do
            :: taken & (1 << b) -> b++
            :: else -> break
            od;
            assert(b < BLOCKS)
        };

/* Writes it, and publishes it. */
        begin_block(b);
#ifndef ENTRY_FIRST
        content[b] = seq;
#endif
#ifdef NEWEST_FIRST
        newest = seq;
#endif
        atomic {
            assert(seq == top + 1);
            top = seq;
            entry[seq % DEPTH] = seq;
            which[seq % DEPTH] = b
        };
#ifdef ENTRY_FIRST
        content[b] = seq;
#endif
        newest = seq;
#ifndef KEEPS_QUIET
        w = word;
        if
        :: w & WAITED ->
           word = (word + 1) & ~WAITED;
#ifdef WAKES_ONE
           if
           :: asleep & (1 << WRITERS) -> asleep = asleep & ~(1 << WRITERS)
           :: else -> asleep = 0
           fi
#else
           asleep = 0
#endif
        :: else
        fi;
#endif
        atomic { b = 0; w = 0; taken = 0 };
        goto again
    } unless {
        atomic {
            dead[me] ->
            i = 0; b = 0; w = 0; seq = 0; taken = 0;
            next++;
            me = next;
            goto born
        }
    };
done:
    alive[id] = 0
}

/* Looks twice at what it holds. */
inline use_frame(holder) {
    assert(content[has[holder] - 1] == frame[holder]);
    assert(content[has[holder] - 1] == frame[holder])
}

#ifdef FORK
proctype child() {
    byte i;
endless:
    forked;
    {
#ifdef HEIR_COMES_LATE
        do
        :: atomic {
               owner[i] == 0 ->
               owner[i] = HEIR;
               what[i] = has[N] - 1;
               break
           }
        :: atomic { owner[i] != 0 -> i = (i + 1) % SLOTS }
        od;
        i = 0;
#endif
        use_frame(N);
        use_frame(N);
/* Gives back what is its own. */
        do
#ifdef GIVES_WHAT_IS_NOT_ITS_OWN
        :: atomic {
               i < SLOTS && owner[i] != 0 && what[i] == has[N] - 1 ->
#else
        :: atomic {
               i < SLOTS && owner[i] == HEIR && what[i] == has[N] - 1 ->
#endif
               owner[i] = 0;
               what[i] = 0;
               has[N] = 0;
               frame[N] = 0;
               break
           }
        :: atomic { i < SLOTS && owner[i] != HEIR -> i++ }
        :: atomic { i == SLOTS -> break }
        od
    } unless { dead[HEIR] }
}
#endif

proctype reader(byte id) {
    byte i, w, n, seq, b, slot, seen;
    byte me = id + 1;
    bool holds;

born:
    alive[id] = me;
    {
        skip;
again:
        if
        :: atomic { seen == FRAMES -> goto done }
        :: else
        fi;
        w = word;
look:
        atomic {
            n = newest;
            if
            :: n <= seen -> goto nothing
            :: else
            fi
        };
        atomic {
            seq = entry[n % DEPTH];
            b = which[n % DEPTH];
            assert(seq >= n) /* or it were damaged */
        };
#ifdef LOOKS_BEFORE_IT_HOLDS
        if
        :: entry[n % DEPTH] != seq -> goto look
        :: else
        fi;
#endif
        if
        :: holds -> what[slot] = b; goto check
        :: else
        fi;
        slot = 0;
claim:
        if
        :: atomic {
               slot < READERS && owner[slot] == 0 ->
               owner[slot] = me;
               what[slot] = b;
               holds = true
           }
        :: atomic { slot < READERS && owner[slot] != 0 -> slot++; goto claim }
        :: slot == READERS -> goto reap
        fi;
check:
        atomic {
#ifndef NO_SECOND_LOOK
#ifndef LOOKS_BEFORE_IT_HOLDS
            if
            :: entry[n % DEPTH] != seq || which[n % DEPTH] != b -> goto look
            :: else
            fi;
#endif
#endif
            assert(seq > seen);
            has[id] = b + 1;
            frame[id] = seq;
            seen = seq
        };
        use_frame(id);
#ifdef FORK
        if
        :: id == WRITERS && !forked && !dead[HEIR] ->
#ifndef HEIR_COMES_LATE
           atomic { forking = true; i = SLOTS - 1 };
           atomic {
               if
               :: owner[i] == 0 -> owner[i] = HEIR; what[i] = b
               :: else -> i = 0; goto give
               fi;
               i = 0
           };
#endif
           atomic {
               forking = false;
               has[N] = b + 1;
               frame[N] = seq;
               forked = true
           }
        :: true
        fi;
#endif
give:
        atomic {
            assert(owner[slot] == me && what[slot] == b);
            has[id] = 0;
            frame[id] = 0;
            owner[slot] = 0;
            what[slot] = 0;
            holds = false;
            slot = 0
        };
        atomic { n = 0; seq = 0; b = 0; w = 0; goto again };

/* No slot is free: those of the dead are. */
reap:
        atomic { slot = 0; i = 0 };
        do
#ifdef REAPS_THE_LIVING
        :: atomic { i < READERS -> owner[i] = 0; what[i] = 0; i++ }
#else
        :: atomic {
               i < READERS && owner[i] != 0 && dead[owner[i]] ->
               owner[i] = 0;
               what[i] = 0;
               i++
           }
        :: atomic { i < READERS && (owner[i] == 0 || !dead[owner[i]]) -> i++ }
#endif
        :: atomic { i == READERS -> i = 0; break }
        od;
/* Each has one: so the dead had it, or it is free by now. */
        goto again;

nothing:
#ifdef POLLS
        atomic { newest > seen -> w = 0; n = 0; goto again };
#endif
        if
#ifndef MARKS_NOT
        :: !(w & WAITED) ->
           atomic {
               if
               :: word == w -> word = w | WAITED
               :: else
               fi;
#ifdef LOOKS_NOT_AGAIN
               w = word | WAITED
#else
               goto again
#endif
           }
        :: else
#else
        :: true
#endif
        fi;
        atomic {
            if
            :: word == w -> asleep = asleep | (1 << id)
            :: else -> goto again
            fi
        };
        if
        :: !(asleep & (1 << id))
        :: atomic {
               asleep & (1 << id) && slice_ends ->
               asleep = asleep & ~(1 << id)
           }
        fi;
        goto again
    } unless {
        atomic {
            dead[me] ->
            asleep = asleep & ~(1 << id);
            i = 0; w = 0; n = 0; seq = 0; b = 0; slot = 0; seen = 0;
            holds = false;
            next++;
            me = next;
            goto born
        }
    };
done:
    alive[id] = 0
}

/* A killed process does no step more. A child that was to be is dead. */
proctype killer() {
    byte victim;
end:
    do
    :: atomic {
           kills > 0 ->
           select (victim : 0 .. N - 1);
           if
           :: alive[victim] != 0 && !dead[alive[victim]] ->
              kills--;
              dead[alive[victim]] = true;
              has[victim] = 0;
              frame[victim] = 0;
              if
              :: forking && victim == WRITERS ->
                 forking = false;
                 dead[HEIR] = true
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
        for (i : 0 .. WRITERS - 1) {
            run writer(i)
        };
        for (i : WRITERS .. N - 1) {
            run reader(i)
        };
#ifdef FORK
        run child();
#endif
        if
        :: kills > 0 -> run killer()
        :: else
        fi
    }
}

/* SPDX-License-Identifier: MIT */
/* The semaphore of csrc/core/sync/semaphore.h.
 *
 * N workers take a unit and give it back, ROUNDS times each, of VALUE units.
 * With POST they keep it, and another process gives all back that they need,
 * POST at a time. One step is one access to shared memory, or one system call.
 *
 * What must hold:
 *   - Never more than VALUE have a unit.
 *   - Nobody sleeps for ever, while there are units. No slice ends here: each
 *     sleep ends by a wake-up only, and none may be lost.
 *   - GIVEUPS sleeps may end by a time-out, a signal, or because a task was
 *     cancelled.
 * With ASYNC a worker may also wait as asyncio does: a watcher sleeps until the
 * word is another, and takes nothing; then it is tried again.
 *
 * A unit belongs to nobody, so that there is nothing to prove of the dead.
 */
/* quick: -DN=3 -DROUNDS=1 -DVALUE=1 */
/* run: -DN=3 -DROUNDS=1 -DPOST=1 */
/* run: -DN=3 -DROUNDS=2 -DVALUE=2 */
/* run: -DN=3 -DROUNDS=1 -DVALUE=1 -DASYNC -DGIVEUPS=1 */
/* run: -DN=3 -DROUNDS=2 -DVALUE=1 -DGIVEUPS=2 */
/* run: -DN=3 -DROUNDS=1 -DPOST=3 -DASYNC */
/* mutant: -DNO_CHAIN -DN=3 -DROUNDS=1 -DPOST=1 */
/* mutant: -DSLEEPER_FORGETS_W -DN=3 -DROUNDS=1 -DVALUE=1 */
/* mutant: -DSLEEPS_WITHOUT_W -DN=3 -DROUNDS=1 -DVALUE=1 */
/* mutant: -DWATCHER_KEEPS_IT -DN=3 -DROUNDS=1 -DVALUE=1 -DASYNC -DGIVEUPS=1 */

#ifndef GIVEUPS
#define GIVEUPS 0
#endif
#ifdef POST
#define FIRST 0
#define MOST (N * ROUNDS)
#else
#define FIRST VALUE
#define MOST VALUE
#endif

/* The word, as in C, but that it has the units, not those in use. */
#define W 128
#define units(word) ((word) & 127)

byte word = FIRST;
byte asleep; /* one bit a worker */
byte inside; /* how many have a unit */
byte giveups = GIVEUPS;

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
        :: asleep & 8 -> asleep = asleep & ~8
        :: asleep == 0
        fi
    }
}

proctype worker(byte id) {
    byte w;
    byte rounds = ROUNDS;
    bool napped, awaits;

again:
    atomic {
        if
        :: rounds == 0 -> goto done
        :: else -> rounds--; napped = false; awaits = false
        fi
    };
#ifdef ASYNC
    if
    :: true -> awaits = true
    :: true
    fi;
#endif

acquire:
    w = word;
    if
    :: units(w) && napped && !awaits ->
#ifdef SLEEPER_FORGETS_W
        cas(w, w - 1, acquire);
#else
        cas(w, (w - 1) | W, acquire);
#endif
#ifndef NO_CHAIN
        if
        :: units(w) > 1 -> wake_one()
        :: else
        fi;
#endif
        goto has
    :: units(w) && !(napped && !awaits) -> cas(w, w - 1, acquire); goto has
    :: else
    fi;
#ifndef SLEEPS_WITHOUT_W
    if
    :: w & W
    :: else -> cas(w, w | W, acquire); w = w | W
    fi;
#endif

    atomic {
        napped = true;
        if
        :: word == w -> asleep = asleep | (1 << id)
        :: else -> goto woken
        fi
    };
    if
    :: !me_asleep
    :: atomic {
           giveups > 0 && me_asleep ->
           giveups--;
           asleep = asleep & ~(1 << id)
       };
       if
       :: awaits
       :: else -> goto again
       fi
    fi;
woken:
    if
    :: awaits ->
#ifndef WATCHER_KEEPS_IT
        word = word | W;
        wake_one();
#endif
        if
        :: atomic { giveups > 0 -> giveups-- }; goto again
        :: true
        fi
    :: else
    fi;
    goto acquire;

has:
    atomic { inside++; assert(inside <= MOST) };
#ifndef POST
    inside--;
release:
    w = word;
    cas(w, (w & ~W) + 1, release);
    if
    :: w & W -> wake_one()
    :: else
    fi;
#endif
    goto again;
done:
    skip
}

#ifdef POST
proctype poster() {
    byte w, i;
    byte left = N * ROUNDS;
again:
    if
    :: left == 0 -> goto done
    :: else
    fi;
release:
    w = word;
    cas(w, (w & ~W) + POST, release);
    left = left - POST;
    i = 0;
    if
    :: w & W ->
        do
        :: i < POST -> wake_one(); i++
        :: i == POST -> break
        od
    :: else
    fi;
    goto again;
done:
    skip
}
#endif

init {
    byte i;
    atomic {
        for (i : 0 .. N - 1) {
            run worker(i)
        };
#ifdef POST
        run poster()
#endif
    }
}

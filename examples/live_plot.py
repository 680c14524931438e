"""A live plot: a simulation publishes every step, and does not wait; who draws
looks at the newest one, as often as there is time to."""

from multiprocessing import Process

import numpy as np

from shmemext import Broadcast

STEPS, POINTS = 5000, 64
SHADES = np.array([*" .:-=+*#%@"])


def simulate(cast):
    heat = np.zeros(POINTS)
    for _ in range(STEPS):
        heat[POINTS // 2] = 1
        heat[1:-1] += (heat[2:] - 2 * heat[1:-1] + heat[:-2]) / 4
        cast.put(heat)


if __name__ == "__main__":
    cast = Broadcast(create=True, size=POINTS * 8)
    Process(target=simulate, args=(cast,)).start()
    step = 0
    while step < STEPS:
        with cast.receive(timeout=30) as frame:
            step, heat = frame.seq, np.asarray(frame).view("f8")
            print(f"{step:>4} {''.join(SHADES[(heat * 9.9).astype(int)])}")

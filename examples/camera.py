"""What the camera's producer and its consumers agree on: a name, the layout
of the segment, and what the pictures show."""

import numpy as np

NAME = "camera"
SHAPE = (480, 640, 3)  # rows, columns, colours
SLOTS = 2  # one to look at, while the other is being filled

LAYOUT = np.dtype(
    [
        ("published", np.int64),  # how many frames there have been
        ("ended", np.int64),  # 1: there will be no more
        ("sequence", np.int64, SLOTS),  # which frame, and whether whole
        ("pixels", np.uint8, (SLOTS, *SHAPE)),
    ]
)


def view(shm):
    """The segment as named arrays. Nothing is copied."""
    return np.ndarray((), LAYOUT, buffer=shm.buf)


def draw(pixels, number):
    """Frame `number`: a white square that moves to the right, on grey."""
    left = number * 8 % 600
    pixels[...] = 16 + number % 128
    pixels[220:260, left : left + 40] = 255


def find_square(pixels):
    """The column where the square begins."""
    return int((pixels[240, :, 0] == 255).argmax())


def is_whole(pixels, number):
    """Does every pixel belong to that frame? A real camera cannot tell."""
    expected = np.empty(SHAPE, np.uint8)
    draw(expected, number)
    return np.array_equal(pixels, expected)

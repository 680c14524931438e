"""What the camera's producer and its consumers agree on: a name, the shape of
a frame, and what the frames show."""

import numpy as np

NAME = "camera"
SHAPE = (480, 640, 3)  # rows, columns, colours
SIZE = 480 * 640 * 3


def pixels_of(buffer):
    """A frame as an array. Nothing is copied."""
    return np.frombuffer(buffer, np.uint8).reshape(SHAPE)


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

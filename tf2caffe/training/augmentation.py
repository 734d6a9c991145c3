"""Written characters as other hands would have written them: turned, sized, sheared, bent."""

from typing import NamedTuple

import numpy as np

KNOTS, REACH = 8, 4.0  # of the random field that bends an image: a side, and pixels


class Limits(NamedTuple):
    """How far an image is distorted at most; `bend` is a standard deviation, not a limit."""

    turn: float  # radians
    size: float  # as a part
    stretch: float  # of the height alone, as a part
    shear: float  # pixels to the side for each pixel down
    shift: float  # pixels
    bend: float = 0.0  # pixels


def distort(images, limits, seed, part=1.0):
    """The (N, H, W, 1) images as float32, each distorted in its own way, up to a part of `limits`.

    `seed`: two integers; the same distort the same images alike.
    The elastic bending is that of Simard, Steinkraus and Platt, "Best Practices for Convolutional
    Neural Networks Applied to Visual Document Analysis", 2003.
    """
    import tensorflow as tf

    count, (height, width) = tf.shape(images)[0], images.shape[1:3]
    first, second = tf.unstack(tf.random.split(seed))
    places = straight(count, height, width, limits, first, part)
    if limits.bend:
        places += part * limits.bend * bends(count, height, width, second)
    return tf.reshape(sampled(images, places), tf.shape(images))


def straight(count, height, width, limits, seed, part):
    """Where each pixel of a distorted image comes from in the image: (N, 2, H * W), y and x."""
    import tensorflow as tf

    most = np.float32([*limits[:4], limits.shift, limits.shift])[:, None]
    drawn = tf.random.stateless_uniform([6, count], seed, -part, part) * most
    turn, size, stretch, shear, down, right = tf.unstack(drawn)
    size, middle = 1 + size, ((height - 1) / 2, (width - 1) / 2)
    cos, sin = size * tf.cos(turn), size * tf.sin(turn)
    y = [cos * (1 + stretch), sin, down + middle[0]]
    x = [shear - sin * (1 + stretch), cos, right + middle[1]]
    offsets = np.indices((height, width)).reshape(2, -1) - np.reshape(middle, (2, 1))
    offsets = np.float32([*offsets, np.ones(height * width)])  # from the middle; 1
    matrices = tf.reshape(tf.stack([*y, *x], axis=1), (-1, 3))
    return tf.reshape(matrices @ offsets, (count, 2, -1))


def bends(count, height, width, seed):
    """Smooth random fields (N, 2, H * W) of standard deviation 1."""
    import tensorflow as tf

    noise = tf.random.stateless_normal([count * 2 * KNOTS, KNOTS], seed)
    rows = tf.reshape(noise @ bells(width).T, (count * 2, KNOTS, width))
    fields = tf.tensordot(rows, bells(height), [[1], [1]])  # (N * 2, W, H)
    return tf.reshape(tf.transpose(fields, (0, 2, 1)), (count, 2, -1))


def bells(size):
    """(size, KNOTS): how much each knot has to say at each of `size` pixels."""
    distance = np.arange(size)[:, None] - np.linspace(0, size - 1, KNOTS)
    bells = np.exp(-0.5 * (distance / REACH) ** 2)
    return np.float32(bells / np.linalg.norm(bells, axis=1, keepdims=True))


def sampled(images, places):
    """The (N, H, W, 1) images at `places` (N, 2, H * W), bilinearly; around them there is 0."""
    import tensorflow as tf

    height, width = images.shape[1] + 2, images.shape[2] + 2  # with a frame of zeros
    pixels = tf.reshape(tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]]), [-1])
    most = np.float32([height, width])[:, None] - 1.01  # so that there is a pixel beyond
    places = tf.clip_by_value(places + 1, 0, most)
    corner = tf.cast(places, "int32")
    down, right = tf.unstack(places - tf.cast(corner, "float32"), axis=1)
    first = tf.range(tf.shape(images)[0])[:, None] * height * width  # pixel of each image
    at = first + corner[:, 0] * width + corner[:, 1]
    a, b, c, d = (tf.cast(tf.gather(pixels, at + i), "float32") for i in (0, 1, width, width + 1))
    top, bottom = a + right * (b - a), c + right * (d - c)
    return top + down * (bottom - top)

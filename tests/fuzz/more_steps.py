"""More steps of random networks: products of tensors, what is linear, norms, loops, choices.

Those of `steps` are the ops that networks of convolutions have; these are the others'.
"""

import tensorflow as tf
from hypothesis import strategies as st
from keras import layers, ops

from tests.fuzz.steps import Kind, keras_layer, pair, some_axes

LETTERS = "abcdefg"


def flat(x):
    """A tensor as a sequence (N, L, C)."""
    return tf.reshape(x, [x.shape[0], -1, x.shape[-1]])


def product(w, x, y, turned):
    """Both as sequences, multiplied along their channels or along their length."""
    x, y = flat(x), flat(y)
    return tf.matmul(x, y, transpose_a=turned == "first", transpose_b=turned != "first")


def einsum(w, x, order, keep):
    """One tensor: its axes in another order, some of them summed."""
    letters = LETTERS[: len(x.shape)]
    kept = [letters[at] for at in order if at not in keep]
    return tf.einsum(f"{letters}->{letters[0]}{''.join(kept)}", x)


def einsum_weights(w, x, axis, units):
    """Any axis multiplied by a matrix."""
    letters = LETTERS[: len(x.shape)]
    result = letters.replace(letters[axis], "z")
    return tf.einsum(f"{letters},{letters[axis]}z->{result}", x, w(x.shape[axis], units))


def attention(w, x, heads, scale):
    """Self-attention of a few heads over all that there is."""
    x, size = flat(x), 2 * heads
    _, length, channels = x.shape
    parts = [tf.reshape(tf.matmul(x, w(channels, size)), [-1, length, heads, 2]) for _ in range(3)]
    share = tf.nn.softmax(tf.einsum("bqhd,bkhd->bhqk", *parts[:2]) * scale)
    mixed = tf.einsum("bhqk,bkhd->bqhd", share, parts[2])
    return tf.matmul(tf.reshape(mixed, [-1, length, size]), w(size, channels))


def mirror(w, x, sides, mode):
    sides = [(min(a, n - 1), min(b, n - 1)) for (a, b), n in zip(sides, x.shape[1:], strict=True)]
    return tf.pad(x, [(0, 0), *sides], mode)


def roll(w, x, axis, shift):
    return tf.roll(x, shift, axis)


def tile(w, x, times):
    return tf.tile(x, [1, *times])


def gather(w, x, axis, places):
    return tf.gather(x, [place % x.shape[axis] for place in places], axis=axis)


def reverse(w, x, axes):
    return tf.reverse(x, axes)


def cumsum(w, x, axis, exclusive, back):
    return tf.cumsum(x, axis, exclusive, back)


def stack(w, x, y, axis):
    return tf.stack([x, y, x * 0.5][: 2 + axis % 2], axis % len(x.shape) + 1)


def group_norm(w, x, groups):
    divisor = groups if x.shape[-1] % groups == 0 else 1
    return keras_layer(w, x, ("GroupNormalization", {"groups": divisor}))


def window(w, x, size):
    """Windows of an image, shifted, and back: Swin's."""
    _, height, width, channels = x.shape
    if height % size or width % size:
        raise ValueError("no windows fit")
    x = tf.roll(x, [-1, -1], [1, 2])
    x = tf.reshape(x, [-1, height // size, size, width // size, size, channels])
    x = tf.reshape(tf.transpose(x, [0, 1, 3, 2, 4, 5]), [-1, size * size, channels])
    x = tf.nn.softmax(tf.matmul(x, x, transpose_b=True)) @ x
    x = tf.reshape(x, [-1, height // size, width // size, size, size, channels])
    x = tf.reshape(tf.transpose(x, [0, 1, 3, 2, 4, 5]), [-1, height, width, channels])
    return tf.roll(x, [1, 1], [1, 2])


def cell(w, x, units, steps):
    """A recurrent cell, unrolled over the first steps of a sequence."""
    x = flat(x)
    state, (first, again) = None, (w(x.shape[-1], units), w(units, units))
    for at in range(min(steps, x.shape[1])):
        fresh = tf.matmul(x[:, at], first)
        state = tf.tanh(fresh if state is None else fresh + tf.matmul(state, again))
    return state


def recurrent(w, x, kind, units, whole):
    """A Keras layer of a few steps, which TensorFlow runs in a loop."""
    x = flat(x)[:, :3]
    return keras_layer(w, x, (kind, {"units": units, "return_sequences": whole}))


def choice(w, x, name):
    """What chooses by the data, with sides that meet."""
    return CHOICES[name](x)


def first(w, x, channels, kernel, bias):
    """A convolution with channels first."""
    x = tf.transpose(x, [0, 3, 1, 2])
    x = tf.nn.conv2d(x, w(*kernel, x.shape[1], channels), 1, "SAME", data_format="NCHW")
    x = tf.nn.relu(tf.nn.bias_add(x, w(channels), "NCHW") if bias else x)
    return tf.transpose(x, [0, 2, 3, 1])


def volume(w, x, channels, kernel, pooled):
    """A convolution of a volume, whose depth is made of the channels."""
    x = tf.transpose(x[..., None], [0, 3, 1, 2, 4])
    x = tf.nn.conv3d(x, w(*kernel, 1, channels), [1] * 5, "SAME")
    return tf.nn.max_pool3d(x, 2, 2, "SAME") if pooled else x


def spectrum(w, x, part):
    return getattr(tf.math, part)(tf.signal.rfft(x)) + 0.5


CHOICES = {
    "leaky": lambda x: tf.where(x > 0.0, x, x * 0.3),
    "elu": lambda x: tf.where(x > 0.0, x, 0.7 * (tf.exp(x) - 1.0)),
    "least": lambda x: tf.where(x < 0.25, 0.25, x),
    "shrink": lambda x: ops.soft_shrink(x, 0.3),
    "relu": lambda x: layers.ReLU(2.0, 0.1)(x),
    "sparse": ops.sparse_plus,
}


def axis_of(shape):
    return st.integers(1, len(shape) - 1)


def einsum_arguments(shape):
    axes = list(range(1, len(shape)))
    return {"order": st.permutations(axes), "keep": st.sets(st.sampled_from(axes)).map(sorted)}


def gather_arguments(shape):
    places = st.lists(st.integers(0, 30), min_size=1, max_size=5)
    return {"axis": axis_of(shape), "places": places}


def side():
    return st.tuples(st.integers(0, 2), st.integers(0, 2))


def mirror_arguments(shape):
    return {"sides": st.tuples(*(side() for _ in shape[1:])),
            "mode": st.sampled_from(["REFLECT", "SYMMETRIC"])}  # fmt: skip


STEPS = {
    "attention": Kind(attention, lambda s: {"heads": st.integers(1, 3),
                                            "scale": st.sampled_from([0.3, 1.0])}, (3, 4)),
    "cell": Kind(cell, lambda s: {"units": st.integers(1, 4), "steps": st.integers(1, 4)}, (3, 4)),
    "choice": Kind(choice, lambda s: {"name": st.sampled_from(sorted(CHOICES))}),
    "cumsum": Kind(cumsum, lambda s: {"axis": axis_of(s), "exclusive": st.booleans(),
                                      "back": st.booleans()}),
    "einsum": Kind(einsum, einsum_arguments),
    "einsum_weights": Kind(einsum_weights, lambda s: {"axis": axis_of(s),
                                                      "units": st.integers(1, 5)}),
    "first": Kind(first, lambda s: {"channels": st.integers(1, 5), "kernel": pair(1, 3),
                                    "bias": st.booleans()}, (4,)),
    "gather": Kind(gather, gather_arguments),
    "group_norm": Kind(group_norm, lambda s: {"groups": st.sampled_from([1, 2, 3, -1])}),
    "mirror": Kind(mirror, mirror_arguments, (3, 4)),
    "product": Kind(product, lambda s: {"turned": st.sampled_from(["first", "second"])}, (3, 4),
                    lambda x, y: len(y) > 2 and x[-1] == y[-1], 2, 2),
    "recurrent": Kind(recurrent, lambda s: {
        "kind": st.sampled_from(["GRU", "LSTM", "SimpleRNN"]), "units": st.integers(1, 3),
        "whole": st.booleans()}, (3, 4)),
    "reverse": Kind(reverse, lambda s: {"axes": some_axes(s)}),
    "roll": Kind(roll, lambda s: {"axis": axis_of(s), "shift": st.integers(-3, 3)}),
    "spectrum": Kind(spectrum, lambda s: {"part": st.sampled_from(["real", "imag"])}),
    "stack": Kind(stack, lambda s: {"axis": st.integers(0, 3)}, (2, 3),
                  lambda x, y: x == y, 2, 2),
    "tile": Kind(tile, lambda s: {"times": st.tuples(*(st.integers(1, 2) for _ in s[1:]))}),
    "volume": Kind(volume, lambda s: {
        "channels": st.integers(1, 3), "pooled": st.booleans(),
        "kernel": st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))}, (4,)),
    "window": Kind(window, lambda s: {"size": st.integers(1, 3)}, (4,)),
}  # fmt: skip

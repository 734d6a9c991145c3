"""Inputs of whole numbers, or of other precision, which the model casts before it uses them."""

import pytest
import tensorflow as tf

from tests.harness import assert_equal
from tests.refusals import refusal
from tf2caffe.frontend import trace

IMAGE = (1, 5, 7, 3)


def floats(x):
    return tf.cast(x, tf.float32) * 2.0


# Name -> (function, the types of its images).
CAST = {
    "image": (lambda x: tf.cast(x, tf.float32) / 255.0, tf.uint8),
    "converted": (lambda x: tf.image.convert_image_dtype(x, tf.float32), tf.uint8),
    "divided": (lambda x: x / 255, tf.uint8),
    "half": (floats, tf.float16),
    "double": (lambda x: floats(x[:, 1:]), tf.float64),
    "channels reversed": (lambda x: floats(x[..., ::-1]), tf.uint8),
    "reversed": (lambda x: floats(tf.reverse(x, [2])), tf.int64),
    "transposed": (lambda x: floats(tf.transpose(x, [0, 3, 1, 2])), tf.int32),
    "flat": (lambda x: floats(tf.reshape(x, [1, -1])), tf.uint8),
    "joined": (lambda x: floats(tf.concat([x, x[:, :2]], 1)), tf.uint8),
    "bilinear": (lambda x: tf.image.resize(x, (9, 8)), tf.uint8),
    "nearest": (lambda x: floats(tf.image.resize(x, (9, 8), "nearest")), tf.uint8),
    "padded": (lambda x: floats(tf.pad(x, [[0, 0], [1, 1], [2, 0], [0, 0]])), tf.uint8),
    "mirrored": (lambda x: floats(tf.pad(x, [[0, 0], [1, 1], [2, 0], [0, 0]], "REFLECT")), tf.int8),
    "cut": (lambda x: floats(x[:, 1:, :, :2]), tf.uint8),
    "split": (lambda x: tf.concat([floats(part) for part in tf.split(x, 3, -1)], 1), tf.uint8),
    "unstacked": (lambda x: tf.stack([floats(one) for one in tf.unstack(x, axis=3)], 1), tf.int32),
    "twice": (lambda x: floats(x) + tf.cast(x[..., ::-1], tf.float32), tf.int32),
    "widened": (lambda x: floats(tf.cast(x, tf.int32)), tf.uint8),
    "picked": (lambda x: floats(tf.gather(x, [2, 0], axis=-1)), tf.int64),
    "passed on": (lambda x: floats(tf.identity(x)), tf.int64),
    "two": (lambda x, y: floats(tf.concat([x, y], 2)), tf.uint8, tf.uint8),
    "one of two": (lambda x, y: floats(x) * y, tf.uint8, tf.float32),
}  # fmt: skip

# Name -> the same, where the whole numbers matter.
USED = {
    "narrowed": (lambda x: floats(tf.cast(x, tf.uint8)), tf.int32),
    "compared": (lambda x: floats(tf.cast(x > 3, tf.int32)), tf.int32),
    "added": (lambda x: floats(x + 100), tf.uint8),
    "joined with numbers": (lambda x: floats(tf.concat([x, [[[[1, 2, 3]] * 7]]], 1)), tf.int32),
}


def traced(function, *types):
    specs = [tf.TensorSpec(IMAGE, kind) for kind in types]
    call = tf.autograph.experimental.do_not_convert(function)
    concrete = tf.function(call).get_concrete_function(*specs)
    inputs = {f"x{at}": tensor for at, tensor in enumerate(concrete.inputs)}
    return trace.function_trace(concrete, inputs, {"y0": concrete.outputs[0]})


@pytest.mark.parametrize("name", CAST)
def test_cast(name, opencv, tmp_path):
    assert_equal(traced(*CAST[name]), tmp_path, opencv)


@pytest.mark.parametrize("name", USED)
def test_used(name, tmp_path):
    problems = refusal(traced(*USED[name]), tmp_path)
    assert any("input): an op reads it as such" in problem for problem in problems), problems

"""What a refusal says, and what it leaves behind."""

import numpy as np
import pytest
import tensorflow as tf

from tests import harness
from tests.pipeline import contents
from tf2caffe.failure import Failure
from tf2caffe.frontend import reader
from tf2caffe.frontend.weights import save
from tf2caffe.paths import Handoff

MAPS, SEQUENCE, VECTOR = (1, 6, 8, 4), (1, 6, 4), (1, 12)


def weights(*shape):
    return tf.constant(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def function_trace(function, shape):
    """The trace of a function of one tensor, which is called as it is written."""
    autograph = tf.autograph.experimental.do_not_convert
    return harness.function_trace(autograph(function), shape)


def refusal(traced, folder):
    """The lines of the refusal, after the summary; what stopped has left nothing."""
    handoff = Handoff(folder, "net")
    with pytest.raises(Failure) as raised:
        graph, _ = reader.read(traced, "net")
        save(graph, handoff.weights)
        before = contents(folder)
        harness.rebuilt(handoff)
    saved = handoff.weights.exists()
    assert contents(folder) == (before if saved else {})
    summary, *lines = str(raised.value).split("\n")
    problems = [line[2:] for line in lines if line.startswith("  ")]
    assert summary.endswith(":") and problems and all(problems), raised.value
    return problems

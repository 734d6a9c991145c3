"""Random numbers on the way to an output: refused by name, never frozen at one draw."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, random

from tests.makers import IMAGE, loaded, saved, started, v1
from tests.refusals import VECTOR, function_trace, refusal
from tf2caffe.frontend import reader, trace

GENERATOR = tf.random.Generator.from_seed(1)
SEED, SIZE = [1, 2], [12]


def floats(x):
    return tf.cast(x, tf.float32)


def drawn_in_a_function(x):
    return x + tf.function(lambda: tf.random.stateless_normal(SIZE, SEED), jit_compile=True)()


# A function of a vector that draws random numbers -> the op that the refusal names.
DRAWN = {
    "keras normal": (lambda x: x + random.normal((1, 12), seed=3), "StatelessRandomNormalV2"),
    "keras uniform": (lambda x: x * random.uniform((1, 12), seed=3), "StatelessRandomUniformV2"),
    "keras truncated": (
        lambda x: x + random.truncated_normal((1, 12), seed=3), "StatelessTruncatedNormalV2",
    ),
    "keras categorical": (lambda x: random.categorical(x, 1, seed=3), "StatelessMultinomial"),
    "keras integers": (
        lambda x: x + floats(random.randint((1, 12), 0, 9, seed=3)), "StatelessRandomUniformIntV2",
    ),
    "keras gamma": (lambda x: x + random.gamma((1, 12), 2.0, seed=3), "StatelessRandomGammaV3"),
    "keras beta": (lambda x: x + random.beta((1, 12), 1.0, 2.0, seed=3), "StatelessRandomGammaV3"),
    "keras binomial": (
        lambda x: x + random.binomial((1, 12), 4.0, 0.3, seed=3), "StatelessRandomBinomial",
    ),
    "keras shuffle": (lambda x: random.shuffle(x, 1, seed=3), "StatelessRandomUniformV2"),
    "keras dropout": (lambda x: random.dropout(x, 0.3, seed=3), "StatelessRandomUniformV2"),
    "normal": (lambda x: x + tf.random.normal(SIZE, seed=1), "RandomStandardNormal"),
    "uniform": (lambda x: x + tf.random.uniform(SIZE), "RandomUniform"),
    "integers": (
        lambda x: x + floats(tf.random.uniform(SIZE, 0, 9, tf.int32)), "RandomUniformInt",
    ),
    "truncated": (lambda x: x + tf.random.truncated_normal(SIZE), "TruncatedNormal"),
    "gamma": (lambda x: x + tf.random.gamma(SIZE, 2.0), "RandomGamma"),
    "poisson": (lambda x: x + tf.random.poisson(SIZE, 2.0), "RandomPoissonV2"),
    "categorical": (lambda x: tf.random.categorical(x * 2, 2), "Multinomial"),
    "shuffle": (tf.random.shuffle, "RandomShuffle"),
    "dropout": (lambda x: tf.nn.dropout(x, 0.3), "RandomUniform"),
    "stateless": (
        lambda x: x + tf.random.stateless_uniform(SIZE, SEED), "StatelessRandomUniformV2",
    ),
    "stateless, before TensorFlow 2.5": (
        lambda x: x + tf.raw_ops.StatelessRandomNormal(shape=SIZE, seed=SEED),
        "StatelessRandomNormal",
    ),
    "stateless poisson": (
        lambda x: x + floats(tf.random.stateless_poisson(SIZE, SEED, 3.0)),
        "StatelessRandomPoisson",
    ),
    "stateless categorical": (
        lambda x: tf.random.stateless_categorical(x, 2, SEED), "StatelessMultinomial",
    ),
    "stateless shuffle": (
        lambda x: x + floats(tf.random.experimental.stateless_shuffle(tf.range(12), SEED)),
        "StatelessShuffle",
    ),
    "folded seed": (
        lambda x: x
        + tf.random.stateless_normal(SIZE, tf.random.experimental.stateless_fold_in(SEED, 3)),
        "StatelessRandomNormalV2",
    ),
    "index": (
        lambda x: x * floats(tf.random.experimental.index_shuffle(3, [1, 2], 11)),
        "RandomIndexShuffle",
    ),
    "generator": (lambda x: x + GENERATOR.normal(SIZE), "StatelessRandomNormalV2"),
    "generator's binomial": (
        lambda x: x + floats(GENERATOR.binomial(SIZE, 4.0, 0.5)), "StatefulRandomBinomial",
    ),
    "stateful normal": (
        lambda x: x + tf.raw_ops.StatefulStandardNormalV2(
            resource=GENERATOR.state.handle, algorithm=1, shape=SIZE
        ), "StatefulStandardNormalV2",
    ),
    "sampler": (
        lambda x: x + floats(tf.random.uniform_candidate_sampler([[1]], 1, 12, True, 30)[0]),
        "UniformCandidateSampler",
    ),
    "pooling": (
        lambda x: tf.nn.fractional_max_pool(tf.reshape(x, [1, 3, 4, 1]), [1, 1.4, 1.4, 1])[0],
        "FractionalMaxPool",
    ),
    "in a function": (drawn_in_a_function, "StatelessRandomNormalV2"),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_drawn(name, tmp_path):
    function, kind = DRAWN[name]
    problems = refusal(function_trace(function, VECTOR), tmp_path)
    told = rf"\({kind}\): random numbers, .* save the model for inference, or cut them off"
    assert any(re.search(told, problem) for problem in problems), problems
    assert not any("Cudnn" in problem or "GetKeyCounter" in problem for problem in problems)


class Sampling(layers.Layer):
    """The layer that Keras's example of a variational autoencoder defines."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = random.SeedGenerator(1337)

    def call(self, inputs):
        mean, log_variance = inputs
        epsilon = random.normal(keras.ops.shape(mean), seed=self.seed_generator)
        return mean + keras.ops.exp(0.5 * log_variance) * epsilon


def encoder(data):
    x = layers.Dense(8, activation="relu")(data)
    mean, log_variance = layers.Dense(2, name="mean")(x), layers.Dense(2, name="log_variance")(x)
    return mean, log_variance, Sampling(name="z")([mean, log_variance])


class AlwaysOn(layers.Layer):
    """Dropout in use, for a measure of uncertainty."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind(0.3)

    def call(self, x):
        return self.kind(x, training=True)


KERAS = {
    "variational autoencoder": lambda x: layers.Dense(5)(encoder(x)[2]),
    "dropout that stays on": lambda x: layers.Dense(5)(AlwaysOn(layers.Dropout)(x)),
    "noise that stays on": lambda x: AlwaysOn(layers.GaussianNoise)(layers.Dense(5)(x)),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras(name, tmp_path):
    data = keras.Input((12,))
    (problem,) = refusal(trace.keras_trace(keras.Model(data, KERAS[name](data))), tmp_path)
    assert re.search(r"\(StatelessRandom\w+V2\): random numbers", problem)


def test_encoder_ends_before_the_draw(tmp_path):
    data = keras.Input((12,))
    model = keras.Model(data, encoder(data)[:2])
    graph, _ = reader.read(trace.keras_trace(model), "net")
    assert {"mean", "log_variance"} <= {node.layer for node in graph.nodes}


def test_layers_that_draw_in_training_only():
    data = keras.Input(IMAGE)
    x = layers.Dropout(0.3)(layers.GaussianNoise(0.1)(layers.SpatialDropout2D(0.2)(data)))
    model = keras.Model(data, layers.Conv2D(2, 3)(layers.RandomFlip(seed=1)(x)))
    graph, _ = reader.read(trace.keras_trace(model), "net")
    assert [node.op for node in graph.nodes] == ["Conv2D"]


def test_random_initial_values_are_stored(tmp_path):
    """A variable's initialiser draws, what is stored is a constant."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, 12], "x")
        tf.nn.relu(tf.matmul(x, tf.Variable(tf.random.normal([12, 3]))), name="y")
        path = saved(started(), tmp_path)
    graph, _ = reader.read(loaded(path, outputs=["y"]), "net")
    assert [node.op for node in graph.nodes] == ["MatMul", "Relu"]
    assert np.isfinite(graph.weights()[0].source.value()).all()

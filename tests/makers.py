"""Models in every kind of file: what several tests build, save and load."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.python.training import moving_averages

from tests.harness import randomise
from tf2caffe.frontend import load

IMAGE, DATA = (9, 11, 3), Path(__file__).parent / "data"
RANDOM = np.random.default_rng(3)
v1 = tf.compat.v1


def loaded(path, **options):
    """The trace of a file; the options are those of the command line."""
    return load.load(path, **options)


def functional():
    """A shared layer, a nested model, layers without weights."""
    data = keras.Input(IMAGE, name="data")
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    x = layers.BatchNormalization(name="bn")(shared(shared(data)))
    x = layers.ReLU(name="act")(x)
    depthwise = layers.DepthwiseConv2D(3, name="dw")
    x = keras.Sequential([keras.Input(IMAGE), depthwise], name="inner")(x)
    x = layers.Conv2D(4, 3, name="conv_1")(layers.Dropout(0.5)(x))
    x = layers.Dense(5, name="fc")(layers.Flatten(name="flat")(x))
    return randomise(keras.Model(data, x, name="mynet"))


def several():
    """Two inputs and three outputs, one of them in the middle."""
    image, extra = keras.Input(IMAGE, name="image"), keras.Input((7,), name="extra")
    features = layers.Conv2D(4, 3, name="features")(image)
    pooled = layers.GlobalAveragePooling2D(name="pooled")(features)
    joined = layers.Concatenate(name="joined")([pooled, layers.Dense(4, name="side")(extra)])
    return image, extra, features, layers.Dense(5, name="class")(joined), joined


class Module(tf.Module):
    """Two signatures; one with scopes, conditions and a size that is not known."""

    def __init__(self):
        super().__init__()
        kernels = [RANDOM.normal(size=(3, 3, 3, 4)), RANDOM.normal(size=(4, 5))]
        self.conv, self.dense = (tf.Variable(kernel.astype(np.float32)) for kernel in kernels)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], name="image")])
    def classify(self, image):
        with tf.name_scope("net"):
            with tf.name_scope("conv1"):
                x = tf.nn.relu(tf.nn.conv2d(image, self.conv, 2, "SAME"))
            with tf.name_scope("head"):
                x = tf.matmul(tf.reduce_mean(x, [1, 2]), self.dense)
        return {"answer": x}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *IMAGE], name="image"), tf.TensorSpec([], tf.bool, name="training")
        ]
    )  # fmt: skip
    def switched(self, image, training):
        x = tf.nn.conv2d(image, self.conv, 1, "VALID", name="conv1")
        x = tf.cond(training, lambda: tf.nn.dropout(x, 0.5), lambda: tf.nn.relu(x) * 3.0)
        return {"maps": x}


def inception(x):
    """Slim's manner of naming, an unfused BatchNorm, a fused one."""
    with v1.variable_scope("InceptionV1"):
        with v1.variable_scope("Conv2d_1a"):
            x = tf.nn.conv2d(x, variable("weights", 3, 3, 3, 4), 2, "SAME", name="Conv2D")
            with v1.variable_scope("BatchNorm"):
                names = ("moving_mean", "moving_variance", "beta", "gamma")
                x = tf.nn.batch_normalization(x, *(variable(name, 4) for name in names), 0.01)
            x = tf.nn.relu(x, name="Relu")
        with v1.variable_scope("Conv2d_2b"):
            x = tf.nn.conv2d(x, variable("weights", 1, 1, 4, 6), 1, "VALID", name="Conv2D")
            x = tf.nn.bias_add(x, variable("biases", 6))
            names = ("gamma", "beta", "moving_mean", "moving_variance")
            x, *_ = v1.nn.fused_batch_norm(
                x, *(variable(name, 6) for name in names), epsilon=0.02, is_training=False
            )
        return tf.reduce_mean(x, [1, 2], name="Logits")


INCEPTION = ["Conv2d_1a", "Conv2d_1a/BatchNorm", "Conv2d_1a/Relu", "Conv2d_2b/Conv2D",
             "Conv2d_2b/FusedBatchNorm", "Logits"]  # fmt: skip


def variable(name, *shape):
    value = RANDOM.uniform(0.5, 1.5, shape).astype(np.float32)
    return v1.get_variable(name, initializer=value, trainable="moving" not in name)


def frozen(session, name, folder):
    """A frozen graph in a file."""
    path = folder / "my.pb"
    graph_def = session.graph.as_graph_def()
    graph_def = v1.graph_util.convert_variables_to_constants(session, graph_def, [name])
    path.write_bytes(graph_def.SerializeToString())
    return path


def saved(session, folder):
    """A checkpoint of the session."""
    v1.train.Saver().save(session, str(folder / "model.ckpt"), 7)
    return folder / "model.ckpt-7.meta"


def started():
    """A session with initial values."""
    session = v1.Session()
    session.run([v1.global_variables_initializer(), v1.local_variables_initializer()])
    return session


def norm(x, training, fused, update=True):
    """BatchNorm as one built it in TF1; `training` None is a graph that only trains."""
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    gamma, beta, mean, variance = (variable(name, x.shape[-1]) for name in names)

    def trained():
        if fused:
            y, *statistics = v1.nn.fused_batch_norm(x, gamma, beta, epsilon=0.01)
        else:
            statistics = tf.nn.moments(x, [0, 1, 2])
            y = tf.nn.batch_normalization(x, *statistics, beta, gamma, 0.01)
        updates = [
            moving_averages.assign_moving_average(average, now, 0.9, zero_debias=False)
            for average, now in zip((mean, variance), statistics[:2], strict=True)
            if update
        ]
        with tf.control_dependencies(updates):
            return tf.identity(y)

    def used():
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 0.01)

    if training is None:
        return trained()
    return v1.cond(training, trained, used) if training is not False else used()


def network(x, training, fused, dropped):
    """Two convolutions with BatchNorm and dropout, a dense layer."""
    for name, depth in (("conv1", 3), ("conv2", 4)):
        with v1.variable_scope(name):
            x = tf.nn.conv2d(x, variable("weights", 3, 3, depth, 4), 1, "SAME")
            with v1.variable_scope("bn"):
                x = norm(x, training, fused)
            x = dropped(tf.nn.relu(x))
    with v1.variable_scope("fc"):
        x = tf.reshape(x, [-1, int(np.prod(x.shape[1:]))])
        return tf.nn.bias_add(tf.matmul(x, variable("w", x.shape[1], 5)), variable("b", 5))

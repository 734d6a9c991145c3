"""mnistcls: handwritten digits, 28x28 grey pixels of 0..255 in, one of ten classes out."""

import contextlib
import io
import os
import socket
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf2caffe import files
from tf2caffe.failure import Failure
from tf2caffe.frontend import tf_import
from tf2caffe.training.augmentation import Limits

SHAPE = (28, 28, 1)
CLASSES = [str(digit) for digit in range(10)]


class Recipe(NamedTuple):
    """How the network is trained."""

    epochs: int
    batch: int  # of all GPUs together
    peak_rate: float
    limits: Limits  # how far the training images are distorted in the beginning
    last: float  # the part of it that is left at the end
    smoothing: float  # the part of a label that all classes share


QUICK = Recipe(9, 128, 3e-3, Limits(0.17, 0.1, 0.1, 0.1, 1.5, bend=0.8), 0.3, 0.05)
BEST = Recipe(60, 256, 6e-3, Limits(0.2, 0.12, 0.1, 0.1, 1.5, bend=1.2), 0.3, 0.05)
FEW, EPOCHS_OF_FEW = 20_000, 30  # a set of fewer images is seen more often
WARM_UP = 0.2  # of the steps

DATA = Path(__file__).resolve().parents[1] / "data"
SAMPLE = DATA / "mnist-sample.npz"
HELD_OUT, SPLIT_SEED = 0.2, 0
DOWNLOAD_SECONDS = 10  # without an answer

# graph name -> Caffe layer name, where they differ
CAFFE_NAMES = {
    "input": "input/bias",
    "conv1": "conv01",
    "bn1_norm": "moving01",
    "bn1": "bn01",
    "relu1": "relu01",
    "pool1": "pool01",
    "conv2": "conv02",
    "bn2_norm": "moving02",
    "bn2": "bn02",
    "relu2": "relu02",
    "pool2": "pool02",
    "dense1": "dense01",
    "dense1/Relu": "relu03",
    "dense2": "dense02",
    "probs": "prob",
}


def build():
    """The network, untrained: a Keras model with the outputs `classes` and `probs`."""
    tf_import.tensorflow()
    import keras
    from keras import layers

    data = keras.Input(SHAPE, name="data")
    x = layers.Rescaling(1.0, offset=-128.0, name="input")(data)
    x = convolution(x, 16, "1")
    x = convolution(x, 32, "2")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(512, activation="relu", name="dense1")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    logits = layers.Dense(10, name="dense2")(x)
    outputs = {
        "classes": keras.ops.argmax(logits, axis=-1),
        "probs": layers.Softmax(name="probs")(logits),
    }
    return keras.Model(data, outputs, name="mnistcls")


def convolution(x, filters, number):
    """3x3 convolution, normalised, rectified, halved by maximum."""
    from keras import layers

    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
    # of Keras's default momentum, 0.99, a short run would keep traces of the first steps
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"bn{number}")(x)
    x = layers.ReLU(name=f"relu{number}")(x)
    return layers.MaxPooling2D(2, name=f"pool{number}")(x)


def logits(model, images, training):
    """What `dense2` makes of `images`; a loss is more precise from this than from `probs`."""
    import keras

    values = images
    for layer in model.layers[1:-1]:  # without the input and the softmax
        if training and isinstance(layer, keras.layers.BatchNormalization):
            values = normalize_batch(layer, values)
        else:
            values = layer(values, training=training)
    return values


def normalize_batch(layer, values):
    """BatchNormalization in training by one kernel; with Keras's dozen a step takes 1.5 times."""
    import tensorflow as tf

    values, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        values, layer.gamma, layer.beta, epsilon=layer.epsilon, is_training=True
    )
    replica = tf.distribute.get_replica_context()
    for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        batch = replica.all_reduce("MEAN", batch)
        moving.assign(moving * layer.momentum + batch * (1 - layer.momentum))
    return values


def recipe(images, best):
    """How to train on so many images: in minutes, or to the best that is known."""
    chosen = BEST if best else QUICK
    return chosen._replace(epochs=max(EPOCHS_OF_FEW, chosen.epochs)) if images < FEW else chosen


def learning_rate(peak, steps):
    """A rise to the peak, then half a cosine down to nothing: one cycle."""
    import keras

    rise = round(steps * WARM_UP)
    return keras.optimizers.schedules.CosineDecay(
        peak / 10, steps - rise, warmup_target=peak, warmup_steps=rise
    )


class Digits(NamedTuple):
    """Images (N, 28, 28) uint8, labels (N,), to train on and to test with; where they are from."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    origin: str


def load_data(path=None):
    """The digits in `path`, else the first there are: data/mnist.npz, Keras's, the sample."""
    if path:
        return read_digits(path)
    for kept in (DATA / "mnist.npz", keras_home() / "datasets" / "mnist.npz"):
        if kept.exists():
            return read_digits(kept)
    try:
        return download()
    except Exception as error:  # Keras raises the bare class
        reason = str(error).rpartition(" -- ")[2].strip()
    sample = read_digits(SAMPLE)
    return sample._replace(origin=f"the shipped sample, 5,000 digits (no download: {reason})")


def keras_home():
    """Where Keras caches its downloads."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()


def download():
    """MNIST through Keras, into Keras's cache."""
    tf_import.tensorflow()
    import keras

    former = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            train, test = keras.datasets.mnist.load_data()
    finally:
        socket.setdefaulttimeout(former)
    return Digits(*train, *test, f"downloaded into {keras_home()}")


def read_digits(path):
    """The digits of an npz: Keras's four arrays, or the sample's two, which are split here."""
    try:
        arrays = files.arrays(path)
    except files.Damaged as error:
        raise Failure(f"{path}: not MNIST's npz: {error}") from None
    if {"x", "y"} <= set(arrays):
        return split(*checked(path, arrays, "x", "y"), origin=str(path))
    train = checked(path, arrays, "x_train", "y_train")
    return Digits(*train, *checked(path, arrays, "x_test", "y_test"), str(path))


def checked(path, arrays, x, y):
    """The images and the labels that `arrays` holds under these names."""
    missing = [name for name in (x, y) if name not in arrays]
    if missing:
        raise Failure(f"{path}: not MNIST's npz: there is no {' and no '.join(missing)} in it")
    images, labels = arrays[x], arrays[y]
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != SHAPE[:2]:
        found = f"{images.dtype} {images.shape}"
        raise Failure(f"{path}: not MNIST's npz: {x} is {found}, not uint8 (N, 28, 28)")
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        found = f"{labels.dtype} {labels.shape}"
        raise Failure(
            f"{path}: not MNIST's npz: {y} is {found}, not whole numbers ({len(images)},)"
        )
    if not len(labels) or labels.min() < 0 or labels.max() >= len(CLASSES):
        raise Failure(f"{path}: not MNIST's npz: {y} holds no labels, or others than 0 to 9")
    return images, labels


def split(images, labels, origin):
    """A fifth of each class held out, always the same one."""
    random = np.random.default_rng(SPLIT_SEED)
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        test[members[: round(len(members) * HELD_OUT)]] = True
    return Digits(images[~test], labels[~test], images[test], labels[test], origin)

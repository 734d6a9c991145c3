"""What `model.fit` and Keras's augmentation layers would cost step 1, beside its own.

    python -m benchmarks.fit --data FILE.npz [WAY ...]

Prints each epoch's processor seconds and test accuracy, two epochs of each way (--epochs). It
records nothing: docs/training.md says what came out, and what follows.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from models import mnistcls
from tf2caffe.frontend import tf_import
from tf2caffe.training import replicas, trainer

SEED, SCHEDULE = 1, 9  # epochs of the learning rate's schedule


def main():
    args = arguments()
    data = mnistcls.load_data(args.data)
    recipe = mnistcls.recipe(len(data.x_train), best=False)._replace(epochs=SCHEDULE)
    for way in args.way or WAYS:
        keras().utils.set_random_seed(SEED)
        for epoch, (seconds, accuracy) in enumerate(WAYS[way](data, recipe, args.epochs), 1):
            print(f"{way:7} epoch {epoch}  {seconds:5.1f} s  {accuracy:.4f}", flush=True)


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("way", nargs="*", choices=[*WAYS, []], help=f"of {', '.join(WAYS)}")
    parser.add_argument("--data", type=Path, required=True, help="an npz with Keras's MNIST keys")
    parser.add_argument("--epochs", type=int, default=2, help="default: %(default)s")
    return parser.parse_args()


def ours(data, recipe, epochs):
    """Step 1's own loop."""
    training = trainer.Training(mnistcls, data, recipe, SEED, replicas.strategy())
    for _ in range(epochs):
        start = time.process_time()
        training.epoch("")
        yield time.process_time() - start, training.test()[1]


def plain(data, recipe, epochs):
    """`model.fit` on step 1's batches."""
    whole = mnistcls.build()
    model = keras().Model(whole.input, whole.get_layer("dense2").output)
    return fitted(model, data, own_batches(data, recipe), recipe, epochs)


def fused(data, recipe, epochs):
    """`model.fit` on step 1's batches, with step 1's BatchNormalization."""

    class Logits(keras().Model):
        def __init__(self):
            super().__init__()
            self.whole = mnistcls.build()

        def call(self, images, training=False):
            return mnistcls.logits(self.whole, images, training)

    return fitted(Logits(), data, own_batches(data, recipe), recipe, epochs)


def layers(data, recipe, epochs):
    """`model.fit`, and Keras's layers for the distortion, at its mean strength."""
    whole = mnistcls.build()
    model = keras().Model(whole.input, whole.get_layer("dense2").output)
    chain = distortion(recipe)

    def distorted(images, labels):
        for layer in chain:
            images = layer(images, training=True)
        return images, labels

    return fitted(model, data, batches(data, recipe).map(distorted, -1), recipe, epochs)


def distortion(recipe):
    """Keras's layers for a recipe's limits."""
    limits, strength = recipe.limits, (1 + recipe.last) / 2
    turn, size, stretch, shear, shift, bend = (strength * limit for limit in limits)
    outside = {"fill_mode": "constant", "fill_value": 0.0, "data_format": "channels_last"}
    kinds = keras().layers
    return [
        kinds.RandomRotation(turn / (2 * np.pi), **outside),
        kinds.RandomZoom(size, stretch, **outside),
        kinds.RandomShear(shear, 0.0, **outside),
        kinds.RandomTranslation(shift / 28, shift / 28, **outside),
        kinds.RandomElasticTransform(1.0, scale=bend, value_range=(0, 255), **outside),
    ]


def keras():
    """Keras, after TensorFlow, which otherwise says much."""
    tf_import.tensorflow()
    import keras

    return keras


def batches(data, recipe):
    """The training set as float32, again and again, in another order each epoch."""
    tf = tf_import.tensorflow()
    examples = tf.data.Dataset.from_tensor_slices((as_input(data.x_train), data.y_train))
    shuffled = examples.shuffle(len(data.x_train), SEED).batch(recipe.batch, drop_remainder=True)
    return shuffled.repeat().map(lambda images, labels: (tf.cast(images, "float32"), labels))


def own_batches(data, recipe):
    """The batches that step 1 makes."""
    training = trainer.Training(mnistcls, data, recipe, SEED, replicas.strategy())
    return training.batches(tf_import.tensorflow().distribute.InputContext())


def as_input(images):
    return images[..., None]


def fitted(model, data, examples, recipe, epochs):
    """Processor seconds and test accuracy of each epoch of `model.fit`."""
    steps = len(data.x_train) // recipe.batch
    rate = mnistcls.learning_rate(recipe.peak_rate, recipe.epochs * steps)
    losses, smoothing = keras().losses, recipe.smoothing
    loss = losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    one_hot = keras().ops.one_hot
    examples = examples.map(lambda images, labels: (images, one_hot(labels, 10))).prefetch(-1)
    model.compile(keras().optimizers.Adam(rate), loss, metrics=["accuracy"])
    tests = as_input(data.x_test).astype("float32"), one_hot(data.y_test, 10)
    clock = Clock()
    watched = keras().callbacks.LambdaCallback(on_epoch_begin=clock.start, on_epoch_end=clock.stop)
    model.fit(
        examples, steps_per_epoch=steps, epochs=epochs, verbose=0, callbacks=[watched],
        validation_data=tests, validation_batch_size=1000,
    )  # fmt: skip
    return clock.found


class Clock:
    """Processor seconds and test accuracy of each epoch."""

    def __init__(self):
        self.began, self.found = 0, []

    def start(self, epoch, logs):
        self.began = time.process_time()

    def stop(self, epoch, logs):
        self.found.append((time.process_time() - self.began, logs["val_accuracy"]))


WAYS = {"ours": ours, "plain": plain, "fused": fused, "layers": layers}

if __name__ == "__main__":
    main()

"""Step 1 of 6: train a network of models/ in TensorFlow.

Reads   MNIST: --data FILE.npz, else data/mnist.npz, Keras's download, or the sample shipped here.
Leaves  checkpoints/NAME.keras (whole after every epoch), logs/NAME/ (for TensorBoard) and
        imgs/NAME/tb-loss.png.

    python train.py
    python train.py --best    trains for longer, on images that are distorted more

Every GPU takes its part, and every machine that TF_CONFIG names (tf2caffe/replicas.py).
"""

import tempfile
import time
from pathlib import Path

from tf2caffe import cli
from tf2caffe.failure import Failure
from tf2caffe.frontend import tf_import
from tf2caffe.training import replicas
from tf2caffe.training.metrics import Curves
from tf2caffe.training.augmentation import distort
from tf2caffe.paths import Handoff, replacing
import models

import numpy as np
from tqdm import tqdm


def main():
    args = arguments()
    network, handoff = models.module(args.name), Handoff(args.dir, args.name)
    chief = replicas.chief()
    if chief:
        prepare_folders(handoff)
    data = network.load_data(args.data)
    origin = data.origin.removeprefix(f"{Path.cwd()}/")
    print(f"data: {origin}; {len(data.x_train):,} to train on, {len(data.x_test):,} to test")
    recipe = network.recipe(len(data.x_train), args.best)
    recipe = recipe._replace(epochs=args.epochs or recipe.epochs)
    with replicas.together():
        training = Training(network, data, recipe, args.seed, replicas.strategy())
        if chief:
            lead(training, network, handoff)
        else:
            training.follow()


def lead(training, network, handoff):
    """Train, and leave the files."""
    from tf2caffe.pictures import figures  # imports matplotlib

    curves = Curves(handoff.logs, training.model, network.SHAPE)
    accuracy = train(training, curves, handoff)
    figures.draw_losses(handoff.imgs / "tb-loss.png", *curves.losses())
    print(f"test accuracy: {accuracy:.4f}")
    print(f"left: {handoff.checkpoint}, {handoff.logs}, {handoff.imgs / 'tb-loss.png'}")


def arguments():
    parser = cli.parser(__doc__)
    parser.add_argument("name", nargs="?", default="mnistcls", help="default: %(default)s")
    parser.add_argument("--data", type=Path, metavar="FILE", help="an npz with Keras's MNIST keys")
    parser.add_argument("--best", action="store_true", help="as good as can be, in more time")
    parser.add_argument("--epochs", type=int, help="default: the network's own, by the data's size")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    args = parser.parse_args()
    if args.epochs is not None and args.epochs < 1:
        raise Failure(f"--epochs {args.epochs}: at least one is needed")
    if not 0 <= args.seed < 2**32:
        raise Failure(f"--seed {args.seed}: must be from 0 to {2**32 - 1}")
    return args


def prepare_folders(handoff):
    """Make the folders, and find now, not after an epoch, if one cannot be written."""
    for folder in (handoff.checkpoint.parent, handoff.logs, handoff.imgs):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def train(training, curves, handoff):
    """All epochs; the last one's test accuracy."""
    last = str(training.recipe.epochs)
    try:
        for epoch in range(1, training.recipe.epochs + 1):
            title = f"epoch {epoch:{len(last)}}/{last}"
            accuracy = train_epoch(training, curves, handoff, title)
    except KeyboardInterrupt:
        held = f"holds epoch {training.saved}" if training.saved else "is as it was"
        raise Failure(f"interrupted; {handoff.checkpoint} {held}") from None
    return accuracy


def train_epoch(training, curves, handoff, title):
    """One epoch, its checkpoint and its part of the curves; its test accuracy."""
    start = time.perf_counter()
    losses, accuracy = training.epoch(title)
    test_loss, test_accuracy = training.test()
    training.save(handoff.checkpoint)
    curves.add(losses, accuracy, test_loss, test_accuracy)
    print(
        f"{title}  loss {np.mean(losses):.4f}  test loss {test_loss:.4f}  "
        f"test accuracy {test_accuracy:.4f}  {time.perf_counter() - start:.1f} s",
        flush=True,
    )
    return test_accuracy


class Training:
    """A network, its data and its optimizer, trained an epoch at a time on all GPUs there are.

    docs/training.md says why this is no `model.fit`.
    """

    def __init__(self, network, data, recipe, seed, strategy):
        self.tf = tf_import.tensorflow()
        import keras

        keras.utils.set_random_seed(seed)
        self.network, self.data, self.recipe, self.seed = network, data, recipe, seed
        self.strategy, self.count = strategy, strategy.num_replicas_in_sync
        self.share = max(min(recipe.batch, len(data.x_train)) // self.count, 1)
        self.steps = len(data.x_train) // (self.share * self.count)  # an epoch
        self.saved = 0  # epochs in the checkpoint
        with strategy.scope():
            self.model = network.build()
            rate = network.learning_rate(recipe.peak_rate, recipe.epochs * self.steps)
            self.optimizer = keras.optimizers.Adam(rate)
            self.optimizer.build(self.model.trainable_variables)
        self.distorted = iter(strategy.distribute_datasets_from_function(self.batches))
        self.step = self.tf.function(self.take_step)
        self.measure = self.tf.function(self.measured, reduce_retracing=True)

    def batches(self, machine):
        """This machine's part of the training set, distorted, in another order each epoch."""
        machines, number = machine.num_input_pipelines, machine.input_pipeline_id
        batches_here = self.steps * self.count // machines  # in an epoch

        def distorted(index, batch):
            index = index * machines + number  # among the batches of all machines
            done = tf.cast(index / (self.recipe.epochs * self.steps * self.count), "float32")
            part = 1 - done * (1 - self.recipe.last)
            return distort(batch[0], self.recipe.limits, (self.seed, index), part), batch[1]

        tf, images = self.tf, self.as_input(self.data.x_train)
        examples = tf.data.Dataset.from_tensor_slices((images, self.data.y_train))
        examples = examples.shuffle(len(images), self.seed)  # alike on all machines
        batches = examples.shard(machines, number).batch(self.share, drop_remainder=True)
        batches = batches.take(batches_here).repeat().enumerate()
        return batches.map(distorted, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def as_input(self, images):
        return images.reshape(-1, *self.network.SHAPE)

    def take_step(self, images, labels):
        """Improve the weights on one batch; its loss, and how many of its answers were right."""
        parts = self.strategy.run(self.take_part, (images, labels))
        return [self.strategy.reduce("SUM", part, axis=None) for part in parts]

    def take_part(self, images, labels):
        """One replica's share of `take_step`; the optimizer adds up the gradients of all."""
        variables = self.model.trainable_variables
        with self.tf.GradientTape() as tape:
            logits = self.network.logits(self.model, images, training=True)
            loss = self.losses(labels, logits, self.recipe.smoothing)
            loss = self.tf.reduce_mean(loss) / self.count
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        loss = self.tf.reduce_mean(self.losses(labels, logits)) / self.count  # as `test` has it
        return loss, self.right(labels, logits)

    def losses(self, labels, logits, smoothing=0.0):
        """Cross-entropy with labels of which all classes share a part, `smoothing`."""
        classes = logits.shape[-1]
        wanted = self.tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
        return self.tf.nn.softmax_cross_entropy_with_logits(wanted, logits)

    def right(self, labels, logits):
        """How many answers are right."""
        answers = self.tf.argmax(logits, -1)
        return self.tf.math.count_nonzero(answers == self.tf.cast(labels, "int64"))

    def epoch(self, title):
        """See all of the training set; the loss of each batch, and the accuracy."""
        bar = tqdm(range(self.steps), title, leave=False, disable=None)
        losses, right = zip(*(self.step(*next(self.distorted)) for _ in bar), strict=True)
        return np.array(losses), np.sum(right) / (self.steps * self.share * self.count)

    def follow(self):
        """Train with the machine that leads, and leave files to it."""
        for epoch in range(1, self.recipe.epochs + 1):
            self.epoch(f"epoch {epoch}")

    def save(self, checkpoint):
        """Put the model in the place of `checkpoint`, in one step."""
        with replacing(checkpoint) as temporary:
            self.model.save(temporary)
        self.saved += 1

    def measured(self, images, labels):
        logits = self.network.logits(self.model, images, training=False)
        return self.tf.reduce_sum(self.losses(labels, logits)), self.right(labels, logits)

    def test(self):
        """Loss and accuracy over the test set."""
        images = self.as_input(self.data.x_test).astype("float32")
        labels = self.data.y_test
        parts = [
            self.measure(images[start : start + 1000], labels[start : start + 1000])
            for start in range(0, len(labels), 1000)
        ]
        loss, right = np.sum(parts, axis=0) / len(labels)
        return loss, right


if __name__ == "__main__":
    cli.run(main)

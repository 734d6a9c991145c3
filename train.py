"""Step 1 of 6: train a network of models/ in TensorFlow.

Reads   MNIST: --data FILE.npz, else data/mnist.npz, Keras's download, or the sample shipped here.
Leaves  checkpoints/NAME.keras (whole after every epoch), logs/NAME/ (for TensorBoard) and
        imgs/NAME/tb-loss.png.

    python train.py
"""

import shutil
import tempfile
import time
from pathlib import Path

from tf2caffe import quiet, stage
from tf2caffe.handoff import Handoff, replacing
import models

import numpy as np
from tqdm import tqdm


def main():
    args = arguments()
    from tf2caffe import pictures  # imports matplotlib

    network = models.module(args.name)
    handoff = Handoff(args.dir, args.name)
    prepare_folders(handoff)
    data = network.load_data(args.data)
    print(f"data: {data.origin}; {len(data.x_train):,} to train on, {len(data.x_test):,} to test")
    training = Training(network, data, args.epochs, args.seed)
    curves = Curves(handoff.logs, training.model, network.SHAPE)
    accuracy = train(training, curves, handoff)
    pictures.draw_losses(handoff.imgs / "tb-loss.png", *curves.losses())
    print(f"test accuracy: {accuracy:.4f}")
    print(f"left: {handoff.checkpoint}, {handoff.logs}, {handoff.imgs / 'tb-loss.png'}")


def arguments():
    parser = stage.parser(__doc__)
    parser.add_argument("name", nargs="?", default="mnistcls", help="default: %(default)s")
    parser.add_argument("--data", type=Path, metavar="FILE", help="an npz with Keras's MNIST keys")
    parser.add_argument("--epochs", type=int, help="default: the network's own, by the data's size")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    args = parser.parse_args()
    if args.epochs is not None and args.epochs < 1:
        raise stage.Failure(f"--epochs {args.epochs}: at least one is needed")
    if not 0 <= args.seed < 2**32:
        raise stage.Failure(f"--seed {args.seed}: must be from 0 to {2**32 - 1}")
    return args


def prepare_folders(handoff):
    """Make the folders, and find now, not after an epoch, if one cannot be written."""
    for folder in (handoff.checkpoint.parent, handoff.logs, handoff.imgs):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def train(training, curves, handoff):
    """All epochs; the last one's test accuracy."""
    last = str(training.epochs)
    try:
        for epoch in range(1, training.epochs + 1):
            title = f"epoch {epoch:{len(last)}}/{last}"
            accuracy = train_epoch(training, curves, handoff, title)
    except KeyboardInterrupt:
        held = f"holds epoch {training.saved}" if training.saved else "is as it was"
        raise stage.Failure(f"interrupted; {handoff.checkpoint} {held}") from None
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
    """A network, its data and its optimizer, trained an epoch at a time."""

    def __init__(self, network, data, epochs, seed):
        self.tf = quiet.tensorflow()
        import keras

        keras.utils.set_random_seed(seed)
        self.data, self.network = data, network
        self.epochs = epochs or network.epochs(len(data.x_train))
        self.saved = 0  # epochs in the checkpoint
        self.batch = min(network.BATCH, len(data.x_train))
        self.batches = self.shuffled_batches(seed)
        self.model = network.build()
        rate = network.learning_rate(self.epochs * len(self.batches))
        self.optimizer = keras.optimizers.Adam(rate)
        self.optimizer.build(self.model.trainable_variables)
        self.step = self.tf.function(self.take_step)
        self.measure = self.tf.function(self.measured, reduce_retracing=True)

    def shuffled_batches(self, seed):
        """The training set as batches of the network's input, in another order each epoch."""
        images, labels = self.data.x_train, self.data.y_train
        batches = self.tf.data.Dataset.from_tensor_slices((images, labels))
        batches = batches.shuffle(len(images), seed).batch(self.batch, drop_remainder=True)
        batches = batches.map(lambda x, y: (self.network.augment(self.as_input(x)), y))
        return batches.prefetch(2)

    def as_input(self, images):
        return self.tf.reshape(self.tf.cast(images, "float32"), (-1, *self.network.SHAPE))

    def take_step(self, images, labels):
        """Improve the weights on one batch; its loss, and how many of its answers were right."""
        variables = self.model.trainable_variables
        with self.tf.GradientTape() as tape:
            logits = self.network.logits(self.model, images, training=True)
            loss = self.tf.reduce_mean(self.losses(labels, logits))
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss, self.right(labels, logits)

    def losses(self, labels, logits):
        labels = self.tf.cast(labels, "int32")
        return self.tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    def right(self, labels, logits):
        """How many answers are right."""
        answers = self.tf.argmax(logits, -1)
        return self.tf.math.count_nonzero(answers == self.tf.cast(labels, "int64"))

    def epoch(self, title):
        """See all of the training set; the loss of each batch, and the accuracy."""
        bar = tqdm(self.batches, title, leave=False, disable=None)
        losses, right = zip(*(self.step(*batch) for batch in bar), strict=True)
        return np.array(losses), np.sum(right) / (len(losses) * self.batch)

    def save(self, checkpoint):
        """Put the model in the place of `checkpoint`, in one step."""
        with replacing(checkpoint) as temporary:
            self.model.save(temporary)
        self.saved += 1

    def measured(self, images, labels):
        logits = self.network.logits(self.model, self.as_input(images), training=False)
        return self.tf.reduce_sum(self.losses(labels, logits)), self.right(labels, logits)

    def test(self):
        """Loss and accuracy over the test set."""
        images, labels = self.data.x_test, self.data.y_test
        parts = [
            self.measure(images[start : start + 1000], labels[start : start + 1000])
            for start in range(0, len(labels), 1000)
        ]
        loss, right = np.sum(parts, axis=0) / len(labels)
        return loss, right


class Curves:
    """Loss and accuracy by the number of batches seen: kept for the picture, and in the logs."""

    def __init__(self, folder, model, shape):
        self.tf = quiet.tensorflow()
        self.train_loss, self.test_loss, self.test_steps = [], [], []
        shutil.rmtree(folder)  # or TensorBoard would draw the former run's curves into these
        self.writers = {
            name: self.tf.summary.create_file_writer(str(folder / name))
            for name in ("train", "test")
        }
        with self.writers["train"].as_default():
            self.tf.summary.graph(graph(self.tf, model, shape))

    def add(self, losses, accuracy, test_loss, test_accuracy):
        """Continue the curves by one epoch."""
        first = len(self.train_loss) + 1
        self.train_loss.extend(losses)
        last = len(self.train_loss)
        self.test_steps.append(last)
        self.test_loss.append(test_loss)
        for step, loss in enumerate(losses, first):
            self.write("train", "loss", loss, step)
        self.write("train", "accuracy", accuracy, last)
        self.write("test", "loss", test_loss, last)
        self.write("test", "accuracy", test_accuracy, last)
        for writer in self.writers.values():
            writer.flush()

    def write(self, curve, tag, value, step):
        """What tf.summary.scalar does, which needs TensorBoard itself installed."""
        metadata = self.tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_SCALAR")
        metadata.plugin_data.plugin_name = "scalars"
        with self.writers[curve].as_default():
            self.tf.summary.write(tag, np.float32(value), step, metadata)

    def losses(self):
        """The arguments of `draw_losses`: steps and training loss, steps and test loss."""
        steps = range(1, len(self.train_loss) + 1)
        return steps, self.train_loss, self.test_steps, self.test_loss


def graph(tf, model, shape):
    """The model's graph as TensorBoard draws it."""
    call = tf.function(lambda images: model(images, training=False))
    return call.get_concrete_function(tf.TensorSpec((1, *shape))).graph


if __name__ == "__main__":
    stage.run(main)

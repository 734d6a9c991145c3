"""How a training goes: the curves and the graph that TensorBoard draws, in logs/NAME/."""

import shutil

import numpy as np

from tf2caffe.frontend import tf_import


class Curves:
    """Loss and accuracy by the number of batches seen: kept for the picture, and in the logs."""

    def __init__(self, folder, model, shape):
        self.tf = tf_import.tensorflow()
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

"""The training itself, an epoch at a time, on all GPUs and machines that there are."""

import numpy as np
from tqdm import tqdm

from tf2caffe.frontend import tf_import
from tf2caffe.paths import replacing
from tf2caffe.training.augmentation import distort


class Training:
    """A network, its data and its optimizer, trained an epoch at a time on all GPUs there are."""

    def __init__(self, network, data, recipe, seed, strategy):
        self.tf = tf_import.tensorflow()
        keras = tf_import.keras()
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

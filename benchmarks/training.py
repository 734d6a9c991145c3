"""Step 1: how right its networks are, how soon, and whether it ever waits for its images.

    python -m benchmarks.training [--data FILE.npz]

It takes the whole of MNIST and about 50 minutes on two cores: `train.py` and
`train.py --best` for three seeds each, and the reference's recipe once.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev

from benchmarks import table
from models import mnistcls
from tf2caffe import cli
from tf2caffe.failure import Failure
from tf2caffe.frontend import tf_import
from tf2caffe.training import replicas
from tf2caffe.training.trainer import Training

SEEDS = (1, 2, 3)
ACCURACY, SECONDS = {(): 0.9930, ("--best",): 0.9955}, 120  # promised
GOAL = 0.9828  # the reference's accuracy, and its recipe: plain gradient descent
IMAGES, BATCH, RATE, EPOCHS = 20_000, 32, 1e-3, 40
ROUNDS, STEPS = 7, 100
TESTS = 10_000


def main():
    path = arguments().data
    data = mnistcls.load_data(path)
    if len(data.x_train) < 60_000:
        raise Failure(f"{data.origin}: not the whole of MNIST; name it with --data")
    figures = [*runs(path, "--best"), *runs(path), goal(data), feeding(data)]
    table.record(__spec__.name, figures)


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="FILE", help="an npz with Keras's MNIST keys")
    return parser.parse_args()


def goal(data):
    """Seconds of training until GOAL: one epoch of ours, and the reference's recipe."""
    ours = [one_epoch(data, seed) for seed in SEEDS]
    seconds, accuracy = reference(data)
    rival = f"SGD, rate {RATE}, batch {BATCH}, {IMAGES:,} images, to {accuracy:.4f} (one run)"
    what = f"training to {GOAL} (`train.py --epochs 1`)"
    return table.Figure(what, "s", ours, rival, [seconds] * len(ours), "at least 20")


def one_epoch(data, seed):
    start = time.perf_counter()
    training = trainer(data, seed, epochs=1)
    training.epoch("")
    seconds = time.perf_counter() - start
    _, accuracy = training.test()
    print(f"one epoch, seed {seed}: {accuracy:.4f} after {seconds:.1f} s", flush=True)
    if accuracy < GOAL:
        raise Failure(f"one epoch ends at {accuracy:.4f}, below {GOAL}")
    return seconds


def trainer(data, seed, epochs):
    recipe = mnistcls.recipe(len(data.x_train), best=False)._replace(epochs=epochs)
    return Training(mnistcls, data, recipe, seed, replicas.strategy())


def reference(data):
    """Seconds of Keras's own training until GOAL, or of all EPOCHS, and the accuracy then."""
    tf_import.tensorflow()
    import keras

    keras.utils.set_random_seed(SEEDS[0])
    whole = mnistcls.build()
    model = keras.Model(whole.input, whole.get_layer("dense2").output)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE), loss, metrics=["accuracy"])
    images, tests = (x[..., None].astype("float32") for x in (data.x_train, data.x_test))
    seconds = 0
    for epoch in range(1, EPOCHS + 1):
        start = time.perf_counter()
        model.fit(images[:IMAGES], data.y_train[:IMAGES], BATCH, verbose=0)
        seconds += time.perf_counter() - start
        _, accuracy = model.evaluate(tests, data.y_test, 1000, verbose=0)
        print(f"reference, epoch {epoch}: {accuracy:.4f} after {seconds:.1f} s", flush=True)
        if accuracy >= GOAL:
            break
    return seconds, accuracy


def feeding(data):
    """How long a step waits for its batch, against the step itself."""
    training = trainer(data, SEEDS[0], epochs=1)
    times = [waited(training) for _ in range(ROUNDS + 1)][1:]  # the first one compiles
    waits, steps = zip(*times, strict=True)
    return table.Figure("a training step's wait for its batch", "ms", waits, "the step", steps)


def waited(training):
    """Milliseconds for which one of STEPS steps waits for its batch, and those that it takes."""
    waits = steps = 0
    for _ in range(STEPS):
        start = time.perf_counter()
        batch = next(training.distorted)
        given = time.perf_counter()
        loss, _ = training.step(*batch)
        float(loss)  # waits for it
        waits, steps = waits + given - start, steps + time.perf_counter() - given
    return waits / STEPS * 1000, steps / STEPS * 1000


def runs(path, *options):
    """`train.py` with these options, for each seed: its wrong answers, and the time of it all."""
    command = " ".join(["`train.py", *options]) + "`"
    seconds, accuracies = zip(*(run(path, seed, *options) for seed in SEEDS), strict=True)
    told = f"{mean(accuracies):.4f} ± {stdev(accuracies):.4f}"
    print(f"{command}: {told}, mean and deviation of the seeds {SEEDS}", flush=True)
    wrong = (1 - mean(accuracies)) * TESTS
    what = f"{command}: wrong answers of {TESTS:,}, mean of {len(SEEDS)} seeds (accuracy {told})"
    figures = [promised(what, "", [wrong], (1 - ACCURACY[options]) * TESTS)]
    if not options:
        figures.append(promised(f"{command}: all of it", "s", seconds, SECONDS))
    return figures


def promised(what, unit, ours, promise):
    return table.Figure(what, unit, ours, "the promise", [promise] * len(ours), "at least 1")


def run(path, seed, *options):
    """Seconds and test accuracy of one run of `train.py`."""
    data = ["--data", path] if path else []
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "train.py", *options, *data, "--seed", seed, "--dir", folder]
        start = time.perf_counter()
        said = subprocess.run(map(str, words), capture_output=True, text=True, check=True).stdout
        seconds = time.perf_counter() - start
    accuracy = float(re.search(r"test accuracy: (.*)", said)[1])
    print(f"train.py {' '.join(options)} seed {seed}: {accuracy:.4f}, {seconds:.0f} s", flush=True)
    return seconds, accuracy


if __name__ == "__main__":
    cli.run(main)

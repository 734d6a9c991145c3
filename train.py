"""Step 1 of 6: train a network of models/ in TensorFlow.

Reads   MNIST: --data FILE.npz, else data/mnist.npz, Keras's download, or the sample shipped here.
Writes  checkpoints/NAME.keras (whole after every epoch), logs/NAME/ (for TensorBoard) and
        imgs/NAME/tb-loss.png.

    python train.py
    python train.py --best    trains for longer, on images that are distorted more

It trains on every GPU, and on every machine that TF_CONFIG names (tf2caffe/training/replicas.py).
"""

import tempfile
import time
from pathlib import Path

from tf2caffe import cli
from tf2caffe.failure import Failure
from tf2caffe.paths import Handoff


def main():
    args = arguments()
    import models
    from tf2caffe.training import replicas
    from tf2caffe.training.trainer import Training

    network, handoff = models.module(args.name), Handoff(args.dir, args.name)
    chief = replicas.chief()
    data = network.load_data(args.data)
    if chief:
        prepare_folders(handoff)
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
    """Train, and write the files."""
    from tf2caffe.pictures import figures
    from tf2caffe.training.metrics import Curves

    curves = Curves(handoff.logs, training.model, network.SHAPE)
    accuracy = train(training, curves, handoff)
    figures.draw_losses(handoff.imgs / "tb-loss.png", *curves.losses())
    print(f"test accuracy: {accuracy:.4f}")
    print(f"wrote: {handoff.checkpoint}, {handoff.logs}, {handoff.imgs / 'tb-loss.png'}")


def arguments():
    parser = cli.parser(__doc__)
    cli.add_name(parser)
    parser.add_argument("--data", type=Path, metavar="FILE", help="an .npz with Keras's MNIST keys")
    parser.add_argument("--best", action="store_true", help="take longer, for the highest accuracy")
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
        state = f"contains epoch {training.saved}" if training.saved else "is unchanged"
        raise Failure(f"interrupted; {handoff.checkpoint} {state}") from None
    return accuracy


def train_epoch(training, curves, handoff, title):
    """One epoch, its checkpoint and its part of the curves; its test accuracy."""
    start = time.perf_counter()
    losses, accuracy = training.epoch(title)
    test_loss, test_accuracy = training.test()
    training.save(handoff.checkpoint)
    curves.add(losses, accuracy, test_loss, test_accuracy)
    print(
        f"{title}  loss {losses.mean():.4f}  test loss {test_loss:.4f}  "
        f"test accuracy {test_accuracy:.4f}  {time.perf_counter() - start:.1f} s",
        flush=True,
    )
    return test_accuracy


if __name__ == "__main__":
    cli.run(main)

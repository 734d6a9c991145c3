"""Which layers are drawn, and how: channels of pictures, bars of vectors, labels below images."""

from fnmatch import fnmatch

import numpy as np

from tf2caffe.failure import Failure, refuse_idle

DRAWN = 48  # layers, unless some are chosen: three pages


def check(patterns, layers):
    """Raise `Failure` where one of --layers fits none of these names."""
    idle = [wanted for wanted in patterns or [] if not any(fnmatch(one, wanted) for one in layers)]
    if idle:
        raise Failure(f"--layers {','.join(idle)}: no layer has such a name")


def check_drawn(table, patterns, path):
    """The classes to draw: the lines of the file of labels `path`, else the network's own.

    Raises `Failure` where what is to be drawn, --layers or --labels, is not in the network.
    """
    check(patterns, [entry.name for entry in table.layers])
    if not path:
        return table.classes
    if not (table.answers and len(table.inputs) == 1):
        needed = "the network gives no answers to one image, which they could stand below"
        refuse_idle(needed, labels=path)
    classes = labels(path)
    sizes = {entry.name: entry.layout.tf_shape[0] for entry in table.layers}
    check_labels(sizes[table.answers[-1]], classes)
    return classes


def chosen(layers, patterns=None):
    """The layers to draw: those that fit a pattern; else all, or DRAWN of them, evenly spaced."""
    if patterns:
        check(patterns, layers)
        return {
            name: array
            for name, array in layers.items()
            if any(fnmatch(name, pattern) for pattern in patterns)
        }
    if len(layers) <= DRAWN:
        return layers
    print(f"{DRAWN} of {len(layers)} layers are drawn; --layers chooses others")
    names = list(layers)
    return {names[at]: layers[names[at]] for at in np.linspace(0, len(names) - 1, DRAWN, dtype=int)}


def draw_layers(folder, layers, scale=None):
    """`convs.png` and `denses.png` of arrays without a batch axis, in the colours of `scale`.

    `scale` are the layers (TensorFlow's) that set the limits of the colours and bars; by default
    the layers themselves. Returns the paths.
    """
    from tf2caffe.pictures import figures  # imports matplotlib

    convs = {name: array for name, array in layers.items() if array.ndim == 3}
    denses = {name: array for name, array in layers.items() if array.ndim == 1}
    scale = scale or layers
    written = []
    if convs:
        limits = figures.channel_limits({name: scale[name] for name in convs})
        written += figures.draw_channels(folder / "convs.png", convs, limits)
    if denses:
        limits = figures.bar_limits({name: scale[name] for name in denses})
        written += figures.draw_bars(folder / "denses.png", denses, limits)
    return written


def draw_caffe(handoff, rows, kept, patterns=None, answers=(), classes=()):
    """The pictures of Caffe's side, and of both side by side; return their paths.

    `rows` are a proof's, `kept` TensorFlow's activations. If there are `classes`, each image is
    drawn with its label, which the last of the layers `answers` gives.
    """
    from tf2caffe.pictures import figures  # imports matplotlib

    first = {row.name: row for row in reversed(rows)}  # of blobs that hold the same
    first = {row.name: row for row in rows if first[row.name] is row}
    drawn = chosen(first, patterns).values()
    caffe = {row.blob: row.caffe[kept.shown] for row in drawn}
    tf = {row.blob: row.tf[kept.shown] for row in drawn}
    written = draw_layers(handoff.caffe_imgs, caffe, tf)
    found = [row for row in rows if row.name in answers]
    if classes and found and len(kept.inputs) == 1:
        path = handoff.caffe_imgs / "res10.png"
        (pixels,) = kept.inputs.values()
        figures.draw_answers(path, pixels, captions(found[-1].caffe, classes))
        written.append(path)
    compared = [
        (row.name, row.blob, row.tf[kept.shown], row.caffe[kept.shown], row.error) for row in drawn
    ]
    return written + figures.draw_comparison(handoff.imgs / "compare.png", compared)


def labels(path):
    """The lines of a file of labels."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise Failure(f"--labels {path} is not a text file in UTF-8") from None


def check_labels(count, classes):
    if count > len(classes):
        raise Failure(f"--labels has {len(classes)} lines, the network {count} answers")


def captions(probabilities, classes):
    """Label and confidence of each image."""
    check_labels(probabilities.shape[1], classes)
    return [f"{classes[row.argmax()]}  {row.max():.2%}" for row in probabilities]

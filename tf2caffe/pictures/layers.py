"""Which layers are drawn, and how: channels of pictures, bars of vectors, labels below images."""

from fnmatch import fnmatch

import numpy as np

from tf2caffe.failure import Failure, refuse_idle
from tf2caffe.proof import parity

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


def draw_layers(folder, layers, scale=None, side="TensorFlow", image=""):
    """`convs.png` and `denses.png` of arrays without a batch axis, in the colours of `scale`.

    `scale` are the layers (TensorFlow's) that set the limits of the colours and bars; by default
    the layers themselves. `side` and `image` stand above. Returns the paths.
    """
    from tf2caffe.pictures import figures  # imports matplotlib

    convs = {name: array for name, array in layers.items() if array.ndim == 3}
    denses = {name: array for name, array in layers.items() if array.ndim == 1}
    scale, written = scale or layers, []
    heading = [(" · ".join(filter(None, [side, image])), figures.INK)]
    if convs:
        limits = figures.channel_limits({name: scale[name] for name in convs})
        written += figures.draw_channels(folder / "convs.png", convs, limits, heading)
    if denses:
        limits = figures.bar_limits({name: scale[name] for name in denses})
        written += figures.draw_bars(folder / "denses.png", denses, limits, heading)
    return written


def draw_caffe(verdict, patterns=None, classes=()):
    """The pictures of Caffe's side, and of both side by side; of the deploy form these alone.

    Returns their paths. If there are `classes`, each image is drawn with its label.
    """
    found, kept = verdict.found, verdict.found.kept
    first = {row.name: row for row in reversed(verdict.rows)}  # of blobs that hold the same
    first = {row.name: row for row in verdict.rows if first[row.name] is row}
    drawn, written = list(chosen(first, patterns).values()), []
    if not found.reference:
        caffe = {row.blob: row.caffe[kept.shown] for row in drawn}
        tf = {row.blob: row.tf[kept.shown] for row in drawn}
        side = "Caffe", kept.images[kept.shown]
        written = draw_layers(found.handoff.caffe_imgs, caffe, tf, *side)
        written += draw_labels(verdict, classes)
    return written + draw_compared(verdict, drawn)


def draw_labels(verdict, classes):
    """`res10.png`: each image with Caffe's label; none where there are no classes or answers."""
    from tf2caffe.pictures import figures

    found, kept = verdict.found, verdict.found.kept
    answers = [row for row in verdict.rows if row.name in found.table.answers]
    if not (classes and answers and len(kept.inputs) == 1):
        return []
    path, (pixels,) = found.handoff.caffe_imgs / "res10.png", kept.inputs.values()
    expected = kept.made.get("expected")
    told, right = captions(answers[-1].caffe, classes, expected)
    heading = [(f"{found.handoff.name} in Caffe: label and confidence", figures.INK)]
    return [figures.draw_answers(path, pixels, told, right, heading)]


def draw_compared(verdict, rows):
    """`compare.png`: these rows of the proof, below the verdict and the bound."""
    from tf2caffe.pictures import figures

    found, kept = verdict.found, verdict.found.kept
    compared = [comparison(row, kept.shown, verdict.tolerance) for row in rows]
    form = ", deploy form" if found.reference else ""
    sides = f"TensorFlow and Caffe ({verdict.runtime}), {len(rows)} of {len(verdict.rows)} layers"
    heading = [
        (f"{found.handoff.name}{form} · {kept.images[kept.shown]} · {sides}", figures.INK),
        (str(verdict), figures.GREEN if verdict.equal else figures.RED),
        (f"bound: {verdict.tolerance:g} of its scale for each layer alone, and for the first "
         f"{parity.SHALLOW} from the input on; as much more for each layer beyond", figures.FAINT),
    ]  # fmt: skip
    return figures.draw_comparison(found.handoff.compare, compared, heading)


def comparison(row, image, tolerance):
    """A row of the proof for one image, as it is drawn: a `figures.Compared`."""
    from tf2caffe.pictures import figures

    bound, fault = parity.allowed(row.depth, tolerance), parity.fault(row, tolerance)
    sides = row.tf[image], row.caffe[image]
    return figures.Compared(row.name, row.blob, *sides, row.error, bound, row.scale, fault)


def labels(path):
    """The lines of a file of labels."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise Failure(f"--labels {path} is not a text file in UTF-8") from None


def check_labels(count, classes):
    if count > len(classes):
        raise Failure(f"--labels has {len(classes)} lines, the network {count} answers")


def captions(probabilities, classes, expected=None):
    """(label and confidence of each image, whether it is right).

    `expected` are the labels that the images should get, None where it is not known.
    """
    check_labels(probabilities.shape[1], classes)
    expected = expected or [None] * len(probabilities)
    told, right = [], []
    for row, wanted in zip(probabilities, expected, strict=True):
        label = classes[row.argmax()]
        told.append(f"{label}  {row.max():.2%}")
        told[-1] += f"\nexpected: {wanted}" if wanted is not None else ""
        right.append(None if wanted is None else label == wanted)
    return told, right

"""Processor seconds of steps 4 and 5 over layers and over parameters: a straight line, drawn.

    python -m benchmarks.linear

Leaves imgs/linear.png. The networks are random chains: of 10 to 2,000 layers with few parameters,
and of 10 dense layers with 1 to 400 million parameters. What the kernel spends on memory and files
is told apart: it is the machine's, and far from straight in some virtual ones.
"""

import contextlib
import io
import os
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import converter, table
from benchmarks.conversion import plain_write
from benchmarks.measure import measure
from tf2caffe.frontend import tf_import
from tf2caffe.paths import Handoff, replacing
from tf2caffe.pictures.figures import BLUE, LINE

PICTURE = Path(__file__).resolve().parents[1] / "imgs" / "linear.png"
LAYERS = (10, 250, 500, 1000, 2000)
MILLIONS = (1, 50, 100, 200, 400)
RUNS, CHANNELS, SIDE, DENSE = 3, 8, 16, 10


def main():
    tf_import.tensorflow()
    import keras

    sys.setrecursionlimit(100_000)  # Keras walks a model of 2,000 layers by recursion
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=PICTURE.parents[1]) as folder:
        handoff = Handoff(folder, "chain")
        seconds(chain(10), handoff)  # what TensorFlow does once
        layers = {count: [] for count in LAYERS}
        millions, plain = {count: [] for count in MILLIONS}, []
        size = 2 * 4 * 1_000_000 * max(MILLIONS)  # bytes of the weights' files and the caffemodel
        for _ in range(RUNS):
            for runs, made in ((layers, chain), (millions, dense)):
                for count in runs:
                    keras.backend.clear_session()
                    runs[count].append(seconds(made(count), handoff))
            plain.append(measure(lambda: plain_write(handoff.root / "plain", size)))
    draw(layers, millions)
    largest = [sum(took) for took in millions[max(millions)]]
    figures = [
        flatness("layers", layers, 250),
        flatness("million parameters", millions, 50),
        table.Figure(
            f"{max(millions)} million parameters: all processor seconds, the kernel's among them",
            "s", largest, f"a plain write of the same {size / 1e6:,.0f} MB, with fsync",
            [took["user"] + took["system"] for took in plain],
        ),
    ]  # fmt: skip
    table.record(__spec__.name, figures)


def chain(count, seed=1):
    """A Keras model of `count` layers, drawn at random; an Add joins what lies two layers apart."""
    import keras

    draw, data = random.Random(seed), keras.Input((SIDE, SIDE, CHANNELS), name="data")
    made = [data, data]
    for at in range(count):
        kind = draw.choice(KINDS)
        made.append(kind(keras.layers, f"{kind.__name__}{at}", *made[:-3:-1]))
    return keras.Model(data, made[-1])


def dense(millions):
    """A Keras model of DENSE dense layers, so many million parameters together."""
    import keras

    width = round((millions * 1e6 / DENSE) ** 0.5)
    model = keras.Sequential([keras.Input((width,), name="data")])
    for at in range(DENSE):
        model.add(keras.layers.Dense(width, use_bias=False, name=f"dense{at}"))
    return model


def seconds(model, handoff):
    """Of both steps, from the model in memory to the network's files and its picture.

    (processor seconds outside the kernel, in the kernel).
    """
    os.sync()
    saved = measure(converter.saving(model, Path(os.devnull), handoff))
    with contextlib.redirect_stdout(io.StringIO()):
        built = converter.step5(handoff.name, handoff.root)
    return tuple(saved[spent] + built[spent] for spent in ("user", "system"))


def flatness(unit, runs, small):
    """What a layer costs in the largest network, against what it costs in a small one."""
    large = max(runs)
    return table.Figure(
        f"processor seconds outside the kernel for 1,000 {unit}, in a network of {large:,}",
        "s",
        [1000 * user / large for user, _ in runs[large]],
        f"the same in one of {small}",
        [1000 * user / small for user, _ in runs[small]],
        "at least 1",
    )


def draw(layers, millions):
    """Both lines: every run two points, and the straight line through the medians of ours."""
    figure = Figure(figsize=(12, 4.2), dpi=80, layout="tight")
    titles = "layers, few parameters", f"million parameters, {DENSE} layers"
    for axes, runs, title in zip(figure.subplots(1, 2), (layers, millions), titles, strict=True):
        counts = np.array(list(runs))
        took = np.array(list(runs.values()))  # (counts, RUNS, 2)
        slope, start = np.polyfit(counts, np.median(took[..., 0], 1), 1)
        axes.plot(counts, slope * counts + start, color=LINE, linewidth=1.5)
        places = np.repeat(counts, RUNS)
        axes.plot(places, took.sum(-1).ravel(), "o", color=LINE, label="with the kernel's")
        axes.plot(places, took[..., 0].ravel(), "o", color=BLUE, label="outside the kernel")
        axes.legend(frameon=False, reverse=True)
        axes.set_xlabel(title)
        axes.set_ylabel("processor seconds, steps 4 and 5")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(color="#e3e7eb")
        axes.spines[["top", "right"]].set_visible(False)
    with replacing(PICTURE) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def convolution(layers, name, x, before):
    return layers.Conv2D(CHANNELS, 3, padding="same", name=name)(x)


def depthwise(layers, name, x, before):
    return layers.DepthwiseConv2D(3, padding="same", name=name)(x)


def norm(layers, name, x, before):
    return layers.BatchNormalization(name=name)(x)


def relu(layers, name, x, before):
    return layers.ReLU(name=name)(x)


def add(layers, name, x, before):
    return layers.Add(name=name)([x, before])


KINDS = (convolution, depthwise, norm, relu, add)

if __name__ == "__main__":
    main()

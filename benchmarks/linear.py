"""Processor seconds of steps 4 and 5 over layers and over parameters: a straight line, drawn.

    python -m benchmarks.linear

Leaves imgs/linear.png. The networks are random chains: of 10 to 2,000 layers with few parameters,
and of 10 dense layers with 1 to 400 million parameters.
"""

import contextlib
import io
import os
import random
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import converter, table
from benchmarks.measure import measure
from tf2caffe import quiet
from tf2caffe.handoff import Handoff, replacing
from tf2caffe.pictures import BLUE, LINE

PICTURE = Path(__file__).resolve().parents[1] / "imgs" / "linear.png"
LAYERS = (10, 250, 500, 1000, 2000)
MILLIONS = (1, 50, 100, 200, 400)
RUNS, CHANNELS, SIDE, DENSE = 3, 8, 16, 10


def main():
    quiet.tensorflow()
    import keras

    sys.setrecursionlimit(100_000)  # Keras walks a model of 2,000 layers by recursion
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=PICTURE.parents[1]) as folder:
        handoff = Handoff(folder, "chain")
        seconds(chain(10), handoff)  # what TensorFlow does once
        layers = {count: [] for count in LAYERS}
        millions = {count: [] for count in MILLIONS}
        for _ in range(RUNS):
            for runs, made in ((layers, chain), (millions, dense)):
                for count in runs:
                    keras.backend.clear_session()
                    runs[count].append(seconds(made(count), handoff))
    draw(layers, millions)
    figures = [flatness("layers", layers, 250), flatness("million parameters", millions, 50)]
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
    """Both steps, from the model in memory to the network's files and its picture."""
    os.sync()
    saved = measure(converter.saving(model, Path(os.devnull), handoff))
    with contextlib.redirect_stdout(io.StringIO()):
        built = converter.step5(handoff.name, handoff.root)
    return saved["busy"] + built["busy"]


def flatness(unit, runs, small):
    """What a layer costs in the largest network, against what it costs in a small one."""
    large = max(runs)
    return table.Figure(
        f"processor seconds for 1,000 {unit}, in a network of {large:,}",
        "s",
        [1000 * took / large for took in runs[large]],
        f"the same in one of {small}",
        [1000 * took / small for took in runs[small]],
        "at least 1",
    )


def draw(layers, millions):
    """Both lines: every run a point, and the straight line through the medians."""
    figure = Figure(figsize=(12, 4.2), dpi=80, layout="tight")
    titles = "layers, few parameters", f"million parameters, {DENSE} layers"
    for axes, runs, title in zip(figure.subplots(1, 2), (layers, millions), titles, strict=True):
        counts = np.array(list(runs))
        medians = [median(took) for took in runs.values()]
        slope, start = np.polyfit(counts, medians, 1)
        axes.plot(counts, slope * counts + start, color=LINE, linewidth=1.5)
        axes.plot(np.repeat(counts, RUNS), np.concatenate(list(runs.values())), "o", color=BLUE)
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

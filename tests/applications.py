"""Every network of keras.applications with random weights, each layer compared in both runtimes.

    python -m tests.applications [--costs] [NAME ...]

Prints the table of docs/networks.md: the largest error of a layer from the input on, of a layer
alone, and of a channel of a layer alone on the probes.
Exit status 1 if a layer of any network is not equal. With --costs, the table of what each network
costs in the deploy form, at its usual size, beside TensorFlow's own.
"""

import inspect
import sys
import tempfile
import time

from tf2caffe.frontend import tf_import

tf_import.tensorflow()

import keras  # noqa: E402

from tests.harness import TOLERANCE, Converted, randomise  # noqa: E402
from tf2caffe.caffe import cost, forms  # noqa: E402
from tf2caffe.frontend import weights  # noqa: E402
from tf2caffe.frontend.source import open_model  # noqa: E402
from tf2caffe.proof import parity, runtimes  # noqa: E402

SIZE = 97  # odd, so that padding is uneven somewhere; Inception takes no less than 75
HEAD = ("network", "parameters", "layers", "Caffe", "alone", "on probes", "OpenCV", "alone",
        "on probes", "seconds")  # fmt: skip
COSTS = ("network", "pixels", "parameters", "deploy", "multiply-adds", "deploy", "largest blob",
         "deploy", "ops", "layers")  # fmt: skip


def names():
    """All networks, in the order of their names."""
    found = [name for name in dir(keras.applications) if name[0].isupper()]
    return [name for name in found if inspect.isfunction(getattr(keras.applications, name))]


def network(name, classes=101):
    """One of them, with random weights and random BatchNorm statistics."""
    keras.backend.clear_session()
    make = getattr(keras.applications, name)
    return randomise(make(weights=None, input_shape=(SIZE, SIZE, 3), classes=classes))


def costs(name):
    """The cells of what a network costs."""
    keras.backend.clear_session()
    model = randomise(getattr(keras.applications, name)(weights=None))
    size = None if all(model.input_shape[1:]) else [1, 224, 224, 3]
    with tempfile.TemporaryDirectory() as folder:
        source = open_model(model, name="net", folder=folder, shape=size)
        weights.save(source.graph, source.handoff.weights)
        built = forms.build(source.handoff, deploy=True)
        told, found = cost.of_graph(built.graph), cost.of_net(built.forms[1].net)
        pixels = next(iter(built.graph.inputs.values()))[1]
    pairs = zip(told[:3], found[:3], strict=True)
    cells = [cell for own, ours in pairs for cell in (f"{own / 1e6:,.1f} M", f"{ours / own:.3f}")]
    return [name, str(pixels), *cells, str(told.layers), str(found.layers)]


def prove(name, engines):
    """Convert one network and compare it: the cells of its line, and the strays."""
    start = time.perf_counter()
    model = network(name)
    cells, strays = [name, f"{model.count_params() / 1e6:.1f} M"], []
    with tempfile.TemporaryDirectory() as folder:
        converted = Converted(model, folder, images=1)
        cells.append(str(len(converted.graph.nodes)))
        for engine in engines:
            rows = converted.rows(engine)
            cells += [
                f"{max(getattr(row, error) or 0 for row in rows):.1e}"
                for error in ("error", "own", "probed")
            ]
            stray, why = parity.first_stray(rows, TOLERANCE)
            strays += [f"{name} in {engine}: {stray.name} strays: {why}"] if stray else []
    return [*cells, f"{time.perf_counter() - start:.0f}"], strays


def print_costs(chosen):
    print("| " + " | ".join(COSTS) + " |\n|" + "---|" + "---:|" * (len(COSTS) - 1))
    for name in chosen:
        print("| " + " | ".join(costs(name)) + " |", flush=True)


def main():
    if sys.argv[1:2] == ["--costs"]:
        print_costs(sys.argv[2:] or names())
        return
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" + "---:|" * (len(HEAD) - 1))
    strays = []
    with runtimes.choose("pycaffe") as pycaffe, runtimes.OpenCV() as opencv:
        for name in sys.argv[1:] or names():
            cells, found = prove(name, (pycaffe, opencv))
            strays += found
            print("| " + " | ".join(cells) + " |", flush=True)
    sys.exit("\n".join(strays) or None)


if __name__ == "__main__":
    main()

"""Every network of keras.applications with random weights, each layer compared in both runtimes.

    python -m tests.applications [NAME ...]

Prints the table of docs/networks.md: the largest error of a layer from the input on, of a layer
alone, and of a channel of a layer alone on the probes.
Exit status 1 if a layer of any network is not equal.
"""

import inspect
import sys
import tempfile
import time

from tf2caffe.frontend import tf_import

tf_import.tensorflow()

import keras  # noqa: E402

from tests.harness import TOLERANCE, Converted, randomise  # noqa: E402
from tf2caffe.proof import parity, runtimes  # noqa: E402

SIZE = 97  # odd, so that padding is uneven somewhere; Inception takes no less than 75
HEAD = ("network", "parameters", "layers", "Caffe", "alone", "on probes", "OpenCV", "alone",
        "on probes", "seconds")  # fmt: skip


def names():
    """All networks, in the order of their names."""
    found = [name for name in dir(keras.applications) if name[0].isupper()]
    return [name for name in found if inspect.isfunction(getattr(keras.applications, name))]


def network(name, classes=101):
    """One of them, with random weights and random BatchNorm statistics."""
    keras.backend.clear_session()
    make = getattr(keras.applications, name)
    return randomise(make(weights=None, input_shape=(SIZE, SIZE, 3), classes=classes))


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


def main():
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

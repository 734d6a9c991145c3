"""Every network of the zoo, converted and proven in OpenCV: the table of docs/zoo.md.

    python -m zoo [NAME ...]

Prints a line a network: parameters, layers, how many times as many parameters the Caffe network
has, the largest error from the input on, of a layer alone, and of a layer alone on probes; or why
it is refused. The exit status is 0 only if all that are converted are equal.
"""

import gc
import sys
import tempfile
import time

from tf2caffe.frontend import tf_import
from zoo import kecam_networks as networks

tf_import.tensorflow()

import tensorflow as tf  # noqa: E402

from tests.harness import TOLERANCE, Converted  # noqa: E402
from tf2caffe.failure import Failure  # noqa: E402
from tf2caffe.frontend import trace  # noqa: E402
from tf2caffe.proof import parity, runtimes  # noqa: E402

HEAD = ("network", "pixels", "parameters", "layers", "times the parameters", "from the input",
        "alone", "on probes", "seconds", "verdict")  # fmt: skip


def main():
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" + "---:|" * (len(HEAD) - 2) + "---|")
    strays = []
    with runtimes.OpenCV() as opencv:
        for name in sys.argv[1:] or networks.NAMES:
            cells = row(name, opencv)
            strays += [name] if cells[-1].startswith("NOT EQUAL") else []
            print("| " + " | ".join(cells) + " |", flush=True)
            gc.collect()
    sys.exit(f"not equal: {', '.join(strays)}" if strays else 0)


def row(name, runtime):
    """The cells of a network's line."""
    start = time.perf_counter()
    model, size = networks.build(name)
    cells = [name, str(size), f"{model.count_params() / 1e6:.1f} M"]
    try:
        with tempfile.TemporaryDirectory() as folder:
            cells += proven(traced(model, size), folder, runtime, model.count_params())
    except Failure as failure:
        lines = str(failure).splitlines()
        cells += [""] * 5 + ["refused: " + " ".join((lines[1:] or lines)[0].split())]
    return [*cells[:-1], f"{time.perf_counter() - start:.0f}", cells[-1]]


def traced(model, size):
    function = tf.function(lambda data: tf.nest.flatten(model(data, training=False)))
    concrete = function.get_concrete_function(tf.TensorSpec((1, size, size, 3)))
    outputs = {f"output{at}": tensor for at, tensor in enumerate(concrete.outputs)}
    return trace.function_trace(concrete, {"data": concrete.inputs[0]}, outputs)


def proven(model, folder, runtime, parameters):
    """The cells from the layers on; the verdict is the last."""
    converted = Converted(model, folder, images=1)
    rows = converted.rows(runtime)
    errors = [max(getattr(one, kind) or 0 for one in rows) for kind in ("error", "own", "probed")]
    stray, why = parity.first_stray(rows, TOLERANCE)
    weights = sum(blob.size for layer in converted.fitted.layers for blob in layer.blobs)
    verdict = f"NOT EQUAL: {stray.name}: {why}" if stray else "EQUAL"
    cells = [str(len(converted.fitted.layers)), f"{weights / parameters:.2f}"]
    return [*cells, *(f"{error:.1e}" for error in errors), verdict]


if __name__ == "__main__":
    main()

"""Every network of keras.applications with random weights, each layer compared in both runtimes.

python -m tests.applications [NAME ...]
"""

import inspect
import sys
import tempfile
import time

import keras

from tests.harness import Converted, randomise
from tf2caffe import runtimes

SIZE = 97  # odd, so that padding is uneven somewhere; Inception takes no less than 75


def names():
    """All networks, the smallest of each family first."""
    found = [name for name in dir(keras.applications) if name[0].isupper()]
    return [name for name in found if inspect.isfunction(getattr(keras.applications, name))]


def prove(name, engines):
    """Convert one network and compare it; return the cells of its line in the table."""
    keras.backend.clear_session()
    start = time.perf_counter()
    network = getattr(keras.applications, name)
    model = randomise(network(weights=None, input_shape=(SIZE, SIZE, 3), classes=101))
    cells = [name, f"{model.count_params() / 1e6:.1f} M"]
    with tempfile.TemporaryDirectory() as folder:
        converted = Converted(model, folder, images=1)
        cells.append(str(len(converted.graph.nodes)))
        for engine in engines:
            rows = converted.rows(engine)
            for error in ("error", "own"):
                worst = max(rows, key=lambda row: getattr(row, error))
                cells.append(f"{getattr(worst, error):.1e} {worst.name}")
    return [*cells, f"{time.perf_counter() - start:.0f} s"]


def main():
    with runtimes.choose("pycaffe") as pycaffe, runtimes.OpenCV() as opencv:
        for name in sys.argv[1:] or names():
            print(" | ".join(prove(name, (pycaffe, opencv))), flush=True)


if __name__ == "__main__":
    main()

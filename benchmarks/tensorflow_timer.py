"""Times Keras models in TensorFlow, compiled, with batch 1."""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tf2caffe.frontend import keras_file, tf_import  # noqa: E402
from tf2caffe.proof.workers.protocol import serve  # noqa: E402

tf = tf_import.tensorflow()
FUNCTIONS = {}  # those compiled, by their model's file


def run(request, inputs):
    """Seconds of each of `runs` passes through the whole network (NHWC)."""
    path = request["model"]
    if path not in FUNCTIONS:
        model = keras_file.keras_model(Path(path))
        FUNCTIONS[path] = tf.function(lambda image: model(image, training=False))
    function, seconds = FUNCTIONS[path], []
    (array,) = (tf.constant(array) for array in inputs.values())
    for _ in range(request["runs"]):
        start = time.perf_counter()
        tf.nest.map_structure(lambda tensor: tensor.numpy(), function(array))
        seconds.append(time.perf_counter() - start)
    return {"seconds": np.array(seconds)}


if __name__ == "__main__":
    serve(tf.__version__, run)

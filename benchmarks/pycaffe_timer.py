"""Times networks in real Caffe, in a Python of its own, as `pycaffe_worker`."""

import os
import sys
import time

import caffe
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tf2caffe", "proof", "workers"))
from protocol import serve  # noqa: E402

NETS = {}  # those loaded, by their prototxt


def run(request, inputs):
    """Seconds of each of `runs` passes through the whole network, with batch 1."""
    path = request["prototxt"]
    if path not in NETS:
        NETS[path] = caffe.Net(path, caffe.TEST, weights=request["caffemodel"])
    net = NETS[path]
    for name, array in inputs.items():
        net.blobs[name].data[...] = array
    seconds = []
    for _ in range(request["runs"]):
        start = time.perf_counter()
        net.forward()
        seconds.append(time.perf_counter() - start)
    return {"seconds": np.array(seconds)}


if __name__ == "__main__":
    serve(caffe.__version__, run)

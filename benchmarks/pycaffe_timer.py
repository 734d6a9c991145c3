"""Times networks in real Caffe, one thread, in a Python of its own, as `pycaffe_worker`."""

import os
import sys
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"
import caffe  # noqa: E402
import numpy as np  # noqa: E402

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tf2caffe"))
from wire import serve  # noqa: E402

NETS = {}  # those loaded, by their prototxt


def run(request, inputs):
    """Processor seconds of each of `runs` passes through the whole network, with batch 1."""
    path = request["prototxt"]
    if path not in NETS:
        NETS[path] = caffe.Net(path, caffe.TEST, weights=request["caffemodel"])
    net = NETS[path]
    for name, array in inputs.items():
        net.blobs[name].data[...] = array
    seconds = []
    for _ in range(request["runs"]):
        start = time.process_time()
        net.forward()
        seconds.append(time.process_time() - start)
    return {"seconds": np.array(seconds)}


if __name__ == "__main__":
    serve(caffe.__version__, run)

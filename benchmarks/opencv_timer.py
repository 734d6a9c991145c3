"""Times networks in OpenCV's Caffe importer, with fusion and Winograd as ever."""

import sys
import time
from pathlib import Path

import cv2
import numpy as np
from cv2.dnn import readNetFromCaffe

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tf2caffe.proof.workers.protocol import serve  # noqa: E402

NETS = {}  # those loaded, by their prototxt


def run(request, inputs):
    """Seconds of each of `runs` passes through the whole network."""
    path = request["prototxt"]
    if path not in NETS:
        NETS[path] = readNetFromCaffe(path, request["caffemodel"])
    net, seconds = NETS[path], []
    for name, array in inputs.items():
        net.setInput(cv2.Mat(array), name)
    for _ in range(request["runs"]):
        start = time.perf_counter()
        net.forward()
        seconds.append(time.perf_counter() - start)
    return {"seconds": np.array(seconds)}


if __name__ == "__main__":
    serve(cv2.__version__, run)

"""Runs networks in OpenCV's Caffe importer, apart, since a bad network can crash the process.

`runtimes.OpenCV` starts it (`PYTHON opencv_worker.py`) and asks by pipe; see `protocol.py`.
"""

import os
import re

import cv2
from cv2.dnn import readNetFromCaffe  # OpenCV 5 has none
from protocol import serve


def run(request, inputs):
    """The blobs asked for, each as (layer, number of its output), fetched in one pass.

    OpenCV reuses the memory of whatever is not asked for in the same call, and of all outputs of a
    layer but the first: such a layer has a pass of its own, which ends with it.
    """
    try:
        net = readNetFromCaffe(request["prototxt"], request["caffemodel"])
        net.enableFusion(False)
        net.enableWinograd(False)  # its 3x3 convolutions are off by 1e-5 of their scale
        for name, array in inputs.items():
            net.setInput(cv2.Mat(array), name)  # a bare array's third axis would become channels
        cut = sorted({layer for layer, n in request["outputs"].values() if n})
        parts = {
            layer: [part.copy() for part in net.forwardAndRetrieve([layer])[0]] for layer in cut
        }
        layers = sorted({layer for layer, _ in request["outputs"].values()} - parts.keys())
        fetched = net.forwardAndRetrieve(layers) if layers else []
        found = parts | dict(zip(layers, fetched, strict=True))
    except cv2.error as error:
        reason = re.sub(r"^> ?", "", error.err, flags=re.MULTILINE).strip()
        function = re.search(r"(\w+)(\(|$)", error.func)[1]
        raise ValueError(f"{reason} ({function} of {os.path.basename(error.file)})") from None
    return {blob: found[layer][n] for blob, (layer, n) in request["outputs"].items()}


if __name__ == "__main__":
    serve(cv2.__version__, run)

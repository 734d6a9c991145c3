"""Runs networks in real Caffe, in a Python of its own: numpy and caffe are all that it needs.

`runtimes.Pycaffe` starts it (`PYTHON pycaffe_worker.py`) and asks by pipe; see `protocol.py`.
"""

import sys

import caffe
from protocol import serve


def run(request, inputs):
    """The blobs asked for. Caffe aborts on what it rejects; its log then says why."""
    net = caffe.Net(request["prototxt"], caffe.TEST, weights=request["caffemodel"])
    for name, array in inputs.items():
        net.blobs[name].reshape(*array.shape)
        net.blobs[name].data[...] = array
    for index, name in enumerate(net._layer_names):
        print("Running layer", name, file=sys.stderr, flush=True)
        net._forward(index, index)  # reshapes the layer to what its bottoms are by now
    return {name: net.blobs[name].data for name in request["outputs"]}


if __name__ == "__main__":
    serve(caffe.__version__, run)

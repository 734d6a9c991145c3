"""Runs networks in MNN: its converter reads the Caffe files, its CPU backend computes.

`tools.MNN` starts it in MNN's own Python and asks by pipe; see
`tf2caffe/proof/workers/protocol.py`. MNN's package is not imported, only the two libraries below
it: the package installs others and reports its use.
"""

import ctypes
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from consumers.offline import cut_off  # noqa: E402

cut_off()
SPOKEN = os.dup(1)
os.dup2(2, 1)  # it greets while it is imported

import _mnncengine as engine  # noqa: E402
import _tools as tools  # noqa: E402
import numpy as np  # noqa: E402

from tf2caffe.proof.workers.protocol import serve  # noqa: E402


def run(request, inputs):
    """The blobs asked for, which have to be outputs of the network."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/net.mnn"
        tools.mnnconvert(arguments(request, path))
        if not Path(path).exists():
            raise ValueError("its converter wrote nothing")
        net = engine.Interpreter(path)
        session = net.createSession({"backend": "CPU", "precision": "high", "numThread": 1})
        for name, array in inputs.items():
            fed = net.getSessionInput(session, name)
            net.resizeTensor(fed, array.shape)
        net.resizeSession(session)
        for name, array in inputs.items():
            net.getSessionInput(session, name).copyFrom(tensor(array))
        net.runSession(session)
        return {blob: fetched(net.getSessionOutput(session, blob)) for blob in request["outputs"]}


def arguments(request, path):
    """The command line of its converter."""
    files = ["--modelFile", request["caffemodel"], "--prototxt", request["prototxt"]]
    return ["mnnconvert", "-f", "CAFFE", *files, "--MNNModel", path, "--bizCode", "MNN"]


def tensor(array):
    """A tensor of MNN's in Caffe's layout."""
    kind, layout = engine.Halide_Type_Float, engine.Tensor_DimensionType_Caffe
    return engine.Tensor(array.shape, kind, np.ascontiguousarray(array, np.float32), layout)


def fetched(found):
    """The array of a session's tensor."""
    shape = found.getShape()
    copy = tensor(np.zeros(shape, np.float32))
    found.copyToHostTensor(copy)
    return np.array(copy.getData(), np.float32).reshape(shape)


if __name__ == "__main__":
    ctypes.CDLL(None).fflush(None)
    os.dup2(SPOKEN, 1)
    serve(version("MNN"), run)

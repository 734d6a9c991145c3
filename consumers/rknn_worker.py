"""Runs networks in RKNN-Toolkit2: its compiler for the RK3588, its simulator in half precision.

`matrix.RKNN` starts it in the toolkit's own Python and asks by pipe; see
`tf2caffe/proof/workers/protocol.py`.
"""

import sys
from importlib.metadata import version
from pathlib import Path

from rknn.api import RKNN

sys.path.append(str(Path(__file__).resolve().parents[1]))
from tf2caffe.proof.workers.protocol import serve  # noqa: E402


def run(request, inputs):
    """The blobs asked for: the network's outputs, which the toolkit gives in the file's order."""
    rknn = RKNN(verbose=False)
    try:
        rknn.config(target_platform="rk3588")
        rknn.load_caffe(model=request["prototxt"], blobs=request["caffemodel"])
        rknn.build(do_quantization=False)
        rknn.init_runtime()
        found = rknn.inference(list(inputs.values()), data_format=["nchw"] * len(inputs))
    except Exception as error:  # whatever it raises ends in the reason, after a traceback
        raise ValueError(str(error).strip().rpartition("\n")[2]) from None
    finally:
        rknn.release()
    return dict(zip(request["outputs"], found, strict=True))


if __name__ == "__main__":
    serve(version("rknn-toolkit2"), run)

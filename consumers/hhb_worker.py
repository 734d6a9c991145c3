"""Runs networks in HHB, T-Head's compiler: its Caffe importer (of TVM), built for this processor.

`tools.HHB` starts it in HHB's own Python and asks by pipe; see
`tf2caffe/proof/workers/protocol.py`.
"""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from consumers.offline import cut_off  # noqa: E402

cut_off()
TARGET = f"llvm -mtriple={platform.machine()}-linux-gnu"  # its own default is another processor

os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"  # its schema is of protobuf 3

import tvm  # noqa: E402
from google.protobuf import text_format  # noqa: E402
from tvm import relay  # noqa: E402
from tvm.contrib import graph_executor  # noqa: E402
from tvm.relay.frontend import caffe_pb2  # noqa: E402

from tf2caffe.proof.workers.protocol import serve  # noqa: E402


def run(request, inputs):
    """The blobs asked for; a refusal is the last line of what TVM raises, after a traceback."""
    try:
        return computed(request, inputs)
    except Exception as error:
        raise ValueError(str(error).strip().rpartition("\n")[2]) from None


def computed(request, inputs):
    """The network's outputs, which it gives in the file's order."""
    init, net = caffe_pb2.NetParameter(), caffe_pb2.NetParameter()
    init.ParseFromString(Path(request["caffemodel"]).read_bytes())
    text_format.Merge(Path(request["prototxt"]).read_text(), net)
    shapes = {name: array.shape for name, array in inputs.items()}
    module, params = relay.frontend.from_caffe(init, net, shapes, dict.fromkeys(shapes, "float32"))[
        :2
    ]
    with tvm.transform.PassContext(opt_level=2):
        library = relay.build(
            module, target=f"llvm -mtriple={platform.machine()}-linux-gnu", params=params
        )
    executor = graph_executor.GraphModule(library["default"](tvm.cpu()))
    executor.run(**inputs)
    count = executor.get_num_outputs()
    found = [executor.get_output(at).numpy() for at in range(count)]
    return dict(zip(request["outputs"], found))  # noqa: B905 (Python 3.8)


if __name__ == "__main__":
    serve(version("hhb"), run)

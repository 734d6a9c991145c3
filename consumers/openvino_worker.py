"""Runs networks in OpenVINO: its converter reads the Caffe files, its CPU plugin computes.

`matrix.OpenVINO` starts it in OpenVINO's own Python and asks by pipe; see
`tf2caffe/proof/workers/protocol.py`.
"""

import sys
from pathlib import Path

sys.modules["openvino_telemetry"] = None  # it would report its use over the network

from openvino.runtime import Core, get_version  # noqa: E402
from openvino.tools.mo import convert_model  # noqa: E402

sys.path.append(str(Path(__file__).resolve().parents[1]))
from tf2caffe.proof.workers.protocol import serve  # noqa: E402

CORE = Core()


def run(request, inputs):
    """The blobs asked for. They are the network's outputs: what lies within may be fused away."""
    model = convert_model(
        request["caffemodel"],
        framework="caffe",
        input_proto=request["prototxt"],
        compress_to_fp16=False,
        silent=True,
    )
    # on processors with AMX it would compute in bfloat16
    compiled = CORE.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([inputs[entry.any_name] for entry in model.inputs])
    return {blob: found[compiled.output(blob)] for blob in request["outputs"]}


if __name__ == "__main__":
    serve(get_version().split("-")[0], run)

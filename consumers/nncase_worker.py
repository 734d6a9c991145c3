"""Runs networks in nncase: its Caffe importer, and its simulator of the K210's CPU, in float.

`tools.Nncase` starts it in nncase's own Python and asks by pipe; see
`tf2caffe/proof/workers/protocol.py`.
"""

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from consumers.offline import cut_off  # noqa: E402

cut_off()

import nncase  # noqa: E402
import numpy as np  # noqa: E402

from tf2caffe.proof.workers.protocol import serve  # noqa: E402


def run(request, inputs):
    """The blobs asked for: the network's outputs, which it gives in the file's order."""
    simulator = nncase.Simulator()
    simulator.load_model(compiled(request))
    for at, array in enumerate(inputs.values()):
        fed = np.ascontiguousarray(array, np.float32)
        simulator.set_input_tensor(at, nncase.RuntimeTensor.from_numpy(fed))
    simulator.run()
    found = [simulator.get_output_tensor(at).to_numpy() for at in range(simulator.outputs_size)]
    return dict(zip(request["outputs"], map(np.array, found)))  # noqa: B905 (Python 3.8)


def compiled(request):
    """The kmodel, without quantization."""
    options = nncase.CompileOptions()
    options.target = "cpu"
    with tempfile.TemporaryDirectory() as folder:
        options.dump_dir = folder
        compiler = nncase.Compiler(options)
        files = [Path(request[kind]).read_bytes() for kind in ("caffemodel", "prototxt")]
        compiler.import_caffe(*files)
        compiler.compile()
        return compiler.gencode_tobytes()


if __name__ == "__main__":
    serve(version("nncase"), run)

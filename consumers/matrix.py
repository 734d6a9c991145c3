"""What the tools of chips make of our Caffe files: every network, both forms, every consumer.

Each network is converted, run in real Caffe and, on the same input, in each consumer: `equal`, with
the largest difference of an output relative to its scale; WRONG; or refused, and why. Netron, which
draws, must find every layer and every weight. The exit status is 1 if anything is wrong, or refused
that is not in the table at the foot.

    python -m consumers.matrix [--consumers opencv,openvino,netron,rknn] [NETWORK ...]
"""

import json
import re
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import build_caffe
from consumers import networks
from tests.harness import Converted
from tf2caffe import blobs, deploy, stage
from tf2caffe.caffe_net import Net
from tf2caffe.handoff import Handoff
from tf2caffe.parity import relative_error
from tf2caffe.runtimes import OpenCV, Pycaffe, Refused, Runtime
from tf2caffe.stage import Failure

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parent / ".consumers"  # made by `make consumers`


@dataclass
class Case:
    """One form of a network: what it consists of, its files, and its inputs (1, C, H, W)."""

    name: str
    form: str
    net: Net
    files: Handoff
    inputs: dict

    def run(self, runtime):
        """The network's outputs."""
        outputs = self.net.outputs()
        return runtime.run(self.files.prototxt, self.files.caffemodel, self.inputs, outputs)


@dataclass
class Verdict:
    """`word` is equal, wrong or refused; `detail` says by how much, or why."""

    word: str
    detail: str

    def __str__(self):
        return {"refused": "refused", "wrong": f"WRONG {self.detail}"}.get(
            self.word, f"{self.word} {self.detail}".strip()
        )


def main():
    args = arguments()
    with ExitStack() as stack:
        caffe = stack.enter_context(Pycaffe())
        consumers = [stack.enter_context(CONSUMERS[name]()) for name in args.consumers]
        widths = [14, 12, *(max(18, len(str(consumer))) for consumer in consumers)]
        print_row(widths, ["network", "form", *map(str, consumers)])
        verdicts = {}
        for name in args.networks:
            for case, found in judged(name, caffe, consumers):
                print_row(widths, [case.name, case.form, *found])
                at = (case.name, case.form)
                verdicts |= {(*at, c.name): v for c, v in zip(consumers, found, strict=True)}
    conclude(verdicts)


def arguments():
    parser = stage.parser(__doc__)
    parser.add_argument(
        "networks", nargs="*", default=list(networks.NETWORKS), metavar="NETWORK",
        help=f"default: all ({', '.join(networks.NETWORKS)})",
    )  # fmt: skip
    parser.add_argument(
        "--consumers", type=stage.names, default=["opencv", "openvino", "netron"], metavar="A,B",
        help=f"of {', '.join(CONSUMERS)} (default: %(default)s)",
    )  # fmt: skip
    args = parser.parse_args()
    for kind, known in (("networks", networks.NETWORKS), ("consumers", CONSUMERS)):
        unknown = [name for name in getattr(args, kind) if name not in known]
        if unknown:
            raise Failure(f"unknown {kind}: {', '.join(unknown)}; known are {', '.join(known)}")
    return args

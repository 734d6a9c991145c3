"""What the tools that read Caffe files make of ours: every network, both forms, every consumer.

Each network is converted, run in real Caffe and, on the same input, in each consumer: `equal`, with
the largest difference of an output relative to its scale, or WRONG, or refused, and why. Netron,
which draws, must find every layer and every weight. The exit status is 0 only if all are equal.

    python -m consumers.matrix [--consumers opencv,openvino,netron,rknn] [NETWORK ...]
"""

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass

import tf2caffe
from tf2caffe import cli
from tf2caffe.caffe import targets
from tf2caffe.caffe.net import Net
from tf2caffe.failure import Failure, listed
from tf2caffe.frontend import tf_import
from tf2caffe.paths import Handoff
from tf2caffe.proof.runtimes import Pycaffe

tf_import.tensorflow()  # before the networks import Keras

from consumers import networks  # noqa: E402
from consumers.tools import CONSUMERS  # noqa: E402


@dataclass
class Case:
    """One form of a network: what it consists of, its files, and its inputs (1, C, H, W)."""

    form: str
    net: Net
    files: Handoff
    inputs: dict

    def run(self, runtime):
        """The network's outputs."""
        files, outputs = self.files, self.net.outputs()
        return runtime.run(files.prototxt, files.caffemodel, self.inputs, outputs)


def main():
    args = arguments()
    with ExitStack() as stack:
        caffe = stack.enter_context(Pycaffe())
        consumers = [stack.enter_context(CONSUMERS[name]()) for name in args.consumers]
        print_row("network", "form", consumers)
        found = []
        for name in args.networks:
            with tempfile.TemporaryDirectory() as folder:
                forms = converted(name, folder, args.target)
                expected = forms[0].run(caffe)
                for case in forms:
                    verdicts = [consumer.judge(case, expected) for consumer in consumers]
                    print_row(name, case.form, verdicts)
                    found += [
                        (f"{name}, {case.form}, {consumer}", *told)
                        for consumer, told in zip(consumers, verdicts, strict=True)
                    ]
    conclude(found)


def arguments():
    parser = cli.parser(__doc__)
    parser.add_argument(
        "networks", nargs="*", default=list(networks.NETWORKS), metavar="NETWORK",
        help=f"default: all ({', '.join(networks.NETWORKS)})",
    )  # fmt: skip
    parser.add_argument(
        "--consumers", type=cli.names, default=["opencv", "openvino", "netron"], metavar="A,B",
        help=f"of {', '.join(CONSUMERS)} (default: opencv,openvino,netron)",
    )  # fmt: skip
    parser.add_argument(
        "--target", choices=targets.TARGETS, default="portable",
        help="what the networks are built for, as in build_caffe.py (default: portable)",
    )  # fmt: skip
    args = parser.parse_args()
    for kind, known in (("networks", networks.NETWORKS), ("consumers", CONSUMERS)):
        unknown = [name for name in getattr(args, kind) if name not in known]
        if unknown:
            raise Failure(f"unknown {kind}: {', '.join(unknown)}; known: {', '.join(known)}")
    return args


def converted(name, folder, target="portable"):
    """The inspectable and the deploy `Case` of a network, written to `folder`."""
    made = tf2caffe.convert(
        networks.built(name), name="net", folder=folder, target=target, deploy=True
    )
    table = made.forms[0].table
    shapes = [(1, *entry.layout.caffe_shape) for entry in table.inputs]
    arrays = networks.inputs(name, shapes, seed=2)
    inputs = dict(zip([entry.blob for entry in table.inputs], arrays, strict=True))
    forms = zip(("inspectable", "deploy"), made.forms, strict=True)
    return [Case(form, built.net, built.handoff, inputs) for form, built in forms]


def print_row(name, form, cells):
    """A line of the table; a cell is a consumer, or its verdict (why it refused comes later)."""
    texts = [
        " ".join(cell[: 1 if cell[0] == "refused" else 2]) if isinstance(cell, tuple) else str(cell)
        for cell in cells
    ]
    columns = "".join(f"{text:<21}" for text in texts)
    print(f"{name:<13}{form:<13}{columns}".rstrip(), flush=True)


def conclude(found):
    """Why what is refused was, and the exit status."""
    refused = [f"{where}: {why}" for where, word, why in found if word == "refused"]
    if refused:
        print("\n" + listed("refused", refused))
    wrong = sum(word == "WRONG" for _, word, _ in found)
    if wrong or refused:
        raise Failure(f"{wrong} WRONG and {len(refused)} refused of {len(found)}")
    print(f"\nall {len(found)} equal")


if __name__ == "__main__":
    cli.run(main)

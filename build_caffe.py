"""Step 5 of 6: build the Caffe network. Needs neither Caffe nor TensorFlow.

Reads   tf_weights/NAME/ (graph.json and the weights); with --prototxt a network written by hand,
        whose layers take the saved weights by name.
Leaves  nets/NAME.prototxt, nets/NAME.caffemodel, nets/NAME.blobs.json (which blob holds which of
        TensorFlow's outputs) and imgs/NAME/caffe-net.png and .svg (the network drawn); with
        --deploy beside them the form that chips take: nets/NAME.deploy.*,
        imgs/NAME/caffe-net-deploy.* (else an earlier build's are removed).

    python build_caffe.py
"""

import filecmp
from contextlib import ExitStack
from pathlib import Path

from tf2caffe import cli
from tf2caffe.caffe import folding, handwritten, lowering, mapping, outputs, targets
from tf2caffe.caffe.net import LIMIT
from tf2caffe.failure import Failure
from tf2caffe.graph import graph
from tf2caffe.paths import Handoff, remove, replacing
from tf2caffe.proof import blobs

BUFFER = 1 << 22  # bytes; a thread that writes often waits often for Python


def main():
    args = arguments()
    if args.target == "list":
        cli.refuse_idle(args, "--target list builds nothing", "prototxt", "deploy")
        targets.print_all()
        return
    handoff = Handoff(args.dir, args.name)
    network = graph.load(handoff.graph)
    graph.load_weights(network, handoff.weights)
    name = args.target or ("bvlc" if args.prototxt else "portable")
    target = targets.TARGETS[name]
    if args.prototxt:
        if args.output_order:
            told = "it is written by hand, so its outputs lie as they are written"
            raise Failure(f"--output-order does not apply to --prototxt: {told}")
        net, table = handwritten.load(args.prototxt, network)
        forms = [(handoff, net, handwritten.text(args.prototxt, net), table)]
    else:
        net = mapping.build(network, target, args.output_order or "tensorflow")
        table, fitted = blobs.Table.of(net), lowering.fit(net, target)
        forms = [(handoff, fitted, fitted.prototxt(), table)]
    if args.deploy:
        forms.append(deployed(args, network, target, net, table))
    targets.check(forms[-1][1], name)  # what the chip's compiler is to be fed
    print_layers(forms[0][1])
    if args.prototxt:
        print_uncompared(network, table)
    network.print_unused()
    outputs.print_map(table)
    print()
    leave(forms)
    if args.deploy:
        print_costs(*forms)


def deployed(args, network, target, net, table):
    """The deploy form, as `leave` takes it."""
    form = Handoff(args.dir, args.name, deploy=True)
    smaller = folding.deploy(net, folding.outputs_of(network, table), target)
    return form, smaller, smaller.prototxt(), folding.surviving(table, net, smaller)


def arguments():
    parser = cli.parser(__doc__)
    parser.add_argument("name", nargs="?", default="mnistcls", help="default: %(default)s")
    parser.add_argument(
        "--prototxt", type=Path, metavar="FILE",
        help="load the saved weights into this network, by layer name",
    )  # fmt: skip
    parser.add_argument(
        "--deploy", action="store_true",
        help="also build the form that chips take: folded, in place, with the same outputs",
    )  # fmt: skip
    parser.add_argument(
        "--output-order", choices=("tensorflow", "caffe"),
        help="an output that is no image lies as TensorFlow has it (default), or as it comes in "
        "Caffe, where nothing is moved for it",
    )  # fmt: skip
    parser.add_argument(
        "--target", choices=(*targets.TARGETS, "list"), metavar="NAME",
        help="what the network is for: it is made of what that takes, or what it does not take is "
        "listed (default: portable; list prints them all)",
    )  # fmt: skip
    return parser.parse_args()


def print_layers(net):
    """A line a layer: type, name, the shapes of its weights, the shape of its output."""
    rows = [("type", "layer", "weights", "output")]
    for layer in net.layers:
        weights = ", ".join(shown(blob.shape) for blob in layer.blobs)
        rows.append((layer.type, layer.name, weights, " ".join(map(shown, layer.shapes))))
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    for kind, name, weights, output in rows:
        print(f"{kind:<{widths[0]}}  {name:<{widths[1]}}  {weights:<{widths[2]}}  {output}")
    print()


def print_uncompared(network, table):
    """The ops that step 6 will not find in a network written by hand."""
    compared = {entry.name for entry in table.layers}
    absent = [node.name for node in network.nodes if node.name not in compared]
    if absent:
        print(f"no layer to compare with: {', '.join(absent)}\n")


def shown(shape):
    return "x".join(map(str, shape)) or "1"


def print_costs(*forms):
    """What the network takes in each form."""
    rows = [("", "inspectable", "deploy")]
    counts = {
        "layers": lambda net, files: len(net.layers),
        "parameters": lambda net, files: sum(blob.size for lay in net.layers for blob in lay.blobs),
        "multiply-adds": lambda net, files: folding.multiply_adds(net),
        "bytes of caffemodel": lambda net, files: files.caffemodel.stat().st_size,
    }
    for name, count in counts.items():
        rows.append((name, *(f"{count(net, files):,}" for files, net, _, _ in forms)))
    print()
    for name, before, after in rows:
        print(f"{name:<19}  {before:>15}  {after:>15}")


def leave(forms):
    """The files of each form of the network, all at once; and its picture, drawn meanwhile."""
    from concurrent.futures import ThreadPoolExecutor  # late, as matplotlib: --help needs neither

    from tf2caffe.pictures import diagram

    with ThreadPoolExecutor(1) as beside:
        written = beside.submit(replace_all, forms)
        for handoff, net, _, table in forms:
            diagram.draw_network(handoff.diagram, net.layers, table, written.result)
    for handoff, *_ in forms:
        for path in (handoff.prototxt, handoff.caffemodel, handoff.diagram, handoff.diagram_svg):
            print(f"left: {path} ({path.stat().st_size:,} bytes)")


def replace_all(forms):
    """Leave the files of each form in the place of an earlier build's."""
    write_all(forms)
    if len(forms) == 1:
        remove_deployed(forms[0][0])


def write_all(forms):
    """Leave the files of each form, or after an error, none. The proof of others goes."""
    with ExitStack() as stack:
        stale = [form[0].parity for form in forms if not write_beside(stack, *form)]
        for path in stale:
            path.unlink(missing_ok=True)


def write(handoff, net, text, table):
    """Leave the three files of one form."""
    write_all([(handoff, net, text, table)])


def write_beside(stack, handoff, net, text, table):
    """Write the three files, which take their places when `stack` ends; beyond protobuf's limit,
    none. Return whether they hold what is there already.
    """
    size = net.bytes_of_weights()
    if size > LIMIT:
        raise Failure(
            f"{handoff.name} has {size:,} bytes of weights; protobuf, and so Caffe, "
            f"reads files of at most {LIMIT:,}"
        )
    paths = handoff.caffemodel, handoff.prototxt, handoff.blobs
    model, prototxt, blobs_file = (stack.enter_context(replacing(path)) for path in paths)
    with model.open("wb", BUFFER) as file:
        net.write_caffemodel(file)
    prototxt.write_text(text, encoding="utf-8")
    table.write(blobs_file)
    return all(map(same, (model, prototxt, blobs_file), paths))


def remove_deployed(handoff):
    """Remove an earlier build's deploy form, which is of another network."""
    former = Handoff(handoff.root, handoff.name, deploy=True)
    files = former.parity, former.blobs, former.prototxt, former.caffemodel
    for path in (*files, former.diagram, former.diagram_svg):
        remove(path)


def same(first, second):
    """Whether both files exist and hold the same."""
    return second.exists() and filecmp.cmp(first, second, shallow=False)


if __name__ == "__main__":
    cli.run(main)

"""Step 6 of 6: run the Caffe network on the same inputs and compare every layer.

Reads   nets/NAME.prototxt, .caffemodel and .blobs.json, activations/NAME.npz.
Leaves  imgs/NAME/caffe/convs.png, denses.png and res10.png (as TensorFlow's, on the same scale),
        imgs/NAME/compare.png (TensorFlow, Caffe, their difference) and nets/NAME.parity.json.
        The exit status is 0 only if every layer and every answer agree. With --deploy it is
        the form nets/NAME.deploy.* that is compared, and no pictures are drawn. With
        --export-calibration DIR the inputs, as a chip's quantiser reads them.

    python caffe_predict.py
"""

import sys
from pathlib import Path

from tf2caffe import cli
from tf2caffe.caffe import outputs
from tf2caffe.failure import Failure
from tf2caffe.paths import Handoff
from tf2caffe.proof import activations, blobs, calibration, parity, runtimes

TOLERANCE = 1e-5  # a right mnistcls strays by 1e-6 at most; Caffe's epsilon in bn2 by 5e-4


def main():
    args = arguments()
    check_options(args)
    handoff = Handoff(args.dir, args.name, args.deploy)
    if args.deploy and not handoff.blobs.exists():
        raise Failure(f"{handoff.blobs} does not exist; build_caffe.py --deploy makes it")
    table, kept = loaded(handoff)
    check_drawn(args, table)
    if args.export_calibration:
        count = calibration.export(args.export_calibration, table.inputs, kept)
        print(f"left: {args.export_calibration / calibration.LIST} ({count} inputs)")
    proof, runtime = run(args, handoff, table, kept)
    rows = proof.rows
    parity.print_table(rows, kept.shown)
    print()
    for path in [] if args.deploy else draw(args, handoff, table, kept, rows):
        print(f"left: {path}")
    verdict = judge(proof, table, kept, args.tolerance, handoff.prototxt)
    told = "equal" if verdict is None else verdict
    parity.save(handoff.parity, proof, runtime, args.tolerance, told, table.outputs, kept.original)
    print(f"left: {handoff.parity}\n")
    if verdict:
        sys.exit(f"NOT EQUAL: {verdict}")
    conclude(proof, table, kept, args.tolerance)


def check_options(args):
    """Raise `Failure` where options contradict each other."""
    if args.deploy:
        cli.refuse_idle(args, "no pictures are drawn with --deploy", "layers", "labels")
    if args.runtime == "opencv":
        runtimes.refuse_python(args.caffe_python)
    if args.export_calibration and args.export_calibration.is_file():
        raise Failure(f"--export-calibration {args.export_calibration} is a file, no folder")


def check_drawn(args, table):
    """Raise `Failure` where what is to be drawn is not in the network."""
    activations.check(args.layers, [entry.name for entry in table.layers])
    if args.labels and not (table.answers and len(table.inputs) == 1):
        needed = "the network gives no answers to one image, which they could stand below"
        cli.refuse_idle(args, needed, "labels")
    if args.labels:
        sizes = {entry.name: entry.layout.tf_shape[0] for entry in table.layers}
        check_labels(sizes[table.answers[-1]], labels(args.labels))


def loaded(handoff):
    """The table of blobs and TensorFlow's activations. Raises `Failure` where they do not fit."""
    table, kept = blobs.load(handoff.blobs), activations.load(handoff.activations)
    if table.source != kept.source:
        raise Failure(
            f"{handoff.activations} and {handoff.caffemodel} come from two different states of the "
            "model; run tf_predict.py (step 3), save_weights.py and build_caffe.py again"
        )
    return table, kept


def conclude(proof, table, kept, tolerance):
    """The last lines of a proof."""
    rows = proof.rows
    if kept.original:
        print(f"the model as it was loaded, {kept.original}")
    print(f"{proof.reach}")
    if proof.unprobed:
        print(f"on your input alone, for want of blobs to feed: {', '.join(proof.unprobed)}")
    if summed := parity.by_allowance(rows, tolerance):
        print(f"measured by the terms of their sums, of which little is left: {', '.join(summed)}")
    alone, whole = (max(rows, key=key) for key in (lambda row: row.own, lambda row: row.error))
    count = len(kept.images)
    answers = f", {count} equal answer{'s' * (count > 1)}" if table.answers else ""
    print(
        f"EQUAL: all {len(rows)} layers within {tolerance:g} of their scale "
        f"(worst: {alone.blob}, {alone.own:.1e}; from the input on: {whole.blob}, "
        f"{whole.error:.1e}){answers}"
    )


def arguments():
    parser = cli.parser(__doc__)
    parser.add_argument("name", nargs="?", default="mnistcls", help="default: %(default)s")
    parser.add_argument(
        "--tolerance", type=cli.positive, default=TOLERANCE,
        help="largest error of a layer, relative to its largest value (default: %(default)g; see "
        "the README for what deep networks may inherit)",
    )  # fmt: skip
    parser.add_argument("--deploy", action="store_true", help="compare that form; no pictures")
    parser.add_argument(
        "--export-calibration", type=Path, metavar="DIR",
        help="leave the inputs there as .npy, (1, C, H, W) each, and a list, a line an image",
    )  # fmt: skip
    parser.add_argument("--labels", type=Path, metavar="FILE", help="a label a line, for pictures")
    activations.add_layers(parser)
    runtimes.add_arguments(parser)
    return parser.parse_args()


def run(args, handoff, table, kept):
    """Caffe's blobs next to TensorFlow's outputs, as rows; and the name of the runtime."""
    chosen = args.runtime, args.caffe_python, args.caffe_timeout
    with runtimes.choose(*chosen, handoff.prototxt) as runtime:
        print(f"runtime: {runtime}, {len(kept.images)} images; shown: {kept.images[kept.shown]}\n")
        files = handoff.prototxt, handoff.caffemodel
        reference = None
        if args.deploy:
            beside = Handoff(args.dir, args.name)
            reference = beside.prototxt, beside.caffemodel, blobs.load(beside.blobs)
        return parity.prove(runtime, *files, table, kept, reference), str(runtime)


def draw(args, handoff, table, kept, rows):
    """The pictures of Caffe's side, and of both; return their paths."""
    from tf2caffe.pictures import figures  # imports matplotlib

    first = {row.name: row for row in reversed(rows)}  # of blobs that hold the same
    first = {row.name: row for row in rows if first[row.name] is row}
    drawn = activations.chosen(first, args.layers).values()
    caffe = {row.blob: row.caffe[kept.shown] for row in drawn}
    tf = {row.blob: row.tf[kept.shown] for row in drawn}
    written = activations.draw_layers(handoff.caffe_imgs, caffe, tf)
    classes = labels(args.labels) if args.labels else table.classes
    answers = [row for row in rows if row.name in table.answers]
    if classes and answers and len(kept.inputs) == 1:
        path = handoff.caffe_imgs / "res10.png"
        (pixels,) = kept.inputs.values()
        figures.draw_answers(path, pixels, captions(answers[-1].caffe, classes))
        written.append(path)
    compared = [
        (row.name, row.blob, row.tf[kept.shown], row.caffe[kept.shown], row.error) for row in drawn
    ]
    return written + figures.draw_comparison(handoff.imgs / "compare.png", compared)


def labels(path):
    """The lines of a file of labels."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise Failure(f"--labels {path} is not a text file in UTF-8") from None


def check_labels(count, classes):
    if count > len(classes):
        raise Failure(f"--labels has {len(classes)} lines, the network {count} answers")


def captions(probabilities, classes):
    """Label and confidence of each image."""
    check_labels(probabilities.shape[1], classes)
    return [f"{classes[row.argmax()]}  {row.max():.2%}" for row in probabilities]


def judge(proof, table, kept, tolerance, prototxt):
    """What is not equal, in one line; None if nothing is."""
    stray, why = proof.first_stray(tolerance)
    if stray:
        return f"{stray.name} (Caffe: {stray.blob}) is the first layer that strays: {why}"
    differ = outputs.difference(table, outputs.of_prototxt(prototxt))
    if differ:
        return f"the outputs of {prototxt} are not the model's: {differ}"
    wrong = parity.disagreements(proof.rows, table.answers, tolerance)
    wrong += outputs.wrong_labels(table, proof.rows, kept.layers, tolerance)
    if wrong:
        names = ", ".join(f"{kept.images[image]} ({answer})" for image, answer in wrong)
        return f"the answers differ for {names}"
    return None


if __name__ == "__main__":
    cli.run(main)

"""Step 6 of 6: run the Caffe network on the same inputs and compare every layer.

Reads   nets/NAME.prototxt, .caffemodel and .blobs.json, activations/NAME.npz.
Writes  imgs/NAME/caffe/convs.png, denses.png and res10.png (as TensorFlow's, on the same scale),
        imgs/NAME/compare.png (TensorFlow, Caffe, their difference) and nets/NAME.parity.json.
        The exit status is 0 only if every layer and every answer agree. With --deploy it is
        the form nets/NAME.deploy.* that is compared: imgs/NAME/compare-deploy.png. With
        --export-calibration DIR the inputs, as a chip's quantiser reads them.

    python caffe_predict.py
"""

import sys
from pathlib import Path

from tf2caffe import cli
from tf2caffe.failure import Failure, refuse_idle


def main():
    args = arguments()
    cli.find_name(args)
    from tf2caffe.pictures import layers
    from tf2caffe.proof import calibration, parity, runtimes, verdict

    runtimes.refuse_python(args.caffe_python if args.runtime == "opencv" else None)
    check_options(args)
    found = verdict.load(args.name, args.dir, args.deploy)
    table, kept = found.table, found.kept
    classes = layers.check_drawn(table, args.layers, args.labels)
    if args.export_calibration:
        count = calibration.export(args.export_calibration, table.inputs, kept)
        print(f"wrote: {args.export_calibration / calibration.LIST} ({count} inputs)")
    chosen = args.runtime, args.caffe_python, args.caffe_timeout, found.network
    with runtimes.choose(*chosen) as runtime:
        print(f"runtime: {runtime}, {len(kept.images)} images; shown: {kept.images[kept.shown]}\n")
        result = verdict.judge(found, runtime, args.tolerance)
    parity.print_table(result.rows, kept.shown)
    print()
    for path in layers.draw_caffe(result, args.layers, classes):
        print(f"wrote: {path}")
    print(f"wrote: {result.save()}\n")
    if not result.equal:
        sys.exit(str(result))
    for remark in result.remarks():
        print(remark)
    print(result)


def arguments():
    parser = cli.parser(__doc__)
    cli.add_name(parser)
    cli.add_proof(parser)
    add = parser.add_argument
    add("--deploy", action="store_true", help="compare that form")
    add(
        "--export-calibration", type=Path, metavar="DIR",
        help="write each input there as .npy (1, C, H, W), and a list with one line per input",
    )  # fmt: skip
    add("--labels", type=Path, metavar="FILE", help="one label per line, for pictures")
    cli.add_layers(parser)
    return parser.parse_args()


def check_options(args):
    """Raise `Failure` where options contradict each other."""
    if args.deploy:
        refuse_idle("no answers are drawn with --deploy", labels=args.labels)
    if args.export_calibration and args.export_calibration.is_file():
        raise Failure(f"--export-calibration {args.export_calibration} is a file, not a folder")


if __name__ == "__main__":
    cli.run(main)

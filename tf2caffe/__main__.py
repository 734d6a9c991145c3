"""A TensorFlow or Keras model as a Caffe network, each layer proven equal: steps 3 to 6 at once.

Reads   the model, and its input: --images or --input, else random numbers.
Writes  below --out nets/NAME.prototxt and .caffemodel, with --deploy nets/NAME.deploy.*, the other
        files of the single steps, and report.html, a page about all of it. The exit status is 0
        only if every layer and every answer agree, in each form that was built.

    tf2caffe my.keras
    tf2caffe my.keras --images photos --mean 123,117,104 --bgr --deploy --out DIR
"""

import contextlib
import os
import shlex
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from tf2caffe import cli
from tf2caffe.failure import Failure, refuse_idle
from tf2caffe.nearby import absent


def run():
    """The console script."""
    cli.run(main, "tf2caffe")


def main():
    args = arguments()
    from tf2caffe import api
    from tf2caffe.caffe import targets
    from tf2caffe.pictures import layers
    from tf2caffe.report import page

    if args.target == "list":
        targets.print_all()
        return
    handoff = check_options(args)
    with engine(args) as chosen:
        conversion = converted(args, handoff)
        # looked for now, not when the proof is done
        classes = layers.check_drawn(conversion.forms[0].table, args.layers, args.labels)
        print_conversion(conversion, args.verbose)
        for path in conversion.files:
            print(f"wrote: {path} ({path.stat().st_size:,} bytes)")
        how = {"tolerance": args.tolerance, "timeout": args.caffe_timeout, "runtime": chosen}
        given = cli.input_options(args)
        verdicts = [api.prove(conversion, **how, **given, image=args.image)]
        if args.deploy:
            verdicts += [api.prove(handoff.name, folder=handoff.root, deploy=True, **how)]
    draw(args, verdicts, classes)
    graph = conversion.source.graph
    page.write(handoff.report, run_of(classes), verdicts, graph, conversion.forms)
    print(f"wrote: {handoff.report} ({handoff.report.stat().st_size:,} bytes)")
    print_proof(args, *verdicts)
    if not all(verdict.equal for verdict in verdicts):
        sys.exit(1)


def converted(args, handoff):
    """The `Conversion`. What is refused is written to the report too."""
    from tf2caffe import api
    from tf2caffe.report import page

    options = cli.model_options(args) | cli.form_options(args)
    options["preprocessing"] = cli.preprocessing(args)
    try:
        report = print if args.verbose else None
        conversion = api.convert(args.model, **options, diagram=True, report=report)
    except Failure as failure:
        page.write_refused(handoff.report, run_of(), handoff.name, failure)
        raise
    conversion.source.graph.print_unused()
    return conversion


def run_of(classes=()):
    """When and how this was run, for the report; SOURCE_DATE_EPOCH sets the date, if it is set."""
    from tf2caffe.report.page import Run

    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    date = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return Run(shlex.join(["tf2caffe", *sys.argv[1:]]), date, list(classes))


def arguments():
    parser = cli.parser(__doc__)
    cli.add_model(parser)
    cli.add_input(parser)
    cli.add_forms(parser)
    cli.add_proof(parser)
    add = parser.add_argument
    add("--export-calibration", type=Path, metavar="DIR", help="write the inputs there as .npy")
    add("--pictures", action="store_true", help="draw both sides' layers, like steps 3 and 6")
    add("--image", metavar="NAME", help="the image to draw (default: img3, else the first)")
    add("--labels", type=Path, metavar="FILE", help="one label per line: names of the answers")
    cli.add_layers(parser)
    add("-v", "--verbose", action="store_true", help="print the weights, layers and errors")
    return parser.parse_args()


def check_options(args):
    """The folders of the model; `Failure` where options contradict, or name what is not there."""
    from tf2caffe.caffe import forms
    from tf2caffe.frontend import inputs, source
    from tf2caffe.pictures import layers
    from tf2caffe.proof import runtimes

    forms.check_options(args.target, args.output_order, args.prototxt)
    others = {"weights": args.weights, "switches": args.switches, "dequantise": args.dequantise}
    source.check_options(args.model, None, args.custom, args.signature, **others)
    handoff = source.handoff_of(args.model, args.name, args.dir)
    inputs.check(handoff, **cli.input_options(args), image=args.image)
    runtimes.refuse_python(args.caffe_python if args.runtime == "opencv" else None)
    if not args.pictures:
        refuse_idle("only --pictures draws them", layers=args.layers)
    if args.labels:
        layers.labels(args.labels)
    for option, path in (("--custom", args.custom), ("--prototxt", args.prototxt)):
        if path and not path.is_file():
            raise Failure(f"{option} {absent(path)}")
    if args.export_calibration and args.export_calibration.is_file():
        raise Failure(f"--export-calibration {args.export_calibration} is a file, not a folder")
    return handoff


def engine(args):
    """A context of the runtime: one that is named is started before the model is loaded."""
    from tf2caffe.proof import runtimes

    if args.runtime == "auto" and not args.caffe_python:
        return contextlib.nullcontext("auto")
    return runtimes.choose(args.runtime, args.caffe_python, args.caffe_timeout)


def print_conversion(conversion, verbose):
    """What was built, and where its outputs are."""
    from tf2caffe.caffe import cost, listing, outputs

    graph, forms = conversion.source.graph, conversion.forms
    counts = [f"{len(form.net.layers)} layers" for form in forms]
    print(f"{graph.name}: {len(graph.nodes)} ops -> {', in the deploy form '.join(counts)}\n")
    if verbose:
        listing.print_layers(forms[0].net)
    outputs.print_map(forms[0].table)
    print()
    cost.print_table(graph, *(form.net for form in forms))
    print()


def draw(args, verdicts, classes):
    """The pictures, and the inputs for a quantiser, if they are asked for."""
    from tf2caffe.pictures import layers
    from tf2caffe.proof import calibration

    found = verdicts[0].found
    if args.export_calibration:
        count = calibration.export(args.export_calibration, found.table.inputs, found.kept)
        print(f"wrote: {args.export_calibration / calibration.LIST} ({count} inputs)")
    for verdict in verdicts if args.pictures else ():
        for path in layers.draw_caffe(verdict, args.layers, classes):
            print(f"wrote: {path}")


def print_proof(args, *verdicts):
    """The proof of each form, its last line the verdict."""
    from tf2caffe.proof import parity

    for verdict in verdicts:
        print(f"\n{verdict.found.handoff.prototxt} in {verdict.runtime}")
        if args.verbose:
            parity.print_table(verdict.rows, verdict.found.kept.shown)
        for remark in verdict.remarks():
            print(remark)
        print(verdict)


if __name__ == "__main__":
    run()

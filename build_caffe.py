"""Step 5 of 6: build the Caffe network. Needs neither Caffe nor TensorFlow.

Reads   tf_weights/NAME/ (graph.json and the weights), and of activations/NAME.npz, where it is
        there, what step 3 did to the images, for the prototxt's comment; with --prototxt a network
        written by hand, whose layers take the saved weights by name.
Writes  nets/NAME.prototxt, nets/NAME.caffemodel, nets/NAME.blobs.json (which blob contains
        which of TensorFlow's outputs) and imgs/NAME/caffe-net.png and .svg (the network drawn);
        with --deploy also the form for chips: nets/NAME.deploy.* and
        imgs/NAME/caffe-net-deploy.* (without --deploy, those of an earlier build are removed).

    python build_caffe.py
"""

from tf2caffe import cli
from tf2caffe.failure import refuse_idle
from tf2caffe.paths import Handoff


def main():
    args = arguments()
    cli.find_name(args)
    from tf2caffe import api
    from tf2caffe.caffe import cost, forms, listing, outputs, targets
    from tf2caffe.proof import activations

    if args.target == "list":
        needed = "--target list builds nothing"
        refuse_idle(needed, prototxt=args.prototxt, deploy=args.deploy)
        targets.print_all()
        return
    handoff = Handoff(args.dir, args.name)
    made = activations.made_of(handoff.activations)
    built = forms.build(handoff, **cli.form_options(args), made=made)
    first = built.forms[0]
    listing.print_layers(first.net)
    if args.prototxt:
        listing.print_uncompared(built.graph, first.table)
    built.graph.print_unused()
    outputs.print_map(first.table)
    print()
    for path in api.leave(built.forms):
        print(f"wrote: {path} ({path.stat().st_size:,} bytes)")
    print()
    cost.print_table(built.graph, *(form.net for form in built.forms))


def arguments():
    parser = cli.parser(__doc__)
    cli.add_name(parser)
    cli.add_forms(parser)
    return parser.parse_args()


if __name__ == "__main__":
    cli.run(main)

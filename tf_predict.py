"""Step 3 of 6: what every layer of the TensorFlow network computes.

Reads   checkpoints/NAME.keras and imgs/test/NAME/img0.png ... img9.png; or your own model and
        --images or --input.
Writes  imgs/NAME/tf/convs.png and denses.png (one image through every layer), and
        activations/NAME.npz (the input and every layer's output, for all images).

    python tf_predict.py
    python tf_predict.py my.keras --images photos --mean 123,117,104 --bgr
"""

from tf2caffe import cli


def main():
    args = arguments()
    import models
    from tf2caffe import api
    from tf2caffe.frontend import inputs, source
    from tf2caffe.pictures import layers
    from tf2caffe.proof import activations

    network, options = models.named(args.model), cli.input_options(args)
    handoff = source.handoff_of(args.model, args.name, args.dir, network)
    inputs.check(handoff, **options, image=args.image)
    given = {"preprocessing": options["preprocessing"], "network": network}
    model = source.open_model(args.model, **given, **cli.model_options(args))
    model.graph.print_unused()
    print_ops(model, args.all)
    arrays, names = inputs.load(
        handoff, model.graph.inputs, bool(model.graph.channels_first()), **options
    )
    shown = inputs.position(args.image, names)
    layers.check(args.layers, [node.name for node in model.graph.nodes if node.shape[1:]])
    facts = inputs.facts(handoff, names, **options)
    kept = api.computed(model, arrays, names, shown, facts)
    print(f"\n{names[shown]}, layer by layer:\n")
    of_shown = {name: one for name, one in kept.of_shown().items() if one.dtype.kind == "f"}
    activations.print_statistics(of_shown)
    print(f"\nthe model as it was loaded, {kept.original}\n")
    drawn = layers.chosen(of_shown, args.layers)
    for path in layers.draw_layers(handoff.tf_imgs, drawn, image=names[shown]):
        print(f"wrote: {path}")
    activations.save(handoff.activations, kept)
    print(f"wrote: {handoff.activations} ({len(names)} images, {len(kept.layers)} layers)")


def arguments():
    parser = cli.parser(__doc__)
    cli.add_model(parser, nargs="?", default="mnistcls")
    cli.add_input(parser)
    add = parser.add_argument
    add("--image", metavar="NAME", help="the image to print and draw (default: img3, or first)")
    cli.add_layers(parser)
    add("--all", action="store_true", help="list auxiliary ops too")
    return parser.parse_args()


def print_ops(source, everything):
    """The graph's ops; constants, reads of variables and folded arithmetic only if asked for."""
    if everything:
        for op in source.trace.graph.get_operations():
            print(f"{op.name} ({op.type})")
        return
    for name in source.graph.inputs:
        print(name)
    for node in source.graph.nodes:
        for weight in node.weights.values():
            print(weight.source.name.removesuffix(":0"))
        print(node.name)


if __name__ == "__main__":
    cli.run(main)

"""Step 3 of 6: what every layer of the TensorFlow network computes.

Reads   checkpoints/NAME.keras and imgs/test/NAME/img0.png ... img9.png.
Leaves  imgs/NAME/tf/convs.png and denses.png (one image through every layer), and
        activations/NAME.npz (the input and every layer's output, for all images).

    python tf_predict.py
"""

import numpy as np

from tf2caffe import activations, stage


def main():
    args = arguments()
    from tf2caffe import model  # imports TensorFlow

    source = model.open(args)
    print_ops(source, args.all)
    inputs, names = source.images()
    shown = position(args.image, names)
    layers = run(source, inputs)
    kept = activations.Activations(inputs, layers, names, shown, source.graph.source)
    print(f"\n{names[shown]}, layer by layer:\n")
    shown_layers = {name: array for name, array in kept.of_shown().items() if array.ndim}
    activations.print_statistics(shown_layers)
    print()
    for path in activations.draw_layers(source.handoff.tf_imgs, shown_layers):
        print(f"left: {path}")
    activations.save(source.handoff.activations, kept)
    print(f"left: {source.handoff.activations} ({len(names)} images, {len(layers)} layers)")


def arguments():
    parser = stage.parser(__doc__)
    stage.add_model(parser)
    parser.add_argument(
        "--image", default="img3", metavar="NAME",
        help="the image that is printed and drawn (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help="list the auxiliary ops as well")
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


def position(image, names):
    """The index of the image called `image`, with or without its suffix."""
    stems = [name.rpartition(".")[0] or name for name in names]
    for known in (names, stems):
        if image in known:
            return known.index(image)
    raise stage.Failure(f"--image {image}: not one of {', '.join(stems)}")


def run(source, inputs):
    """Every layer's output, image by image (the trace has batch 1), as {name: (N, ...)}."""
    names = [node.name for node in source.graph.nodes]
    function = source.trace.function([source.tensors[name] for name in names])
    count = len(next(iter(inputs.values())))
    results = [
        function({name: array[at : at + 1] for name, array in inputs.items()})
        for at in range(count)
    ]
    return {
        name: np.concatenate([result[at] for result in results]) for at, name in enumerate(names)
    }


if __name__ == "__main__":
    stage.run(main)

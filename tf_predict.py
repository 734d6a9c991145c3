"""Step 3 of 6: what every layer of the TensorFlow network computes.

Reads   checkpoints/NAME.keras and imgs/test/NAME/img0.png ... img9.png; or your own model and
        --images or --input.
Leaves  imgs/NAME/tf/convs.png and denses.png (one image through every layer), and
        activations/NAME.npz (the input and every layer's output, for all images).

    python tf_predict.py
    python tf_predict.py my.keras --images photos --mean 104,117,123 --bgr
"""

from pathlib import Path

from tf2caffe import cli
from tf2caffe.failure import Failure
from tf2caffe.proof import activations, probes

import numpy as np
from tqdm import tqdm


def main():
    args = arguments()
    from tf2caffe.frontend import source as reading  # imports TensorFlow

    reading.check_input(args)
    source = reading.open(args)
    from tf2caffe.frontend import original

    print_ops(source, args.all)
    inputs, names = reading.inputs(source, args)
    shown = position(args.image, names)
    activations.check(args.layers, [node.name for node in source.graph.nodes if node.shape[1:]])
    layers = run(source, inputs)
    said = original.compared(source, inputs, layers)
    probed = probes.computed(source.graph, source.trace, source.tensors)
    state = source.graph.source
    kept = activations.Activations(inputs, layers, names, shown, state, said, probed)
    print(f"\n{names[shown]}, layer by layer:\n")
    shown_layers = {n: array for n, array in kept.of_shown().items() if array.dtype.kind == "f"}
    activations.print_statistics(shown_layers)
    print(f"\nthe model as it was loaded, {said}\n")
    drawn = activations.chosen(shown_layers, args.layers)
    for path in activations.draw_layers(source.handoff.tf_imgs, drawn):
        print(f"left: {path}")
    activations.save(source.handoff.activations, kept)
    print(f"left: {source.handoff.activations} ({len(names)} images, {len(layers)} layers)")


def arguments():
    parser = cli.parser(__doc__)
    cli.add_model(parser)
    add = parser.add_argument
    add("--images", type=Path, metavar="PATH", help="an image or a folder of images")
    add("--bgr", action="store_true", help="give the image's channels blue first")
    add("--mean", type=cli.numbers, metavar="B,G,R", help="is subtracted (default: 0), then")
    add("--scale", type=cli.factor, help="the factor is applied (default: 1)")
    add("--input", type=Path, metavar="FILE", help=".npy (N, ...) or .npz, as the model takes it")
    add("--image", metavar="NAME", help="the one that is printed and drawn (default: img3, or 1st)")
    activations.add_layers(parser)
    add("--all", action="store_true", help="list the auxiliary ops as well")
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
    stems = [Path(name).stem for name in names]
    if image is None:
        return stems.index("img3") if "img3" in stems else 0
    for known in (names, stems):
        if image in known:
            return known.index(image)
    raise Failure(f"--image {image}: not one of {', '.join(stems)}")


def run(source, inputs):
    """Every layer's output, image by image (the trace has batch 1), as {name: (N, ...)}."""
    names = [node.name for node in source.graph.nodes]
    function = source.trace.function([source.tensors[name] for name in names])
    count = len(next(iter(inputs.values())))
    results = [
        function({name: array[at : at + 1] for name, array in inputs.items()})
        for at in tqdm(range(count), "images", disable=None, leave=False)
    ]
    return {
        node.name: np.concatenate([result[at].reshape(node.shape or 1) for result in results])
        for at, node in enumerate(source.graph.nodes)
    }


if __name__ == "__main__":
    cli.run(main)

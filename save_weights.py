"""Step 4 of 6: take the network apart into files that Caffe's side can read.

Reads   checkpoints/NAME.keras.
Leaves  tf_weights/NAME/graph.json (the network, one line an op) and one .npy a weight, in Caffe's
        layout.

    python save_weights.py
"""

from tf2caffe import layout, stage
from tf2caffe.graph import dump
from tf2caffe.handoff import replacing_folder

import numpy as np


def main():
    args = arguments()
    from tf2caffe import model  # imports TensorFlow

    source = model.open(args)
    for weight in source.graph.weights():
        print(weight.source.name)
    print("-" * 60)
    print(f"Parse and save variables to {source.handoff.weights}")
    print("-" * 60)
    save(source.graph, source.handoff.weights)
    print(f"left: {source.handoff.weights}")


def arguments():
    parser = stage.parser(__doc__)
    stage.add_model(parser)
    return parser.parse_args()


def save(graph, folder, told=print):
    """Leave the weights, each fetched from TensorFlow only now, and graph.json in `folder`."""
    layouts = layout.carry(graph)
    with replacing_folder(folder) as temporary:
        for node in graph.nodes:
            for role, weight in node.weights.items():
                array = weight.source.value()
                arranged = layout.arrange(node, role, array, layouts)
                write(temporary, weight, arranged)
                told(row(weight, array.shape))
        (temporary / "graph.json").write_text(dump(graph), encoding="utf-8")


def write(folder, weight, array):
    """Write one weight, which is in Caffe's layout by now."""
    if not np.isfinite(array).all():
        raise stage.Failure(f"{weight.source.name} holds NaN or infinity; train the network again")
    weight.shape = array.shape
    array = np.ascontiguousarray(array, np.float32)
    with (folder / weight.file).open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.data)  # np.save does not tell that a disk is full


def row(weight, shape):
    """What became of a variable: TensorFlow's name and shape, the file and Caffe's shape."""
    file = weight.file.removesuffix(".npy")
    return f"{weight.source.name:<50} -> {file:<50} {shape} -> {weight.shape}"


if __name__ == "__main__":
    stage.run(main)

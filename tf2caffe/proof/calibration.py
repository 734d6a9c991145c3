"""The inputs of a network as a chip's quantiser reads them: `.npy` files and a list of them."""

from pathlib import Path

import numpy as np

from tf2caffe.graph.graph import file_stem
from tf2caffe.paths import replacing

LIST = "list.txt"


def export(folder, inputs, kept):
    """Write each image of each input, and the list; return how many images there are.

    An array is float32 and as Caffe's input blob, (1, C, H, W), after all preprocessing that is
    not in the network. A line of the list names the files of one image, one for each input in the
    prototxt's order, with blanks between; the names are relative to the list.
    """
    lines = []
    for at, image in enumerate(kept.images):
        names = []
        for entry in inputs:
            array = entry.layout.to_caffe(kept.inputs[entry.name][at : at + 1])
            names.append(f"{at:05d}-{file_stem(Path(image).stem)}-{file_stem(entry.blob)}.npy")
            with replacing(folder / names[-1]) as path:
                np.save(path, np.ascontiguousarray(array, np.float32))
        lines.append(" ".join(names) + "\n")
    with replacing(folder / LIST) as path:
        path.write_text("".join(lines), encoding="utf-8")
    return len(lines)

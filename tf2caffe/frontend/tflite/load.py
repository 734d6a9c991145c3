"""The loader of `.tflite` files."""

import tensorflow as tf

from tf2caffe.failure import Failure
from tf2caffe.frontend.tflite.file import File
from tf2caffe.frontend.tflite.interpreter import Interpreted, refuse_invalid
from tf2caffe.frontend.tflite.part import (
    Part,
    Stored,
    open_sizes,
    refuse_quantised,
    refuse_state,
)  # fmt: skip
from tf2caffe.frontend.tflite.write import Writer
from tf2caffe.frontend.trace import fixed


def load_tflite(path, wanted):
    """The `Trace` of a `.tflite` file, of the signature and between the tensors that are wanted."""
    file = File(path)
    refuse_invalid(file)
    part = Part(file, wanted)
    refuse_state(part)
    if not wanted.dequantise:
        refuse_quantised(part)
    elif not part.quantised():
        raise Failure(f"--dequantise does nothing here: no op of {path} computes in whole numbers")
    stored = Stored(part)
    part.take_floats(wanted.dequantise)
    sizes = input_sizes(part, wanted.shape)
    writer = Writer(part, sizes).write()
    traced = writer.trace()
    specs = {key: tf.TensorSpec(sizes[key], part.dtype(at), key)
             for key, at in part.inputs.items()}  # fmt: skip
    own = part.runs_whole() and not (part.rewritten or part.custom())
    content = part.file.content if own else part.packed()
    whole = stored if part.rewritten and part.runs_whole() else None
    traced.original = Interpreted(writer, content, specs, whole)
    traced.remarks = remarks(part, wanted, stored)
    return traced


def input_sizes(part, given):
    """The inputs' shapes with batch 1, {name: list}."""
    shapes = {key: open_sizes(part, at) for key, at in part.inputs.items()}
    for key, shape in shapes.items():
        if shape.rank == 1 and shape[0] not in (None, 1):
            raise Failure(
                f"input {key} of {part.file.path} is {tuple(shape)}, without a batch axis, which "
                "Caffe's inputs have; cut it off with --inputs"
            )
    return fixed(shapes, given)


def remarks(part, wanted, stored):
    """What the user is told of how the file is taken."""
    said = []
    if part.left:
        ends = ", ".join(part.outputs)
        said.append(f"{', '.join(part.left)} at the end is left to the caller, who gets {ends}")
    if part.custom():
        said.append(
            "Convolution2DTransposeBias is taken as TRANSPOSE_CONV, also by the interpreter"
        )
    if wanted.dequantise:
        said += _of_quantised(part, stored)
    elif part.rewritten:
        said.append(
            f"{part.file.path} has weights of whole numbers, taken as the floats that their scales "
            f"describe; TFLite's kernels may round the inputs of these {len(part.rewritten)} ops "
            "to 8 bits, the network here does not"
        )
    return said


def _of_quantised(part, stored):
    """What the user is told of a quantised file that is taken as floats."""
    said = [
        f"{part.file.path} is quantised and taken as the float network that its scales "
        f"describe: {len(part.rewritten)} ops compute in floats here, in whole numbers there"
    ]
    if part.clipped:
        said.append(f"{len(part.clipped)} of them end in a ReLU, since their range begins at 0")
    return said + [stored.told(key, at) for key, at in part.inputs.items() if at in stored.scales]

"""Ops that are linear along one axis, or several in turn: each becomes a matrix for each axis.

    MirrorPad, Pad, ReverseV2, Roll, Tile, BroadcastTo, GatherV2, ResourceGather, Cumsum,
    ResizeBicubic, ResizeArea, ScaleAndTranslate  ->  Along(x, matrix for each axis)

What an op does to an axis of n elements is what it does to the n rows of the identity, so the
matrices are numpy's or TensorFlow's own answer to that.
"""

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from tf2caffe.failure import Failure
from tf2caffe.frontend.draft import constants

LARGEST = 2**27  # numbers of a matrix, a gigabyte while it is made


def settle_all(ops, trace):
    """What is linear along axes is Along, with a matrix for each axis."""
    for op in ops:
        if op.type in AXES and len(op.inputs) == 1 and not op.computed:
            settle(op, constants(trace))


def settle(op, constant):
    """Make a draft of such an op one of Along, if it can be; `constant(array)` makes an operand."""
    found = AXES[op.type](op)
    if found is None:
        return
    sizes = list(op.inputs[0].shape)
    for axis, matrix in found.items():
        sizes[axis] = len(matrix)
    op.type, op.attrs = "Along", {"sizes": sizes}
    op.constants = {
        f"along{axis}": constant(matrix.astype(np.float32))
        for axis, matrix in found.items()
        if matrix.shape[0] != matrix.shape[1] or (matrix != np.eye(len(matrix))).any()
    }
    if not op.constants:  # nothing moves
        op.type, op.attrs = "Reshape", {"shape": list(op.shape)}


def _eyes(op, axes):
    """{axis: the identity of its size}. Raises `Failure` where that is too large to be held."""
    shape = op.inputs[0].shape
    return {axis % len(shape): np.eye(_within_bound(op, shape[axis])) for axis in axes}


def _within_bound(op, length):
    """The length of an axis whose matrix can be held. Raises `Failure`."""
    if length**2 > LARGEST:
        raise Failure(
            f"{op.tensor.op.name} ({op.type}): for an axis of {length:,} numbers it is a matrix of "
            f"{length**2:,}, and {LARGEST:,} can be held; begin the network behind it with --inputs"
        )
    return length


def _mirror_pad(op):
    mode, pads = op.attrs["mode"].lower(), op.attrs["paddings"]
    eyes = _eyes(op, [axis for axis, pair in enumerate(pads) if any(pair)])
    return {axis: np.pad(eye, [pads[axis], (0, 0)], mode) for axis, eye in eyes.items()}


def _pad(op):
    """Zeros beside channels, or in a tensor that is no image."""
    pads = op.attrs["paddings"]
    if _is_plain_pad(op) or op.attrs.get("constant_values"):
        return None
    eyes = _eyes(op, [axis for axis, pair in enumerate(pads) if any(pair)])
    return {axis: np.pad(eye, [pads[axis], (0, 0)]) for axis, eye in eyes.items()}


def _is_plain_pad(op):
    """Whether it pads rows and columns of an image, or steps of a sequence."""
    pads = op.attrs["paddings"]
    plain = len(pads) in (3, 4) and not any(pads[0]) and not any(pads[-1])
    return plain and op.inputs[0].shape[0] == 1


def pad_number(op, draft, constant):
    """Pad(x, number) -> AddV2(Pad(x), y), where y has the number beside x and is 0 else."""
    number = op.attrs.get("constant_values") if op.type == "Pad" else None
    if not number or not np.isfinite(number) or _is_plain_pad(op):
        return []
    pads, source = op.attrs["paddings"], op.inputs[0]
    zeros = draft("Pad", tf.pad(source.tensor, pads), [source], {}, {"paddings": pads})
    settle(zeros, constant)
    beside = tf.constant(np.pad(np.zeros(source.shape, "f"), pads, constant_values=number))
    op.replace(draft("AddV2", zeros.tensor + beside, [zeros], {"y": constant(beside)}))
    return [zeros]


def broadcast(op, draft, constant):
    """BroadcastTo to more axes: a Reshape before it adds those."""
    if not op.inputs or op.computed:
        return []
    source = op.inputs[0]
    shape = [1] * (len(op.shape) - len(source.shape)) + list(source.shape)
    more = draft("Reshape", tf.reshape(source.tensor, shape), [source], {}, {"shape": shape})
    op.inputs = [more]
    settle(op, constant)
    return [more]


def _reverse(op):
    return {axis: eye[::-1] for axis, eye in _eyes(op, op.attrs["axis"]).items()}


def _roll(op):
    axes, shifts = np.atleast_1d(op.attrs["axis"]), np.atleast_1d(op.attrs["shift"])
    total = {}
    for axis, shift in zip(axes.tolist(), shifts.tolist(), strict=True):
        axis %= len(op.shape)
        total[axis] = total.get(axis, 0) + shift
    return {axis: np.roll(eye, total[axis], 0) for axis, eye in _eyes(op, total).items()}


def _tile(op):
    times = op.attrs["multiples"]
    eyes = _eyes(op, [axis for axis, count in enumerate(times) if count > 1])
    return {axis: np.tile(eye, (times[axis], 1)) for axis, eye in eyes.items()}


def _broadcast(op):
    shape = op.inputs[0].shape
    if len(shape) != len(op.shape):
        return None
    axes = [axis for axis, size in enumerate(shape) if size != op.shape[axis]]
    return {axis: np.ones((op.shape[axis], 1)) for axis in axes}


def _gather(op):
    """The indices may be of any shape: their axes take the place of the one."""
    indices, axis = np.asarray(op.attrs["indices"]), op.attrs.get("axis", 0)
    if op.attrs.get("batch_dims"):
        return None
    return {axis: eye[indices.reshape(-1)] for axis, eye in _eyes(op, [axis]).items()}


def _slice(op):
    """Backwards through an image, and of a tensor that is none; others are cut."""
    begin, sizes, steps = (op.attrs[name] for name in ("begin", "sizes", "strides"))
    plain = len(sizes) <= 4 and op.inputs[0].shape[0] == 1
    if plain and all(step > 0 for step in steps[:-1]):
        return None
    axes = [at for at, size in enumerate(op.inputs[0].shape) if sizes[at] < size or steps[at] < 0]
    return {
        axis: eye[begin[axis] + steps[axis] * np.arange(sizes[axis])]
        for axis, eye in _eyes(op, axes).items()
    }


def _cumsum(op):
    return {
        axis: tf.cumsum(eye, 0, op.attrs["exclusive"], op.attrs["reverse"]).numpy()
        for axis, eye in _eyes(op, [op.attrs["axis"]]).items()
    }


def _cropped(op):
    """One box of the one image, beyond which are zeros."""
    boxes = op.attrs["boxes"]
    return None if len(boxes) != 1 or _is_filled(op) else _box(op, boxes[0])


def _is_filled(op):
    return bool(op.attrs["extrapolation_value"]) or op.inputs[0].shape[0] != 1


def _box(op, box):
    """Rows and columns apart: the op itself crops the identity."""
    return {
        axis: _cropped_eye(op, op.inputs[0].shape[axis], (box[axis - 1], box[axis + 1]),
                           op.attrs["crop_size"][axis - 1])
        for axis in (1, 2)
    }  # fmt: skip


def _cropped_eye(op, length, ends, out):
    eye = np.eye(_within_bound(op, length), dtype=np.float32)
    eye = eye[None, :, None]  # (1, length, 1, length)
    box, method = [[ends[0], 0.0, ends[1], 0.0]], op.attrs["method"]
    with context.eager_mode():
        return tf.image.crop_and_resize(eye, box, [0], [out, 1], method).numpy()[0, :, 0]


def cropped(op, draft, constant):
    """Several boxes: each by itself, then joined."""
    if op.type != "CropAndResize" or not op.inputs or op.computed or _is_filled(op):
        return []
    source, size, method = op.inputs[0], op.attrs["crop_size"], op.attrs["method"]
    made = []
    for box in op.attrs["boxes"]:
        tensor = tf.image.crop_and_resize(source.tensor, [box], [0], size, method)
        matrices = _box(op, box)
        operands = {
            f"along{axis}": constant(matrix.astype(np.float32)) for axis, matrix in matrices.items()
        }
        made.append(draft("Along", tensor, [source], operands, {"sizes": list(tensor.shape)}))
    joined = tf.concat([one.tensor for one in made], 0)
    op.replace(draft("ConcatV2", joined, list(made), {}, {"axis": 0}))
    return made


def _resized(op):
    """Height and width apart: the op itself resizes the identity."""
    size = list(op.shape[1:3])
    return {
        axis: _resized_eye(op, axis, length, size[axis - 1])
        for axis, length in ((1, op.inputs[0].shape[1]), (2, op.inputs[0].shape[2]))
    }


def _resized_eye(op, axis, length, out):
    eye = np.eye(_within_bound(op, length), dtype=np.float32)
    eye = eye[None, :, None]  # (1, length, 1, length)
    if op.type == "ScaleAndTranslate":
        scale, shift = op.attrs["scale"], op.attrs["translation"]
        made = tf.raw_ops.ScaleAndTranslate(
            images=eye, size=[out, 1], scale=[scale[axis - 1], 1.0],
            translation=[shift[axis - 1], 0.0], kernel_type=op.attrs["kernel_type"],
            antialias=op.attrs["antialias"],
        )  # fmt: skip
    elif op.type == "ResizeArea":
        made = tf.raw_ops.ResizeArea(
            images=eye, size=[out, 1], align_corners=op.attrs["align_corners"]
        )
    else:
        made = tf.raw_ops.ResizeBicubic(
            images=eye, size=[out, 1], align_corners=op.attrs["align_corners"],
            half_pixel_centers=op.attrs["half_pixel_centers"],
        )  # fmt: skip
    return made.numpy()[0, :, 0]


# Op -> {axis: matrix (out, in)}, or None where the op is taken otherwise.
AXES = {
    "BroadcastTo": _broadcast,
    "CropAndResize": _cropped,
    "Cumsum": _cumsum,
    "GatherV2": _gather,
    "MirrorPad": _mirror_pad,
    "Pad": _pad,
    "ResizeArea": _resized,
    "ResizeBicubic": _resized,
    "ReverseV2": _reverse,
    "Roll": _roll,
    "ScaleAndTranslate": _resized,
    "StridedSlice": _slice,
    "Tile": _tile,
}

# Op -> its operands; those with ! are settings.
OPERANDS = {
    "BroadcastTo": ("input", "shape!"),
    "CropAndResize": ("image", "boxes!", "box_ind!", "crop_size!"),
    "Cumsum": ("x", "axis!"),
    "GatherV2": ("params", "indices!", "axis!"),
    "MirrorPad": ("input", "paddings!"),
    "ResizeArea": ("images", "size!"),
    "ResizeBicubic": ("images", "size!"),
    "ReverseV2": ("tensor", "axis!"),
    "Roll": ("input", "shift!", "axis!"),
    "ScaleAndTranslate": ("images", "size!", "scale!", "translation!"),
    "Tile": ("input", "multiples!"),
}

# Op -> its attributes that change numbers.
ATTRIBUTES = {
    "CropAndResize": ("method", "extrapolation_value"),
    "Cumsum": ("exclusive", "reverse"),
    "GatherV2": ("batch_dims",),
    "MirrorPad": ("mode",),
    "ResizeArea": ("align_corners",),
    "ResizeBicubic": ("align_corners", "half_pixel_centers"),
    "ScaleAndTranslate": ("kernel_type", "antialias"),
}

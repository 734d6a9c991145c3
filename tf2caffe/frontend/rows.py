"""Dilated convolutions of sequences, which TensorFlow computes on a batch of shorter ones."""

from tf2caffe.frontend import channels, products
from tf2caffe.frontend.copies import scope_of
from tf2caffe.frontend.draft import Op
from tf2caffe.frontend.recognise import is_undilated


def dilate(ops, trace):
    """The ops, with one dilated convolution for each that steps through its sequence.

    x (1, L, C) -> SpaceToBatchND ([d], pads) -> ExpandDims -> convolution of images, VALID, of
    stride 1 -> Squeeze -> BatchToSpaceND ([d], crops)

    x -> Reshape (1, 1, L, C) or (1, L, 1, C) -> convolution, dilated -> Reshape (1, M, F)
    """
    found = []
    for op in ops:
        with scope_of(op, trace):
            found += [*_dilated(op), op]
    return found


def _dilated(op):
    """The ops before `op`, which becomes the last of them; none if the pattern is another one."""
    parts = _parts(op)
    if not parts:
        return []
    inner, image, outer = parts
    source, axis = outer.inputs[0], 1 if image.shape[2] == 1 else 2
    wide = [source.shape[1] if at == axis else 1 for at in (1, 2)]
    attrs = _attributes(op, inner, outer, axis)
    chain = products.Chain(source, Op)
    chain.reshape([1, *wide, source.shape[2]])
    kernel = inner.constants["filter"].tensor
    computed = channels.dilated(inner.type, chain.last.tensor, kernel, attrs)
    chain.add(inner.type, computed, inner.constants, attrs)
    return chain.end(op)


def _attributes(op, inner, outer, axis):
    """The convolution's, dilated along this axis; less than no zeros where more is cropped."""
    (step,), ((first, _),) = op.attrs["block_shape"], outer.attrs["paddings"]
    reach = step * (inner.constants["filter"].shape[axis - 1] - 1)
    pads, dilations = [0] * 8, [1] * 4
    pads[2 * axis : 2 * axis + 2] = first, op.shape[1] + reach - outer.inputs[0].shape[1] - first
    dilations[axis] = step
    known = {"dilations": dilations, "padding": "EXPLICIT", "explicit_paddings": pads}
    return inner.attrs | known


def _parts(op):
    """(the convolution, the op that makes images, SpaceToBatchND); None if it is not so."""
    inner = op.inputs[0] if op.type == "BatchToSpaceND" else None
    if inner is None or inner.type not in AXES or len(op.attrs["block_shape"]) != 1:
        return None
    inner = inner.inputs[0]
    image = inner.inputs[0] if is_undilated(inner) else None
    if image is None or image.type not in AXES or 1 not in image.shape[1:3]:
        return None
    outer = image.inputs[0]
    same = outer.type == "SpaceToBatchND" and outer.attrs["block_shape"] == op.attrs["block_shape"]
    fits = same and len(outer.inputs[0].shape) == len(op.shape) == 3 and not op.attrs["crops"][0][0]
    return (inner, image, outer) if fits else None


AXES = ("ExpandDims", "Reshape", "Squeeze")

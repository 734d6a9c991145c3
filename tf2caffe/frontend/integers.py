"""Inputs of other types, such as images of uint8, that are cast to float32 before they are used.

Caffe's inputs are floats. What only moves numbers on their way to the cast, a crop, a transpose,
then moves floats.

    uint8 -> StridedSlice -> Transpose -> Cast float32   ->   float32 -> StridedSlice -> Transpose
"""

import tensorflow as tf


def take_floats(graph_def, inputs):
    """Make each input that becomes float32 a float32; return whether there was one.

    `inputs` are tensors' names by the model's own names.
    """
    nodes = {node.name: node for node in graph_def.node}
    names = [tensor.removesuffix(":0") for tensor in inputs.values()]
    names = [name for name in names if nodes[name].attr["dtype"].type != FLOAT32]
    if not names:
        return False
    reading = {}
    for node in graph_def.node:
        for at, read in enumerate(node.input):
            reading.setdefault(read.partition(":")[0], []).append((node, at))
    for name in _cast(names, nodes, reading):
        nodes[name].attr["dtype" if name in names else TYPE[nodes[name].op]].type = FLOAT32
        for node, _ in reading.get(name, ()):
            key = "SrcT" if node.op == "Cast" else "T"
            if node.op in ("Cast", "Shape", *RESIZES):
                node.attr[key].type = FLOAT32
    return any(nodes[name].attr["dtype"].type == FLOAT32 for name in names)


def _cast(names, nodes, reading):
    """The inputs that become float32, and what carries them to where they do.

    What carries an input that does not is left, and so is every input that meets it.
    """
    while names:
        carrying = _carrying(names, reading)
        stray = [name for name in carrying if not _ends(name, carrying, nodes, reading)]
        if not stray:
            return carrying
        names = [name for name in names if not set(_carrying([name], reading)) & set(stray)]
    return []


def _carrying(names, reading):
    """These inputs, and the nodes that only move what they hold."""
    found, waiting = dict.fromkeys(names), list(names)
    while waiting:
        for node, at in reading.get(waiting.pop(), ()):
            moves = _widens(node) if node.op == "Cast" else node.op in TYPE and _is_data(node, at)
            if moves and node.name not in found:
                found[node.name] = None
                waiting.append(node.name)
    return list(found)


def _ends(name, carrying, nodes, reading):
    """Whether all that reads a tensor carries it on, casts it or asks for its shape.

    And whether all that is joined with it is carried too.
    """
    node, readers = nodes[name], reading.get(name, ())
    joined = [read for at, read in enumerate(node.input) if _is_data(node, at)]
    if node.op in TYPE and not {read.partition(":")[0] for read in joined} <= set(carrying):
        return False
    return bool(readers) and all(
        reader.name in carrying or reader.op in ("Shape", *RESIZES) or _is_cast(reader)
        for reader, _ in readers
    )


def _is_data(node, at):
    """Whether an operand is what the node moves, not a setting."""
    if node.op in ("ConcatV2", "Pack"):
        return at < len(node.input) - (node.op == "ConcatV2")
    return at == (node.op == "Split")


def _is_cast(node):
    return node.op == "Cast" and node.attr["DstT"].type == FLOAT32


def _widens(node):
    """Whether it is a cast to integers that hold all that there were."""
    source, result = (tf.as_dtype(node.attr[key].type) for key in ("SrcT", "DstT"))
    whole = source.is_integer and result.is_integer
    return whole and result.min <= source.min and source.max <= result.max


FLOAT32 = tf.float32.as_datatype_enum

# Ops that make floats of whatever numbers they take.
RESIZES = ("ResizeArea", "ResizeBicubic", "ResizeBilinear")

# Ops that only move numbers -> the attribute that says of which type.
TYPE = dict.fromkeys(
    ("BroadcastTo", "ConcatV2", "DepthToSpace", "EnsureShape", "ExpandDims", "Identity",
     "MirrorPad", "Pack", "Pad", "Reshape", "ResizeNearestNeighbor", "ReverseV2", "Roll", "Slice",
     "SpaceToDepth", "Split", "SplitV", "Squeeze", "StopGradient", "StridedSlice", "Tile",
     "Transpose", "Unpack"),
    "T",
) | {"Cast": "DstT", "GatherV2": "Tparams"}  # fmt: skip

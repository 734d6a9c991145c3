"""A `.tflite` file as the schema's objects, checked, with its constants as arrays.

The file is a flatbuffer; TensorFlow carries the classes of its schema. What is read here is one
subgraph: its tensors, and its ops in the order in which the interpreter runs them.
"""

from math import prod

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from tf2caffe.failure import Failure


class File:
    """A `.tflite` file: `content` (bytes), `model` (a `schema.ModelT`), and `kinds` of its ops.

    `kinds` has a name for each operator code: the schema's, or that of a custom op.
    """

    def __init__(self, path):
        self.path, self.content = path, path.read_bytes()
        if self.content[4:8] != b"TFL3":
            raise Failure(f"{path} is not a TFLite file: its bytes 4 to 8 are not TFL3")
        self.model = self._parsed()
        self.kinds = [_kind(code) for code in self.model.operatorCodes or []]
        if not self.model.subgraphs:
            raise Failure(f"{path} holds no subgraph, so no network")

    def _parsed(self):
        """The objects of the file. Raises `Failure` where it is cut short or damaged."""
        try:
            parsed = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(self.content, 0))
            for graph in parsed.subgraphs or []:
                self._check(parsed, graph)
        except Failure:
            raise
        except Exception:  # the schema's classes raise whatever wrong bytes lead them to
            raise self.damaged("an offset in it leads nowhere") from None
        return parsed

    def damaged(self, why):
        return Failure(f"{self.path} is damaged or cut short ({why})")

    def _check(self, model, graph):
        """Raise `Failure` where an op or tensor names what is not there, or a tensor's size."""
        tensors = range(len(graph.tensors or []))
        named = [*indices(graph.inputs), *indices(graph.outputs)]
        for op in graph.operators or []:
            if op.opcodeIndex >= len(model.operatorCodes):
                raise self.damaged(f"an op has code {op.opcodeIndex}")
            named += [at for at in [*indices(op.inputs), *indices(op.outputs)] if at != MISSING]
        if wrong := [at for at in named if at not in tensors]:
            raise self.damaged(f"an op reads tensor {wrong[0]} of {len(tensors)}")
        for tensor in graph.tensors or []:
            self._check_size(model, tensor)

    def _check_size(self, model, tensor):
        """Raise `Failure` where a constant has not as many bytes as its shape says."""
        data, kind = buffer(model, tensor, self.content), DTYPES.get(tensor.type)
        if data is None or kind is None or tensor.sparsity:
            return
        count = prod(shape(tensor))
        needed = (count + 1) // 2 if tensor.type == INT4 else count * np.dtype(kind).itemsize
        if len(data) != needed:
            said = f"{name(tensor)} {shape(tensor)} has {len(data)} bytes, not {needed}"
            raise self.damaged(said)

    def kind(self, op):
        return self.kinds[op.opcodeIndex]

    def value(self, tensor):
        """A constant as an array, as it is stored (a quantised one in whole numbers); else None."""
        data = buffer(self.model, tensor, self.content)
        if tensor.type not in DTYPES:
            return None
        if data is None:  # as that of an empty list, such as the shape of a number
            return np.zeros(shape(tensor), DTYPES[tensor.type]) if 0 in shape(tensor) else None
        if tensor.type == INT4:
            return _nibbles(data)[: prod(shape(tensor))].reshape(shape(tensor))
        array = np.frombuffer(data, DTYPES[tensor.type])
        return _dense(array, tensor) if tensor.sparsity else array.reshape(shape(tensor))


def _kind(code):
    """The name of an operator code; those of before 2020 have it in another field."""
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == schema.BuiltinOperator.CUSTOM:
        return (code.customCode or b"CUSTOM").decode(errors="replace")
    return KINDS.get(number, f"op {number}")


def indices(array):
    return [] if array is None else [int(at) for at in array]


def name(tensor):
    return (tensor.name or b"").decode(errors="replace")


def shape(tensor):
    return indices(tensor.shape)


def sizes(tensor):
    """The shape of a tensor with -1 for what the model leaves open."""
    return indices(tensor.shapeSignature) or shape(tensor)


def buffer(model, tensor, content):
    """The bytes of a constant, or None; in a file of over 2 GB they lie behind the flatbuffer."""
    stored = model.buffers[tensor.buffer]
    if (getattr(stored, "offset", 0) or 0) > 1:
        return np.frombuffer(content, np.uint8)[stored.offset : stored.offset + stored.size]
    return None if stored.data is None or not len(stored.data) else np.asarray(stored.data)


def _nibbles(data):
    """Whole numbers of 4 bits, two a byte, the lower half first."""
    data = np.frombuffer(data, np.int8)
    return np.stack([np.left_shift(data, 4) >> 4, data >> 4], 1).reshape(-1)


def _dense(values, tensor):
    """A sparse tensor with its zeros.

    It is stored axis after axis, in `traversalOrder`, those of its blocks last: an axis is dense,
    or has a list of the places that are not empty.
    """
    sparsity, size = tensor.sparsity, shape(tensor)
    places = np.zeros((1, 0), np.int64)
    for level in sparsity.dimMetadata:
        places = _expanded(places, level)
    order, blocks = indices(sparsity.traversalOrder), indices(sparsity.blockMap)
    found = np.zeros((len(places), len(size)), np.int64)
    widths = {axis: sparsity.dimMetadata[order.index(len(size) + at)].denseSize
              for at, axis in enumerate(blocks)}  # fmt: skip
    for at, axis in enumerate(order):
        if axis < len(size):
            found[:, axis] += places[:, at] * widths.get(axis, 1)
        else:
            found[:, blocks[axis - len(size)]] += places[:, at]
    dense = np.zeros(size, values.dtype)
    dense[tuple(found.T)] = values[: len(found)]
    return dense


def _expanded(places, level):
    """The places of one more axis: each of the places so far has several."""
    if level.format == schema.DimensionType.DENSE:
        counts = np.full(len(places), level.denseSize)
        last = np.tile(np.arange(level.denseSize), len(places))
    else:
        segments = np.asarray(level.arraySegments.values, np.int64)
        counts, last = np.diff(segments), np.asarray(level.arrayIndices.values, np.int64)
    return np.concatenate([np.repeat(places, counts, 0), last[:, None]], 1)


MISSING = -1  # an operand that is left out
INT4 = schema.TensorType.INT4

KINDS = {number: kind for kind, number in vars(schema.BuiltinOperator).items()
         if not kind.startswith("_")}  # fmt: skip

DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.FLOAT64: np.float64,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.UINT32: np.uint32,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT64: np.int64,
    schema.TensorType.BOOL: np.bool_,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.UINT16: np.uint16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT4: np.int8,
    schema.TensorType.COMPLEX64: np.complex64,
}

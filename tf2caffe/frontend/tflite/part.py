"""What is wanted of a `.tflite` file: the ops between its inputs and outputs, in floats.

Constants become the numbers that the file describes: float16 is exact in float32, a sparse tensor
gets its zeros, a quantised one is scale * (q - zero point). Activations of 8 bits become floats
only on request (`dequantised`).
"""

import difflib
from copy import copy

import flatbuffers
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from tf2caffe.failure import Failure, listed
from tf2caffe.frontend.tflite.file import DTYPES, KINDS, MISSING, indices, name, shape, sizes


class Part:
    """The needed part of a subgraph.

    `tensors` are the subgraph's, `ops` the needed ones in order, `inputs` and `outputs` the
    tensors' indices by the names that the user knows, `values` the constants, {index: array}.
    `rewritten` are the ops that are in floats here and not in the file, `clipped` those that got a
    ReLU, `same` what became the same tensor, {index: index}; `left` are kinds of ops at the end
    that are left to the caller.
    """

    def __init__(self, file, wanted):
        self.file, self.rewritten, self.left, self.clipped, self.same = file, [], [], [], {}
        self.at, signature = _chosen(file, wanted.signature)
        if self.at >= len(file.model.subgraphs):
            raise file.damaged(f"a signature is of subgraph {self.at}")
        self.graph = file.model.subgraphs[self.at]
        self.tensors = self.graph.tensors or []
        self.producers = {i: op for op in self.graph.operators or [] for i in indices(op.outputs)}
        self.inputs = self._ends(self.graph.inputs, signature and signature.inputs, wanted.inputs)
        self.outputs = self._ends(
            self.graph.outputs, signature and signature.outputs, wanted.outputs
        )
        if not wanted.outputs:
            self._leave_to_caller()
        self.cut = bool(wanted.inputs)
        self.ops = self._needed()
        self.values = {}
        self._fold()

    def _ends(self, found, signature, wanted):
        """The inputs or outputs, {name: index}: those `wanted`, else all that there are."""
        if wanted:
            return {one: self._index(one) for one in wanted}
        known = {entry.tensorIndex: entry.name.decode() for entry in signature or []}
        return {known.get(at) or plain_name(name(self.tensors[at])): at for at in indices(found)}

    def _index(self, wanted):
        """The index of the tensor that a user calls so."""
        known = {}
        for at in [*indices(self.graph.inputs), *self.producers]:  # constants have such names too
            for alias in aliases(name(self.tensors[at])):
                known.setdefault(alias, at)
        for signature in self.file.model.signatureDefs or []:
            for entry in [*(signature.inputs or []), *(signature.outputs or [])]:
                known.setdefault(entry.name.decode(), entry.tensorIndex)
        ends = [at for alias, at in known.items() if alias.endswith(f"/{wanted}")]
        if wanted in known or len(ends) == 1:
            return known.get(wanted, ends[-1:] and ends[0])
        near = ", ".join(difflib.get_close_matches(wanted, known)) or "none"
        raise Failure(f"{self.file.path} has no tensor called {wanted}; names like it: {near}")

    def kind(self, op):
        return self.file.kind(op)

    def _leave_to_caller(self):
        """Put what an op reads in the place of its outputs, where Caffe has nothing like it."""
        found = {}
        for key, at in self.outputs.items():
            op = self.producers.get(at)
            if op is None or self.kind(op) not in LEFT:
                found[key] = at
                continue
            if self.kind(op) not in self.left:
                self.left.append(self.kind(op))
            read = [i for i in indices(op.inputs) if self.file.value(self.tensors[i]) is None]
            found |= {plain_name(name(self.tensors[i])): i for i in read}
        self.outputs = found

    def _needed(self):
        """The ops that the outputs depend on, in the file's order."""
        needed, waiting = set(), list(self.outputs.values())
        seen = set(self.inputs.values())
        while waiting:
            at = waiting.pop()
            op = self.producers.get(at)
            if at in seen or op is None:
                continue
            seen.add(at)
            needed.add(id(op))
            waiting += [i for i in indices(op.inputs) if i != MISSING]
        return [op for op in self.graph.operators or [] if id(op) in needed]

    def _fold(self):
        """Take the constants, and what DENSIFY and DEQUANTIZE make of constants."""
        ends = {*indices(self.graph.inputs), *self.inputs.values(), MISSING}
        for op in self.ops:
            for at in indices(op.inputs):
                if at not in self.values and at not in self.producers and at not in ends:
                    value = self.file.value(self.tensors[at])
                    if value is not None:
                        self.values[at] = value
            if self.kind(op) in ("DENSIFY", "DEQUANTIZE") and op.inputs[0] in self.values:
                source, target = int(op.inputs[0]), int(op.outputs[0])
                value = self.values[source]
                if self.kind(op) == "DEQUANTIZE":
                    value = dequantised(value, self.tensors[source])
                self.values[target] = value
        self.ops = [op for op in self.ops if int(op.outputs[0]) not in self.values]

    def activations(self):
        """The indices of what the ops read and make, but for constants."""
        found = dict.fromkeys(self.inputs.values())
        for op in self.ops:
            found |= dict.fromkeys(indices(op.inputs)) | dict.fromkeys(indices(op.outputs))
        return [at for at in found if at != MISSING and at not in self.values]

    def quantised(self):
        """The ops that compute in whole numbers which stand for floats."""
        return [
            op
            for op in self.ops
            if any(is_scaled(self.tensors[at]) for at in indices(op.outputs))
            or (
                self.kind(op) not in ("DEQUANTIZE", "QUANTIZE")
                and any(
                    at != MISSING and at not in self.values and is_scaled(self.tensors[at])
                    for at in indices(op.inputs)
                )
            )
        ]

    def take_floats(self, everything):
        """Write quantised weights, and if `everything` quantised activations, as floats."""
        quantised = self.quantised()
        for op in self.ops:
            hybrid = everything and op in quantised
            for at in indices(op.inputs):
                value = self.values.get(at)
                if value is not None and value.dtype.kind in "iu" and has_scale(self.tensors[at]):
                    self.values[at] = dequantised(value, self.tensors[at])
                    hybrid = True
            if hybrid:
                self.rewritten.append(op)
        if everything:
            self.ops = [self._with_range(op) for op in self.ops]
            for at in self.activations():
                if is_scaled(self.tensors[at]):
                    self.tensors[at] = copy(self.tensors[at])
                    self.tensors[at].type = schema.TensorType.FLOAT32
            self.same = self._same()

    def _with_range(self, op):
        """The op with a ReLU or ReLU6 where only the range of its whole numbers says so.

        What is kept of a sum in numbers from 0 on has no negative part, as after a ReLU.
        """
        result, fused = self.tensors[int(op.outputs[0])], "fusedActivationFunction"
        activations = schema.ActivationFunctionType
        if getattr(op.builtinOptions, fused, None) != activations.NONE or not _is_positive(result):
            return op
        read = [self.tensors[at] for at in indices(op.inputs) if at not in self.values]
        if self.kind(op) in KEEP_SIGN and all(map(_is_positive, read)):
            return op
        op = copy(op)
        op.builtinOptions = copy(op.builtinOptions)
        kind = self.dtype(int(op.outputs[0]))
        largest = float(result.quantization.scale[0]) * (kind.max - kind.min)
        is_six = abs(largest - 6) < 6 / 255
        op.builtinOptions.fusedActivationFunction = (
            activations.RELU6 if is_six else activations.RELU
        )
        self.clipped.append(op)
        return op

    def custom(self):
        """The ops that TFLite's interpreter runs only in another form."""
        return [op for op in self.ops if self.kind(op) == "Convolution2DTransposeBias"]

    def runs_whole(self):
        """Whether the interpreter runs the file itself for these outputs.

        It runs the first subgraph from its inputs on, and no file that has a custom op.
        """
        whole = self.graph.operators or []
        return (
            self.at == 0
            and not self.cut
            and (
                len(whole) == len(self.ops)
                or all(self.kind(op) in KINDS.values() or self.kind(op) in LEFT for op in whole)
            )
        )

    def dtype(self, at):
        tensor = self.tensors[at]
        if tensor.type not in DTYPES:
            said = f"{self.file.path}: {plain_name(name(tensor))} holds no numbers (type "
            raise Failure(f"{said}{tensor.type} of TFLite's schema); cut it off with --inputs")
        return tf.as_dtype(DTYPES[tensor.type])

    def packed(self):
        """This part as a `.tflite` of its own (bytes), every tensor with the index it has here."""
        model, graph = copy(self.file.model), copy(self.graph)
        model.buffers, graph.tensors = [schema.BufferT()], []
        for at, tensor in enumerate(self.tensors):
            graph.tensors.append(_stored(tensor, self.values.get(at), model.buffers))
        self._write_ops(model, graph)
        model.subgraphs, model.signatureDefs = [graph], None
        model.metadata = model.metadataBuffer = None
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _write_ops(self, model, graph):
        """Give a subgraph that is packed the ops and ends of this part."""
        same = self.same
        graph.operators = []
        for op in self.ops:
            if op.outputs[0] not in same:
                op = copy(op)
                op.inputs = np.array([same.get(at, at) for at in indices(op.inputs)], np.int32)
                is_custom = self.kind(op) == "Convolution2DTransposeBias"
                graph.operators.append(_as_builtin(op, model, graph) if is_custom else op)
        graph.inputs, graph.outputs = (
            np.array([same.get(at, at) for at in ends.values()], np.int32)
            for ends in (self.inputs, self.outputs)
        )

    def _same(self):
        """What QUANTIZE and DEQUANTIZE give once both sides are floats, {index: index}."""
        same = {}
        for op in self.ops:
            ends = int(op.inputs[0]), int(op.outputs[0])
            kinds = {self.tensors[at].type for at in ends}
            floats = kinds == {schema.TensorType.FLOAT32}
            if self.kind(op) in ("QUANTIZE", "DEQUANTIZE") and floats:
                same[ends[1]] = same.get(ends[0], ends[0])
        return same

    def shown(self, op):
        """An op as a message names it: its first output, and its kind."""
        return f"{plain_name(name(self.tensors[int(op.outputs[0])]))} ({self.kind(op)})"


def _stored(tensor, value, buffers):
    """A copy of a tensor to be packed, whose constant, if it is one, is added to `buffers`."""
    tensor = copy(tensor)
    tensor.buffer, tensor.sparsity = 0, None
    if value is not None:
        stored = schema.BufferT()
        stored.data = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        tensor.buffer, tensor.type = len(buffers), TYPES[value.dtype.type]
        tensor.shape = np.array(value.shape, np.int32)
        buffers.append(stored)
    if tensor.type == schema.TensorType.FLOAT32:
        tensor.quantization = None
    return tensor


def _as_builtin(op, model, graph):
    """MediaPipe's transposed convolution (image, kernel, bias) as TFLite's (size, kernel, image,
    bias)."""
    result = graph.tensors[int(op.outputs[0])]
    size = schema.TensorT()
    size.name, size.type = b"output_shape", schema.TensorType.INT32
    size.shape = np.array([4], np.int32)
    graph.tensors.append(_stored(size, np.array(shape(result), np.int32), model.buffers))
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.TRANSPOSE_CONV
    code.version = 3  # with a bias
    model.operatorCodes = [*model.operatorCodes, code]
    image, kernel, *bias = op.inputs
    op.inputs = np.array([len(graph.tensors) - 1, kernel, image, *bias], np.int32)
    op.builtinOptions, op.customOptions = _transpose_options(op), None
    op.builtinOptionsType = schema.BuiltinOptions.TransposeConvOptions
    op.opcodeIndex = len(model.operatorCodes) - 1
    return op


def _transpose_options(op):
    """TFLite's settings of a transposed convolution out of MediaPipe's, a struct of C."""
    padding, width, height = np.frombuffer(bytes(op.customOptions), np.int32)[:3]
    options = schema.TransposeConvOptionsT()
    options.padding = schema.Padding.SAME if padding == 1 else schema.Padding.VALID
    options.strideW, options.strideH = int(width), int(height)
    return options


class Stored:
    """How the inputs and outputs of a part are stored in the file, before it is in floats."""

    def __init__(self, part):
        ends = {*part.inputs.values(), *part.outputs.values()}
        self.scales = {
            at: (float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0]))
            for at in ends
            if is_scaled(tensor := part.tensors[at])
        }
        self.types = {at: part.dtype(at) for at in ends}

    def stored(self, at, array):
        """Floats as the file takes them."""
        kind = self.types[at]
        if at in self.scales:
            scale, zero = self.scales[at]
            array = np.clip(np.rint(array / scale + zero), kind.min, kind.max)
        return array.astype(kind.as_numpy_dtype)

    def meant(self, at, array):
        """What the file gives, as the floats that it stands for."""
        if at not in self.scales:
            return array
        scale, zero = self.scales[at]
        return (array.astype(np.float32) - zero) * np.float32(scale)

    def told(self, key, at):
        scale, zero = self.scales[at]
        return (
            f"input {key} is {self.types[at].name} in the file; here it is the float that it "
            f"stands for: ({self.types[at].name} - {zero}) * {scale:.7g}"
        )


def _chosen(file, wanted):
    """(the index of the subgraph, the signature or None) that is wanted, else the main one."""
    known = {found.signatureKey.decode(): found for found in file.model.signatureDefs or []}
    if wanted and wanted not in known:
        choice = f"choose of: {', '.join(known)}" if known else "it has none"
        raise Failure(f"{file.path} has no signature {wanted}; {choice}")
    if not known:
        return 0, None
    key = wanted or (next(iter(known)) if len(known) == 1 else "serving_default")
    if key not in known:
        raise Failure(
            f"{file.path} has several signatures; choose one with --signature: {', '.join(known)}"
        )
    return known[key].subgraphIndex, known[key]


def refuse_state(part):
    """Raise `Failure` that names what may keep something from one run to the next."""
    found = [part.shown(op) for op in part.ops if part.kind(op) in STATE]
    found += [
        f"{plain_name(name(part.tensors[at]))} (a variable tensor)"
        for at in part.activations()
        if part.tensors[at].isVariable
    ]
    if found:
        raise Failure(
            listed(
                f"{part.file.path} has variables, which keep a state from one run to the next; "
                "Caffe's networks keep none: make them inputs and outputs of the model, or cut "
                "them off with --inputs and --outputs",
                found,
            )
        )


def refuse_quantised(part):
    """Raise `Failure` where the ops compute in whole numbers."""
    found = part.quantised()
    if found:
        raise Failure(
            f"{part.file.path} is quantised: {len(found)} of its {len(part.ops)} ops compute in "
            "whole numbers, and Caffe computes in floats; --dequantise takes it as the float "
            "network that its scales describe"
        )


def is_scaled(tensor):
    """Whether a tensor holds whole numbers that stand for floats."""
    return tensor.type in WHOLE and has_scale(tensor)


def has_scale(tensor):
    found = tensor.quantization
    return found is not None and found.scale is not None and len(found.scale) > 0


def dequantised(array, tensor):
    """The floats that a constant's whole numbers (or float16) stand for: scale * (q - zero)."""
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    found = tensor.quantization
    scale = np.asarray(found.scale, np.float32)
    zero = np.asarray(found.zeroPoint if found.zeroPoint is not None else 0, np.int64)
    form = [1] * array.ndim
    if len(scale) > 1:
        form[found.quantizedDimension] = len(scale)
        scale, zero = scale.reshape(form), zero.reshape(form) if zero.size > 1 else zero
    elif scale.size:
        scale, zero = scale.reshape(()), zero.reshape(-1)[0]
    return ((array.astype(np.int64) - zero).astype(np.float64) * scale).astype(np.float32)


def _is_positive(tensor):
    """Whether the whole numbers of a tensor stand for floats from 0 on."""
    if not is_scaled(tensor):
        return False
    return np.ravel(tensor.quantization.zeroPoint)[0] == np.iinfo(DTYPES[tensor.type]).min


def plain_name(text):
    """A tensor's name as a user says it: the first of those that were fused into it."""
    return text.split(";")[0].removesuffix(":0")


def aliases(text):
    """The names that a user may call a tensor."""
    return [text, text.split(";")[0], plain_name(text)]


def open_sizes(part, at):
    """The shape of an input as TensorFlow writes it, None for what is open."""
    tensor = part.tensors[at]
    if tensor.shape is None and not getattr(tensor, "hasRank", True):
        return tf.TensorShape(None)
    return tf.TensorShape([None if size < 1 else size for size in sizes(tensor)] or shape(tensor))


# Ops at the end that are left to the caller: what they give depends on the data.
LEFT = ("TFLite_Detection_PostProcess",)

# Ops whose sums of what is not negative are not either.
KEEP_SIGN = ("ADD", "MUL", "CONCATENATION", "AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D")

STATE = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")

WHOLE = (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16)

TYPES = {dtype: number for number, dtype in DTYPES.items() if number != schema.TensorType.INT4}

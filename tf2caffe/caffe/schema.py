"""Caffe's messages, as far as we read or write them, in a protobuf descriptor pool of our own.

TensorFlow and pycaffe each bring a protobuf and a pool, so nothing is registered in the default
one. Field numbers, types and defaults are those of BVLC Caffe's schema; the tests compare each of
them with the descriptors that pycaffe carries. The one departure: `BlobProto.data` is declared as
bytes. Packed floats have the same wire form (a tag, a length, little-endian floats).
"""

import re
from pathlib import Path

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)

from tf2caffe.failure import Failure

# Message -> field: "number type[*] [default]"; * repeats, ** repeats packed.
MESSAGES = {
    "NetParameter": {
        "name": "1 string", "input": "3 string*", "input_dim": "4 int32*",
        "input_shape": "8 BlobShape*", "layer": "100 LayerParameter*",
    },
    "LayerParameter": {
        "name": "1 string", "type": "2 string", "bottom": "3 string*", "top": "4 string*",
        "blobs": "7 BlobProto*", "include": "8 NetStateRule*", "exclude": "9 NetStateRule*",
        "phase": "10 Phase",
        "argmax_param": "103 ArgMaxParameter", "concat_param": "104 ConcatParameter",
        "convolution_param": "106 ConvolutionParameter", "dropout_param": "108 DropoutParameter",
        "eltwise_param": "110 EltwiseParameter", "exp_param": "111 ExpParameter",
        "inner_product_param": "117 InnerProductParameter", "lrn_param": "118 LRNParameter",
        "pooling_param": "121 PoolingParameter", "power_param": "122 PowerParameter",
        "relu_param": "123 ReLUParameter", "softmax_param": "125 SoftmaxParameter",
        "slice_param": "126 SliceParameter", "prelu_param": "131 PReLUParameter",
        "reshape_param": "133 ReshapeParameter", "log_param": "134 LogParameter",
        "flatten_param": "135 FlattenParameter", "tile_param": "138 TileParameter",
        "batch_norm_param": "139 BatchNormParameter", "elu_param": "140 ELUParameter",
        "bias_param": "141 BiasParameter", "scale_param": "142 ScaleParameter",
        "input_param": "143 InputParameter", "crop_param": "144 CropParameter",
    },
    "NetStateRule": {
        "phase": "1 Phase", "min_level": "2 int32", "max_level": "3 int32", "stage": "4 string*",
        "not_stage": "5 string*",
    },
    "BlobShape": {"dim": "1 int64**"},
    "BlobProto": {"data": "5 bytes", "shape": "7 BlobShape"},
    "ArgMaxParameter": {"out_max_val": "1 bool", "top_k": "2 uint32 1", "axis": "3 int32"},
    "BatchNormParameter": {
        "use_global_stats": "1 bool", "moving_average_fraction": "2 float 0.999",
        "eps": "3 float 1e-5",
    },
    "BiasParameter": {"axis": "1 int32 1", "num_axes": "2 int32 1"},
    "ConcatParameter": {"concat_dim": "1 uint32 1", "axis": "2 int32 1"},
    "ConvolutionParameter": {
        "num_output": "1 uint32", "bias_term": "2 bool true", "pad": "3 uint32*",
        "kernel_size": "4 uint32*", "group": "5 uint32 1", "stride": "6 uint32*",
        "pad_h": "9 uint32 0", "pad_w": "10 uint32 0", "kernel_h": "11 uint32",
        "kernel_w": "12 uint32", "stride_h": "13 uint32", "stride_w": "14 uint32",
        "axis": "16 int32 1", "dilation": "18 uint32*",
    },
    "CropParameter": {"axis": "1 int32 2", "offset": "2 uint32*"},
    "DropoutParameter": {"dropout_ratio": "1 float 0.5"},
    "ELUParameter": {"alpha": "1 float 1"},
    "EltwiseParameter": {"operation": "1 EltwiseOp SUM", "coeff": "2 float*"},
    "ExpParameter": {"base": "1 float -1", "scale": "2 float 1", "shift": "3 float 0"},
    "FlattenParameter": {"axis": "1 int32 1", "end_axis": "2 int32 -1"},
    "InnerProductParameter": {
        "num_output": "1 uint32", "bias_term": "2 bool true", "axis": "5 int32 1",
        "transpose": "6 bool false",
    },
    "InputParameter": {"shape": "1 BlobShape*"},
    "LogParameter": {"base": "1 float -1", "scale": "2 float 1", "shift": "3 float 0"},
    "LRNParameter": {
        "local_size": "1 uint32 5", "alpha": "2 float 1", "beta": "3 float 0.75",
        "norm_region": "4 NormRegion ACROSS_CHANNELS", "k": "5 float 1",
    },
    "PoolingParameter": {
        "pool": "1 PoolMethod MAX", "kernel_size": "2 uint32", "stride": "3 uint32 1",
        "pad": "4 uint32 0", "kernel_h": "5 uint32", "kernel_w": "6 uint32",
        "stride_h": "7 uint32", "stride_w": "8 uint32", "pad_h": "9 uint32 0",
        "pad_w": "10 uint32 0", "global_pooling": "12 bool false",
        "round_mode": "13 RoundMode CEIL",
    },
    "PowerParameter": {"power": "1 float 1", "scale": "2 float 1", "shift": "3 float 0"},
    "PReLUParameter": {"channel_shared": "2 bool false"},
    "ReLUParameter": {"negative_slope": "1 float 0"},
    "ReshapeParameter": {"shape": "1 BlobShape", "axis": "2 int32 0", "num_axes": "3 int32 -1"},
    "ScaleParameter": {"axis": "1 int32 1", "num_axes": "2 int32 1", "bias_term": "4 bool false"},
    "SliceParameter": {"slice_dim": "1 uint32 1", "slice_point": "2 uint32*", "axis": "3 int32 1"},
    "SoftmaxParameter": {"axis": "2 int32 1"},
    "TileParameter": {"axis": "1 int32 1", "tiles": "2 int32"},
}  # fmt: skip

# Enum -> (the message it belongs to, its values from 0).
ENUMS = {
    "Phase": (None, ("TRAIN", "TEST")),
    "EltwiseOp": ("EltwiseParameter", ("PROD", "SUM", "MAX")),
    "NormRegion": ("LRNParameter", ("ACROSS_CHANNELS", "WITHIN_CHANNEL")),
    "PoolMethod": ("PoolingParameter", ("MAX", "AVE", "STOCHASTIC")),
    "RoundMode": ("PoolingParameter", ("CEIL", "FLOOR")),
}


# Layer type -> the field of LayerParameter that holds its settings.
PARAMS = {
    spec.split()[1].removesuffix("Parameter"): field
    for field, spec in MESSAGES["LayerParameter"].items()
    if spec.split()[1].endswith("Parameter")
}
PARAMS["Deconvolution"] = PARAMS["Convolution"]


def _file():
    """The schema as a protobuf file descriptor."""
    file = descriptor_pb2.FileDescriptorProto(name="tf2caffe.proto", package="caffe")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, spec in fields.items():
            _add_field(message, field, *spec.split())
    messages = {message.name: message for message in file.message_type}
    for name, (owner, values) in ENUMS.items():
        enum = (messages[owner] if owner else file).enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    return file


def _add_field(message, name, number, kind, default=None):
    field = message.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if "*" in kind else field.LABEL_OPTIONAL
    if kind.endswith("**"):
        field.options.packed = True
    kind = kind.rstrip("*")
    if kind in MESSAGES:
        field.type, field.type_name = field.TYPE_MESSAGE, f".caffe.{kind}"
    elif kind in ENUMS:
        owner = ENUMS[kind][0]
        field.type = field.TYPE_ENUM
        field.type_name = f".caffe.{owner}.{kind}" if owner else f".caffe.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
    if default is not None:
        field.default_value = default


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())
_CLASSES = message_factory.GetMessageClassesForFiles(["tf2caffe.proto"], _POOL)
NetParameter = _CLASSES["caffe.NetParameter"]
LayerParameter = _CLASSES["caffe.LayerParameter"]


def setting(layer, name):
    """A setting of a layer (a `LayerParameter`); an enum's value is its number."""
    return getattr(getattr(layer, PARAMS[layer.type]), name)


def prototxt(name, layers):
    """The text of a network: one block a layer, parameters on one line, as a person writes it."""
    blocks = [f"name: {_quoted(name)}\n"]
    blocks += [f"layer {{\n{_fields(layer)}}}\n" for layer in layers]
    return "\n".join(blocks)


def is_repeated(field):
    """Whether a field holds a list; protobuf has `is_repeated` since 6.31, and soon no `label`."""
    known = getattr(field, "is_repeated", None)
    return field.label == field.LABEL_REPEATED if known is None else known


def _fields(layer):
    lines = []
    for field, value in layer.ListFields():
        if field.name == "blobs":
            continue
        values = value if is_repeated(field) else [value]
        for item in values:
            if field.message_type:
                lines.append(f"  {field.name} {{ {_one_line(item)} }}\n")
            else:
                lines.append(f"  {field.name}: {_quoted(item)}\n")
    return "".join(lines)


def _one_line(message):
    return text_format.MessageToString(message, as_one_line=True, as_utf8=True).strip()


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def load(path):
    """The network of a prototxt file. Raises `Failure` where it is missing or cannot be read."""
    try:
        return parse(Path(path).read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise Failure(f"{path}: no such file; build_caffe.py makes it") from None
    except UnicodeDecodeError:
        raise Failure(f"{path} is not a Caffe prototxt: not UTF-8 text") from None


def parse(text, path):
    """Read a prototxt into a `NetParameter`. What is not in our schema is passed over."""
    net = NetParameter()
    try:
        text_format.Parse(text, net, allow_unknown_field=True)
    except (text_format.ParseError, RecursionError) as error:
        where = re.sub(r"\s+", " ", str(error))
        raise Failure(f"{path} is not a Caffe prototxt: {where}") from None
    return net


def is_used(layer):
    """Whether Caffe makes the layer where the network is used: phase TEST, level 0, no stage."""
    if layer.include:
        return any(_is_met(rule) for rule in layer.include)
    return not any(_is_met(rule) for rule in layer.exclude)


def _is_met(rule):
    phase = ENUMS["Phase"][1][rule.phase] if rule.HasField("phase") else "TEST"
    return phase == "TEST" and rule.min_level <= 0 <= rule.max_level and not rule.stage


def old_inputs(net):
    """The inputs that a prototxt declares outside of its layers, the older way, as Input layers."""
    dims = list(net.input_dim)
    shapes = [list(shape.dim) for shape in net.input_shape]
    shapes += [dims[at : at + 4] for at in range(0, len(dims), 4)]
    return [
        LayerParameter(name=name, type="Input", top=[name], input_param={"shape": [{"dim": shape}]})
        for name, shape in zip(net.input, shapes, strict=False)
    ]

"""Our own schema, writer and shape rules against those that real Caffe carries."""

import json
import subprocess

import numpy as np
import pytest

from tf2caffe.caffe import schema, writer
from tf2caffe.caffe.net import Net

DUMP = """
import json
from caffe.proto import caffe_pb2

def record(field):
    owner = field.message_type or field.enum_type
    default = [] if field.label == field.LABEL_REPEATED else field.default_value
    packed = field.has_options and field.GetOptions().packed
    owner = owner.full_name if owner else None
    return [field.number, field.type, field.label, packed, owner, str(default)]

def records(messages):
    for message in messages:
        fields = {field.name: record(field) for field in message.fields}
        enums = {enum.name: values(enum) for enum in message.enum_types}
        yield message.name, [fields, enums]

def values(enum):
    return [[value.name, value.number] for value in enum.values]

file = caffe_pb2.DESCRIPTOR
enums = {enum.name: values(enum) for enum in file.enum_types_by_name.values()}
print(json.dumps([dict(records(file.message_types_by_name.values())), enums]))
"""
READ_MODEL = """
import hashlib, json, sys
import numpy as np
from caffe.proto import caffe_pb2
net = caffe_pb2.NetParameter.FromString(open(sys.argv[1], "rb").read())
def digest(blob):
    return hashlib.sha256(np.array(blob.data, np.float32).tobytes()).hexdigest()
print(json.dumps([net.name, [
    [layer.name, layer.type, list(layer.bottom), list(layer.top),
     [[list(blob.shape.dim), digest(blob)] for blob in layer.blobs]]
    for layer in net.layer]]))
"""
READ_TEXT = """
import json, sys
from google.protobuf import text_format
from caffe.proto import caffe_pb2
net = text_format.Parse(open(sys.argv[1], "rb").read(), caffe_pb2.NetParameter())
print(json.dumps([net.name, [layer.SerializeToString().hex() for layer in net.layer]]))
"""


@pytest.fixture(scope="module")
def ask(pycaffe):
    """What a script prints as JSON in the Python that has Caffe."""

    def ask(script, *arguments):
        command = [pycaffe.python, "-c", script, *map(str, arguments)]
        told = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
        return json.loads(told.stdout)

    return ask


@pytest.fixture(scope="module")
def theirs(ask):
    """{message: (fields, enums)} and {enum: values}, of Caffe's own schema."""
    return ask(DUMP)


def field_record(field):
    owner = field.message_type or field.enum_type
    default = [] if schema.is_repeated(field) else field.default_value
    label = field.LABEL_REPEATED if schema.is_repeated(field) else field.LABEL_OPTIONAL
    owner = owner.full_name if owner else None
    return [field.number, field.type, label, field.is_packed, owner, str(default)]


@pytest.mark.parametrize("message", schema.MESSAGES)
def test_message_is_caffe_s(theirs, message):
    fields, _ = theirs[0][message]
    descriptor = schema._POOL.FindMessageTypeByName(f"caffe.{message}")
    assert [field.name for field in descriptor.fields] == list(schema.MESSAGES[message])
    for field in descriptor.fields:
        wanted = fields[field.name]
        if (message, field.name) == ("BlobProto", "data"):  # bytes are packed floats on the wire
            assert wanted[:4] == [5, field.TYPE_FLOAT, field.LABEL_REPEATED, True]
            wanted = [5, field.TYPE_BYTES, field.LABEL_OPTIONAL, False, None, "b''"]
        assert field_record(field) == wanted, field.name


@pytest.mark.parametrize("enum", schema.ENUMS)
def test_enum_is_caffe_s(theirs, enum):
    owner, values = schema.ENUMS[enum]
    enums = theirs[0][owner][1] if owner else theirs[1]
    assert enums[enum] == [[value, number] for number, value in enumerate(values)]


NAMES = [
    "plain", "block/conv_1", "two words", 'quo"ted', "it's", "back\\slash", "\\n", "tab\there",
    "new\nline", "return\r", "größe", "卷积", "🙂", "bell\a", "# comment", "{}", "",
]  # fmt: skip


def random_layers(random):
    """A layer for each of Caffe's parameters, every one of whose fields is set."""
    layers = []
    descriptor = schema.LayerParameter.DESCRIPTOR
    for at, field in enumerate(descriptor.fields):
        if field.name.endswith("_param"):
            name = NAMES[at % len(NAMES)]
            layer = schema.LayerParameter(name=name, type="T", bottom=NAMES, top=[name])
            fill(getattr(layer, field.name), random)
            layers.append(layer)
    return layers


def fill(message, random):
    for field in message.DESCRIPTOR.fields:
        if field.message_type:
            child = getattr(message, field.name)
            fill(child.add() if schema.is_repeated(field) else child, random)
            continue
        value = VALUES[field.cpp_type](random)
        if field.enum_type:
            value = int(random.integers(len(field.enum_type.values)))
        if schema.is_repeated(field):
            getattr(message, field.name).extend([value, value])
        else:
            setattr(message, field.name, value)


FIELD = schema.LayerParameter.DESCRIPTOR.fields[0]
VALUES = {
    FIELD.CPPTYPE_BOOL: lambda random: bool(random.integers(2)),
    FIELD.CPPTYPE_ENUM: lambda random: 0,
    FIELD.CPPTYPE_FLOAT: lambda random: float(np.float32(random.normal() * 10 ** random.normal())),
    FIELD.CPPTYPE_INT32: lambda random: int(random.integers(-99, 99)),
    FIELD.CPPTYPE_INT64: lambda random: int(random.integers(-99, 2**40)),
    FIELD.CPPTYPE_UINT32: lambda random: int(random.integers(2**32)),
}


@pytest.mark.parametrize("seed", range(3))
def test_prototxt_is_read_back(ask, tmp_path, seed):
    """By us, and by Caffe: each field of each message, and names with all sorts of characters."""
    layers = random_layers(np.random.default_rng(seed))
    text = schema.prototxt(NAMES[3], layers)
    net = schema.parse(text, "text")
    assert list(net.layer) == layers and net.name == NAMES[3]
    (tmp_path / "net.prototxt").write_text(text, encoding="utf-8")
    name, theirs = ask(READ_TEXT, tmp_path / "net.prototxt")
    assert name == NAMES[3]
    assert theirs == [layer.SerializeToString().hex() for layer in layers]


def test_caffemodel_is_read_back(ask, tmp_path):
    """Bit by bit, by Caffe and by us; also weights larger than what is written at once."""
    random = np.random.default_rng(1)
    net = Net('a "net"/卷积')
    net.add("Input", "data", input_param={"shape": [{"dim": [1, 3, 5, 5]}]})
    large = random.normal(size=(60_000, 75)).astype(np.float32)
    large.reshape(-1).view(np.uint32)[:4] = [0, 1, 0x80000000, 0x7F7FFFFF]
    turned = np.asfortranarray(random.normal(size=(7, 60_000)), np.float32)
    net.add("PReLU", "größe/α", "data", [np.float32(0.25).reshape(())],
            prelu_param={"channel_shared": True})  # fmt: skip
    net.add("InnerProduct", "large", "größe/α", [large],
            inner_product_param={"num_output": 60_000, "bias_term": False})  # fmt: skip
    net.add("InnerProduct", "turned", "large", [turned, np.arange(7, dtype=np.float32)],
            inner_product_param={"num_output": 7})  # fmt: skip
    path = tmp_path / "net.caffemodel"
    with path.open("wb") as file:
        net.write_caffemodel(file)
    name, layers = ask(READ_MODEL, path)
    assert name == net.name
    assert layers == [
        [layer.name, layer.type, layer.bottoms, layer.tops,
         [[list(blob.shape), sha256(blob)] for blob in layer.blobs]]
        for layer in net.layers
    ]  # fmt: skip
    ours = schema.NetParameter.FromString(path.read_bytes())
    for written, layer in zip(ours.layer, net.layers, strict=True):
        assert [blob.data for blob in written.blobs] == [blob.tobytes() for blob in layer.blobs]
        assert [tuple(blob.shape.dim) for blob in written.blobs] == [
            blob.shape for blob in layer.blobs
        ]


def sha256(blob):
    import hashlib

    return hashlib.sha256(blob.tobytes()).hexdigest()


def test_settings_of_each_layer_type():
    """A layer type's settings are found by its name, that of a Deconvolution under another."""
    param = {"axis": 3, "num_output": 2}
    for kind, field in {
        "InnerProduct": "inner_product_param",
        "BatchNorm": "batch_norm_param",
        "Deconvolution": "convolution_param",
        "LRN": "lrn_param",
    }.items():
        assert schema.PARAMS[kind] == field  # fmt: skip
    layer = schema.LayerParameter(type="InnerProduct", inner_product_param=param)
    assert schema.setting(layer, "axis") == 3
    pool = schema.LayerParameter(type="Pooling", pooling_param={"pool": "AVE"})
    assert schema.ENUMS["PoolMethod"][1][schema.setting(pool, "pool")] == "AVE"


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**21 - 1, 2**31 - 1, 2**40])
def test_whole_numbers_as_protobuf_writes_them(number):
    shape = schema._CLASSES["caffe.BlobShape"](dim=[number])
    assert shape.SerializeToString().endswith(writer._varint(number))
    assert len(shape.SerializeToString()) == 2 + len(writer._varint(number))

"""TFLite files: through all steps into real Caffe, and equal to TFLite's own interpreter."""

import flatbuffers
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.lite.python import schema_py_generated as schema

from tests.harness import Converted, assert_equal, randomise
from tests.makers import RANDOM, loaded
from tf2caffe.failure import Failure
from tf2caffe.frontend.source import check_options
from tf2caffe.frontend.tflite import ops
from tf2caffe.frontend.tflite.file import File

SHAPE = (1, 9, 11, 4)
BUILTIN, DEFAULT = tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.Optimize.DEFAULT


def converted(source, path, **settings):
    """Write what TFLite's converter makes of a Keras model or of concrete functions."""
    if isinstance(source, keras.Model):
        converter = tf.lite.TFLiteConverter.from_keras_model(source)
    else:
        converter = tf.lite.TFLiteConverter.from_concrete_functions(source)
    for name, value in settings.items():
        setattr(converter, name, value)
    path.write_bytes(converter.convert())
    return path


def of_function(function, path, *shapes, **settings):
    specs = [tf.TensorSpec(shape, tf.float32, f"x{at}") for at, shape in enumerate(shapes)]
    return converted([tf.function(function).get_concrete_function(*specs)], path, **settings)


def kinds(path):
    return set(File(path).kinds)


def random(*shape):
    return tf.constant(RANDOM.normal(size=shape), tf.float32)


def conv(x, filters=5, **settings):
    kernel = random(3, 3, x.shape[-1], filters)
    return tf.nn.conv2d(x, kernel, **{"strides": 1, "padding": "SAME"} | settings)


def biased(x, activation=tf.identity):
    return activation(tf.nn.bias_add(conv(x), random(5)))


def leaves(x):
    """A branch that is joined again, so that a case has an op behind the one in question."""
    return x * 0.5 + 1


# What is converted, by the op of TFLite that it must hold.
OPS = {
    "CONV_2D": lambda x: biased(x, tf.nn.relu),
    "CONV_2D relu6": lambda x: biased(x * 3, tf.nn.relu6),
    "CONV_2D n1": lambda x: biased(x, lambda y: tf.clip_by_value(y, -1, 1)),
    "CONV_2D tanh": lambda x: biased(x, tf.tanh),
    "CONV_2D valid": lambda x: conv(x, padding="VALID", strides=(2, 1)),
    "CONV_2D dilated": lambda x: conv(x, dilations=2),
    "CONV_2D groups": lambda x: tf.nn.conv2d(x, random(3, 3, 2, 6), 1, "SAME"),
    "DEPTHWISE_CONV_2D": lambda x: tf.nn.depthwise_conv2d(
        x, random(3, 3, 4, 2), (1, 2, 2, 1), "SAME"
    ),
    "DEPTHWISE_CONV_2D dilated": lambda x: tf.nn.depthwise_conv2d(
        x, random(3, 3, 4, 1), (1, 1, 1, 1), "SAME", dilations=(2, 2)
    ),
    "TRANSPOSE_CONV": lambda x: tf.nn.conv2d_transpose(
        x, random(3, 3, 6, 4), (1, 18, 22, 6), 2, "SAME"
    ) + random(6),
    "TRANSPOSE_CONV valid": lambda x: tf.nn.conv2d_transpose(
        x, random(2, 2, 6, 4), (1, 18, 22, 6), 2, "VALID"
    ),
    "FULLY_CONNECTED": lambda x: tf.matmul(tf.reshape(x, (1, -1)), random(396, 7)) + random(7),
    "FULLY_CONNECTED pixels": lambda x: tf.tensordot(x, random(4, 7), 1),
    "BATCH_MATMUL": lambda x: tf.matmul(x[:, 0], x[:, 1], transpose_b=True),
    "AVERAGE_POOL_2D": lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"),
    "MAX_POOL_2D": lambda x: tf.nn.max_pool2d(x, (2, 3), (2, 1), "VALID"),
    "ADD": lambda x: tf.nn.relu(conv(x, 4) + leaves(x)),
    "SUB": lambda x: 1.5 - x * random(4),
    "MUL": lambda x: conv(x, 4) * tf.nn.sigmoid(x),
    "DIV": lambda x: conv(x, 4) / (tf.abs(x) + 0.5),
    "MAXIMUM": lambda x: tf.maximum(conv(x, 4), x),
    "MINIMUM": lambda x: tf.minimum(x, 0.3),
    "SQUARED_DIFFERENCE": lambda x: tf.math.squared_difference(x, random(4)),
    "ABS": tf.abs,
    "NEG": lambda x: -tf.exp(x),
    "EXP": tf.exp,
    "LOG": lambda x: tf.math.log(tf.square(x) + 0.5),
    "SQRT": lambda x: tf.sqrt(tf.abs(x) + 0.5),
    "RSQRT": lambda x: tf.math.rsqrt(tf.abs(x) + 0.5),
    "SQUARE": tf.square,
    "RELU": tf.nn.relu,
    "RELU6": tf.nn.relu6,
    "LEAKY_RELU": lambda x: tf.nn.leaky_relu(x, 0.3),
    "ELU": tf.nn.elu,
    "HARD_SWISH": lambda x: x * (tf.nn.relu6(x + 3) * (1 / 6)),
    "LOGISTIC": tf.sigmoid,
    "TANH": tf.tanh,
    "GELU": lambda x: tf.nn.gelu(x, approximate=True),
    "SOFTMAX": lambda x: tf.nn.softmax(tf.reshape(x, (1, -1))),
    "LOG_SOFTMAX": lambda x: tf.nn.log_softmax(tf.reshape(x, (1, -1))),
    "L2_NORMALIZATION": lambda x: tf.math.l2_normalize(tf.reshape(x, (1, -1)), -1),
    "LOCAL_RESPONSE_NORMALIZATION": lambda x: tf.nn.lrn(x, 2, 1.0, 1e-2, 0.75),
    "MEAN": lambda x: tf.reduce_mean(x, (1, 2), keepdims=True),
    "SUM": lambda x: tf.reduce_sum(x, (1, 2)),
    "REDUCE_MAX": lambda x: tf.reduce_max(x, (1, 2)),
    "RESHAPE": lambda x: tf.reshape(conv(x, 4), (1, -1, 2)),
    "TRANSPOSE": lambda x: tf.transpose(conv(x, 4), (0, 2, 1, 3)),
    "PACK": lambda x: tf.stack([x, leaves(x)], 3),
    "UNPACK": lambda x: tf.add_n(tf.unstack(conv(x, 4), axis=3)[:2]),
    "CONCATENATION": lambda x: tf.concat([x, conv(x, 3)], 3),
    "SPLIT": lambda x: tf.split(x, 2, 3)[1] * 2,
    "SPLIT_V": lambda x: tf.split(x, [1, 3], 3)[1] * 2,
    "SLICE": lambda x: tf.slice(x, (0, 1, 0, 1), (1, 5, 11, 2)),
    "STRIDED_SLICE": lambda x: x[:, 1:8, ::2],
    "GATHER": lambda x: tf.gather(x, [2, 0, 3], axis=3),
    "TILE": lambda x: tf.tile(x, (1, 1, 1, 2)),
    "PAD": lambda x: conv(tf.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0))), padding="VALID"),
    "PADV2": lambda x: tf.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), constant_values=1.5),
    "MIRROR_PAD": lambda x: tf.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), "REFLECT"),
    "DEPTH_TO_SPACE": lambda x: tf.nn.depth_to_space(x, 2),
    "SPACE_TO_DEPTH": lambda x: tf.nn.space_to_depth(x[:, :8, :10], 2),
    "RESIZE_BILINEAR": lambda x: tf.compat.v1.image.resize_bilinear(
        x, (18, 22), half_pixel_centers=True
    ),
    "RESIZE_BILINEAR corners": lambda x: tf.compat.v1.image.resize_bilinear(
        x, (17, 21), align_corners=True
    ),
    "RESIZE_NEAREST_NEIGHBOR": lambda x: tf.compat.v1.image.resize_nearest_neighbor(
        x, (18, 22), half_pixel_centers=True
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPS)
def test_op(name, tmp_path, pycaffe):
    path = of_function(OPS[name], tmp_path / "my.tflite", SHAPE)
    assert name.split()[0] in kinds(path)
    assert "compared: each output" in assert_equal(loaded(path), tmp_path, pycaffe).kept.original


def hand_made(path, kind, operands, size, options=None, custom=None):
    """Write a file of one op by hand: `operands` are None for the input, or arrays."""
    model, graph, op = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    graph.tensors = [tensor(model, "x", SHAPE)]
    graph.tensors += [tensor(model, f"c{at}", one.shape, one)
                      for at, one in enumerate(operands) if one is not None]  # fmt: skip
    sizes = size if isinstance(size, list) else [size]
    graph.tensors += [tensor(model, f"block/out{at}", one) for at, one in enumerate(sizes)]
    constants = iter(range(1, len(graph.tensors)))
    op.inputs = [0 if one is None else next(constants) for one in operands]
    op.outputs = list(range(len(graph.tensors) - len(sizes), len(graph.tensors)))
    op.opcodeIndex, op.builtinOptions, op.customOptions = 0, options, custom
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        op.builtinOptionsType = getattr(schema.BuiltinOptions, name)
    code = schema.OperatorCodeT()
    number = getattr(schema.BuiltinOperator, kind, schema.BuiltinOperator.CUSTOM)
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    code.version, code.customCode = 1, None if custom is None else kind
    model.operatorCodes, graph.operators = [code], [op]
    graph.inputs, graph.outputs = [0], list(op.outputs)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(builder.Output())
    return path


def tensor(model, name, size, value=None):
    made = schema.TensorT()
    made.name, made.shape, made.buffer = name, list(size), 0
    made.type = schema.TensorType.FLOAT32
    if value is not None:
        made.type = {"f": made.type, "i": schema.TensorType.INT32}[value.dtype.kind]
        made.buffer, stored = len(model.buffers), schema.BufferT()
        stored.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        model.buffers.append(stored)
    return made


def options(name, **settings):
    made = getattr(schema, f"{name}T")()
    for key, value in settings.items():
        setattr(made, key, value)
    return made


def floats(*size):
    return RANDOM.normal(size=size).astype(np.float32)


def whole(*numbers):
    return np.array(numbers, np.int32)


POOL = {"strideH": 2, "strideW": 1, "filterHeight": 2, "filterWidth": 3}
MEDIAPIPE = np.array([1, 2, 2], np.int32).view(np.uint8)  # SAME, strides 2 and 2

# (operands, the shape of the result, options): what today's converter does not write.
BY_HAND = {
    "PRELU": ([None, floats(1, 1, 4)], SHAPE, None),
    "PRELU whole": ([None, floats(9, 11, 4)], SHAPE, None),
    "SQUEEZE": ([None], SHAPE[1:], options("SqueezeOptions", squeezeDims=[0])),
    "EXPAND_DIMS": ([None, whole(3)], (1, 9, 11, 1, 4), options("ExpandDimsOptions")),
    "RELU_0_TO_1": ([None], SHAPE, None),
    "RELU_N1_TO_1": ([None], SHAPE, None),
    "SOFTMAX": ([None], SHAPE, options("SoftmaxOptions", beta=1.7)),
    "L2_POOL_2D": ([None], (1, 5, 11, 4), options("Pool2DOptions", **POOL)),
    "AVERAGE_POOL_2D": (
        [None], (1, 5, 11, 4), options("Pool2DOptions", **POOL, fusedActivationFunction=1)
    ),
    "DEPTHWISE_CONV_2D": (  # TensorFlow's own has one stride
        [None, floats(1, 3, 2, 8), floats(8)], (1, 5, 11, 8),
        options("DepthwiseConv2DOptions", strideH=2, strideW=1, depthMultiplier=2),
    ),
    "FULLY_CONNECTED": (
        [None, floats(3, 4)], (1, 9, 11, 3), options("FullyConnectedOptions", keepNumDims=True)
    ),
    "RESHAPE": ([None], (1, 99, 4), options("ReshapeOptions", newShape=[1, 99, 4])),
    "REDUCE_MIN": ([None, whole(1, 2)], (1, 4), options("ReducerOptions")),
    "Convolution2DTransposeBias": ([None, floats(2, 2, 2, 4), floats(2)], (1, 18, 22, 2), None),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_op_by_hand(name, tmp_path, pycaffe):
    kind, (operands, size, settings) = name.split()[0], BY_HAND[name]
    custom = MEDIAPIPE if kind.startswith("Conv") else None
    path = hand_made(tmp_path / "my.tflite", kind, operands, size, settings, custom)
    assert "compared: each output" in assert_equal(loaded(path), tmp_path, pycaffe).kept.original


def small():
    image = keras.Input(SHAPE[1:], name="image")
    x = layers.Conv2D(32, 3, strides=2, activation="relu", name="conv")(image)
    x = layers.DepthwiseConv2D(3, padding="same", name="dw")(x)
    x = layers.ReLU(6, name="act")(layers.BatchNormalization(name="bn")(x))
    x = layers.add([x, layers.Conv2D(32, 3, padding="same", name="side")(x)], name="join")
    x = layers.Flatten(name="flat")(x)
    return randomise(keras.Model(image, layers.Dense(5, activation="softmax", name="fc")(x)))


def images():
    for _ in range(4):
        yield [RANDOM.normal(size=SHAPE).astype(np.float32)]


FLOAT16 = tf.lite.TargetSpec(supported_types=[tf.float16])
INT8 = tf.lite.TargetSpec(supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8])
INT16 = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
BYTES = {"inference_input_type": tf.uint8, "inference_output_type": tf.uint8}
WHOLE = {"optimizations": [DEFAULT], "representative_dataset": images}
SPARSE = tf.lite.Optimize.EXPERIMENTAL_SPARSITY
FORMS = {
    "float32": {},
    "float16": {"optimizations": [DEFAULT], "target_spec": FLOAT16},
    "sparse": {"optimizations": [SPARSE]},
    "sparse float16": {"optimizations": [SPARSE, DEFAULT], "target_spec": FLOAT16},
    "dynamic range": {"optimizations": [DEFAULT]},
    "dynamic range per tensor": {
        "optimizations": [DEFAULT], "_experimental_disable_per_channel": True
    },
}  # fmt: skip
QUANTISED = {
    "int8": WHOLE,
    "int8 throughout": {**WHOLE, **BYTES, "target_spec": INT8},
    "int16": {**WHOLE, "target_spec": tf.lite.TargetSpec(supported_ops=[INT16])},
    "per tensor": {**WHOLE, "_experimental_disable_per_channel": True},
}


@pytest.mark.parametrize("form", FORMS)
def test_form(form, tmp_path, pycaffe):
    model = small()
    if "sparse" in form:
        for weight in model.weights:
            if "kernel" in weight.path:
                kept = RANDOM.random(weight.shape) < 0.1
                weight.assign(np.where(kept, weight.numpy(), 0))
    path = converted(model, tmp_path / "my.tflite", **FORMS[form])
    assert {"sparse": "DENSIFY", "float16": "DEQUANTIZE"}.get(form, "CONV_2D") in kinds(path)
    done = assert_equal(loaded(path), tmp_path, pycaffe)
    assert "compared: each output" in done.kept.original
    assert ("the file itself" in done.kept.original) == ("dynamic" in form)
    (answer,) = done.graph.outputs.values()
    ours, theirs = done.layers[answer], np.asarray(model(*done.inputs.values()))
    tolerance = {"float32": 1e-5, "sparse": 1e-5}.get(form, 0.02)
    np.testing.assert_allclose(ours, theirs, atol=tolerance)


@pytest.mark.parametrize("form", QUANTISED)
def test_quantised(form, tmp_path, pycaffe):
    model = small()
    path = converted(model, tmp_path / "my.tflite", **QUANTISED[form])
    with pytest.raises(Failure, match="my.tflite is quantised: .* --dequantise takes it"):
        loaded(path)
    done = assert_equal(loaded(path, dequantise=True), tmp_path, pycaffe)
    assert "compared: each output" in done.kept.original
    assert "the file itself" in done.kept.original
    assert "float network that its scales describe" in done.graph.remarks[0]
    (answer,) = done.graph.outputs.values()
    np.testing.assert_allclose(
        done.layers[answer], np.asarray(model(*done.inputs.values())), atol=0.1
    )


def plain(path):
    return converted(small(), path / "my.tflite")


def test_cut(tmp_path, pycaffe):
    """Between tensors of the file, by their own names, or as step 3 prints them."""
    path = plain(tmp_path)
    names = [node.name for node in Converted(loaded(path), tmp_path / "all").graph.nodes]
    assert any(name.endswith("/Relu6") for name in names)
    graph = File(path).model.subgraphs[0]
    known = [graph.tensors[op.outputs[0]].name.decode() for op in graph.operators]
    start, end = (next(n for n in known if n.split(";")[0].endswith(e)) for e in ("/Relu6", "/Add"))
    for given in ((start, end), (start.split(";")[0], end.split(";")[0])):
        trace = loaded(path, inputs=[given[0]], outputs=[given[1]])
        done = assert_equal(trace, tmp_path / "cut", pycaffe)
        assert len(done.graph.nodes) == 2
        assert "compared: each output" in done.kept.original
    with pytest.raises(Failure, match=r"has no tensor called functional_1/jo; names like it: "):
        loaded(path, outputs=["functional_1/jo"])


def test_size_given(tmp_path, pycaffe):
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(image)
    path = converted(
        randomise(keras.Model(image, layers.GlobalAveragePooling2D()(x))), tmp_path / "my.tflite"
    )
    with pytest.raises(Failure, match=r"inputs? .*image"):
        loaded(path)
    done = assert_equal(loaded(path, shape=[1, 8, 10, 3]), tmp_path, pycaffe)
    assert done.graph.inputs == {"image": (1, 8, 10, 3)}
    assert "compared: each output" in done.kept.original


class Two(tf.Module):
    def __init__(self):
        self.state = tf.Variable(tf.zeros((1, 4)), name="state")
        self.kernel = random(4, 3)

    @tf.function
    def dense(self, x):
        return {"answer": tf.matmul(x, self.kernel)}

    @tf.function
    def counted(self, x):
        self.state.assign_add(x)
        return {"total": self.state * 2.0}


@pytest.fixture
def two(tmp_path):
    """A file with two signatures, of which one keeps a state."""
    module, spec = Two(), tf.TensorSpec((1, 4), tf.float32, "x")
    calls = {name: getattr(module, name).get_concrete_function(spec) for name in CALLS}
    tf.saved_model.save(module, tmp_path / "saved", calls)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(tmp_path / "saved"), signature_keys=list(CALLS)
    )
    converter.experimental_enable_resource_variables = True
    (tmp_path / "two.tflite").write_bytes(converter.convert())
    return tmp_path / "two.tflite"


CALLS = ("dense", "counted")


def test_signatures(two, tmp_path, pycaffe):
    with pytest.raises(
        Failure, match="several signatures; choose one with --signature: counted, dense"
    ):
        loaded(two)
    with pytest.raises(Failure, match="two.tflite has no signature x; choose of: counted, dense"):
        loaded(two, signature="x")
    done = assert_equal(loaded(two, signature="dense"), tmp_path, pycaffe)
    assert list(done.graph.inputs) == ["x"] and list(done.graph.outputs) == ["answer"]
    assert "compared: each output" in done.kept.original


def test_state(two):
    with pytest.raises(Failure, match=r"has variables, which keep a state(.|\n)*\(VAR_HANDLE\)"):
        loaded(two, signature="counted")


def test_unknown_ops(tmp_path):
    path = hand_made(tmp_path / "my.tflite", "Mine", [None], SHAPE, None, np.zeros(4, np.uint8))
    with pytest.raises(Failure, match=r"has 1 op\(s\) that cannot be conv(.|\n)*block/out0 \(Mine"):
        loaded(path)


def test_left_to_the_caller(tmp_path, pycaffe):
    """What sorts boxes is the caller's: the network ends with what it reads."""
    sizes = [(1, 5, 4), (1, 5), (1, 5), (1,)]
    name = "TFLite_Detection_PostProcess"
    path = hand_made(tmp_path / "my.tflite", name, [None], sizes, None, np.zeros(4, np.uint8))
    trace = loaded(path)
    assert list(trace.outputs) == ["x"]
    assert trace.remarks == [f"{name} at the end is left to the caller, who gets x"]


def test_no_batch(tmp_path):
    path = of_function(lambda x: x * 2.0, tmp_path / "my.tflite", (16,))
    with pytest.raises(Failure, match=r"input x0 .* is \(16,\), without a batch axis"):
        loaded(path)


def test_no_numbers(tmp_path):
    path = plain(tmp_path)
    model = File(path).model
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].type = schema.TensorType.STRING
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(builder.Output())
    with pytest.raises(Failure, match="image.* holds no numbers"):
        loaded(path)


def test_idle(tmp_path):
    path = plain(tmp_path)
    with pytest.raises(Failure, match="--dequantise does nothing here: no op of .*my.tflite"):
        loaded(path, dequantise=True)
    with pytest.raises(Failure, match="--dequantise does nothing here: only a .tflite is quantis"):
        check_options(tmp_path / "my.keras", dequantise=True)


def test_damaged(tmp_path):
    path = plain(tmp_path)
    content = path.read_bytes()
    spoilt = tmp_path / "spoilt.tflite"
    for length in (0, 7, 100, len(content) // 2, len(content) - 40):
        spoilt.write_bytes(content[:length])
        with pytest.raises(Failure, match="spoilt.tflite is (not a TFLite file|damaged or cut)"):
            loaded(spoilt)
    spoilt.write_bytes(b"PK\x03\x04" + content[4:8].replace(b"TFL3", b"PKPK") + content[8:])
    with pytest.raises(Failure, match="spoilt.tflite is not a TFLite file"):
        loaded(spoilt)


def test_an_op_that_was_read_wrongly(tmp_path, monkeypatch):
    """The interpreter is asked for each op, so that a wrong one is named."""
    path = plain(tmp_path)
    monkeypatch.setitem(ops.BUILDERS, "SOFTMAX", lambda op: tf.nn.softmax(op[0] * 1.001))
    with pytest.raises(Failure, match="was traced is off by"):
        Converted(loaded(path), tmp_path)

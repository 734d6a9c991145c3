"""The deploy form: what is folded, what is not, and that both runtimes agree with TensorFlow."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

from models import mnistcls
from tests import op_networks
from tests.applications import network
from tests.deployed import Deployed, kinds, strays
from tests.harness import TOLERANCE, random_input, randomise
from tests.pipeline import contents, run
from tf2caffe.caffe import cost, folding, schema, targets
from tf2caffe.caffe.net import Net
from tf2caffe.proof import errors, parity

IMAGE = (9, 11, 6)


def norm(x, **settings):
    return layers.BatchNormalization(**settings)(x)


def conv(x, channels=5, kernel=3, stride=1, padding="valid", **settings):
    return layers.Conv2D(channels, kernel, stride, padding, **settings)(x)


def two_readers(x):
    y = conv(x)
    return norm(y) * layers.ReLU()(y)


def read_output(x):
    y = norm(conv(x))
    return [y, layers.ReLU()(y)]


def shared_norm(x):
    y = norm(x)
    return conv(y) + conv(y)


def dense_norm(x):
    return norm(layers.Dense(7)(layers.Flatten()(x)))


def flatten_relu(x):
    """Caffe's Flatten shares its input's memory, which the ReLU must not write over."""
    y = conv(x)
    gate = layers.Dense(5)(layers.ReLU()(layers.Flatten()(y)))
    return y * layers.Reshape((1, 1, 5))(gate)


def squeeze_excite(x):
    pooled = layers.Reshape((1, 1, 6))(layers.GlobalAveragePooling2D()(x))
    return x * conv(pooled, 6, 1, activation="sigmoid")


# Composition -> its output for an image of 9x11 pixels and 6 channels, and the layers that are left
NETWORKS = {
    "conv_norm": (lambda x: norm(conv(x)), "Conv"),
    "conv_norm_relu": (lambda x: layers.Activation("relu")(norm(conv(x))), "Conv ReLU"),
    "conv_norm_relu_conv": (lambda x: conv(layers.ReLU()(norm(conv(x)))), "Conv ReLU Conv"),
    "conv_same_stride_norm": (lambda x: norm(conv(x, 4, (3, 5), 2, "same")), "Conv"),
    "conv_no_bias_norm": (lambda x: norm(conv(x, use_bias=False)), "Conv"),
    "conv_grouped_norm": (lambda x: norm(conv(x, 4, padding="same", groups=2)), "Conv"),
    "depthwise_norm": (lambda x: norm(layers.DepthwiseConv2D(3, padding="same")(x)), "Conv"),
    "depthwise_multiplier_norm": (
        lambda x: norm(layers.DepthwiseConv2D(3, 2, depth_multiplier=2)(x)), "Conv",
    ),
    "deconv_norm": (lambda x: norm(layers.Conv2DTranspose(4, 3, 2, padding="same")(x)), "Deconv"),
    "upsample_norm": (lambda x: norm(layers.UpSampling2D((2, 3))(x)), "Deconv Deconv"),
    "dense_norm": (dense_norm, "Dense"),
    "dense_norm_elu": (lambda x: layers.Activation("sigmoid")(dense_norm(x)),
                       "Dense Sigmoid"),
    "norm_conv": (lambda x: conv(norm(x), dilation_rate=(1, 2)), "Conv"),
    "norm_conv_norm": (lambda x: norm(conv(norm(x), use_bias=False)), "Conv"),
    "norm_conv_grouped": (lambda x: conv(norm(x), 4, groups=2), "Conv"),
    "norm_conv_stride_beyond_kernel": (lambda x: conv(norm(x), 4, 1, (3, 2)), "Conv"),
    "norm_depthwise": (lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2)(norm(x)), "Conv"),
    "norm_conv_padded": (lambda x: conv(norm(x), padding="same"), "Scale Conv"),
    "norm_deconv": (lambda x: layers.Conv2DTranspose(4, 3, 2)(norm(x)), "Scale Deconv"),
    "factor_conv_padded": (lambda x: conv(x / 7.0, padding="same"), "Conv"),
    "factors_conv_padded": (
        lambda x: conv(layers.Rescaling([1, 2, 3, 4, 5, 6.0])(x), padding="same"), "Conv",
    ),
    "factor_deconv": (
        lambda x: layers.Conv2DTranspose(4, 3, 2)(layers.Rescaling([1, 2, 3, 4, 5, 6.0])(x)),
        "Deconv",
    ),
    "norm_flatten_dense": (lambda x: layers.Dense(7)(layers.Flatten()(norm(x))), "Dense"),
    "number_flatten_dense": (
        lambda x: layers.Dense(7, use_bias=False)(layers.Flatten()(x * 2.0 - 0.7)),
        "Dense",
    ),
    "flatten_norm_dense": (
        lambda x: layers.Dense(7, use_bias=False)(norm(layers.Flatten()(x))), "Dense",
    ),
    "pool_norm_dense": (
        lambda x: layers.Dense(3)(norm(layers.GlobalAveragePooling2D()(x))),
        "Pooling Dense",
    ),
    "affine_chain": (lambda x: layers.ReLU()(norm(x * 3.0 + 0.2) - 0.5), "Scale ReLU"),
    "number_chain": (lambda x: ops.square((3.0 - x) * 2.0 + 0.5), "Power"),
    "idle": (lambda x: layers.ReLU()(x * 1.0 + 0.0), "ReLU"),
    "pad_conv": (lambda x: conv(layers.ZeroPadding2D((1, 2))(x), stride=2), "Conv"),
    "pad_conv_padded": (
        lambda x: conv(layers.ZeroPadding2D(1)(x), kernel=(3, 5), padding="same"), "Conv",
    ),
    "pad_uneven_depthwise": (
        lambda x: layers.DepthwiseConv2D(3, 2)(layers.ZeroPadding2D(((0, 1), (1, 2)))(x)), "Conv",
    ),
    "pad_far_uneven_conv": (
        lambda x: conv(layers.ZeroPadding2D(((0, 2), (0, 0)))(x)), "Conv Conv",
    ),
    "pad_uneven_conv_dilated": (
        lambda x: conv(layers.ZeroPadding2D(((0, 1), (0, 0)))(x), dilation_rate=2), "Conv Conv",
    ),
    "crop_conv": (lambda x: conv(layers.Cropping2D(1)(x)), "Conv Conv"),
    "pad_pool": (lambda x: layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x)), "Conv Pooling"),
    "crop_pool": (lambda x: layers.MaxPooling2D(2)(x), "Conv Pooling"),
    "pad_conv_norm_relu": (
        lambda x: layers.ReLU()(norm(conv(layers.ZeroPadding2D(1)(x)))), "Conv ReLU",
    ),
    "norm_pad_conv": (lambda x: conv(layers.ZeroPadding2D(1)(norm(x))), "Scale Conv"),
    "two_readers": (two_readers, "Conv Scale ReLU Eltwise"),
    "shared_norm": (shared_norm, "Scale Conv Conv Eltwise"),
    "read_output": (read_output, "Conv Power ReLU"),
    "residual": (lambda x: layers.ReLU()(norm(conv(x, 6, padding="same")) + x),
                 "Conv Eltwise ReLU"),
    "flatten_relu": (flatten_relu, "Conv Flatten ReLU Dense Reshape Deconv Eltwise"),
    "squeeze_excite": (squeeze_excite, "Pooling Conv Sigmoid Deconv Eltwise"),
    "relu6": (lambda x: layers.ReLU(6)(norm(conv(x)) * 4.0), "Conv Power Eltwise Power ReLU"),
    "swish": (lambda x: layers.Activation("silu")(norm(conv(x))), "Conv Sigmoid Eltwise"),
    "elu": (lambda x: layers.Activation("elu")(norm(conv(x))), None),
    "gelu": (lambda x: ops.gelu(norm(conv(x)), approximate=False), None),
    "layer_norm": (lambda x: conv(layers.LayerNormalization()(x), padding="same"), None),
    "average_pool_same": (lambda x: norm(layers.AveragePooling2D(3, 2, padding="same")(x)), None),
}  # fmt: skip


def composition(name):
    data = keras.Input(IMAGE, name="data")
    return randomise(keras.Model(data, NETWORKS[name][0](data)))


@pytest.mark.parametrize("name", NETWORKS)
def test_composition(name, runtime, tmp_path):
    deployed = Deployed(composition(name), tmp_path)
    rows = deployed.rows(runtime)
    assert strays(rows) == []
    outputs = deployed.converted.graph.outputs
    assert {row.name for row in rows} >= set(outputs.values())
    assert deployed.outputs <= set(deployed.net.shapes)
    if NETWORKS[name][1]:
        assert deployed.types() == NETWORKS[name][1]
    before, after = deployed.converted.fitted, deployed.net
    assert len(after.layers) <= len(before.layers)


@pytest.mark.parametrize("name", op_networks.NETWORKS)
def test_every_op_deploys(name, pycaffe, tmp_path):
    data = keras.Input(op_networks.IMAGE, name="data")
    model = randomise(keras.Model(data, op_networks.NETWORKS[name](data)))
    assert strays(Deployed(model, tmp_path).rows(pycaffe)) == []


@pytest.mark.parametrize(
    "name, left, gone",
    [
        ("MobileNetV2", 206, "BatchNorm Scale"),
        ("ResNet50", 124, "BatchNorm Scale"),
        ("EfficientNetB0", 288, "BatchNorm Scale"),
    ],
)
def test_network(name, left, gone, pycaffe, opencv, tmp_path):
    deployed = Deployed(network(name), tmp_path, images=1)
    assert len(deployed.net.layers) == left
    assert not {layer.type for layer in deployed.net.layers} & set(gone.split())
    for runtime in (pycaffe, opencv):
        rows = deployed.rows(runtime)
        assert parity.first_stray(rows, TOLERANCE) == (None, None)
        assert len(rows) == len(deployed.table.layers) > 60
    before, after = deployed.converted.handoff.caffemodel, deployed.handoff.caffemodel
    assert after.stat().st_size < before.stat().st_size
    smaller, full = cost.of_net(deployed.net), cost.of_net(deployed.converted.net)
    assert smaller.multiply_adds < full.multiply_adds


def test_mnistcls_keeps_its_shift_before_the_padded_convolution(runtime, tmp_path):
    deployed = Deployed(randomise(mnistcls.build()), tmp_path)
    blocks = "Conv ReLU Pooling Conv ReLU Pooling Dense ReLU Dense Softmax"
    assert deployed.types() == f"Power {blocks}"
    assert deployed.net.layers[1].message.power_param.shift == -128
    assert strays(deployed.rows(runtime)) == []


def wrong_beta(found):
    return folding.Affine(found.gamma, 0 * found.beta)


def wrong_epsilon(found):
    return folding.Affine(found.gamma / np.sqrt(1 + 1e-3 * found.gamma**2), found.beta)


def turned(pads):
    return [(after, before) for before, after in pads]


# A wrong fold -> the composition in which it shows, and what plants it.
FAULTS = {
    "beta": ("conv_norm", "affine", wrong_beta),
    "epsilon": ("conv_norm", "affine", wrong_epsilon),
    "beta of a dense layer's input": ("norm_flatten_dense", "affine", wrong_beta),
    "padding": ("norm_conv_padded", "meets_no_padding", lambda evenly: True),
    "zeros before and after": ("pad_uneven_depthwise", "delta_pads", turned),
    "channels of groups": ("norm_conv_grouped", "_in_groups", lambda rows: rows[::-1]),
    "outputs of a deconvolution": ("deconv_norm", "per_output", lambda rows: rows[:, ::-1]),
    "elements of a channel": ("norm_flatten_dense", "per_input", lambda row: np.roll(row, 1)),
    "memory that is shared": ("flatten_relu", "SHARING", ()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_fold_is_told(fault, pycaffe, tmp_path, monkeypatch):
    name, function, change = FAULTS[fault]
    right = getattr(folding, function)

    def wrong(*arguments):
        found = right(*arguments)
        return None if found is None else change(found)

    monkeypatch.setattr(folding, function, wrong if callable(right) else change)
    assert strays(Deployed(composition(name), tmp_path).rows(pycaffe))


def image_net(channels=3, size=(5, 4)):
    net = Net("net")
    net.add("Input", "data", input_param={"shape": [{"dim": [1, channels, *size]}]})
    return net


def numbers(*shape):
    return random_input(shape, seed=sum(shape))


def add_convolution(net, name, bottom, channels=2, **param):
    kernel = numbers(channels, net.shapes[bottom][1], 2, 2)
    param |= {"num_output": channels, "kernel_size": [2]}
    return net.add(
        "Convolution", name, bottom, [kernel, numbers(channels)], convolution_param=param
    )


def assert_same(net, outputs, runtime, folder, target="portable"):
    """The net and its deploy form make the same outputs; return the deploy form."""
    form, made = folding.deploy(net, set(outputs), targets.TARGETS[target]), []
    for at, one in enumerate((net, form)):
        prototxt, caffemodel = folder / f"{at}.prototxt", folder / f"{at}.caffemodel"
        prototxt.write_text(one.prototxt())
        with caffemodel.open("wb") as file:
            one.write_caffemodel(file)
        image = random_input((2, *net.shapes["data"][1:]))
        made.append(runtime.run(prototxt, caffemodel, {"data": image}, outputs))
    for blob in outputs:
        assert errors.relative_error(made[0][blob], made[1][blob]) < 2e-6
    return form


def test_idle_layers(runtime, tmp_path):
    net = image_net()
    net.add("Dropout", "dropout", "data")
    net.add("Scale", "ones", "dropout", [np.ones(3, np.float32)])
    net.add("Power", "same", "ones")
    net.add("ReLU", "relu", "same")
    net.add("Flatten", "flat", "relu")
    net.add("Flatten", "flatter", "flat")
    net.add("Power", "output", "flatter")
    form = assert_same(net, ["output"], runtime, tmp_path)
    assert [layer.name for layer in form.layers] == ["data", "relu", "flatter", "output"]


def test_written_by_hand_in_place(runtime, tmp_path):
    """Layers that write over their input, and blobs called otherwise than their layers."""
    net = image_net()
    add_convolution(net, "conv", "data")
    eps = {"eps": 0.01}
    stats = [numbers(2), np.abs(numbers(2)) + 1, np.float32([999])]
    for kind, params in {
        "BatchNorm": {"blobs": stats, "batch_norm_param": eps},
        "Scale": {"blobs": [numbers(2)]},
        "Dropout": {},
        "ReLU": {},
    }.items():
        blobs = params.pop("blobs", [])
        message = schema.LayerParameter(
            name=kind.lower(), type=kind, bottom=["conv"], top=["conv"], **params
        )
        net.append(message, blobs)
    net.add("Pooling", "pool", "conv", pooling_param={"kernel_size": 2})
    form = assert_same(net, ["conv", "pool"], runtime, tmp_path)
    assert kinds(form) == ["Convolution", "ReLU", "Pooling"]


def test_parts_written_in_place(pycaffe, tmp_path):
    net = image_net(4)
    add_convolution(net, "conv", "data")
    message = schema.LayerParameter(name="slice", type="Slice", bottom=["conv"], top=["one", "two"])
    net.append(message, [])
    for blob in ("one", "two"):
        message = schema.LayerParameter(name=f"relu_{blob}", type="ReLU", bottom=[blob], top=[blob])
        net.append(message, [])
    net.add("Eltwise", "sum", ["one", "two"], eltwise_param={"operation": "SUM"})
    form = assert_same(net, ["sum"], pycaffe, tmp_path, "bvlc")
    assert kinds(form) == ["Convolution", "Slice", "ReLU", "ReLU", "Eltwise"]
    form = assert_same(net, ["sum"], pycaffe, tmp_path)
    assert kinds(form) == ["Convolution", "Convolution", "Convolution", "ReLU", "ReLU", "Eltwise"]


@pytest.mark.parametrize("target", ["bvlc", "portable"])
def test_pieces_are_compared(target, pycaffe, tmp_path):
    """Each top of a Slice, and the layer that stands for it where the target has no Slice."""
    data = keras.Input(IMAGE, name="data")
    first, second = ops.split(conv(data, 6), 2, axis=-1)
    model = randomise(keras.Model(data, layers.Multiply()([first, second])))
    rows = Deployed(model, tmp_path, target=target).rows(pycaffe)
    assert strays(rows) == []
    assert sum("StridedSlice" in row.name for row in rows) == 2


@pytest.mark.parametrize("kind", ["ELU", "BNLL"])
def test_lowered_in_place(kind, runtime, tmp_path):
    """The layers that stand for one that wrote over its input make the blob that others read."""
    net = image_net()
    add_convolution(net, "conv", "data")
    net.append(schema.LayerParameter(name="it", type=kind, bottom=["conv"], top=["conv"]), [])
    net.add("Pooling", "pool", "conv", pooling_param={"kernel_size": 2})
    form = assert_same(net, ["conv", "pool"], runtime, tmp_path)
    assert kind not in kinds(form)


@pytest.mark.parametrize("divisor", [0, 0.5, 1])
def test_third_blob_of_batch_norm(divisor, runtime, tmp_path):
    net = image_net()
    add_convolution(net, "conv", "data")
    blobs = [numbers(2), np.abs(numbers(2)) + 1, np.float32([divisor])]
    net.add("BatchNorm", "norm", "conv", blobs, batch_norm_param={"eps": 0.1})
    assert kinds(assert_same(net, ["norm"], runtime, tmp_path)) == ["Convolution"]


def test_statistics_of_the_batch_are_not_folded():
    net = image_net()
    blobs = [numbers(3), np.abs(numbers(3)), np.ones(1, np.float32)]
    net.add("BatchNorm", "norm", "data", blobs, batch_norm_param={"use_global_stats": False})
    add_convolution(net, "conv", "norm")
    assert kinds(folding.deploy(net, {"conv"})) == ["BatchNorm", "Convolution"]


def test_dense_layer_on_an_image(runtime, tmp_path):
    net = image_net()
    net.add("Scale", "scale", "data", [numbers(3), numbers(3)], scale_param={"bias_term": True})
    param = {"num_output": 4, "bias_term": False}
    net.add("InnerProduct", "dense", "scale", [numbers(4, 60)], inner_product_param=param)
    assert kinds(assert_same(net, ["dense"], runtime, tmp_path)) == ["InnerProduct"]


@pytest.mark.parametrize("param", [{"axis": 2}, {"transpose": True}])
def test_other_dense_layers_are_left(param, pycaffe, tmp_path):
    net = image_net()
    net.add("Power", "twice", "data", power_param={"scale": 2.0})
    shape = (4, 20) if "axis" in param else (60, 4)
    param |= {"num_output": 4, "bias_term": False}
    net.add("InnerProduct", "dense", "twice", [numbers(*shape)], inner_product_param=param)
    form = assert_same(net, ["dense"], pycaffe, tmp_path)
    assert kinds(form) == ["Power", "InnerProduct"]


def test_bias_and_constants(pycaffe, tmp_path):
    """A Bias is folded (OpenCV has none); a Power of scale 0 is a constant, not an affine."""
    net = image_net()
    add_convolution(net, "conv", "data")
    net.add("Bias", "bias", "conv", [numbers(2)])
    net.add("Power", "constant", "bias", power_param={"scale": 0.0, "shift": 3.0})
    add_convolution(net, "after", "constant", pad=[1])
    form = assert_same(net, ["after"], pycaffe, tmp_path)
    assert kinds(form) == ["Convolution", "Power", "Convolution"]


def test_scale_of_another_axis_or_blob_is_left(pycaffe, tmp_path):
    net = image_net()
    add_convolution(net, "conv", "data")
    net.add("Scale", "rows", "conv", [numbers(4)], scale_param={"axis": 2})
    net.add("Pooling", "pool", "rows", pooling_param={"global_pooling": True})
    net.add("Flatten", "flat", "pool")
    net.add("Scale", "gate", ["rows", "flat"], scale_param={"axis": 0, "num_axes": 2})
    form = assert_same(net, ["gate"], pycaffe, tmp_path)
    assert kinds(form) == kinds(net)


def test_no_weight_is_copied(tmp_path):
    """The arrays that step 5 maps into memory stay there, in what is folded too."""
    deployed = Deployed(composition("norm_conv_norm"), tmp_path)
    kernel = deployed.layer("Convolution").blobs[0]
    assert isinstance(kernel, folding.Scaled) and isinstance(kernel.kernel, np.memmap)
    deployed = Deployed(composition("conv_norm_relu_conv"), tmp_path)
    assert isinstance(deployed.net.layers[-1].blobs[0], np.memmap)


LAYERS = [
    "data", "input/bias", "bn01", "relu01", "pool01", "bn02", "relu02", "pool02",
    "dense01", "relu03", "dense02", "prob",
]  # fmt: skip


@pytest.fixture
def built(work):
    """A folder with the deploy form in it, what was there before, what step 5 says."""
    before = contents(work)
    return work, before, run("build_caffe.py", "--dir", work, "--deploy")


def test_scripts(built, runtime):
    work, before, said = built
    assert (said.status, said.err) == (0, "")
    net = schema.load(work / "nets/mnistcls.deploy.prototxt")
    assert [layer.name for layer in net.layer] == LAYERS
    binary = schema.NetParameter.FromString((work / "nets/mnistcls.deploy.caffemodel").read_bytes())
    assert [(layer.name, layer.type) for layer in binary.layer] == [
        (layer.name, layer.type) for layer in net.layer
    ]
    rows = [line.rsplit(maxsplit=3) for line in said.out.splitlines()[-5:]]
    assert rows[:3] == [
        ["TensorFlow", "inspectable", "deploy"],
        ["parameters", "813,402", "813,404", "813,258"],
        ["multiply-adds", "1,824,000", "1,824,000", "1,824,000"],
    ]
    ended = run("caffe_predict.py", "--dir", work, "--deploy", "--runtime", runtime.name)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines()[-1].startswith("EQUAL: all 8 layers within 1e-05")
    record = json.loads((work / "nets/mnistcls.deploy.parity.json").read_text())
    assert [layer["caffe"] for layer in record["layers"]] == [
        "input/bias", "conv01", "pool01", "conv02", "pool02", "dense01", "dense02", "prob",
    ]  # fmt: skip
    after = contents(work)
    assert {path: after[path] for path in before} == before
    assert {str(path) for path in after.keys() - before.keys()} == {
        "imgs/mnistcls/caffe-net-deploy.png", "imgs/mnistcls/caffe-net-deploy.svg",
        "imgs/mnistcls/compare-deploy.png",
        *(f"nets/mnistcls.deploy.{end}" for end in
          ("prototxt", "caffemodel", "blobs.json", "parity.json")),
    }  # fmt: skip


def test_script_tells_a_wrong_kernel(built, runtime):
    work, _, _ = built
    path = work / "nets/mnistcls.deploy.caffemodel"
    net = schema.NetParameter.FromString(path.read_bytes())
    (blob,) = (layer.blobs[1] for layer in net.layer if layer.name == "conv02")
    blob.data = (np.frombuffer(blob.data, np.float32) * 1.001).tobytes()
    path.write_bytes(net.SerializeToString())
    ended = run("caffe_predict.py", "--dir", work, "--deploy", "--runtime", runtime.name)
    assert ended.status == 1 and ended.err.startswith("NOT EQUAL: relu2/Relu (Caffe: conv02) is")


def test_script_without_the_deploy_form(work):
    ended = run("caffe_predict.py", "--dir", work, "--deploy", "--runtime", "opencv")
    told = "mnistcls.deploy.blobs.json does not exist; build_caffe.py --deploy makes it"
    assert ended.status == 1 and told in ended.err

"""What a network costs, told against TensorFlow's own; and what costs too much is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.applications import network
from tests.deployed import Deployed
from tests.harness import Converted
from tests.pipeline import contents
from tests.refusals import MAPS, function_trace
from tf2caffe import api
from tf2caffe.caffe import cost
from tf2caffe.caffe.builder import Builder, Refused
from tf2caffe.failure import Failure
from tf2caffe.paths import Handoff

IMAGE, ROW = (1, 5, 7, 3), (1, 9000)
SMALL = ("MobileNetV2", "EfficientNetB0", "MobileNetV3Small")


def converted(function, shape, folder, **options):
    return api.convert(function_trace(function, shape), name="net", folder=folder, **options)


def small_model():
    data = keras.Input(IMAGE[1:])
    x = layers.Conv2D(4, 3, name="conv")(data)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(2, strides=2, use_bias=False, name="depthwise")(x)
    x = layers.Conv2DTranspose(6, 3, use_bias=False, name="transposed")(x)
    return keras.Model(data, layers.Dense(5, name="dense")(layers.Flatten()(x)))


def test_numbers(tmp_path):
    """Counted by hand: TensorFlow's sizes, from those of each layer."""
    model = small_model()
    built = api.convert(model, name="net", folder=tmp_path, deploy=True)
    told = cost.of_graph(built.source.graph)
    conv, depthwise, transposed, dense = 3 * 5 * 108, 1 * 2 * 16, 1 * 2 * 216, 3 * 4 * 6 * 5
    assert told.parameters == model.count_params()
    assert told.multiply_adds == conv + depthwise + transposed + dense
    assert told.largest == 105 and told.layers == len(built.source.graph.nodes)
    for form in built.forms:
        found = cost.of_net(form.net)
        assert found.multiply_adds == told.multiply_adds
        assert found.layers == len(form.net.layers) - 1
    assert cost.of_net(built.forms[0].net).parameters == told.parameters + 1  # the third of a norm
    assert cost.of_net(built.forms[1].net).parameters <= told.parameters - 3 * 4


@pytest.mark.parametrize("letters", ["bij,bkj->bik", "bij,bjk->bik"])
def test_product(letters, tmp_path):
    shapes = {"x0": (1, 4, 6), "x1": (1, 5, 6) if "kj" in letters else (1, 6, 5)}
    built = api.convert(
        keras.Model(*_product(letters, *shapes.values())), name="net", folder=tmp_path
    )
    assert cost.of_graph(built.source.graph).multiply_adds == 4 * 5 * 6


def _product(letters, *shapes):
    inputs = [keras.Input(shape[1:]) for shape in shapes]
    return inputs, keras.ops.einsum(letters, *inputs)


def test_table(tmp_path, capsys):
    built = api.convert(small_model(), name="net", folder=tmp_path, deploy=True)
    cost.print_table(built.source.graph, *(form.net for form in built.forms))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["TensorFlow", "inspectable", "deploy"]
    assert [row[0] for row in rows[1:]] == ["parameters", "multiply-adds", "largest", "layers"]
    assert len(cost.table(built.source.graph)[0]) == 2


def test_every_layer_belongs_to_an_op(tmp_path):
    """What all ops take together is what the network takes, but for a constant's layers."""
    mapped = Converted(network("MobileNetV3Small"), tmp_path, images=1)
    for net in (mapped.net, mapped.fitted):
        found = cost.by_op(mapped.graph, net).values()
        assert sum(found, cost.Cost())._replace(largest=0) == cost.of_net(net)._replace(largest=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_bounds_of_applications(name, tmp_path):
    deployed = Deployed(network(name), tmp_path, images=1)
    told, found = cost.of_graph(deployed.converted.graph), cost.of_net(deployed.net)
    assert found.parameters <= 1.02 * told.parameters
    assert found.multiply_adds <= 1.05 * told.multiply_adds


# Description -> (function, its tensor's shape, the figure that refuses it).
COSTLY = {
    "a matrix": (lambda x: tf.cumsum(x, 1), ROW, r"Along\): 81,000,000 parameters .*bound 33,55"),
    "a blob": (lambda x: tf.matmul(x, x, transpose_b=True), (1, 2048, 128),
               r"Einsum\): 536,870,912 numbers in a blob \(TensorFlow's op has 4,194,304; bound"),
}  # fmt: skip


@pytest.mark.parametrize("name", COSTLY)
def test_too_costly(name, tmp_path):
    function, shape, words = COSTLY[name]
    with pytest.raises(Failure, match=words) as raised:
        converted(function, shape, tmp_path)
    assert "--allow-cost" in str(raised.value)
    assert not any(path.startswith("nets/") for path in contents(tmp_path))


def test_no_large_kernel_is_made():
    """It would not fit into memory: it is refused before, of shapes alone."""
    net = Builder("net")
    net.bounded = True
    data = net.add("Input", "data", input_param={"shape": [{"dim": [1, 6000, 6000, 1]}]})
    with pytest.raises(Refused, match="6,000 x 6,000 ones and zeros .* bound of 33,554,432"):
        net.swap("order", data, 1, 6000, 6000, 1)
    with pytest.raises(Refused, match="5,999 x 6,000 ones"):
        net.pick("cut", data, np.arange(5999))


def test_allowed(tmp_path):
    built = converted(lambda x: tf.cumsum(x, 1), ROW, tmp_path, allow_cost=True)
    assert cost.of_net(built.forms[0].net).parameters == 9000**2
    assert Handoff(tmp_path, "net").caffemodel.stat().st_size > 4 * 9000**2


def test_own_weights_are_no_cost(tmp_path):
    """A large layer of the user's own is as large in TensorFlow."""
    data = keras.Input((6000,))
    model = keras.Model(data, layers.Dense(6000, kernel_initializer="zeros")(data))
    api.convert(model, name="net", folder=tmp_path)


def test_norm_alone_for_deploy(runtime, tmp_path):
    """A BatchNorm that nothing was trained in: its Scale changes nothing, chips want one still."""
    data = keras.Input(MAPS[1:])
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(data))
    model = keras.Model(data, layers.Conv2D(3, 3, use_bias=False)(x))
    built = api.convert(model, name="net", folder=tmp_path, deploy=True)
    kinds = [layer.type for layer in built.forms[1].net.layers]
    assert kinds[1:3] == ["BatchNorm", "Scale"]
    images = np.random.default_rng(0).normal(size=(2, *MAPS[1:])).astype(np.float32)
    for deploy in (False, True):
        assert api.prove(built, data=images, runtime=runtime).equal
        assert api.prove("net", folder=tmp_path, deploy=True, runtime=runtime).equal or not deploy

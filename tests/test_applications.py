"""Ten of keras.applications, every layer in real Caffe; all of them: `make applications`.

And a wrong epsilon in any one BatchNorm of ResNet50 is told, as deep as it may lie.
"""

import pytest

from tests.applications import network
from tests.harness import TOLERANCE, Converted
from tf2caffe.caffe import schema
from tf2caffe.proof import parity

pytestmark = pytest.mark.slow

NETWORKS = (
    "ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionV3",
    "MobileNetV2", "MobileNetV3Small", "NASNetMobile", "ResNet50V2", "Xception",
)  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_is_equal(name, pycaffe, tmp_path):
    rows = Converted(network(name), tmp_path, images=1).rows(pycaffe)
    stray, why = parity.first_stray(rows, TOLERANCE)
    assert stray is None, f"{stray.name}: {why}"
    assert len(rows) > 150


def test_a_wrong_epsilon_in_any_batch_norm_is_told(pycaffe, tmp_path):
    converted = Converted(network("ResNet50"), tmp_path, images=1)
    norms = [node.name for node in converted.graph.nodes if "epsilon" in node.attrs]
    assert len(norms) == 53
    assert parity.first_stray(converted.rows(pycaffe), TOLERANCE) == (None, None)
    plant_epsilon(converted.handoff.prototxt, 1e-3)  # it is 1.001e-5
    alone = {row.name: row.own for row in converted.rows(pycaffe)}
    assert min(alone[name] for name in norms) > TOLERANCE


def plant_epsilon(prototxt, epsilon):
    """Another epsilon in every BatchNorm: each layer's own error tells of that layer alone."""
    net = schema.parse(prototxt.read_text(), prototxt)
    for layer in net.layer:
        if layer.type == "BatchNorm":
            layer.batch_norm_param.eps = epsilon
    prototxt.write_text(schema.prototxt(net.name, net.layer))

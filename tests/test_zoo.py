"""Ten blocks of the networks in docs/zoo.md, small and with random weights, in both runtimes."""

import keras
import pytest
from keras import layers, ops

from tests.harness import assert_equal, randomise

IMAGE, GRID, WIDTH = (8, 8, 6), (4, 4, 12), 12


def attended(x, heads=2):
    """Attention of each of a batch of sequences (N, L, C), the product of q, k and v one layer."""
    _, length, width = x.shape
    qkv = ops.split(layers.Dense(3 * width)(x), 3, axis=-1)
    turned = [
        ops.transpose(ops.reshape(one, (-1, length, heads, width // heads)), (0, 2, 1, 3))
        for one in qkv
    ]
    scores = ops.softmax(ops.matmul(turned[0], ops.transpose(turned[1], (0, 1, 3, 2))) / 3)
    x = ops.transpose(ops.matmul(scores, turned[2]), (0, 2, 1, 3))
    return layers.Dense(width)(ops.reshape(x, (-1, length, width)))


def patched(x, size=2, width=WIDTH):
    return layers.Conv2D(width, size, strides=size)(x)


def swin(x):
    """A block whose windows are shifted."""
    x = patched(x)
    y = ops.roll(layers.LayerNormalization()(x), (-1, -1), (1, 2))
    y = ops.transpose(ops.reshape(y, (1, 2, 2, 2, 2, WIDTH)), (0, 1, 3, 2, 4, 5))
    y = ops.reshape(attended(ops.reshape(y, (4, 4, WIDTH))), (1, 2, 2, 2, 2, WIDTH))
    y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (1, *GRID))
    return x + ops.roll(y, (1, 1), (1, 2))


def mixer(x):
    x = layers.Reshape((16, WIDTH))(patched(x))
    y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
    y = layers.Dense(16)(layers.Dense(5, activation="gelu")(y))
    x = x + layers.Permute((2, 1))(y)
    return x + layers.Dense(WIDTH)(layers.Dense(7, "gelu")(layers.LayerNormalization()(x)))


def mobile_vit(x):
    """Unfolded to a sequence for each place of a patch, attended, folded again."""
    x = layers.Conv2D(WIDTH, 3, padding="same", activation="swish")(x)
    y = ops.transpose(ops.reshape(x, (1, 4, 2, 4, 2, WIDTH)), (0, 2, 4, 1, 3, 5))
    y = attended(ops.reshape(y, (4, 16, WIDTH)))
    y = ops.transpose(ops.reshape(y, (1, 2, 2, 4, 4, WIDTH)), (0, 3, 1, 4, 2, 5))
    return layers.Conv2D(5, 3, padding="same")(ops.concatenate([x, ops.reshape(y, x.shape)], -1))


def vit(x):
    """A class token of weights is joined to the patches."""
    x = layers.Reshape((16, WIDTH))(patched(x))
    x = layers.LayerNormalization()(ops.pad(x, [[0, 0], [1, 0], [0, 0]], constant_values=0.5))
    return layers.Dense(5, "softmax")((x + attended(x))[:, 0])


def ssd(x):
    """Boxes and classes of two feature maps, joined."""
    boxes, classes = [], []
    for anchors in (2, 3):
        x = layers.Conv2D(WIDTH, 3, strides=2, padding="same", activation="relu")(x)
        boxes.append(layers.Reshape((-1, 4))(layers.Conv2D(anchors * 4, 3, padding="same")(x)))
        classes.append(layers.Reshape((-1, 5))(layers.Conv2D(anchors * 5, 3, padding="same")(x)))
    scores = layers.Softmax()(layers.Concatenate(axis=1)(classes))
    return layers.Concatenate()([layers.Concatenate(axis=1)(boxes), scores])


def yolo(x):
    """Decoded to centres, sizes and scores of each anchor."""
    x = ops.reshape(layers.Conv2D(2 * 7, 1)(patched(x)), (1, 4, 4, 2, 7))
    centres, sizes, scores = ops.sigmoid(x[..., :2]) * 2 - 0.5, ops.exp(x[..., 2:4]), x[..., 4:]
    return ops.reshape(ops.concatenate([centres, sizes, ops.sigmoid(scores)], -1), (1, 32, 7))


def crnn(x):
    x = layers.MaxPooling2D((2, 1))(layers.Conv2D(5, 3, padding="same", activation="relu")(x))
    x = layers.Reshape((8, 20))(layers.Permute((2, 1, 3))(x))
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    return layers.Dense(6, "softmax")(x)


def eca(x):
    """A gate by a convolution along the channels, which are padded as a vector."""
    y = ops.pad(layers.GlobalAveragePooling2D()(x), [[0, 0], [1, 1]])
    y = layers.Conv1D(1, 3, use_bias=False)(ops.expand_dims(y, -1))
    return x * ops.reshape(ops.sigmoid(y), (1, 1, 1, 6))


def split_attention(x):
    """ResNeSt's choice between two groups of channels."""
    x = layers.Conv2D(8, 3, groups=2, padding="same", activation="relu")(x)
    first, second = ops.split(x, 2, axis=-1)
    y = layers.Dense(3, "relu")(ops.mean(first + second, (1, 2), keepdims=True))
    y = ops.softmax(ops.reshape(layers.Dense(8)(y), (1, 1, 2, 4)), axis=2)
    return first * y[:, :, :1] + second * y[:, :, 1:]


def squeezed(x):
    """GhostNet's halves and a hard gate."""
    first = layers.Conv2D(4, 1, activation="relu")(x)
    second = layers.DepthwiseConv2D(3, padding="same", activation="relu")(first)
    x = ops.concatenate([first, second], -1)
    y = layers.Conv2D(3, 1, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return x * layers.Conv2D(8, 1, activation="hard_sigmoid")(y)


BLOCKS = {
    function.__name__: function
    for function in (
        swin, mixer, mobile_vit, vit, ssd, yolo, crnn, eca, split_attention, squeezed,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_block(name, runtime, tmp_path):
    data = keras.Input(IMAGE, batch_size=1, name="data")
    assert_equal(randomise(keras.Model(data, BLOCKS[name](data))), tmp_path, runtime)

"""Makes keras2.h5, as Keras 2 writes it, and keras2.npz, what the network answers there.

pip install --no-deps --target /tmp/keras2 tf_keras
PYTHONPATH=/tmp/keras2 python tests/data/keras2.py
"""

from pathlib import Path

import numpy as np
import tf_keras

layers, random = tf_keras.layers, np.random.default_rng(0)
data = x = tf_keras.Input((9, 11, 3), name="data")
x = layers.Conv2D(4, 3, strides=2, padding="same", name="conv1")(x)
x = layers.BatchNormalization(name="bn1", epsilon=0.01)(x)
x = layers.ReLU(6.0, name="relu1")(x)
x = layers.Conv2D(5, 3, padding="same", activation="swish", name="conv2")(x)
x = layers.LeakyReLU(0.2, name="leaky")(x)
x = layers.UpSampling2D(2, interpolation="bilinear", name="up")(x)
x = layers.MaxPooling2D(2, padding="same", name="pool")(x)
x = layers.Flatten(name="flat")(layers.Dropout(0.5, name="drop")(x))
model = tf_keras.Model(data, layers.Dense(5, activation="softmax", name="answer")(x))
for variable in model.variables:
    low = 0.5 if "variance" in variable.name else -0.5
    variable.assign(random.uniform(low, low + 1, variable.shape))
image = random.normal(size=(2, 9, 11, 3)).astype(np.float32)
folder = Path(__file__).parent
model.save(folder / "keras2.h5")
np.savez(folder / "keras2.npz", image=image, answer=model(image))

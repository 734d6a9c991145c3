"""Makes keras1.h5, as Keras 1 writes it, and keras1.npz, what the network answers there.

With Python 3.7: pip install tensorflow==1.15.5 keras==1.2.2 "h5py<3" "protobuf<3.21"
"""

from pathlib import Path

import numpy as np
from keras import backend, layers
from keras.models import Model

backend.set_image_dim_ordering("tf")
data = x = layers.Input((9, 11, 3), name="data")
x = layers.Convolution2D(4, 3, 3, border_mode="same", subsample=(2, 2), name="conv1")(x)
x = layers.LeakyReLU(0.2, name="leaky")(layers.BatchNormalization(epsilon=0.01, name="bn1")(x))
y = layers.Convolution2D(4, 3, 3, border_mode="same", activation="hard_sigmoid", name="gate")(x)
x = layers.merge([layers.merge([x, y], mode="mul"), x], mode="concat", name="joined")
x = layers.MaxPooling2D((2, 2), name="pool")(layers.ZeroPadding2D((1, 0), name="pad")(x))
x = layers.Flatten(name="flat")(layers.Dropout(0.5, name="drop")(x))
model = Model(data, layers.Dense(5, activation="softmax", name="answer")(x))
random = np.random.default_rng(0)
values = [random.uniform(-0.5, 0.5, array.shape) for array in model.get_weights()]
model.set_weights([abs(array) + 0.2 if array.ndim == 1 else array for array in values])
image = random.normal(size=(2, 9, 11, 3)).astype(np.float32)
folder = Path(__file__).parent
model.save(str(folder / "keras1.h5"))
np.savez(folder / "keras1.npz", image=image, answer=model.predict(image))

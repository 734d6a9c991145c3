"""Converts a Keras model by tf2onnx, in the environment of requirements-tf2onnx.txt.

    PYTHON tf2onnx_worker.py FILE.keras FILE.onnx

Prints what it took after imports and loading, as `converter` does.
"""

import json
import sys

import keras
import tensorflow as tf
import tf2onnx
from measure import measure

if __name__ == "__main__":
    path, onnx = sys.argv[1:]
    model = keras.saving.load_model(path, compile=False)
    signature = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="input")]
    convert = tf2onnx.convert.from_keras
    print(json.dumps(measure(lambda: convert(model, signature, output_path=onnx))))

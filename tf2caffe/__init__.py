"""TensorFlow and Keras models as Caffe networks, each layer proven equal.

    tf2caffe.convert("my.keras")    leaves my.prototxt and my.caffemodel, see `tf2caffe.api`
    tf2caffe.prove(...)             runs both sides and compares them, layer by layer

To import this imports neither TensorFlow nor numpy; the two functions do when they are first used.
"""

from tf2caffe.failure import Failure

__all__ = ["Failure", "convert", "prove"]
__version__ = "0.9.0"


def __getattr__(name):
    """`convert` and `prove`, imported when they are asked for."""
    if name in ("convert", "prove"):
        from tf2caffe import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

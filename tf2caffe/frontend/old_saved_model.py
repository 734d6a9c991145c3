"""A SavedModel by TensorFlow 1's loader: for what TensorFlow 2's stumbles over.

That is where a legacy optimiser of Keras 2 is in it, whose slots only Keras 2 can make.
"""

import numpy as np
import tensorflow as tf

from tf2caffe.failure import Failure, first_line
from tf2caffe.frontend import tf_import

v1 = tf.compat.v1


class Held:
    """A variable's value."""

    def __init__(self, array):
        self.array, self.shape = array, tf.TensorShape(array.shape)
        self.dtype = tf.as_dtype(array.dtype)

    def reshaped(self, shape):
        return Held(self.array.reshape(shape))

    def numpy(self):
        return self.array


def opened(path, tags):
    """(the graph, the values of its variables by name, its signatures)."""
    with tf.Graph().as_default() as graph, v1.Session() as session, tf_import.log():
        try:
            meta = v1.saved_model.load(session, tags, str(path))
            values = _values(graph, session)
        except Exception as error:  # TensorFlow raises whatever the files make it stumble over
            raise Failure(f"{path}: not a whole SavedModel ({first_line(error)})") from None
        graph_def = graph.as_graph_def()
    signatures = {name: one for name, one in meta.signature_def.items() if one.outputs}
    signatures.pop("__saved_model_init_op", None)
    return graph_def, values, signatures


def _values(graph, session):
    handles = {
        op.get_attr("shared_name").decode() or op.name: op
        for op in graph.get_operations()
        if op.type == "VarHandleOp"
    }
    reads = {
        name: tf.raw_ops.ReadVariableOp(resource=op.outputs[0], dtype=op.get_attr("dtype"))
        for name, op in handles.items()
    }
    found = {}
    for name, read in reads.items():
        try:
            found[name] = Held(np.asarray(session.run(read)))
        except tf.errors.FailedPreconditionError:
            continue  # one that is not in the files: the optimiser's
    return found

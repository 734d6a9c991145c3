"""How a random network is handed over: as a function, as a Keras model, as a file."""

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tests.fuzz.steps import Weights
from tests.harness import function_trace
from tests.makers import loaded
from tf2caffe.frontend import trace

v1 = tf.compat.v1


def traced(network, folder):
    shapes = [(1, *shape) for shape, _ in network.spec.inputs]
    return function_trace(tf.autograph.experimental.do_not_convert(network), *shapes)


class Step(keras.layers.Layer):
    """A step of a network as a layer."""

    def __init__(self, call, **settings):
        super().__init__(**settings)
        self.function = call

    def call(self, *values):
        return self.function(*values)


def keras_traced(network, folder):
    """The steps as layers, those of Keras themselves; one that is applied again is shared."""
    values = [
        keras.Input(batch_shape=(1, *shape), name=f"x{at}")
        for at, (shape, _) in enumerate(network.spec.inputs)
    ]
    inputs, made = list(values), []
    for at, (step, weights) in enumerate(zip(network.steps, network.weights, strict=True)):
        if step.op == "again":
            layer = made[step.args["step"]]
        elif step.op.startswith("keras") and weights.kept:
            layer = weights.kept[0]
        else:
            layer = Step(called(network, step, weights), name=f"{step.op}{at}")
        made.append(layer)
        values += tf.nest.flatten(layer(*(values[read] for read in step.reads)))
    return trace.keras_trace(keras.Model(inputs, [values[at] for at in network.outputs()]))


def called(network, step, weights):
    return lambda *reads: network.call(step, weights, reads)


def names(network):
    return [f"x{at}" for at in range(len(network.spec.inputs))]


def specs(network):
    shapes = [(1, *shape) for shape, _ in network.spec.inputs]
    return [
        tf.TensorSpec(shape, name=name) for shape, name in zip(shapes, names(network), strict=True)
    ]


def saved(network, folder):
    """Through a SavedModel, with whatever the steps keep."""

    def call(*inputs):
        return {f"y{at:02}": value for at, value in enumerate(network(*inputs))}

    module = tf.Module()
    module.kept = [weights.kept for weights in network.weights]
    function = tf.function(call, autograph=False).get_concrete_function(*specs(network))
    tf.saved_model.save(module, str(folder / "saved"), signatures=function)
    return loaded(folder / "saved")


def frozen(network, folder):
    function = tf.function(network.__call__, autograph=False)
    constant = convert_variables_to_constants_v2(function.get_concrete_function(*specs(network)))
    path = folder / "frozen.pb"
    path.write_bytes(constant.graph.as_graph_def().SerializeToString())
    outputs = [tensor.name for tensor in constant.outputs]
    return loaded(path, inputs=names(network), outputs=outputs)


def checkpoint(network, folder):
    """Through a graph and a session of TF1, unless there are Keras's layers in it."""
    constants = network.weights
    kept = [one for weights in constants for one in weights.kept]
    if any(isinstance(one, keras.layers.Layer) for one in kept):
        return traced(network, folder)
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = [v1.placeholder(spec.dtype, spec.shape, spec.name) for spec in specs(network)]
        network.weights = [stored(weights) for weights in constants]
        outputs = [tf.identity(value).name for value in network(*inputs)]
        v1.get_variable("steps", initializer=0)  # a saver wants one variable
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(folder / "model"))
    network.weights = constants
    return loaded(folder / "model.meta", inputs=names(network), outputs=outputs)


def stored(weights):
    """The same numbers as variables of TF1."""
    variables = Weights(0)
    variables.kept = [v1.Variable(array) for array in weights.kept]
    return variables


TRACES = {
    "constants": traced,
    "captured": traced,
    "variables": traced,
    "keras": keras_traced,
    "saved": saved,
    "frozen": frozen,
    "checkpoint": checkpoint,
}

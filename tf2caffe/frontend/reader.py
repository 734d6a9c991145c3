"""From a traced TensorFlow model to the graph that is written to disk.

Only ops that depend on the input are kept (see `extract`); whatever else there is in a traced model
is computed to a constant. What TensorFlow or Keras takes apart and Caffe has as one is put together
again (see `recognise`): BatchNorm, which Keras 3 lowers to Rsqrt, Mul, Sub, AddV2; biases; dilated
kernels.
"""

from tf2caffe.failure import Failure
from tf2caffe.frontend import (
    batch,
    channels,
    choices,
    expand,
    linear,
    rows,
    settings,
    spectra,
    tail,
    unsupported,
)
from tf2caffe.frontend.draft import Op, compute_together, live
from tf2caffe.frontend.extract import extract
from tf2caffe.frontend.naming import name_ops
from tf2caffe.frontend.recognise import OF_IMAGES, RECOGNISERS
from tf2caffe.frontend.tf_import import uncollected
from tf2caffe.frontend.trace import Trace
from tf2caffe.graph.graph import Graph


@uncollected()
def read(trace, name, names=None, classes=()):
    """The `Graph` of a traced model, and the name of each node's tensor in the trace.

    Weights are not fetched: `Weight.source` holds the `Constant`. `names` maps layers to what
    Caffe shall call them. Raises `Failure` that lists every op that cannot be read.
    """
    inputs, ops, outputs = extract(trace)
    raw = {op.tensor.name: op for op in [*inputs, *ops]}
    every = [*trace.unused, *(op.name for op in inputs)]
    inputs = live(inputs, outputs.values())  # OpenCV runs no network with one that is not read
    unsupported.refuse_unsound(trace, inputs, live(ops, outputs.values()), outputs)
    ops = _recognised(trace, ops, outputs)
    name_ops(ops, trace, outputs)
    unsupported.refuse_unsupported(trace, inputs, ops, outputs, name)
    compute_together(trace, [constant for op in ops for constant in op.constants.values()])
    graph = Graph(name, *_parts(inputs, ops, outputs), list(classes), names or {})
    graph.left = tail.lines(trace, {tensor: op.name for tensor, op in raw.items()})
    graph.remarks = trace.remarks
    graph.unused = [name for name in every if name not in graph.inputs]
    trace.known = {op.tensor.op.name: op.name for op in ops}
    return graph, {op.name: op.tensor.name for op in [*inputs, *ops]}


def op_names(trace):
    """The tensor of each op by the name that step 3 prints, also where some cannot be converted."""
    copy = Trace(trace.graph_def, trace.inputs, trace.outputs, trace.variables, trace.layers)
    try:
        _, ops, outputs = extract(copy)
        ops = _recognised(copy, ops, outputs)
        name_ops(ops, copy, outputs)
    except Failure:
        return {}
    return {op.name: (op.former if op.former is not None else op.tensor).name for op in ops}


def _recognised(trace, ops, outputs):
    """The ops that are left when every recogniser has rewritten what it knows."""
    ops = live(ops, outputs.values())
    settings.resolve(ops)
    for recognise in OF_IMAGES:
        recognise(ops)
    ops = rows.dilate(live(ops, outputs.values()), trace)
    ops = channels.put_last(live(ops, outputs.values()), trace)
    for recognise in RECOGNISERS:
        ops = live(ops, outputs.values())
        recognise(ops)
    ops = live(choices.settle_all(live(ops, outputs.values()), trace), outputs.values())
    ops = live(spectra.settle_all(ops, trace), outputs.values())
    linear.settle_all(ops, trace)
    ops = live(expand.expanded(ops, trace), outputs.values())
    ops = batch.lift(ops, Op)
    trace.graph_def = expand.rerouted(trace.graph.as_graph_def(), ops)
    return ops


def _parts(inputs, ops, outputs):
    """The inputs, nodes and outputs of a `Graph`."""
    shapes = {op.name: op.shape for op in inputs}
    return shapes, [batch.node(op) for op in ops], {name: op.name for name, op in outputs.items()}

"""What the stages after the reader would refuse, told together with what the reader refuses.

Inputs stand for the ops that are refused, ones for the weights: neither the layouts nor the mapping
look at what a weight holds.
"""

import numpy as np

from tf2caffe.caffe import lowering, mapping, targets
from tf2caffe.failure import Failure
from tf2caffe.frontend import batch
from tf2caffe.graph import carry
from tf2caffe.graph.graph import Graph


def stand_in(name, inputs, ops, outputs, refused):
    """The `Graph` of all ops but the refused (ids), for which inputs stand."""
    stand = [op for op in ops if id(op) in refused]
    nodes = [batch.node(op) for op in ops if id(op) not in refused]
    shapes = {op.name: _shape(op) for op in [*inputs, *stand]}
    return Graph(name, shapes, nodes, {key: op.name for key, op in outputs.items()})


def _shape(op):
    """As an input, a tensor has a batch axis of one element."""
    shape = batch.shape(op)
    return shape if shape[:1] == (1,) else (1, *shape)


def problems(graph):
    """{op: the line of why a layout cannot be carried through it, or why it cannot be mapped}."""
    layouts, unlaid = carry.attempt(graph)
    for node in graph.nodes:
        for role, weight in node.weights.items():
            _fill(node, role, weight, layouts)
    return mapping.attempt(graph, ended=False)[1] | unlaid


def with_target(refusal, name, output_order=None):
    """The refusal with what a target lacks for the rest of the network."""
    texts = [str(refusal)]
    if refusal.graph:
        target = targets.TARGETS[name]
        net, _ = mapping.attempt(refusal.graph, target, output_order or "tensorflow", ended=False)
        texts.append(targets.refusal(lowering.fit(net, target), name))
    return Failure("\n".join(filter(None, texts)))


def _fill(node, role, weight, layouts):
    """Ones in the weight's place, which take no memory."""
    ones = np.broadcast_to(np.float32(1), weight.source.shape)
    try:
        weight.shape = tuple(carry.arrange(node, role, ones, layouts).shape)
    except (Failure, ValueError):  # its op is refused: the layout is not known
        weight.shape = weight.source.shape
    weight.array = np.broadcast_to(np.float32(1), weight.shape)

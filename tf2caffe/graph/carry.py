"""Layouts carried through a whole graph, and the weights laid out by them: step 4's work."""

from math import prod

from tf2caffe.failure import Failure, listed
from tf2caffe.graph import layout_rules as rules
from tf2caffe.graph.layout import usual
from tf2caffe.graph.ops import OPS, key


def carry(graph):
    """Give each op its layout; return those of every input and op, as {name: Layout}.

    Raises `Failure` that lists each op through which a layout cannot be carried.
    """
    layouts = graph.input_layouts()
    wanted, problems = _wanted(graph), []
    for node in graph.nodes:
        rule = OPS[node.op].layout
        try:
            if node.shape[:1] not in ((), (1,)):
                raise ValueError("it mixes the batch with other axes; keep axis 0 as it is")
            layout = rule(node, [layouts[name] for name in node.inputs])
            layouts[node.name] = wanted.get(node.name, layout) if rule is rules.dense else layout
        except ValueError as error:
            problems.append(f"{node.name} ({node.op}): {error}")
            layouts[node.name] = usual(node.shape[1:])
    if problems:
        raise Failure(listed(f"{len(problems)} op(s) of {graph.name} cannot be laid out", problems))
    for node in graph.nodes:
        node.layout = layouts[node.name]
    return layouts


def _wanted(graph):
    """The order in which a dense layer shall give its output, where it is then made an image."""
    wanted, vectors = {}, {}
    for node in reversed(graph.nodes):
        asked = vectors.get(node.name)
        if node.op == "Reshape" and len(node.shape) > 2:
            shape = node.shape[1:]
            vectors.setdefault(node.inputs[0], usual(shape).reshaped((prod(shape),)))
        elif asked and OPS[node.op].layout in rules.KEEPING and len(node.inputs) == 1:
            vectors.setdefault(node.inputs[0], asked)
        elif asked and OPS[node.op].layout is rules.dense and node.shape[1:] == asked.tf_shape:
            wanted[node.name] = asked
    outputs = set(graph.outputs.values())
    return {name: layout for name, layout in wanted.items() if name not in outputs}


def arrange(node, role, array, layouts):
    """A weight as TensorFlow has it -> as Caffe takes it, as an array or as `Reordered`.

    `layouts` are those of all tensors.
    """
    inputs = [layouts[name] for name in node.inputs]
    known = OPS[node.op].weights
    return known[key(role, known)](node, array, inputs, layouts[node.name])

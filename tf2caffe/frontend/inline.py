"""A graph without calls: functions, and branches that are decided, stand where they are called."""

import re

import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph


def inlined(graph_def):
    """The graph with every call of a function, and every branch that is decided, replaced by it.

    TensorFlow's own inliner leaves alone what is marked to be compiled, as Keras marks grouped and
    depthwise convolutions.
    """
    library = {function.signature.name: function for function in graph_def.library.function}
    nodes, renamed = {node.name: node for node in graph_def.node}, {}
    while any(_called(node, nodes, renamed) for node in nodes.values()):
        expanded = {}
        for node in nodes.values():
            body = _called(node, nodes, renamed)
            parts = _body(node, *body, library, renamed) if body else [node]
            expanded |= {part.name: part for part in parts}
        nodes = expanded
    flat = tf.compat.v1.GraphDef(versions=graph_def.versions)
    for node in nodes.values():
        copy = flat.node.add()
        copy.CopyFrom(node)
        inputs = [followed(name, renamed) for name in node.input if not name.startswith("^")]
        del copy.input[:]
        copy.input.extend(inputs)
    return flat


def _called(node, nodes, renamed):
    """(the name of the function that a node calls, its arguments); None if it calls none."""
    if node.op in CALLS:
        return node.attr["f"].func.name, node.input
    if node.op in ("If", "StatelessIf"):
        choice = decided(node.input[0], nodes, lambda name: followed(name, renamed))
        if choice is not None:
            branch = "then_branch" if choice else "else_branch"
            return node.attr[branch].func.name, node.input[1:]
    return None


def decided(name, nodes, follow=lambda name: name):
    """Whether a condition is true when the network is used, not trained; None if it depends."""
    node = nodes.get(follow(name).removesuffix(":0"))
    if node is None:
        return None
    if node.op in ("Placeholder", "PlaceholderWithDefault") and TRAINING.search(node.name):
        return False if node.attr["dtype"].type == tf.bool else None
    if node.op == "Const" and node.attr["dtype"].type == tf.bool:
        return bool(tf.make_ndarray(node.attr["value"].tensor))
    if node.op in ("Identity", "PlaceholderWithDefault", "RefSwitch", "Switch"):
        return decided(node.input[0], nodes, follow)
    if node.op == "LogicalNot":
        choice = decided(node.input[0], nodes, follow)
        return None if choice is None else not choice
    return None


def _body(call, function, given, library, renamed):
    """The nodes of a called function, under the call's name; what the call gives is `renamed`."""
    body = function_def_to_graph(library[function], include_library_functions=True)
    arguments = dict(zip((tensor.op.name for tensor in body.inputs), given, strict=False))
    for at, tensor in enumerate(body.outputs):
        name = arguments.get(tensor.op.name, f"{call.name}/{tensor.name}")
        renamed[f"{call.name}:{at}" if at else call.name] = name.removesuffix(":0")
    nodes = []
    for node in body.as_graph_def().node:
        if node.name not in arguments:
            copy = tf.compat.v1.NodeDef()
            copy.CopyFrom(node)
            copy.name = f"{call.name}/{node.name}"
            del copy.input[:]
            copy.input.extend(
                arguments.get(name) or f"{call.name}/{name}"
                for name in node.input
                if not name.startswith("^")
            )
            nodes.append(copy)
    return nodes


def followed(name, renamed):
    while name in renamed:
        name = renamed[name]
    return name


CALLS = ("StatefulPartitionedCall", "PartitionedCall")

# Names of conditions that tell training from use.
TRAINING = re.compile(r"(^|[/_])(is_)?(train(ing)?|learning)(_phase|_mode)?(_\d+)?$|phase_train")

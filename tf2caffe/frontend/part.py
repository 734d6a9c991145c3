"""A part of a traced model: from the tensors that --inputs name to those that --outputs name.

They are named as the user knows them: as step 3 prints them, by the name of a layer, whose last op
is meant, or as TensorFlow calls them.
"""

import difflib

import tensorflow as tf

from tf2caffe.failure import Failure
from tf2caffe.frontend import training_graph
from tf2caffe.frontend.naming import layer_scope
from tf2caffe.frontend.trace import Trace


def between(trace, inputs, outputs):
    """The `Trace` of the part between these names, lists or None; None is where the model is.

    Raises `Failure` where a name is unknown; it suggests those that are like it.
    """
    if not inputs and not outputs:
        return trace
    known = names(trace)
    ends = {plain(name): found(known, name, "--outputs") for name in outputs or ()}
    begins = {plain(name): found(known, name, "--inputs") for name in inputs or ()}
    nodes = {node.name: node for node in trace.graph_def.node}
    fed = _fed(trace, nodes, begins) if begins else dict(trace.inputs)
    ends = {
        name: _kept(trace, nodes, name, tensor) for name, tensor in (ends or trace.outputs).items()
    }
    read = {node.name: node for node in training_graph.needed(nodes, ends.values())}
    taken = {name: tensor for name, tensor in fed.items() if tensor.removesuffix(":0") in read}
    if not taken:
        raise Failure(f"no output depends on {', '.join(begins or fed)}; see step 3 for the names")
    flat = tf.compat.v1.GraphDef(node=read.values(), versions=trace.graph_def.versions)
    variables = {name: value for name, value in trace.variables.items() if name in read}
    unused = [name for name in fed if name not in taken and name in begins]
    part = Trace(flat, taken, ends, variables, trace.layers, unused=unused)
    part.reason = "it was cut with --inputs or --outputs"
    return part


def plain(name):
    return name.removesuffix(":0")


def _fed(trace, nodes, begins):
    """Placeholders in place of the tensors at which the network begins."""
    specs = {}
    for name, tensor in begins.items():
        made = trace.graph.get_tensor_by_name(tensor)
        if not made.shape.is_fully_defined():
            raise Failure(f"--inputs {name}: its size is not known ({made.shape})")
        if not made.shape.rank:
            raise Failure(f"--inputs {name}: a single number; Caffe's inputs have a batch axis")
        specs[tensor] = tf.TensorSpec(made.shape, made.dtype)
    own = training_graph.cut(nodes, specs)
    return dict(zip(begins, own.values(), strict=True))


def _kept(trace, nodes, name, tensor):
    """The name of an Identity behind an output, which stays where the op itself is replaced."""
    own = f"end/of/{name.replace(':', '_')}"
    end = nodes[own] = tf.compat.v1.NodeDef(name=own, op="Identity")
    end.input.append(tensor)
    end.attr["T"].type = trace.graph.get_tensor_by_name(tensor).dtype.as_datatype_enum
    return f"{own}:0"


def names(trace):
    """What each name means, {name: tensor}: TensorFlow's, layers', and step 3's, which prevail."""
    made = {}
    for op in trace.graph.get_operations():
        if not op.outputs or op.name in trace.variables:
            continue
        for output in op.outputs:
            made[output.name] = output.name
        made[op.name] = op.outputs[0].name
    made |= _layers(trace) | _shown(trace) | dict(trace.inputs)
    for layer in trace.passed:  # Dropout, say, is in no graph
        source = layer
        while source not in made and source in trace.passed:
            source = trace.passed[source]
        if source in made:
            made.setdefault(layer, made[source])
    return made


def _layers(trace):
    """The last op of each layer, as the layers are called that the user knows."""
    found = {}
    for op in trace.graph.get_operations():
        layer = layer_scope(op.name, trace.layers)
        if layer and op.outputs and op.type != "Const" and op.name not in trace.variables:
            found[layer] = op.outputs[0].name
    return found


def _shown(trace):
    """The names that step 3 prints, and the scopes of these, whose last op is meant."""
    from tf2caffe.frontend import reader

    tensors = {op.outputs[0].name for op in trace.graph.get_operations() if op.outputs}
    exact, scopes = {}, {}
    for name, tensor in reader.op_names(trace).items():
        if tensor in tensors:
            exact[name] = tensor
            for at in range(1, name.count("/") + 1):
                scopes["/".join(name.split("/")[:at])] = tensor
    return scopes | exact


def found(known, name, option):
    """The tensor of that name. Raises `Failure`."""
    for key in (name, plain(name)):
        if key in known:
            return known[key]
    named = [key for key in known if ":" not in key]
    ends = [key for key in named if key.endswith(f"/{plain(name)}")]
    if len({known[key] for key in ends}) == 1:  # a layer of a model in a model
        return known[ends[0]]
    last = {key.rpartition("/")[2]: key for key in reversed(named)}
    like = [last[part] for part in difflib.get_close_matches(name, last)]
    near = [*ends[:3], *difflib.get_close_matches(name, named), *like]
    near = ", ".join(dict.fromkeys(near)) or "none; step 3 prints them all"
    raise Failure(f"{option} {name}: nothing is called so; names like it: {near}")

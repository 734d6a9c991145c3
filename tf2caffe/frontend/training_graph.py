"""A graph that was made for training, as what it computes when the network is used.

Conditions on training are decided, BatchNorm takes its moving averages, dropout falls away. All of
it works on `nodes`, the graph as {name: NodeDef}, and changes that.
"""

import difflib
import re
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tf2caffe.failure import Failure
from tf2caffe.frontend.inline import decided, followed, inlined
from tf2caffe.frontend.trace import placeholder
from tf2caffe.graph.graph import LARGEST


def used(graph_def, stored, variables, graph, inputs=()):
    """The nodes as the network is used; variables that are `stored` become placeholders.

    `graph` is the `tf.Graph` of the `GraphDef`, `inputs` are the names of tensors that will be fed.
    Returns (the nodes, what was replaced).
    """
    nodes = {node.name: node for node in graph_def.node}
    take_branches(nodes)
    taken = tf.compat.v1.GraphDef(node=nodes.values(), library=graph_def.library)
    nodes = {node.name: node for node in inlined(taken).node}
    for node in nodes.values():
        node.device = ""
        for attr in ("_class", "_output_shapes"):  # what they name may be cut off
            if attr in node.attr:
                del node.attr[attr]
    reads = {node.name: [source(name) for name in node.input] for node in nodes.values()}
    shape_of = partial(known_shape, graph)
    drawn = drop_dropout(nodes, shape_of, set(map(source, inputs)))
    averaged = use_moving_averages(nodes, stored, variables, shape_of)
    read_variables(nodes, stored, variables)
    return nodes, Replaced(reads, drawn, averaged)


@dataclass
class Replaced:
    """What a rewritten graph computes otherwise: dropout, and norms that took a batch's statistics.

    Both by the names of nodes; `reads` are the nodes that each node read before.
    """

    reads: dict
    drawn: set
    averaged: set

    def reason(self, outputs, inputs):
        """Why what is computed between these nodes is not what it was before; "" if it is."""
        found, waiting = set(inputs), list(outputs)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self.reads.get(name, ())
        drawn, averaged = (sorted(names & found) for names in (self.drawn, self.averaged))
        told = [f"{drawn[0]} draws random numbers"] if drawn else []
        told += [f"{averaged[0]} takes the statistics of the batch"] if averaged else []
        return " and ".join(told) and f"as it was saved, {' and '.join(told)}"


def settle_switches(graph_def, values, path):
    """Give placeholders the values of --set, and unnamed ones that switch branches False.

    What is to be said of the latter, in a line, "" if there are none. Raises `Failure` for a name
    that no placeholder has.
    """
    nodes = {node.name: node for node in graph_def.node if node.op in FED_NUMBERS}
    for name, value in values.items():
        node = nodes.get(name.removesuffix(":0"))
        if node is None:
            near = ", ".join(difflib.get_close_matches(name, nodes)) or ", ".join(nodes) or "none"
            raise Failure(f"{path} has no placeholder {name} for --set; there are {near}")
        _settle(node, value)
    guessed = [name for name, node in nodes.items() if _is_unnamed_switch(node)]
    for name in guessed:
        _settle(nodes[name], False)
    told = [f"{name} is taken as false; --set {name}=true takes it as true" for name in guessed]
    return "; ".join(told)


def _is_unnamed_switch(node):
    """Whether it may only tell training from use: a boolean, of one element, that has no name."""
    shape = node.attr["shape"].shape
    truth = node.attr["dtype"].type == tf.bool.as_datatype_enum
    return node.op == "Placeholder" and truth and not shape.dim and bool(UNNAMED.match(node.name))


def _settle(node, value):
    """Make a constant of a placeholder."""
    dtype = node.attr["dtype"].type
    shape = [max(dim.size, 1) for dim in node.attr["shape"].shape.dim]
    made = np.full(shape, value, tf.as_dtype(dtype).as_numpy_dtype)
    node.CopyFrom(tf.compat.v1.NodeDef(name=node.name, op="Const"))
    node.attr["dtype"].type = dtype
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(made))


def without_notes(graph_def):
    """The graph without what other programs noted in it: shapes, places."""
    plain = tf.compat.v1.GraphDef()
    plain.CopyFrom(graph_def)
    for node in plain.node:
        for attr in ("_class", "_output_shapes"):
            node.attr.pop(attr, None)
    return plain


def without_broken(graph_def):
    """The graph without ops that TensorFlow does not have, or that read what is not there."""
    functions = {function.signature.name for function in graph_def.library.function}
    kept = {
        node.name: node
        for node in graph_def.node
        if op_def_registry.get(node.op) is not None or node.op in functions
    }
    while True:
        broken = [
            name
            for name, node in kept.items()
            if any(source(read) not in kept for read in node.input if read[0] != "^")
        ]
        if not broken:
            break
        for name in broken:
            del kept[name]
    sound = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in kept.values():
        copy = sound.node.add()
        copy.CopyFrom(node)
        lost = [name for name in node.input if source(name) not in kept]
        for name in lost:
            copy.input.remove(name)
    return sound


def known_shape(graph, name, output=0):
    """The shape of a tensor in a graph, by its node's name; None if it is not there."""
    name, output = (name, output) if ":" not in name else output_of(name)
    try:
        return graph.get_tensor_by_name(f"{name}:{output}").shape
    except (KeyError, ValueError):
        return None


def take_weights(graph_def):
    """Large constants become placeholders, {name: (tensor, value)}: graphs are copied often."""
    variables = {}
    for node in graph_def.node:
        shape = node.attr["value"].tensor.tensor_shape if node.op == "Const" else None
        size = prod(dim.size for dim in shape.dim) if shape is not None else 0
        if size > LARGEST:
            raise Failure(f"constant {node.name} claims to hold {size:,} numbers")
        if size > 1024:
            value = tf.constant(tf.make_ndarray(node.attr["value"].tensor))
            variables[node.name] = (f"{node.name}:0", value)
            node.CopyFrom(placeholder(node.name, value))
    return variables


def cut(nodes, specs):
    """Placeholders in place of tensors, {tensor: spec}; return {input's name: its tensor}."""
    fed, renamed = {}, {}
    for tensor, spec in specs.items():
        name, output = output_of(tensor)
        own = f"{name}_{output}" if output else name
        if output:
            renamed[tensor] = own
        fed[own] = f"{own}:0"
        nodes[own] = placeholder(own, spec)
    rewire(nodes, renamed)
    return fed


def needed(nodes, outputs):
    """The nodes that the outputs depend on; losses and queues are not among them."""
    found, waiting = {}, [source(name) for name in outputs]
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in found:
            found[name] = nodes[name]
            waiting += [source(read) for read in nodes[name].input]
    return found.values()


def source(name):
    """The node that an input of a node names: `^a`, `a:1` and `a` are all `a`."""
    return name.lstrip("^").split(":")[0]


def output_of(name):
    """(node, which of its outputs) that an input of a node names; (node, None) for `^node`."""
    node, _, at = name.lstrip("^").partition(":")
    return node, None if name.startswith("^") else int(at or 0)


def readers_of(nodes):
    """The nodes that read each node."""
    readers = {}
    for node in nodes.values():
        for name in {source(name) for name in node.input}:
            readers.setdefault(name, []).append(node)
    return readers


def rewire(nodes, renamed):
    """Let all nodes read other tensors: {tensor: the one to read in its place}."""
    for node in nodes.values():
        inputs = [followed(name.removesuffix(":0"), renamed) for name in node.input]
        del node.input[:]
        node.input.extend(inputs)


def take_branches(nodes):
    """TF1's `cond` is a Switch before and a Merge after two branches: the one not taken goes."""
    choices = _choices(nodes)
    dead = _dead(nodes, {(name, 1 - choice) for name, choice in choices.items()})
    renamed = {
        f"{name}:1" if choice else name: nodes[name].input[0] for name, choice in choices.items()
    }
    renamed |= _merged(nodes, dead)
    gone = {name for name, output in dead if output is None} | choices.keys() | renamed.keys()
    for name in gone & nodes.keys():
        del nodes[name]
    rewire(nodes, renamed)


def _choices(nodes):
    """{Switch: the output that is taken, 0 or 1}, of those whose condition is decided."""
    switches = [node for node in nodes.values() if node.op in ("Switch", "RefSwitch")]
    choices = {node.name: decided(node.input[1], nodes) for node in switches}
    return {name: int(choice) for name, choice in choices.items() if choice is not None}


def _merged(nodes, dead):
    """{Merge: the only tensor that can come through it}."""
    renamed = {}
    for node in nodes.values():
        live = [name for name in _data(node) if not _is_dead(name, dead)]
        if node.op in ("Merge", "RefMerge") and len(live) == 1:
            renamed[node.name] = live[0]
    return renamed


def _data(node):
    """What a node reads, without the nodes that only have to run before it."""
    return [name for name in node.input if name[0] != "^"]


def _dead(nodes, dead):
    """Add to the outputs that are never computed, (node, output), the nodes that need them."""
    readers, waiting = readers_of(nodes), [name for name, _ in dead]
    while waiting:
        for reader in readers.get(waiting.pop(), ()):
            gone = [_is_dead(name, dead) for name in reader.input]
            lost = all(gone) if reader.op in ("Merge", "RefMerge") else any(gone)
            if lost and (reader.name, None) not in dead:
                dead.add((reader.name, None))
                waiting.append(reader.name)
    return dead


def _is_dead(name, dead):
    return output_of(name) in dead or (source(name), None) in dead


def drop_dropout(nodes, shape_of, fed=()):
    """Dropout becomes what it drops from: while a network is used, nothing is dropped.

    In TensorFlow's spellings, where u is uniform in [0, 1) and rate = 1 - keep:
        Mul(RealDiv(x, keep), Floor(Add(keep, u)))                until 1.12, DropConnect
        Mul(Mul(x, 1 / keep), Cast(GreaterEqual(u, rate)))        from 1.13
        SelectV2(GreaterEqual(u, rate), Mul(x, 1 / keep), 0)      from 2.11
    Operands may come in either order, and comparisons be turned round. A mask that is always 1
    (keep = 1) needs no factor. Returns the names of those that drew.
    """
    renamed, drawn = {}, set()
    for node in nodes.values():
        mask, scaled = _masked(node, nodes) if node.name not in fed else (None, None)
        keep = None if mask is None else _keep(mask, nodes)
        if keep is None:
            continue
        always = bool(np.all(keep == 1))
        kept = scaled if always else _before_scale(scaled, keep, node, nodes)
        if kept and _same_shape(shape_of(node.name), shape_of(kept)):
            renamed[node.name] = kept
            drawn |= set() if always else {node.name}
    rewire(nodes, renamed)
    return drawn


def _same_shape(one, other):
    """Whether two shapes may be the same; a mask may be larger than what it masks."""
    known = None not in (one, other) and None not in (one.rank, other.rank)
    return not known or (one.rank == other.rank and one.is_compatible_with(other))


def _masked(node, nodes):
    """(the mask, the name of what it masks) as far as a node may be a dropout; else (None, None).

    The mask is (a comparison or Floor, whether it is turned round: 0 is kept).
    """
    inputs = _data(node)
    if node.op == "Mul" and len(inputs) == 2:
        return _masked_by_product(inputs, nodes)
    if node.op in ("Select", "SelectV2") and len(inputs) == 3:
        return _masked_by_choice(inputs, nodes)
    return None, None


def _masked_by_product(inputs, nodes):
    """Mul(x, mask), in either order: see `_masked`."""
    for mask, masked in (inputs, inputs[::-1]):
        made = nodes.get(_bare(mask, nodes, "Cast"))
        if made is not None and made.op in MASKS:
            return (made, False), masked
    return None, None


def _masked_by_choice(inputs, nodes):
    """SelectV2(mask, x, 0) or SelectV2(mask, 0, x): see `_masked`."""
    made = nodes.get(_bare(inputs[0], nodes))
    if made is not None and made.op in MASKS and made.op != "Floor":
        for masked, other, turned in ((*inputs[1:], False), (*inputs[:0:-1], True)):
            if _is_zero(other, nodes):
                return (made, turned), masked
    return None, None


def _bare(name, nodes, *others):
    """The tensor's name before ops that pass it on; of a node's first output, the node's."""
    while (node := nodes.get(source(name))) is not None and node.op in ("Identity", *others):
        name = node.input[0]
    return name.removesuffix(":0")


def _is_zero(name, nodes):
    node = nodes.get(_bare(name, nodes))
    if node is not None and node.op == "Const":
        return not np.any(tf.make_ndarray(node.attr["value"].tensor))
    return node is not None and node.op == "ZerosLike"


def _keep(mask, nodes):
    """The chance of being kept, see `_values`; None if the mask is not drawn from u."""
    node, turned = mask
    if node.op == "Floor":  # floor(keep + u)
        node = nodes.get(_bare(_data(node)[0], nodes))
        if node is None or node.op not in ("Add", "AddV2"):
            return None
    inputs = _data(node)
    drawn = [_is_uniform(name, nodes) for name in inputs]
    if sum(drawn) != 1:
        return None
    keep = _values(inputs[drawn.index(False)], nodes)
    compared = node.op not in ("Add", "AddV2")
    if compared and node.op.startswith("Greater") == drawn[0]:  # u >= rate, rate <= u
        keep = 1 - keep
    keep = 1 - keep if turned else keep
    return keep if np.all((keep > 0) & (keep <= 1)) else None


def _is_uniform(name, nodes):
    """Whether a tensor is drawn from [0, 1): RandomUniform * (1 - 0) + 0."""
    node = nodes.get(_bare(name, nodes))
    if node is None or node.op not in ("Mul", "Add", "AddV2"):
        return node is not None and node.op in UNIFORM
    first, second = (name for name in node.input if name[0] != "^")
    neutral = 1.0 if node.op == "Mul" else 0.0
    return _is_uniform(first, nodes) and bool(np.all(_values(second, nodes) == neutral))


def _before_scale(name, keep, dropout, nodes):
    """What is divided by `keep` (see `_values`) in the scope of a dropout; None if nothing is."""
    scaled = nodes.get(_bare(name, nodes))
    own = scaled is not None and _scope(scaled) == _scope(dropout)
    if not own or scaled.op not in ("Mul", "RealDiv", "Div"):
        return None
    first, second = (name for name in scaled.input if name[0] != "^")
    for x, scale in ((first, second), (second, first)):
        factor = _values(scale, nodes)
        made = factor * keep if scaled.op == "Mul" else keep / factor
        if np.all(np.abs(made - 1) < 1e-5):
            return x
        if scaled.op != "Mul":
            return None
    return None


def _scope(node):
    return node.name.rpartition("/")[0]


def _values(name, nodes):
    """The values of an expression of single numbers for several values of what is not known.

    Whatever is no constant or sum, product or the like takes numbers of its own in [0.2, 0.9], so
    two expressions with the same values are the same.
    """
    name = _bare(name, nodes)
    node = nodes.get(name)
    if node is not None and node.op == "Const":
        value = tf.make_ndarray(node.attr["value"].tensor)
        if value.ndim == 0 and value.dtype.kind == "f":
            return np.full(SAMPLES, np.float64(value))
    if node is not None and node.op in ARITHMETIC:
        parts = [_values(part, nodes) for part in node.input if part[0] != "^"]
        with np.errstate(all="ignore"):
            return ARITHMETIC[node.op](*parts)
    return np.random.default_rng(list(name.encode())).uniform(0.2, 0.9, SAMPLES)


def use_moving_averages(nodes, stored, variables, shape_of):
    """BatchNorm in training mode takes the moving averages that the batch's statistics update.

    FusedBatchNorm(x, gamma, beta):1 -> update of moving_mean, :2 -> update of moving_variance
    Mean(x, all axes but the last) -> update of a moving average
    An update reads the average itself: average -= (average - statistic) * (1 - decay), say.
    Returns the names of the nodes that took the batch's.
    """
    settled = set()
    average_of = partial(_fitting_average, nodes, readers_of(nodes), stored, shape_of)
    for node in list(nodes.values()):
        averages = [None]
        if node.op.startswith("FusedBatchNorm") and "Grad" not in node.op:
            if node.attr["is_training"].b:
                averages = [average_of(node.name, at) for at in (1, 2)]
                if None not in averages:
                    _settle_norm(node, averages, nodes, stored, variables)
        elif node.op == "Mean" and 0 in _axes(node, nodes):
            averages = [average_of(node.name)]
            if None not in averages:
                _settle_mean(node, nodes, stored[averages[0]], variables, averages[0])
        settled |= set() if None in averages else {node.name}
    return settled


def _fitting_average(nodes, readers, stored, shape_of, name, output=0):
    """The name of the moving average of a statistic, if there is one of the same size, or None."""
    found, shape = _moving_average(name, output, nodes, readers, stored), shape_of(name, output)
    if found is None or shape is None:
        return found
    return found if shape.num_elements() in (None, stored[found].shape.num_elements()) else None


def _settle_norm(node, averages, nodes, stored, variables):
    if averages[0] == averages[1]:
        return  # the reader refuses it by name
    node.attr["is_training"].b = False
    del node.input[3:]
    for name in averages:
        own = f"{node.name}/{name.rpartition('/')[2]}"
        nodes[own] = placeholder(own, stored[name])
        variables[own] = (f"{name}:0", stored[name])
        node.input.append(own)


def _settle_mean(node, nodes, average, variables, name):
    """The mean over a batch becomes its moving average, with the axes that the mean keeps."""
    rank = len(_axes(node, nodes)) + 1
    kept = node.attr["keep_dims"].b
    average = average.reshaped([1] * (rank - 1) + average.shape.as_list()) if kept else average
    nodes[node.name] = placeholder(node.name, average)
    variables[node.name] = (f"{name}:0", average)


def _axes(node, nodes):
    """The axes of a reduction that takes all but the last, else none."""
    axes = nodes.get(source(node.input[1]))
    if axes is None or axes.op != "Const":
        return []
    axes = tf.make_ndarray(axes.attr["value"].tensor).reshape(-1).tolist()
    return axes if axes == list(range(len(axes))) else []


def _moving_average(name, output, nodes, readers, stored):
    """The variable in the checkpoint that is updated by a batch's statistic; None if none is."""
    waiting, seen = [(name, output)], set()
    while waiting:
        name, output = waiting.pop(0)
        for reader in readers.get(name, ()):
            if (name, output) not in [output_of(given) for given in reader.input]:
                continue
            if reader.op.startswith("Assign") and _reads_itself(reader, nodes):
                return _updated(reader, nodes, stored)
            if reader.op in ON_THE_WAY and reader.name not in seen:
                seen.add(reader.name)
                waiting.append((reader.name, 0))
    return None


def _reads_itself(assign, nodes):
    """Whether the value that is assigned to a variable is made of what was in it."""
    own, waiting, seen = variable_of(assign.input[0], nodes), list(assign.input[1:2]), set()
    while waiting:
        name = source(waiting.pop())
        node = nodes.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        read = node.input[0] if node.op == "ReadVariableOp" else name
        if own and variable_of(read, nodes) == own:
            return True
        if node.op in ON_THE_WAY or node.op.startswith("FusedBatchNorm"):
            waiting += node.input
    return False


def _updated(assign, nodes, stored):
    """The checkpoint's name of the variable that is assigned to."""
    name = variable_of(assign.input[0], nodes)
    if name and name.endswith("/biased"):  # what corrects an average for its first steps
        owners = [owner for owner in stored if name.endswith(f"{owner}/biased")]
        name = max(owners, key=len, default=None)
    return name if name in stored else None


def variable_of(name, nodes):
    """The name under which a variable is stored, from what gives it or its handle."""
    node = nodes.get(source(name))
    while node is not None and node.op in ("Identity", "Enter"):
        node = nodes.get(source(node.input[0]))
    if node is None or node.op not in ("VarHandleOp", "VariableV2", "Variable"):
        return None
    return node.attr["shared_name"].s.decode() or node.name


def read_variables(nodes, stored, variables):
    """Variables become placeholders whose values are in the checkpoint."""
    for name, node in list(nodes.items()):
        if node.op in ("VariableV2", "Variable", "ReadVariableOp"):
            read = node.input[0] if node.op == "ReadVariableOp" else name
            key = variable_of(read, nodes)
            if key in stored:
                nodes[name] = placeholder(name, stored[key])
                variables[name] = (f"{key}:0", stored[key])


# What --set may give a value, and the names of those that nobody named.
FED_NUMBERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
UNNAMED = re.compile(r"(.*/)?Placeholder(_\d+)?$")

# From a batch's statistic to the assignment of its moving average.
ON_THE_WAY = ("Add", "AddV2", "Cast", "ExpandDims", "Identity", "Mul", "RealDiv", "Reshape",
              "Squeeze", "StopGradient", "Sub")  # fmt: skip

MASKS = ("Floor", "Greater", "GreaterEqual", "Less", "LessEqual")
UNIFORM = ("RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2")
SAMPLES = 5
ARITHMETIC = {
    "Add": np.add,
    "AddV2": np.add,
    "Div": np.divide,
    "Mul": np.multiply,
    "Neg": np.negative,
    "RealDiv": np.divide,
    "Reciprocal": np.reciprocal,
    "Sub": np.subtract,
}

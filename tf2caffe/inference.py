"""A graph that was made for training, as what it computes when the network is used.

Conditions on training are decided, BatchNorm takes its moving averages, dropout falls away. All of
it works on `nodes`, the graph as {name: NodeDef}, and changes that.
"""

from math import prod

import tensorflow as tf

from tf2caffe.graph import LARGEST
from tf2caffe.stage import Failure
from tf2caffe.trace import decided, followed, inlined, placeholder


def used(graph_def, stored, variables):
    """The nodes as the network is used; variables that are `stored` become placeholders."""
    nodes = {node.name: node for node in graph_def.node}
    take_branches(nodes)
    taken = tf.compat.v1.GraphDef(node=nodes.values(), library=graph_def.library)
    nodes = {node.name: node for node in inlined(taken).node}
    for node in nodes.values():
        node.device = ""
        for attr in ("_class", "_output_shapes"):  # what they name may be cut off
            if attr in node.attr:
                del node.attr[attr]
    drop_dropout(nodes)
    use_moving_averages(nodes, stored, variables)
    read_variables(nodes, stored, variables)
    return nodes


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
    switches = [node for node in nodes.values() if node.op in ("Switch", "RefSwitch")]
    choices = {node.name: decided(node.input[1], nodes) for node in switches}
    choices = {name: int(choice) for name, choice in choices.items() if choice is not None}
    dead = _dead(nodes, {(name, 1 - choice) for name, choice in choices.items()})
    renamed = {}
    for name, choice in choices.items():
        renamed[f"{name}:1" if choice else name] = nodes[name].input[0]
    for node in nodes.values():
        live = [name for name in node.input if not _is_dead(name, dead) and name[0] != "^"]
        if node.op in ("Merge", "RefMerge") and len(live) == 1:
            renamed[node.name] = live[0]
    gone = {name for name, output in dead if output is None} | choices.keys() | renamed.keys()
    for name in gone & nodes.keys():
        del nodes[name]
    rewire(nodes, renamed)


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


def drop_dropout(nodes):
    """x / keep * floor(keep + random), and its other spellings, become x."""
    renamed = {}
    for node in nodes.values():
        kept = _kept(node, nodes)
        if kept:
            renamed[node.name] = kept
    rewire(nodes, renamed)


def _kept(node, nodes):
    """What a dropout drops from, before it is scaled; None if the node is no dropout."""
    inputs = [nodes.get(source(name)) for name in node.input if name[0] != "^"]
    if len(inputs) < 2 or None in inputs:
        return None
    if node.op == "Mul":
        masks = [at for at in (0, 1) if _is_mask(inputs[at], nodes)]
        scaled, mask = (inputs[1 - masks[0]], inputs[masks[0]]) if masks else (None, None)
    elif node.op in ("Select", "SelectV2") and _is_mask(inputs[0], nodes):
        mask, scaled = inputs[:2]
    else:
        return None
    own = scaled is not None and scaled.name.rpartition("/")[0] == node.name.rpartition("/")[0]
    if not own or scaled.op not in ("Mul", "RealDiv", "Div"):
        return None
    scale, keep = _number(scaled.input[1], nodes), _keep(mask, nodes)
    if scale is not None and keep is not None:
        made = scale * keep if scaled.op == "Mul" else keep / scale
        return scaled.input[0] if abs(made - 1) < 1e-5 else None
    return scaled.input[0]


def _is_mask(node, nodes):
    """Whether a node is a random choice of zeros and ones."""
    if node.op in ("Cast", "Identity"):
        return _is_mask(nodes[source(node.input[0])], nodes)
    return node.op in ("Floor", "GreaterEqual", "Less") and _is_random(node, nodes)


def _is_random(node, nodes):
    if "Random" in node.op:
        return True
    inputs = [nodes[source(name)] for name in node.input if source(name) in nodes]
    passed = ("Floor", "GreaterEqual", "Less", "Add", "AddV2", "Mul", "Sub", "Identity")
    return node.op in passed and any(_is_random(part, nodes) for part in inputs)


def _keep(mask, nodes):
    """The probability of a one: floor(keep + random), random >= drop, or random < keep."""
    while mask.op in ("Cast", "Identity"):
        mask = nodes[source(mask.input[0])]
    if mask.op == "Floor":
        mask = nodes[source(mask.input[0])]
    numbers = [_number(name, nodes) for name in mask.input if name[0] != "^"]
    numbers = [number for number in numbers if number is not None]
    if len(numbers) != 1:
        return None
    return 1 - numbers[0] if mask.op == "GreaterEqual" else numbers[0]


def _number(name, nodes):
    """The value of an expression of single numbers; None if it is none, or is fed."""
    node = nodes[source(name)]
    if node.op == "Const":
        value = tf.make_ndarray(node.attr["value"].tensor)
        return float(value) if value.ndim == 0 and value.dtype.kind == "f" else None
    if node.op == "Identity":
        return _number(node.input[0], nodes)
    if node.op in ("Sub", "RealDiv"):
        first, second = (_number(part, nodes) for part in node.input[:2])
        if first is not None and second:
            return first - second if node.op == "Sub" else first / second
    return None


def use_moving_averages(nodes, stored, variables):
    """BatchNorm in training mode takes the moving averages that the batch's statistics update."""
    readers = readers_of(nodes)
    for node in list(nodes.values()):
        if node.op.startswith("FusedBatchNorm") and "Grad" not in node.op:
            if node.attr["is_training"].b:
                _settle_norm(node, nodes, readers, stored, variables)
        elif node.op == "Mean" and 0 in _axes(node, nodes):
            average = _moving_average(node.name, 0, nodes, readers, stored)
            if average:
                _settle_mean(node, nodes, stored[average], variables, average)


def _settle_norm(node, nodes, readers, stored, variables):
    averages = [_moving_average(node.name, at, nodes, readers, stored) for at in (1, 2)]
    if None in averages or averages[0] == averages[1]:
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
            if reader.op.startswith("Assign"):
                return _updated(reader, nodes, stored)
            if reader.op in ON_THE_WAY and reader.name not in seen:
                seen.add(reader.name)
                waiting.append((reader.name, 0))
    return None


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


# From a batch's statistic to the assignment of its moving average.
ON_THE_WAY = ("Add", "AddV2", "Cast", "ExpandDims", "Identity", "Mul", "RealDiv", "Reshape",
              "Squeeze", "StopGradient", "Sub")  # fmt: skip

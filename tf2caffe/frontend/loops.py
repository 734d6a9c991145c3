"""Loops with a known number of rounds, as their rounds one after the other.

A functional `While` names two functions. A loop of TF1 is a frame of `Enter`, `Merge`, `Switch`,
`NextIteration` and `Exit`, which becomes a `While` first. Lists of tensors (`TensorList*`,
`TensorArray*`) are Python's lists while a loop is unrolled: no op is left of them but those that
take a tensor apart and stack one.
"""

import re
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from operator import attrgetter

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph
from tensorflow.python.framework.smart_cond import smart_constant_value

from tf2caffe.failure import Failure

# The scope of a round.
ROUND = re.compile(r"round\d+$")


def found(nodes):
    """Whether there is a loop among the nodes."""
    return any(node.op in (*WHILE, "LoopCond") for node in nodes)


def unrolled(graph_def, ends, library, inlined):
    """The part of a flat graph that `ends` (tensors' names) depend on, without its loops.

    `library` are the functions that the loops name, `inlined` is what replaces calls in them.
    Raises `Failure` where the number of a loop's rounds depends on the data, or is too large.
    """
    nodes = {node.name: node for node in graph_def.node}
    frames = _frames(nodes)
    ends = [_plain(name) for name in ends]
    unroller = _Unroller(graph_def.versions, library, frames, inlined)
    unroller.run(_Part(nodes, [], ends), [], lambda name: name)
    flat = unroller.graph_def()
    kept = {node.name for node in _ordered({node.name: node for node in flat.node}, ends, ())}
    read = [node for node in flat.node if node.name in kept]  # the order is that of the rounds
    return tf.compat.v1.GraphDef(node=read, versions=graph_def.versions)


@dataclass
class _Part:
    """Nodes, {name: NodeDef}, that compute the tensors `results` from the tensors `arguments`.

    Each argument is a tuple of the names under which the nodes read it.
    """

    nodes: dict
    arguments: list
    results: list


class _Unroller:
    """A graph that grows round by round. Values are names of its tensors, or lists of these."""

    def __init__(self, versions, library, frames, inlined):
        self.graph, self.versions, self.pending, self.ops = tf.Graph(), versions, [], {}
        self.flat = tf.compat.v1.GraphDef(versions=versions)
        self.functions = {function.signature.name: function for function in library.function}
        self.frames, self.inlined, self.names, self.parts = frames, inlined, set(), {}

    def graph_def(self):
        """What was emitted."""
        self._flush()
        return self.flat

    def run(self, part, given, place):
        """The values of a part's results; `place` gives the name of a node of the part."""
        pairs = zip(part.arguments, given, strict=True)
        values = {name: value for names, value in pairs for name in names}
        for node in _ordered(part.nodes, part.results, values):
            inputs = [_value(values, name) for name in node.input if name[0] != "^"]
            for at, value in enumerate(self._results(node, inputs, place)):
                values[f"{node.name}:{at}" if at else node.name] = value
        return [_value(values, name) for name in part.results]

    def _results(self, node, given, place):
        """The values of a node's outputs; where there is but one, the others are named after it."""
        if node.op in WHILE:
            return self._loop(node, given, place)
        if node.op in ("If", "StatelessIf"):
            return self._branch(node, given, place)
        if node.op in LISTS:
            return LISTS[node.op](self, node, given, place(node.name))
        if node.op == "Identity" and (isinstance(given[0], list) or place(node.name) != node.name):
            return given
        return [self.emit(node, given, place(node.name))]

    def _loop(self, node, given, place):
        """The state after the last round."""
        test, body = self._while(node)
        name, state = place(node.name), given
        for at in count():
            inside = partial(_inside, node.name, _round(name, at))
            if not self._goes_on(node, name, self.run(test, state, inside)[0]):
                break
            if at == ROUNDS:
                raise Failure(f"{name} ({node.op}): it has more than {ROUNDS:,} rounds; {ADVICE}")
            settled = _round(name, at)
            state = [self._settled(value, settled) for value in self.run(body, state, inside)]
        self._stand_in(node, state, name)
        return state

    def _goes_on(self, node, name, value):
        """Whether there is another round."""
        truth = self.known(value)
        if truth is None:
            raise Failure(f"{name} ({node.op}): the number of rounds depends on the data; {ADVICE}")
        return bool(truth)

    def _stand_in(self, node, state, name):
        """The loop's outputs under its own name, for a loop that ends the network."""
        if name != node.name:
            return
        plain = [self.constant(0, name) if isinstance(one, list) else one for one in state]
        types = [self.tensor(one).dtype.as_datatype_enum for one in plain]
        stand_in = tf.compat.v1.NodeDef(name=name, op="IdentityN")
        stand_in.attr["T"].list.type.extend(types)
        self.emit(stand_in, plain, name)

    def _branch(self, node, given, place):
        """The branch that is taken, where that is known; the node as it is else."""
        choice = self.known(given[0])
        name = place(node.name)
        if choice is None:
            return [self.emit(node, given, name)]
        branch = "then_branch" if choice else "else_branch"
        part = self._function(node.attr[branch].func.name)
        return self.run(part, given[1:], partial(_inside, node.name, name))

    def _while(self, node):
        """(what tests whether there is another round, the round)."""
        if node.name in self.frames:
            return self.frames[node.name]
        return tuple(self._function(node.attr[part].func.name) for part in ("cond", "body"))

    def _function(self, name):
        """A function of the library as a part."""
        if name not in self.parts:
            body = function_def_to_graph(self.functions[name], include_library_functions=True)
            with body.as_default():
                results = [tf.identity(tensor).op.name for tensor in body.outputs]
            graph_def = body.as_graph_def()
            for function in self.functions.values():
                if function.signature.name not in body._functions:
                    graph_def.library.function.append(function)
            nodes = {node.name: node for node in self.inlined(graph_def).node}
            arguments = [(tensor.op.name,) for tensor in body.inputs]
            self.parts[name] = _Part(nodes, arguments, results)
        return self.parts[name]

    def emit(self, node, given, name):
        """The name of a copy of a node."""
        if any(isinstance(value, list) for value in given):
            raise Failure(f"{name} ({node.op}): a list of tensors that this op takes is not known")
        copy = tf.compat.v1.NodeDef()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.name = self._fresh(name)
        copy.input.extend(given)
        self.pending.append(copy)
        return copy.name

    def _fresh(self, name):
        """The name, or one like it that no other node has."""
        names = chain([name], (f"{name}_{at}" for at in count(1)))
        chosen = next(name for name in names if name not in self.names)
        self.names.add(chosen)
        return chosen

    def constant(self, value, name):
        """The name of a new constant."""
        proto = tf.make_tensor_proto(value)
        node = tf.compat.v1.NodeDef(op="Const")
        node.attr["dtype"].type = proto.dtype
        node.attr["value"].tensor.CopyFrom(proto)
        return self.emit(node, [], f"{name}/constant")

    def pack(self, items, name):
        """The name of the items stacked along a new first axis."""
        unset = [at for at, item in enumerate(items) if item is None]
        if unset or not items:
            raise Failure(f"{name}: no round of its loop gives item {unset[0] if unset else 0}")
        node = tf.compat.v1.NodeDef(op="Pack")
        node.attr["T"].type = self.tensor(items[0]).dtype.as_datatype_enum
        if len(items) == 1:
            node.op = "ExpandDims"
            node.attr["Tdim"].type = tf.int32.as_datatype_enum
            return self.emit(node, [*items, self.constant(np.int32(0), name)], name)
        node.attr["N"].i, node.attr["axis"].i = len(items), 0
        return self.emit(node, items, name)

    def unpack(self, value, name):
        """The items of a tensor along its first axis."""
        tensor = self.tensor(value)
        length = tensor.shape[0] if tensor.shape.rank else None
        if length is None:
            raise Failure(f"{name}: the length of {value} is not known before the network is run")
        node = tf.compat.v1.NodeDef(op="Unpack")
        node.attr["num"].i, node.attr["axis"].i = length, 0
        node.attr["T"].type = tensor.dtype.as_datatype_enum
        whole = self.emit(node, [value], name)
        return [f"{whole}:{at}" if at else whole for at in range(length)]

    def tensor(self, value):
        """The tensor of a value's name."""
        self._flush()
        return self._made(value)

    def known(self, value):
        """What a value is, as an array, where that does not depend on the data; else None."""
        return None if isinstance(value, list) else smart_constant_value(self.tensor(value))

    def number(self, value, name):
        """A number, or numbers, that must be known."""
        found = self.known(value)
        if found is None:
            raise Failure(f"{name}: which item of a list it takes depends on the data; {ADVICE}")
        return np.asarray(found)

    def _settled(self, value, name):
        """A value; one known number (the counter) as a constant, not as a chain of sums."""
        tensor = None if isinstance(value, list) else self.tensor(value)
        if tensor is None or tensor.shape.rank != 0 or tensor.op.type == "Const":
            return value
        found = self.known(value)
        if found is None:
            return value
        return self.constant(np.asarray(found, tensor.dtype.as_numpy_dtype), name)

    def _flush(self):
        """Let TensorFlow take what was emitted: it then knows its shapes and constants.

        It may give an op another name, which stays inside.
        """
        if not self.pending:
            return
        nodes, self.pending = self.pending, []
        made = {node.name for node in nodes}
        read = sorted({name for node in nodes for name in node.input})
        fed = {name: self._made(name) for name in read if _source(name) not in made}
        graph_def = tf.compat.v1.GraphDef(node=nodes, versions=self.versions)
        with self.graph.as_default():
            ops = tf.graph_util.import_graph_def(graph_def, fed, [*map(_name, nodes)], name="")
        self.flat.node.extend(nodes)
        self.ops |= zip(map(_name, nodes), ops, strict=True)

    def _made(self, value):
        source, _, at = value.partition(":")
        return self.ops[source].outputs[int(at or 0)]


_name = attrgetter("name")


def _frames(nodes):
    """Make each frame of TF1 a `StatelessWhile`; return the two parts of each, by its name."""
    frames, parts = {}, {}
    for node in nodes.values():
        if node.op == "Enter":
            frames.setdefault(node.attr["frame_name"].s, []).append(node)
    for enters in frames.values():
        loop = _frame(nodes, enters)
        if loop is not None:
            parts[loop[0]] = loop[1:]
    return parts


def _frame(nodes, enters):
    """(the loop's name, what tests, the round) of a frame; None where it has another form."""
    entered = {enter.name: enter for enter in enters}
    merges = _merges(nodes, entered)
    switches = _switches(nodes)
    rounds = [switches.get(merge.name) for merge in merges.values()]
    if not rounds or None in rounds:
        return None
    carried = [entered.pop(name) for name in merges]
    loop = _loop(nodes, rounds[0], [*carried, *entered.values()])
    _leave(nodes, rounds, loop)
    nodes[loop.name] = loop
    pairs = zip(merges.values(), rounds, strict=True)
    state = [(merge.name, f"{switch.name}:1") for merge, switch in pairs]
    arguments = [*state, *((name,) for name in entered)]
    nexts = [_read_by(nodes, merge.input[1]) for merge in merges.values()]
    test = _read_by(nodes, rounds[0].input[1])
    return loop.name, _Part(nodes, arguments, [test]), _Part(nodes, arguments, [*nexts, *entered])


def _merges(nodes, entered):
    """{Enter: the Merge that reads it}: what the loop carries."""
    return {
        _source(node.input[0]): node
        for node in nodes.values()
        if node.op == "Merge" and _source(node.input[0]) in entered
    }


def _switches(nodes):
    """{Merge: the Switch that reads it} of all loops."""
    return {
        _source(node.input[0]): node
        for node in nodes.values()
        if node.op == "Switch" and nodes[_source(node.input[1])].op == "LoopCond"
    }


def _loop(nodes, switch, enters):
    """The `StatelessWhile` that stands for a frame; it reads what enters the frame."""
    loop = tf.compat.v1.NodeDef(op="StatelessWhile")
    loop.name = _source(switch.input[1]).rpartition("/")[0] or "while"
    loop.name += "/loop" if loop.name in nodes else ""
    loop.input.extend(enter.input[0] for enter in enters)
    return loop


def _read_by(nodes, name):
    """The tensor that the node of a tensor reads first."""
    return _plain(nodes[_source(name)].input[0])


def _leave(nodes, switches, loop):
    """Let what leaves a frame read the loop."""
    left = {switch.name: at for at, switch in enumerate(switches)}
    for node in nodes.values():
        if node.op == "Exit" and _source(node.input[0]) in left:
            node.op, node.input[0] = "Identity", f"{loop.name}:{left[_source(node.input[0])]}"


def _ordered(nodes, wanted, known):
    """The nodes that tensors depend on, each after those that it reads; `known` are not among."""
    found, waiting = {}, [(name, False) for name in reversed(wanted)]
    while waiting:
        name, done = waiting.pop()
        if done:
            found[name] = nodes[name]
            continue
        if _plain(name) in known or _source(name) in known or _source(name) in found:
            continue
        node = nodes[_source(name)]
        waiting.append((node.name, True))
        waiting += [(read, False) for read in reversed(node.input) if read[0] != "^"]
    return list(found.values())


def _value(values, name):
    name = _plain(name)
    if name in values:
        return values[name]
    source, _, at = name.partition(":")
    return f"{values[source]}:{at}"


def _plain(name):
    return name.removesuffix(":0")


def _source(name):
    return name.partition(":")[0]


def _round(name, at):
    """The scope of a loop's round; what TensorFlow calls every loop is left out."""
    return "/".join([*filter(None, [re.sub(r"(^|/)while$", "", name)]), f"round{at}"])


def _inside(owner, place, name):
    """The name in a round or branch: `a/while/b/Mul` of the loop `a/while` is PLACE/b/Mul."""
    parts = owner.split("/")
    scopes = ["/".join([*parts[at:], ""]) for at in range(len(parts))]
    scope = next((scope for scope in scopes if name.startswith(scope)), "")
    return f"{place}/{name.removeprefix(scope)}"


def _reserve(unroller, node, given, name):
    return [[None] * int(unroller.number(given[1], name))]


def _from_tensor(unroller, node, given, name):
    return [unroller.unpack(given[0], name)]


def _item(unroller, node, given, name):
    items, at = given[0], int(unroller.number(given[1], name))
    if not 0 <= at < len(items) or items[at] is None:
        raise Failure(f"{name} ({node.op}): it reads item {at} of a list before that is set")
    return [items[at]]


def _set_item(unroller, node, given, name):
    items, at, value = given[0], int(unroller.number(given[1], name)), given[2]
    items = items + [None] * (at + 1 - len(items))
    return [[*items[:at], value, *items[at + 1 :]]]


def _stack(unroller, node, given, name):
    return [unroller.pack(given[0], name)]


def _gather(unroller, node, given, name):
    chosen = unroller.number(given[1], name)
    return [unroller.pack([given[0][at] for at in chosen], name)]


def _push(unroller, node, given, name):
    return [[*given[0], given[1]]]


def _pop(unroller, node, given, name):
    return [given[0][:-1], given[0][-1]]


def _length(unroller, node, given, name):
    return [unroller.constant(np.int32(len(given[0])), name)]


def _array(unroller, node, given, name):
    """A list of TF1, which is where its flow is; its handle says nothing."""
    return [[], [None] * int(unroller.number(given[0], name))]


def _array_scatter(unroller, node, given, name):
    _, places, value, items = given
    for at, item in zip(unroller.number(places, name), unroller.unpack(value, name), strict=True):
        items = [*items[:at], item, *items[at + 1 :]]
    return [items]


def _array_write(unroller, node, given, name):
    _, at, value, items = given
    return _set_item(unroller, node, [items, at, value], name)


def _array_read(unroller, node, given, name):
    return _item(unroller, node, [given[2], given[1]], name)


def _array_gather(unroller, node, given, name):
    return _gather(unroller, node, [given[2], given[1]], name)


def _array_size(unroller, node, given, name):
    return _length(unroller, node, [given[1]], name)


LISTS = {
    "EmptyTensorList": lambda *_: [[]],
    "TensorArrayGatherV3": _array_gather,
    "TensorArrayReadV3": _array_read,
    "TensorArrayScatterV3": _array_scatter,
    "TensorArraySizeV3": _array_size,
    "TensorArrayV3": _array,
    "TensorArrayWriteV3": _array_write,
    "TensorListFromTensor": _from_tensor,
    "TensorListGather": _gather,
    "TensorListGetItem": _item,
    "TensorListLength": _length,
    "TensorListPopBack": _pop,
    "TensorListPushBack": _push,
    "TensorListReserve": _reserve,
    "TensorListSetItem": _set_item,
    "TensorListStack": _stack,
}

WHILE = ("StatelessWhile", "While")

ROUNDS = 1000

ADVICE = "build the model with fewer and a fixed number of rounds, or end the network before it"

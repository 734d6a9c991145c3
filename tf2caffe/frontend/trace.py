"""Any TensorFlow model as one thing: a `GraphDef` without weights, and a table of their values.

The model is traced with a fixed batch; each variable it reads becomes a placeholder whose value is
fetched only when it is asked for. (Freezing the weights into the graph costs minutes and gigabytes
on a large network.) Only this module and `reader` know TensorFlow; steps 5 and 6 import neither.
"""

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tf2caffe.failure import Failure
from tf2caffe.frontend import loops, original, tf_import, widen
from tf2caffe.frontend.inline import inlined
from tf2caffe.frontend.integers import take_floats
from tf2caffe.graph.graph import LARGEST


@dataclass
class Trace:
    """A traced model.

    `inputs` and `outputs` map the model's own names to tensors' names (`x:0`), `variables` a
    placeholder's name to (the variable's name, the variable or its value). `layers` are the names
    of the Keras layers, where there are any, `passed` what each of them is called on, `graph` is
    that of the `GraphDef`, if there is one. `unused` are inputs that the model's user named, but
    that no output depends on, `remarks` lines about how the file was taken. `together` are tensors
    that are worth computing at once, as soon as one of them is asked for; `known` maps an op's name
    in the graph to the one that the user knows, once that is found. `named` are the ops that the
    option --outputs can name by TensorFlow's names; `left` are outputs whose end is left to the
    caller (see `tail`).

    `original` runs the model as it was loaded, {input: array} -> {output's name: array}, for one
    image; where it is None, `reason` says why it cannot be compared with the trace. `note` is what
    else is to be said of that. `widened` names the floats that became float32.
    """

    graph_def: tf.compat.v1.GraphDef
    inputs: dict
    outputs: dict
    variables: dict
    layers: frozenset = frozenset()
    graph: tf.Graph | None = field(default=None, repr=False)
    original: Callable | None = field(default=None, repr=False)
    widened: str = field(default="", init=False)
    passed: dict = field(default_factory=dict, repr=False)
    reason: str = "it was not loaded from a file"
    note: str = ""
    unused: list = field(default_factory=list)
    named: frozenset = frozenset()
    remarks: list = field(default_factory=list)
    together: set = field(default_factory=set, init=False, repr=False)
    computed: dict = field(default_factory=dict, init=False, repr=False)
    known: dict = field(default_factory=dict, init=False, repr=False)
    left: dict = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self):
        self.variables = dict(self.variables)
        others = widen.widen(self.graph_def, self.inputs, self.variables)
        if others:
            self.widened, self.graph = " and ".join(others), None
        rewritten = take_floats(self.graph_def, self.inputs)
        if _take_defaults(self.graph_def, self.inputs) or rewritten or self.graph is None:
            self.graph = imported(self.graph_def)
        _refuse_harm(self.graph)

    def value(self, tensor):
        """The value of a tensor (its name) that does not depend on the input, as an array."""
        if tensor not in self.computed:
            wanted = sorted({tensor, *self.together})
            self.computed |= zip(wanted, self.function(wanted)({}), strict=True)
            self.together.clear()
        return self.computed[tensor]

    def stored(self, placeholder):
        """The value of a variable as an array; where it is in memory already, that very memory."""
        return np.asarray(_tensor(self.variables[placeholder][1]))

    def function(self, tensors):
        """A function from the inputs, {name: array}, to the values of the tensors, as arrays."""
        wanted = [self.graph.get_tensor_by_name(name) for name in tensors]
        ops = ancestors(wanted)
        read = [op.outputs[0] for op in ops if op.type == "Placeholder"]
        sizes = {op.outputs[0].name: size for op in ops if (size := known_size(op)) is not None}

        def compute(*arguments):
            fed = dict(zip((tensor.name for tensor in read), arguments, strict=True))
            known = {name: tf.constant(size) for name, size in sizes.items()}
            return tf.graph_util.import_graph_def(
                self.graph_def, input_map=fed | known, return_elements=list(tensors), name=""
            )

        signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in read]
        function = tf.compat.v1.wrap_function(compute, signature)
        variables = {f"{name}:0": value for name, (_, value) in self.variables.items()}

        def call(inputs):
            fed = {self.inputs[name]: array for name, array in inputs.items()}
            fed = variables | fed | _shaped(fed, read)
            return self._computed(function, [_tensor(fed[tensor.name]) for tensor in read])

        return call

    def _computed(self, function, arguments):
        """What a function gives, as arrays. Raises `Failure` where TensorFlow cannot compute it."""
        try:
            with tf_import.unfused():
                return [value.numpy() for value in function(*arguments)]
        except tf.errors.OpError as error:
            raise Failure(self._uncomputed(error)) from None

    def is_float(self, tensor):
        """Whether a tensor (its name) holds float32, as Caffe's blobs do."""
        return self.graph.get_tensor_by_name(tensor).dtype == tf.float32

    def cut(self, tensors):
        """The trace with each of these tensors, {name: tensor}, fed under its name to its readers.

        Each op can then be run alone: what makes such a tensor is computed still, but no longer
        read.
        """
        graph_def, inputs = tf.compat.v1.GraphDef(), {}
        graph_def.CopyFrom(self.graph_def)
        fed = {name.removesuffix(":0"): f".probes/{at}" for at, name in enumerate(tensors.values())}
        for node in graph_def.node:
            read = [fed.get(name.removesuffix(":0"), name) for name in node.input]
            del node.input[:]
            node.input.extend(read)
        for (name, tensor), own in zip(tensors.items(), fed.values(), strict=True):
            graph_def.node.append(placeholder(own, self.graph.get_tensor_by_name(tensor)))
            inputs[name] = f"{own}:0"
        return Trace(graph_def, inputs, self.outputs, self.variables, self.layers)

    def _uncomputed(self, error):
        """What TensorFlow could not compute, in a line: the layer, TensorFlow's reason, advice."""
        found = re.search(r"\{\{node ([^}]+)\}\}", error.message)
        said = re.split(r"\[\[|Registered devices", error.message)[0].split("\n")
        reason = [line.strip() for line in said if line.strip()][-1:] or [type(error).__name__]
        name, advice = found.group(1) if found else "the network", ELSE
        for own in (name, re.sub(r"_\d+$", "", name)):  # TensorFlow numbers some, and adds its own
            with contextlib.suppress(KeyError):
                op = self.graph.get_operation_by_name(own)
                name, advice = f"{self._shown(op)} ({op.type})", _advice(op)
                break
        return f"{name}: TensorFlow cannot compute it here ({reason[0].rstrip('.')}); {advice}"

    def _shown(self, op):
        """The name that the user knows of an op, or of the one that it became a part of."""
        waiting, seen = [op], {op.name}
        while waiting:
            part = waiting.pop(0)
            if part.name in self.known:
                return self.known[part.name]
            readers = [reader for output in part.outputs for reader in output.consumers()]
            waiting += [reader for reader in readers if reader.name not in seen]
            seen |= {reader.name for reader in readers}
        return op.name


def _advice(op):
    """What to do about an op for which TensorFlow has no kernel."""
    form = op.node_def.attr["data_format"].s.decode()
    if form.startswith("NC"):
        return f"its data_format is {form}: build the model with channels_last"
    if op.type == "Conv2DBackpropInput" and max(op.get_attr("dilations")) > 1:
        return "with TF_ENABLE_ONEDNN_OPTS=1 in the environment, it can"
    return ELSE


def _tensor(value):
    """A variable as it is; what is only stored in a file is read now."""
    readable = isinstance(value, (tf.Variable, tf.Tensor, np.ndarray))
    return tf.convert_to_tensor(value if readable else value.numpy())


def imported(graph_def):
    """The `tf.Graph` of a graph."""
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
    return graph


def _refuse_harm(graph):
    """Nothing is computed of a graph that would take all memory, or reach out of itself."""
    for op in graph.get_operations():
        if REACHES.search(op.type):
            raise Failure(f"{op.name} ({op.type}) reaches out of the network; it is not run")
        count = max((output.shape.num_elements() or 0 for output in op.outputs), default=0)
        if count > LARGEST:
            raise Failure(f"{op.name} ({op.type}) makes {count:,} numbers, a blob has {LARGEST:,}")


def _shaped(fed, tensors):
    """The arrays of `fed` in the tensors' own shapes: a lifted tensor has an axis more."""
    return {
        tensor.name: fed[tensor.name].reshape([-1 if n is None else n for n in tensor.shape])
        for tensor in tensors
        if tensor.name in fed and tensor.shape.rank
    }


def known_size(op):
    """What an op gives that asks for a shape, where the fixed batch makes that known."""
    return tf.get_static_value(op.outputs[0]) if op.type in ("Shape", "Size", "Rank") else None


def _take_defaults(graph_def, inputs):
    """Make each PlaceholderWithDefault that is no input an Identity: its own shape says less.

    Returns whether there was one.
    """
    fed = {tensor.removesuffix(":0") for tensor in inputs.values()}
    found = [node for node in graph_def.node if node.op == "PlaceholderWithDefault"]
    found = [node for node in found if node.name not in fed]
    for node in found:
        node.op = "Identity"
        node.attr["T"].type = node.attr["dtype"].type
        del node.attr["dtype"], node.attr["shape"]
    return bool(found)


@cache
def is_random(kind):
    """Whether an op of this type draws random numbers: TensorFlow gives it a seed or a key."""
    definition = op_def_registry.get(kind)
    arguments = (*definition.attr, *definition.input_arg) if definition else ()
    names = {argument.name for argument in arguments}
    seeded = bool(names & {"seed", "seed2"}) or {"key", "counter"} <= names
    return bool(DRAWS.search(kind)) or (seeded and not SEEDED.search(kind))


def ancestors(tensors):
    """Every op that the tensors depend on, but for their sizes."""
    found, waiting = {}, [tensor.op for tensor in tensors]
    while waiting:
        op = waiting.pop()
        if op.name not in found:
            found[op.name] = op
            waiting += [tensor.op for tensor in op.inputs] if known_size(op) is None else []
    return list(found.values())


@tf_import.deep()
@tf_import.uncollected()
def keras_trace(model, shape=None):
    """Trace a Keras model with batch 1; `shape` (batch first) stands in for an unknown size."""
    structure = _structure(model, shape)
    specs = _input_specs(structure, shape)

    def answer(*given):
        return model(tf.nest.pack_sequence_as(structure, given), training=False)

    function, variables = _traced(model, answer, specs)
    inputs = dict(zip(specs, function.inputs, strict=False))
    layers = frozenset(layer.name for layer in model._flatten_layers(include_self=False))
    names = getattr(model, "output_names", None)
    outputs = named_outputs(function.structured_outputs, names)
    traced = function_trace(function, inputs, outputs, layers, variables)
    traced.original = original.of_function(
        lambda *given: named_outputs(answer(*given), names), specs
    )
    traced.passed = dict(_passed(model))
    return traced


def _passed(model):
    """Each layer that is called on one tensor, and the layer that this comes from."""
    for layer in model._flatten_layers(include_self=False):
        nodes = getattr(layer, "_inbound_nodes", ())
        tensors = nodes[0].input_tensors if len(nodes) == 1 else ()
        if len(tensors) == 1 and getattr(tensors[0], "_keras_history", None):
            yield layer.name, tensors[0]._keras_history.operation.name


def _traced(model, answer, specs):
    """The concrete function of `answer`, and its placeholders for the model's weights.

    They are placeholders from the start: reads of variables would take a third of the time.
    """
    import keras  # whoever has a Keras model has imported it; for others it would take seconds

    weights, variables = model.weights, {}

    def call(*given):
        stand_ins = _stand_ins(weights)
        for weight, tensor in zip(weights, stand_ins, strict=True):
            variables[tensor.op.name] = weight.value.name, weight.value
        with keras.StatelessScope(zip(weights, stand_ins, strict=True)):
            return answer(*given)

    try:
        return tf.compat.v1.wrap_function(call, list(specs.values())), variables
    except Exception as error:  # whatever the model's own code raises
        raise Failure(f"model {model.name} cannot be traced: {_cause(error)}") from None


def _input_specs(structure, shape):
    """The inputs of a Keras model by name, with fixed shapes."""
    tensors = {_input_name(tensor): tensor for tensor in tf.nest.flatten(structure)}
    sizes = fixed({name: tf.TensorShape(x.shape) for name, x in tensors.items()}, shape)
    return {name: tf.TensorSpec(sizes[name], x.dtype, name) for name, x in tensors.items()}


def _stand_ins(weights):
    """Placeholders for a Keras model's weights, in the graph that is being built.

    They are named as no layer is: a layer's ops would get another name.
    """
    nodes = [placeholder(str(at), weight.value) for at, weight in enumerate(weights)]
    graph_def = tf.compat.v1.GraphDef(node=nodes)
    graph_def.versions.producer = tf.version.GRAPH_DEF_VERSION  # of old, () is an unknown shape
    names = [f"{node.name}:0" for node in nodes]
    return tf.graph_util.import_graph_def(graph_def, return_elements=names, name=".weights")


def _cause(error):
    """What an error says in one line; Keras has the cause in the second, in colour."""
    lines = re.sub(r"\x1b\[\d*m", "", str(error)).split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    return " ".join(lines[: 2 if lines and lines[0].startswith("Exception") else 1])


def _structure(model, shape):
    """What the model takes: tensors or specs, alone or in lists and dictionaries.

    A subclassed model tells only the shapes that it was built for, if these.
    """
    if getattr(model, "inputs", None):
        with contextlib.suppress(AttributeError, ValueError):  # Keras 3.3's Sequential has none
            return model.input
        return model.inputs[0]
    built = (model.get_build_config() or {}).get("input_shape") if shape is None else shape
    if built is None:
        raise Failure(f"model {model.name} does not tell its input's size; give it with --shape")
    return _specs_of(built, "input")


def _specs_of(shapes, name):
    """The specs of shapes, alone or in lists and dictionaries, which are named after `name`."""
    if isinstance(shapes, dict):
        return {key: _specs_of(shape, key) for key, shape in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return tf.TensorSpec(shapes, tf.float32, name)
    return [_specs_of(shape, f"{name}_{at}") for at, shape in enumerate(shapes)]


def _input_name(tensor):
    """The name of an input; Keras's own tensors know their layer, specs have a name."""
    history = getattr(tensor, "_keras_history", None)
    return history.operation.name if history else tensor.name


def fixed(shapes, given):
    """The inputs' shapes with batch 1, {name: list}; `given` (--shape) tells unknown sizes.

    `given` is the shape of every input whose size is not known, or {input's name: its shape}.
    """
    unknown = _unknown(shapes)
    sizes = {name: [1, *shape[1:]] for name, shape in shapes.items() if name not in unknown}
    if given and not isinstance(given, dict):
        given = dict.fromkeys(unknown or shapes, given)
    for name, size in (given or {}).items():
        if name not in shapes:
            raise Failure(f"--shape {name}=...: the inputs are {', '.join(shapes)}")
        _check_given(name, shapes[name], size)
        sizes[name] = list(size)
    _refuse_unknown({name: shapes[name] for name in unknown if name not in sizes}, len(shapes))
    return {name: sizes[name] for name in shapes}


def _unknown(shapes):
    """The names of the inputs of unknown size. Raises `Failure` where one has no batch axis."""
    scalars = [name for name, shape in shapes.items() if shape.rank == 0]
    if scalars:
        raise Failure(f"input {scalars[0]} is a single number; Caffe's inputs have a batch axis")
    return [name for name, shape in shapes.items() if not shape[1:].is_fully_defined()]


def _refuse_unknown(shapes, count):
    """Raise `Failure` for inputs whose size is not known, with what to type."""
    if not shapes:
        return
    sizes = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    hints = [f"{name}={_to_type(shape)}" if count > 1 else _to_type(shape)
             for name, shape in shapes.items()]  # fmt: skip
    options = " ".join(f"--shape {hint}" for hint in hints)
    raise Failure(f"inputs of unknown size: {sizes}; give it with {options}")


def _to_type(shape):
    """What --shape takes for a shape: letters for the sizes that are not known."""
    if shape.rank is None:
        return "1,H,W,C"
    letters = {2: "C", 3: "TC", 4: "HWC", 5: "DHWC"}.get(shape.rank, "ABCDEFGH"[: shape.rank - 1])
    known = zip(shape[1:], letters, strict=True)
    return ",".join(["1", *(letter if size is None else str(size) for size, letter in known)])


def _check_given(name, shape, given):
    """Raise `Failure` unless --shape can be the shape of this input."""
    if given[0] != 1 or not shape[1:].is_compatible_with(given[1:]):
        text = ",".join(map(str, given))
        raise Failure(
            f"--shape {text}: input {name} is {shape}, and the batch is 1{_hint(given, shape)}"
        )


def _hint(given, shape):
    """The --shape that was meant, if that is plain."""
    for meant in ([1, *given], [1, *given[2:], *given[1:2]]):
        if shape[1:].is_compatible_with(meant[1:]):
            return f"; try --shape {','.join(map(str, meant))}"
    return ""


def named_outputs(structure, names):
    """The outputs by name, in their order: a dictionary's keys, else the model's own names."""
    if isinstance(structure, dict):
        return {key: value for name, part in structure.items() for key, value in _path(name, part)}
    tensors = tf.nest.flatten(structure)
    if not names or len(names) != len(tensors) or len(set(names)) != len(names):
        names = [f"output_{at}" for at in range(len(tensors))]
    return dict(zip(names, tensors, strict=True))


def _path(name, part):
    """The tensors in a part of the outputs, each under its name."""
    if isinstance(part, dict):
        return [one for key, value in part.items() for one in _path(f"{name}/{key}", value)]
    if isinstance(part, (list, tuple)):
        return [one for at, value in enumerate(part) for one in _path(f"{name}/{at}", value)]
    return [(name, part)]


def function_trace(function, inputs, outputs, layers=frozenset(), variables=()):
    """The trace of a concrete function whose inputs and outputs are named.

    `variables` are placeholders in it by now, as in a `Trace`; those that it reads are added.
    """
    with function.graph.as_default():
        whole = function.graph.as_graph_def()
    graph_def = inlined(whole)
    handles = {id(variable.handle): variable for variable in function.graph.variables}
    captured = {}
    for outside, inside in function.graph.captures:
        variable = handles.get(id(outside))
        name = variable.name if variable is not None else inside.op.name
        captured[inside.op.name] = (name, outside if variable is None else variable)
    graph_def, read = _reads_as_placeholders(graph_def, captured)
    if loops.found(graph_def.node):
        ends = [tensor.name for tensor in (*inputs.values(), *outputs.values())]
        graph_def = loops.unrolled(graph_def, ends, whole.library, inlined)
        graph_def, more = _reads_as_placeholders(graph_def, captured)
        read |= more
    untouched = not captured and _same_ops(whole, graph_def)
    return Trace(
        graph_def,
        {name: tensor.name for name, tensor in inputs.items()},
        {name: tensor.name for name, tensor in outputs.items()},
        dict(variables) | read,
        layers,
        function.graph if untouched else None,
    )


def _same_ops(whole, graph_def):
    """Whether a rewrite left each op as it was; what only orders ops (`^name`) may be gone."""
    return len(whole.node) == len(graph_def.node) and all(
        (node.name, node.op, node.attr) == (made.name, made.op, made.attr)
        and [name for name in node.input if not name.startswith("^")] == list(made.input)
        for node, made in zip(whole.node, graph_def.node, strict=True)
    )


def _reads_as_placeholders(graph_def, captured):
    """Replace each read of a variable by a placeholder of its shape."""
    rewritten, variables = tf.compat.v1.GraphDef(versions=graph_def.versions), {}
    for node in graph_def.node:
        source = node.input[0] if node.op == "ReadVariableOp" else node.name
        if source in captured:
            value = captured[source][1]
            resource = value.dtype == tf.resource or isinstance(value, tf.Variable)
            if node.op == "ReadVariableOp" or not resource:
                node = placeholder(node.name, value)
                variables[node.name] = captured[source]
        elif node.op == "ResourceGather" and node.input[0] in captured:
            table = placeholder(f"{node.name}/table", captured[node.input[0]][1])
            variables[table.name] = captured[node.input[0]]
            rewritten.node.extend([table, *_lookup(node, table.name)])
            continue
        rewritten.node.append(node)
    return rewritten, variables


def _lookup(node, table):
    """GatherV2(table, indices, 0) in the place of ResourceGather(variable, indices)."""
    axis = tf.compat.v1.NodeDef(name=f"{node.name}/axis", op="Const")
    axis.attr["dtype"].type = tf.int32.as_datatype_enum
    axis.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(0))
    gather = tf.compat.v1.NodeDef(name=node.name, op="GatherV2")
    gather.input.extend([table, node.input[1], axis.name])
    gather.attr["Tparams"].CopyFrom(node.attr["dtype"])
    gather.attr["Tindices"].CopyFrom(node.attr["Tindices"])
    gather.attr["Taxis"].type = tf.int32.as_datatype_enum
    gather.attr["batch_dims"].i = node.attr["batch_dims"].i
    return axis, gather


def placeholder(name, value):
    """A placeholder node for a value that has a dtype and a shape."""
    node = tf.compat.v1.NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["shape"].shape.CopyFrom(value.shape.as_proto())
    return node


# Random ops that their arguments do not show, and ops that draw nothing though they take a seed.
DRAWS = re.compile(r"^Stateful(Random|Standard|Truncated|Uniform)|^RngReadAndSkip|RngBitGenerator")
SEEDED = re.compile(r"^StatelessRandomGetKeyCounter|^Cudnn|^ComputeAccidentalHits|Dataset")

ELSE = "build the model without it, or end the network before it"

# Ops that read or write files, or run Python.
REACHES = re.compile(
    r"PyFunc|^(Read|Write)File|MatchingFiles|^Debug|Save(V2)?Dataset|Snapshot.*Dataset|SummaryWriter"
)

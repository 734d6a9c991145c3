"""The names of ops and layers: those that the user knows."""

import re
from collections import Counter

from tf2caffe.frontend import loops
from tf2caffe.frontend.draft import arrays


def name_ops(ops, trace, outputs):
    """Give each op the name that the user knows: the layer's for its main op, `layer/Op` else."""
    places = (_layers if trace.layers else _scopes)(ops, trace)
    groups = {}
    for op in ops:
        scope, path, own = places[id(op)]
        groups.setdefault(scope, (path, []))[1].append((op, own))
    keys = {id(op): key for key, op in outputs.items()}
    taken = Counter(name for name in trace.inputs)
    for path, members in groups.values():
        if path:
            _name_within(_unique(path, taken), members, trace.layers, taken)
        else:
            _name_alone(members, keys, taken)


def _name_alone(members, keys, taken):
    """Name ops outside of every layer: after the output that one is, else as TensorFlow does."""
    for op, own in members:
        key = keys.get(id(op), own)
        op.layer = _unique(own if key.endswith(f"/{own}") else key, taken)
        op.name = op.layer if op.layer == own else f"{op.layer}/{op.short}"


def _name_within(path, members, layers, taken):
    """Name the ops of a layer or scope."""
    main = _main([op for op, _ in members], layers)
    for op, own in members:
        op.name = _unique(f"{path}/{own}", taken)
        op.layer = path if op is main else op.name


def _main(ops, layers):
    """The op that bears the layer's name: the last with weights. In a mere scope of several
    convolutions none does."""
    weighted = [op for op in ops if arrays(op)]
    return None if len(weighted) > 1 and not layers else (weighted or ops)[-1]


def _layers(ops, trace):
    """Where each op is: (its Keras layer as TensorFlow spells it, as the user does, the op)."""
    return {id(op): (*_scope(op.tensor.op.name, trace.layers), op.short) for op in ops}


def _scopes(ops, trace):
    """Where each op is, by the scopes that it was made in; what is common to all is left out."""
    paths = {id(op): [p for p in op.tensor.op.name.split("/") if not CALL.match(p)] for op in ops}
    root = _common(list(paths.values()))
    decorated = _are_decorated([path for path in paths.values() if len(path) > 1], root)
    return {id(op): _place(op, paths[id(op)][root:], decorated) for op in ops}


def _are_decorated(scoped, root):
    """Whether Keras 3 made the scopes: it adds a number to each."""
    first = [path[0] for path in scoped] + [path[root] for path in scoped if len(path) > root + 1]
    return bool(scoped) and all(KERAS.search(scope) for scope in first)


def _place(op, path, decorated):
    """(the scope as TensorFlow spells it, as the user does, the op) of a path in the graph."""
    *scope, own = path
    if scope[-1:] == ["batchnorm"]:  # the scope that tf.nn.batch_normalization opens
        scope.pop()
    known = [KERAS.sub("", part) for part in scope] if decorated else scope
    rewritten = own != op.type == op.tensor.op.type
    own = own if not decorated and (not scope or rewritten) else op.short
    return "/".join(scope), "/".join(known), own


def _common(paths):
    """How many leading scopes all the paths share; a path's last part is the op itself."""
    root = 0
    while all(len(path) > root + 1 for path in paths) and len({p[root] for p in paths}) == 1:
        root += 1
    return root


def _scope(name, layers):
    """The scope that the layer's ops share, as TensorFlow spells it and as the user knows it.

    Keras opens each layer's scope twice, which makes TensorFlow add `_1` to it, `_3` when the
    layer is called again.
    """
    parts = name.split("/")[:-1]
    known = [(at, _layer_of(part, layers)) for at, part in enumerate(parts)]
    known = [(at, layer) for at, layer in known if layer]
    known += [(at, part) for at, part in enumerate(parts) if known and loops.ROUND.match(part)]
    known.sort()
    if not known:
        return "", ""
    return "/".join(parts[: known[-1][0] + 1]), "/".join(layer for _, layer in known)


def layer_scope(name, layers):
    """The layer, as the user knows it, in whose scope an op of TensorFlow's is; "" if in none."""
    return _scope(name, layers)[1]


def _layer_of(part, layers):
    bare = re.sub(r"_\d+$", "", part)
    if bare != part and bare in layers:
        return bare
    return part if part in layers else None


def _unique(name, taken):
    taken[name] += 1
    return name if taken[name] == 1 else _unique(f"{name}_{taken[name] - 1}", taken)


# A scope that is a function's call, and one to which Keras 3 has added a number.
CALL, KERAS = re.compile(r"(Stateful)?PartitionedCall(_\d+)?$"), re.compile(r"_\d*[13579]$")

"""Where a network can be ended so that nothing is left of what is refused."""

from tf2caffe.frontend.draft import Constant


def advice(trace, ops, problems, outputs):
    """A line with the option that ends the network before the ops of the problems."""
    ends = before(ops, {id(problem.op) for problem in problems}, outputs)
    names = [_name(op, trace.named) if trace.named else op.name for op in ends]
    if names and None not in names:
        return f"what comes before can be converted: --outputs {','.join(names)}"
    told = f"end the network at {', '.join(op.name for op in ends)}"
    return f"what comes before can be converted: {told}" if ends else ""


def before(ops, refused, outputs):
    """The last ops that depend on none of the refused: what those read, and the model's outputs."""
    tainted, ends = set(refused), {}
    for op in ops:
        reads = {id(one) for one in op.inputs}
        if id(op) in tainted or reads & tainted:
            tainted.add(id(op))
            ends |= {id(one): one for one in op.inputs}
    ends |= {id(op): op for op in outputs.values() if not isinstance(op, Constant)}
    own = {id(op) for op in ops}
    return [op for key, op in ends.items() if key not in tainted and key in own]


def _name(op, named):
    """What --outputs calls an op of a file; None if that is no op of the file."""
    tensors = [op.tensor] + ([op.former] if op.former is not None else [])
    names = [tensor.name.removesuffix(":0") for tensor in tensors]
    return next((name for name in names if name.partition(":")[0] in named), None)

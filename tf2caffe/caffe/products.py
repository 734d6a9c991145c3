"""Products of two computed tensors, summed over common axes: attention, bilinear pooling.

Caffe multiplies blobs of one shape only, so both operands are spread over all axes, multiplied,
and summed. To spread is a Deconvolution of ones, to sum a Convolution of ones, each of one channel:
their kernels are as long as the axis, whatever the rest of the tensor is.
"""

from math import gcd, prod

import numpy as np

from tf2caffe.caffe import orders
from tf2caffe.caffe.builder import KERNEL, MANY
from tf2caffe.graph import contraction


def einsum(node, net):
    """(n, k) x (k, m) -> (n, m): n k m numbers, and about n + k + m weights."""
    layouts = [net.layouts[name] for name in node.inputs]
    plan = contraction.plan(node.attrs["equation"], layouts)
    blobs = [
        _spread(net, f"{node.layer}/{'xy'[at]}", _operand(node, net, at, plan), at, plan)
        for at in range(2)
    ]
    sizes = [plan.sizes[letter] for letter in plan.letters]
    shape = (1, prod(sizes[:-1]), (1, *sizes)[-1])
    blobs = [net.view(f"{node.layer}/view{at}", blob, shape) for at, blob in enumerate(blobs)]
    blob = net.eltwise(f"{node.layer}/product", "PROD", *blobs)
    blob = _summed(net, f"{node.layer}/sum", blob, plan)
    return net.settle(node, blob)


def _operand(node, net, at, plan):
    """The blob of an operand, its letters as the plan has them."""
    apart, lie, wanted = plan.operands[at]
    name = f"{node.layer}/{'xy'[at]}"
    blob = in_order(node, net, at, name) if apart else net.blob(node, at)
    if lie == wanted:
        return blob
    sizes, order = [plan.sizes[one] for one in lie], [lie.index(one) for one in wanted]
    return net.permute(f"{name}/order", blob, sizes, order)


def in_order(node, net, at, name):
    """The blob of an operand in TensorFlow's order."""
    tensor = node.inputs[at]
    return net.put_in_order(name, tensor, net.layouts[tensor].as_tensorflow().with_few_axes())


def _spread(net, name, blob, at, plan):
    """The operand repeated along each letter that it lacks."""
    return spread(net, name, blob, plan.operands[at][2], plan.letters, plan.sizes)


def spread(net, name, blob, have, letters, sizes):
    """A blob that runs through the letters `have`, repeated along the others of `letters`."""
    for run in contraction.runs(letters, set(letters) - set(have)):
        at = letters.index(run[0])
        before = prod(sizes[one] for one in letters[:at])
        after = prod(sizes[one] for one in letters[at:] if one in have)
        count = prod(sizes[one] for one in run)
        blob = net.view(f"{name}/{run}_view", blob, (1, before, after))
        ones = np.ones((1, 1, count, 1), np.float32)
        blob = net.deconvolve(f"{name}/{run}", blob, ones, stride=(count, 1))
    return blob


def _summed(net, name, blob, plan):
    """The sum over each letter that the result lacks."""
    letters, sizes = plan.letters, plan.sizes
    for run in contraction.runs(letters, set(letters) - set(plan.result)):
        at = letters.index(run[0])
        parts = letters[:at], run, letters[at + len(run) :]
        blob = add_up(net, f"{name}/{run}", blob, *(prod(sizes[o] for o in p) for p in parts))
        letters = parts[0] + parts[2]
    return blob


def add_up(net, name, blob, before, count, after, weight=1.0):
    """(before, count, after) -> (before, after): a Convolution of ones, or of another weight."""
    blob = net.view(f"{name}_view", blob, (1, before * count, after))
    kernel = np.full((1, 1, count, 1), weight, np.float32)
    return net.convolve(name, blob, kernel, stride=(count, 1))


def reduction(node, net, axes):
    """Sum, Mean, Max, Min of a tensor of many axes, as it lies."""
    layout = net.layouts[node.inputs[0]]
    apart, steps, result = contraction.reduced(node, layout, axes)
    blob = in_order(node, net, 0, node.layer) if apart else net.blob(node)
    blob = net.affine(f"{node.layer}/minus", blob, -1.0) if node.op == "Min" else blob
    for at, (before, count, after) in enumerate(steps):
        name = f"{node.layer}/part{at}"
        if node.op in ("Mean", "Sum"):
            weight = 1 / count if node.op == "Mean" else 1.0
            blob = add_up(net, name, blob, before, count, after, weight)
        else:
            blob = net.view(f"{name}_view", blob, (1, before * count, after))
            blob = net.pool(name, "MAX", blob, (count, 1), (count, 1))
    blob = net.affine(f"{node.layer}/plus", blob, -1.0) if node.op == "Min" else blob
    return net.regroup(node, blob, result)


def operand(node, net, name, blob, layout, at=None):
    """A blob in this layout as large as the result of an elementwise op, and as that lies."""
    wanted = net.layouts[node.name]
    letters, order = contraction.names(wanted), contraction.lie(wanted)[0]
    sizes = dict(zip(letters, wanted.tf_shape, strict=True))
    short = len(letters) - len(layout.tf)
    own = letters[short:]
    found = contraction.lying_letters(own, layout)
    if found is None:
        blob = in_order(node, net, at, name)
        found = contraction.large(own, layout)
    runs = contraction.in_order(found, order)
    if runs != found:
        had = [sizes[one] for one in found]
        blob = net.permute(f"{name}/order", blob, had, [found.index(one) for one in runs])
    blob = spread(net, name, blob, runs, order, sizes)
    return net.view(f"{name}/view", blob, wanted.caffe_shape)


def along(node, net):
    """Each axis in turn multiplied by a matrix (M, K): a Convolution of one channel into M.

    (before, K, after) -> (M, before, after), with M K weights.
    """
    apart, steps, layout = contraction.along(node, net.layouts[node.inputs[0]])
    blob = in_order(node, net, 0, node.layer) if apart else net.blob(node)
    for role, before, _, after in steps:
        blob = _multiplied(net, f"{node.layer}/{role}", blob, node.array(role), before, after)
    return net.regroup(node, blob, layout)


def _multiplied(net, name, blob, matrix, before, after):
    """(before, K, after) -> (M, before, after), by as few weights as the matrix allows."""
    count, size = matrix.shape
    shift = _shift(matrix) if count * size > MANY else None
    if shift is not None and before == 1 and abs(shift) + abs(count - size - shift) < KERNEL:
        blob = net.view(f"{name}_view", blob, (1, size, after))
        return net.place(name, blob, (shift, 0), (count - size - shift, 0))
    group = 1 if shift is None else gcd(count, size, shift)
    if min(orders.ways(count // group, before, group))[0] * 2 > count * size:
        group = 1
    blob = net.view(f"{name}_view", blob, (1, before * size // group, group * after))
    kernel = np.ascontiguousarray(matrix[::group, ::group])
    kernel = kernel.reshape(count // group, 1, size // group, 1)
    blob = net.convolve(name, blob, kernel, stride=(size // group, 1))
    sizes = (count // group, before, group, after)
    return net.permute(f"{name}_order", blob, sizes, (0, 2, 1, 3)) if group > 1 else blob


def _shift(matrix):
    """How many rows of zeros an axis gets in front (below 0: how many elements it loses).

    None if the matrix does anything else than to cut an axis, or to put zeros beside it.
    """
    rows, columns = np.nonzero(matrix)
    shift = int(rows[0] - columns[0]) if len(rows) else 0
    found = np.eye(*matrix.shape, -shift, dtype=matrix.dtype)
    return shift if len(rows) and np.array_equal(found, matrix) else None


def joined(node):
    """The roles of all that a Concat joins, in order."""
    return [f"values{at}" for at in range(len(node.inputs) + len(node.weights))]


def concat(node, net):
    """Tensors of many axes, in TensorFlow's order."""
    computed, blobs = iter(range(len(node.inputs))), []
    axis = node.attrs["axis"] % len(node.shape) - 1
    before, after = prod(node.shape[1 : axis + 1]), prod(node.shape[axis + 2 :])
    for role in joined(node):
        name = f"{node.layer}/{role}"
        if role in node.weights:
            blob = net.constant(name, node.array(role))
        else:
            blob = in_order(node, net, next(computed), name)
        size = prod(net.shapes[blob]) // (before * after)
        blobs.append(net.view(f"{name}_view", blob, (before, size, after)))
    return net.settle(
        node, net.add("Concat", f"{node.layer}/joined", blobs, concat_param={"axis": 2})
    )

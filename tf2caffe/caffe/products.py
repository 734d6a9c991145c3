"""Products of two computed tensors, summed over common axes: attention, bilinear pooling.

Caffe multiplies blobs of one shape only, so both operands are spread over all axes, multiplied,
and summed. To spread is a Deconvolution of ones, to sum a Convolution of ones, each of one channel:
their kernels are as long as the axis, whatever the rest of the tensor is.
"""

from math import prod

import numpy as np

from tf2caffe.graph import contraction
from tf2caffe.graph.layout import regrouped


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
    blobs = [net.viewed(f"{node.layer}/view{at}", blob, shape) for at, blob in enumerate(blobs)]
    blob = net.eltwise(f"{node.layer}/product", "PROD", *blobs)
    blob = _summed(net, f"{node.layer}/sum", blob, plan)
    return net.settle(node, blob)


def _operand(node, net, at, plan):
    """The blob of an operand, its letters as the plan has them."""
    apart, lie, wanted = plan.operands[at]
    if apart:
        layout = net.layouts[node.inputs[at]].as_tensorflow()
        blob = net.put_in_order(f"{node.layer}/{'xy'[at]}", node.inputs[at], layout)
    else:
        blob = net.blob(node, at)
    if lie == wanted:
        return blob
    sizes, order = [plan.sizes[one] for one in lie], [lie.index(one) for one in wanted]
    return net.permuted(f"{node.layer}/{'xy'[at]}/order", blob, sizes, order)


def _spread(net, name, blob, at, plan):
    """The operand repeated along each letter that it lacks."""
    present = set(plan.operands[at][2])
    for letters in _runs(plan.letters, lambda letter: letter not in present):
        place = plan.letters.index(letters[0])
        before = [plan.sizes[one] for one in plan.letters[:place]]
        after = [plan.sizes[one] for one in plan.letters[place + len(letters) :] if one in present]
        count = prod(plan.sizes[one] for one in letters)
        blob = net.viewed(f"{name}/{letters}_view", blob, (1, prod(before), prod(after)))
        ones = np.ones((1, 1, count, 1), np.float32)
        blob = net.deconvolve(f"{name}/{letters}", blob, ones, stride=(count, 1))
    return blob


def _summed(net, name, blob, plan):
    """The sum over each letter that the result lacks."""
    letters = plan.letters
    for run in _runs(letters, lambda letter: letter not in plan.result):
        place = letters.index(run[0])
        count = prod(plan.sizes[one] for one in run)
        before = prod(plan.sizes[one] for one in letters[:place])
        after = prod(plan.sizes[one] for one in letters[place + len(run) :])
        blob = net.viewed(f"{name}/{run}_view", blob, (1, before * count, after))
        ones = np.ones((1, 1, count, 1), np.float32)
        blob = net.convolve(f"{name}/{run}", blob, ones, stride=(count, 1))
        letters = letters[:place] + letters[place + len(run) :]
    return blob


def _runs(letters, chosen):
    """Each longest stretch of letters that are chosen."""
    runs, former = [], None
    for at, letter in enumerate(letters):
        if chosen(letter):
            if former == at - 1:
                runs[-1] += letter
            else:
                runs.append(letter)
            former = at
    return runs


def along(node, net):
    """Each axis in turn multiplied by a matrix (M, K): a Convolution of one channel into M.

    (before, K, after) -> (M, before, after), with M K weights.
    """
    apart, steps, layout = contraction.along(node, net.layouts[node.inputs[0]])
    wanted = net.layouts[node.inputs[0]].as_tensorflow()
    blob = net.put_in_order(node.layer, node.inputs[0], wanted) if apart else net.blob(node)
    for role, before, size, after in steps:
        matrix = node.array(role)
        blob = net.viewed(f"{node.layer}/{role}_view", blob, (1, before * size, after))
        kernel = np.ascontiguousarray(matrix).reshape(len(matrix), 1, size, 1)
        blob = net.convolve(f"{node.layer}/{role}", blob, kernel, stride=(size, 1))
    if regrouped(layout, node.shape[1:])[1]:
        blob = net.moved(f"{node.layer}/order", blob, layout, layout.as_tensorflow())
    return net.settle(node, blob)

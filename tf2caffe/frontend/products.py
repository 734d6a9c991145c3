"""Products of tensors, all as one op: Einsum with an equation without dots.

    MatMul(x, y), BatchMatMul(x, y), Einsum(x, y)  ->  Einsum(x, y, "abik,abkj->abij")

A product with a constant becomes what Caffe has weights for, between reshapes and transposes.
"""

from math import prod
from string import ascii_letters

import numpy as np
import tensorflow as tf

from tf2caffe.graph import contraction


def settle(op):
    """Spell the product as an equation; `op` is a draft of which both operands are computed."""
    op.attrs = {"equation": equation(op, [len(operand.shape) for operand in op.inputs])}
    op.type = "Einsum"


def equation(op, ranks):
    """The equation of a product of tensors of these ranks."""
    if op.type == "Einsum":
        return plain(op.attrs["equation"], ranks)
    names = ("transpose_a", "transpose_b") if op.type == "MatMul" else ("adj_x", "adj_y")
    return matrices(*ranks, *(op.attrs[name] for name in names))


def matrices(first, second, turned_first, turned_second):
    """The equation of a product of matrices on the last two axes of tensors of these ranks."""
    axes = ascii_letters[: max(first, second) - 2]
    i, j, k = ascii_letters[len(axes) : len(axes) + 3]
    operands = []
    for rank, pair, turned in ((first, i + k, turned_first), (second, k + j, turned_second)):
        operands.append(axes[len(axes) - rank + 2 :] + (pair[::-1] if turned else pair))
    return f"{','.join(operands)}->{axes}{i}{j}"


def plain(equation, ranks):
    """The equation with letters for the dots, and with its result."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    operands = left.split(",")
    free = [letter for letter in ascii_letters if letter not in equation]
    dots = max(
        (rank - len(letters) + 3 for letters, rank in zip(operands, ranks, strict=True)
         if "..." in letters), default=0,
    )  # fmt: skip
    filled = [
        letters.replace("...", "".join(free[dots - (rank - len(letters) + 3) : dots]))
        for letters, rank in zip(operands, ranks, strict=True)
    ]
    every = "".join(filled)
    once = "".join(sorted(letter for letter in set(every) if every.count(letter) == 1))
    result = result.replace("...", "".join(free[:dots])) if arrow else once
    return f"{','.join(filled)}->{result}"


class Chain:
    """Ops that each read the one before, which TensorFlow's graph then has too.

    `draft(type, tensor, inputs, constants, attrs)` makes one; none is made that changes nothing.
    """

    def __init__(self, source, draft):
        self.last, self.draft, self.made = source, draft, []

    def add(self, kind, tensor, constants=None, attrs=None):
        self.last = self.draft(kind, tensor, [self.last], constants or {}, attrs or {})
        self.made.append(self.last)

    def reshape(self, shape):
        if tuple(shape) != self.last.shape:
            tensor = tf.reshape(self.last.tensor, shape)
            self.add("Reshape", tensor, attrs={"shape": list(shape)})

    def transpose(self, perm):
        if perm != sorted(perm):
            self.add("Transpose", tf.transpose(self.last.tensor, perm), attrs={"perm": perm})

    def sum(self, axes):
        if axes:
            tensor = tf.reduce_sum(self.last.tensor, axes)
            self.add("Sum", tensor, attrs={"axis": axes, "keep_dims": False})

    def every(self, step):
        """Each `step`-th element of the last axis, from the first on."""
        shape, tensor = self.last.shape, self.last.tensor[..., ::step]
        attrs = {
            "begin": [0] * len(shape), "sizes": list(tensor.shape),
            "strides": [1] * (len(shape) - 1) + [step],
        }  # fmt: skip
        self.add("StridedSlice", tensor, attrs=attrs)

    def end(self, op):
        """Let `op` be the last of them; return the others."""
        self.reshape(op.shape)
        op.replace(self.made.pop())
        return self.made


def is_dense(op):
    """Whether an op is a dense layer already: over the last axis, with a matrix."""
    second = op.constants.get("b")
    matrix = op.type == "MatMul" and second is not None and len(second.shape) == 2
    return matrix and not op.attrs["transpose_a"]


def einsum(op, draft, constant):
    """One tensor alone, along diagonals, or with weights; of two computed ones nothing is left."""
    if len(op.tensor.op.inputs) == 1:
        return _alone(op, draft)
    made = _without_diagonals(op, draft, constant) if op.type == "EinsumDiagonal" else []
    return made + weighted(op, draft, constant)


def _alone(op, draft):
    """Einsum(x, "bij->bji") -> Transpose; axes that the result lacks are summed before."""
    chain = Chain(op.inputs[0], draft)
    (letters,), result = contraction.parse(plain(op.attrs["equation"], [len(chain.last.shape)]))
    letters = _diagonals(chain, letters)
    chain.sum([at for at, letter in enumerate(letters) if letter not in result])
    letters = [letter for letter in letters if letter in result]
    chain.transpose([letters.index(letter) for letter in result])
    if not chain.made:
        op.type, op.attrs = "Reshape", {"shape": list(op.shape)}
        return []
    return chain.end(op)


def _without_diagonals(op, draft, constant):
    """Einsum(x, y, "bii,bij->bj") -> Einsum(diagonal of x, y, "bi,bij->bj")."""
    given, chains, inputs, constants, letters = iter(op.inputs), [], [], {}, []
    names = ("inputs0", "inputs1")
    ranks = [len(operand.shape) for operand in op.tensor.op.inputs]
    axes, result = contraction.parse(plain(op.attrs["equation"], ranks))
    for name, own in zip(names, axes, strict=True):
        once = "".join(dict.fromkeys(own))
        if name in op.constants:
            constants[name] = constant(tf.einsum(f"{own}->{once}", op.constants[name].tensor))
            letters.append((once, constants[name].tensor))
            continue
        chains.append(Chain(next(given), draft))
        once = _diagonals(chains[-1], own)
        inputs.append(chains[-1].last)
        letters.append((once, inputs[-1].tensor))
    equation = f"{letters[0][0]},{letters[1][0]}->{result}"
    tensor = tf.einsum(equation, *(tensor for _, tensor in letters))
    op.replace(draft("Einsum", tensor, inputs, constants, {"equation": equation}))
    return [made for chain in chains for made in chain.made]


def _diagonals(chain, letters):
    """Of axes with the same letter leave one, which runs along the diagonal; return the letters."""
    for letter in dict.fromkeys(letters):
        count = letters.count(letter)
        if count > 1:
            rest = [at for at, one in enumerate(letters) if one != letter]
            same = [at for at, one in enumerate(letters) if one == letter]
            chain.transpose(rest + same)
            size, kept = chain.last.shape[-1], chain.last.shape[: len(rest)]
            chain.reshape((*kept, size**count))
            chain.every(sum(size**power for power in range(count)))
            letters = "".join(letters[at] for at in rest) + letter
    return letters


def weighted(op, draft, constant):
    """The ops before `op` that make it a product with weights that Caffe has; `op` is the last.

    Of a product with a constant, each axis is kept, summed, new, or common (each of its elements
    has weights of its own):

        none summed or new   Mul
        none common          MatMul, if what is summed lies last; or Along
        else                 Conv2D, of as many groups as there are common elements
    """
    if is_dense(op) or not op.constants:
        return []
    bias = op.constants.pop("bias", None)
    (x, other, result), chain = _sides(op), Chain(op.inputs[0], draft)
    letters = _without_ones(chain, x, other + result)
    letters = _multiplied(chain, letters, _array(op, other), result, constant)
    chain.transpose([0, *(letters.index(one) + 1 for one in result if one in letters)])
    if bias is not None:
        chain.reshape(op.shape)
        chain.add("AddV2", chain.last.tensor + bias.tensor, {"y": bias})
    return chain.end(op)


def _without_ones(chain, letters, used):
    """Leave out axes of one element, and sum those that nothing else has; the letters left."""
    sizes = dict(zip(letters, chain.last.shape, strict=True))
    large = [letter for letter in letters if sizes[letter] > 1]
    chain.reshape((1, *(sizes[letter] for letter in large)))
    chain.sum([at + 1 for at, letter in enumerate(large) if letter not in used])
    return "".join(letter for letter in large if letter in used)


def _array(op, letters):
    """The op's constant as an `Array`, axes of one element left out."""
    (weights,) = op.constants.values()
    sized = [(one, size) for one, size in zip(letters, weights.shape, strict=True) if size > 1]
    shape = [size for _, size in sized]
    return Array("".join(one for one, _ in sized), tf.reshape(weights.tensor, shape))


class Array:
    """A constant tensor whose axes are letters."""

    def __init__(self, letters, tensor):
        self.letters, self.tensor = letters, tensor
        self.sizes = dict(zip(letters, tensor.shape, strict=True))

    def ordered(self, *groups):
        """With one axis for each group of letters; the others are summed."""
        tensor = tf.einsum(f"{self.letters}->{''.join(groups)}", self.tensor)
        return tf.reshape(tensor, [prod(self.sizes[one] for one in group) for group in groups])


def _sides(op):
    """The letters of the computed operand, of the constant, and of the result."""
    given = iter(op.inputs)
    names = ("inputs0", "inputs1") if op.type == "Einsum" else ("a", "b")
    ranks = [len((op.constants.get(name) or next(given)).shape) for name in names]
    (first, second), result = contraction.parse(equation(op, ranks))
    return (second, first, result) if names[0] in op.constants else (first, second, result)


def _multiplied(chain, letters, array, result, constant):
    """Multiply what runs through `letters` after the batch; return the letters as they are then."""
    kept, common, summed, new = _groups(letters, array.letters, result)
    if not summed + new:
        factor = array.ordered(*(one if one in common else "" for one in letters))
        chain.add("Mul", chain.last.tensor * factor, {"y": constant(factor)})
        return letters
    if common or summed not in letters:
        wanted = kept + common + summed
        chain.transpose([0, *(letters.index(one) + 1 for one in wanted)])
        letters = wanted
    sizes = dict(zip(letters, chain.last.shape[1:], strict=True)) | array.sizes
    if common:
        return _grouped(chain, (kept, common, summed, new), sizes, array, constant)
    return _dense(chain, letters, (summed, new), sizes, array, constant)


def _groups(letters, other, result):
    """The letters that are kept, common, summed and new in a product with `other`."""
    kept = "".join(one for one in letters if one not in other)
    common = "".join(one for one in letters if one in other and one in result)
    summed = "".join(one for one in letters if one in other and one not in result)
    new = "".join(one for one in result if one in other and one not in letters)
    return kept, common, summed, new


def _grouped(chain, groups, sizes, array, constant):
    """A convolution over one pixel for each element of the kept axes."""
    kept, common, summed, new = groups
    pixels, count, size = (prod(sizes[one] for one in group) for group in groups[:3])
    chain.reshape((1, pixels, 1, count * size))
    kernel = array.ordered(summed, common + new)[None, None]
    tensor = tf.nn.conv2d(chain.last.tensor, kernel, 1, "VALID")
    chain.add("Conv2D", tensor, {"filter": constant(kernel)}, dict(ONE_PIXEL))
    chain.reshape((1, *(sizes[one] for one in kept + common + new)))
    return kept + common + new


def _dense(chain, letters, groups, sizes, array, constant):
    """One product over what is summed, as one axis."""
    summed, new = groups
    at = letters.index(summed) if summed else len(letters)
    before, after = letters[:at], letters[at + len(summed) :]
    shape = [[sizes[one] for one in part] for part in (before, after)]
    chain.reshape((1, *shape[0], prod(sizes[one] for one in summed), *shape[1]))
    matrix = array.ordered(summed, new)
    if after:
        _along(chain, at + 1, matrix, constant)
    else:
        tensor = tf.matmul(chain.last.tensor, matrix)
        turned = {"transpose_a": False, "transpose_b": False}
        chain.add("MatMul", tensor, {"b": constant(matrix)}, turned)
    chain.reshape((1, *(sizes[one] for one in before + new + after)))
    return before + new + after


def _along(chain, axis, matrix, constant):
    rank = len(chain.last.shape)
    rest = [at for at in range(rank) if at != axis]
    product = tf.tensordot(matrix, chain.last.tensor, [[0], [axis]])  # the axis comes first
    tensor = tf.transpose(product, np.argsort([axis, *rest]).tolist())
    kernel = tf.transpose(matrix)
    attrs = {"sizes": list(tensor.shape)}
    chain.add("Along", tensor, {f"along{axis}": constant(kernel)}, attrs)


ONE_PIXEL = {
    "strides": [1] * 4, "padding": "VALID", "dilations": [1] * 4, "explicit_paddings": [],
    "data_format": "NHWC",
}  # fmt: skip

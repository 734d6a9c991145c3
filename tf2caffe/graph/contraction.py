"""Products of two tensors, summed over common axes, in whatever order the two lie.

A product is an equation of letters, one for each axis (`bik,bkj->bij`). In Caffe both operands are
spread over all letters, multiplied number by number, and summed over the letters that the result
does not have. An order of all letters that agrees with how both operands lie needs no transpose.
"""

from dataclasses import dataclass
from math import prod
from string import ascii_letters

from tf2caffe.graph.layout import Layout, plain


@dataclass(frozen=True)
class Plan:
    """How a product is computed. Letters of one element are left out.

    `letters` are all of them in the order in which they run, `operands` tells of each operand
    whether it is first put in TensorFlow's order, the letters as they run in its blob then, and as
    they shall run; `result` are those of the result.
    """

    sizes: dict
    letters: str
    operands: tuple
    result: str


def parse(equation):
    """The letters of each operand, and of the result."""
    operands, _, result = equation.partition("->")
    return operands.split(","), result


def plan(equation, layouts):
    """How a product is computed of operands in these layouts (their first letter is the batch)."""
    axes, result = parse(equation)
    axes, sizes = [letters[1:] for letters in axes], {}
    for letters, layout in zip(axes, layouts, strict=True):
        for letter, size in zip(letters, layout.tf_shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    kept = "".join(letter for letter in result[1:] if sizes[letter] > 1)
    lying = [lie(*pair) for pair in zip(layouts, axes, strict=True)]
    letters = merged(*(order for order, _ in lying), kept)
    operands = tuple((apart, order, in_order(order, letters)) for order, apart in lying)
    return Plan(sizes, letters, operands, in_order(kept, letters))


def in_order(some, letters):
    """Some of the letters in the order of all."""
    return "".join(letter for letter in letters if letter in some)


def large(letters, layout):
    """The letters of the axes that have more than one element."""
    sizes = zip(letters, layout.tf_shape, strict=True)
    return "".join(letter for letter, size in sizes if size > 1)


def lying_letters(letters, layout):
    """The letters as the blob runs through them; None where the atoms of an axis lie apart."""
    if layout.index is not None:
        return None
    order = [atom for atom in layout.order if layout.sizes[atom] > 1]
    axes = {}
    for letter, axis in zip(letters, layout.tf, strict=True):
        atoms = [atom for atom in axis if layout.sizes[atom] > 1]
        if atoms:
            axes[atoms[0]] = letter, atoms
    found, at = "", 0
    while at < len(order):
        letter, atoms = axes.get(order[at], ("", []))
        if not atoms or order[at : at + len(atoms)] != atoms:
            return None
        found, at = found + letter, at + len(atoms)
    return found


def merged(first, second, result):
    """An order of all letters in which the first operand runs; if possible the second, the result.

    Where the two disagree, the second has to be put in the order of the first.
    """
    chains = [(first, second, result), (first, second), (first, result), (first,)]
    every = dict.fromkeys(first + second + result)
    for chain in chains:
        order = _sorted(every, chain)
        if order is not None:
            return order
    raise AssertionError("one chain has no cycle")


def _sorted(letters, chains):
    """The letters in an order that agrees with each of the chains, or None."""
    left, order = list(letters), ""
    while left:
        free = [
            letter
            for letter in left
            if not any(
                other in left
                for chain in chains
                if letter in chain
                for other in chain[: chain.index(letter)]
            )
        ]
        if not free:
            return None
        order += free[0]
        left.remove(free[0])
    return order


def laid_out(letters, shape, order):
    """The layout of a tensor (N, *shape), whose axes are `letters`, where its blob runs in `order`.

    Of more than three axes the first are one axis for Caffe.
    """
    axes = tuple((at,) for at in range(len(shape)))
    run = [at for at in range(len(shape)) if letters[at] not in order]
    run += [letters.index(letter) for letter in order]
    head = max(len(run) - 2, min(1, len(run)))
    caffe = ((*run[:head],), *((atom,) for atom in run[head:]))
    layout = Layout(tuple(shape), axes, caffe)
    return layout if len(shape) > 4 else layout.settled()


def names(layout):
    """A letter for each of TensorFlow's axes."""
    return ascii_letters[: len(layout.tf)]


def lie(layout, letters=None):
    """The letters of a tensor's axes as its blob runs; True if it must be put in order before."""
    letters = letters or names(layout)
    found = lying_letters(letters, layout)
    return (large(letters, layout), True) if found is None else (found, False)


def along(node, layout):
    """(whether the input is put in order first, steps, the result's layout) of an op along axes.

    A step is the role of a matrix, what lies before its axis, the axis's size, and what lies after.
    An axis behind others comes to the front.
    """
    order, apart = lie(layout)
    sizes, steps = dict(zip(names(layout), layout.tf_shape, strict=True)), []
    for role in sorted(node.weights):
        letter = names(layout)[int(role.removeprefix("along")) - 1]
        order = order if letter in order else letter + order
        at = order.index(letter)
        before, after = (prod(sizes[one] for one in part) for part in (order[:at], order[at + 1 :]))
        steps.append((role, before, sizes[letter], after))
        order = letter + order[:at] + order[at + 1 :]
        sizes[letter] = node.attrs["sizes"][names(layout).index(letter) + 1]
    shape = [sizes[letter] for letter in names(layout)]
    order = "".join(letter for letter in order if sizes[letter] > 1)
    return apart, steps, laid_out(names(layout), shape, order)


def reduced(node, layout, axes):
    """(whether the input is put in order first, steps, the result's layout) of a reduction.

    A step is what lies before, within and after a run of letters that go. `axes` count from 1.
    """
    order, apart = lie(layout)
    sizes = dict(zip(names(layout), layout.tf_shape, strict=True))
    gone = [names(layout)[axis - 1] for axis in axes]
    steps = []
    for run in runs(order, gone):
        at = order.index(run[0])
        parts = order[:at], run, order[at + len(run) :]
        steps.append(tuple(prod(sizes[one] for one in part) for part in parts))
        order = parts[0] + parts[2]
    shape = [1 if letter in gone else sizes[letter] for letter in names(layout)]
    return apart, steps, laid_out(names(layout), shape, order)


def runs(letters, chosen):
    """Each longest stretch of letters that are among the chosen."""
    found, former = [], None
    for at, letter in enumerate(letters):
        if letter in chosen:
            if former is not None and former == at - 1:
                found[-1] += letter
            else:
                found.append(letter)
            former = at
    return found


def widest(node, layouts):
    """The layout of an elementwise op on tensors of many axes: that of an operand as large.

    OpenCV adds and multiplies blobs of five axes at most.
    """
    large = [one for one in layouts if one.tf_shape == node.shape[1:] and not lie(one)[1]]
    found = (large or [plain(node.shape[1:]).settled()])[0]
    if len(found.caffe) <= 4:  # after the batch
        return found
    return laid_out(names(found), found.tf_shape, lie(found)[0])

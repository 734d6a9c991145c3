"""Products of two computed tensors, all as one op: Einsum with an equation without dots.

MatMul(x, y), BatchMatMul(x, y), Einsum(x, y)  ->  Einsum(x, y, "abik,abkj->abij")
"""

from string import ascii_letters


def settle(op):
    """Spell the product as an equation; `op` is a draft of which both operands are computed."""
    ranks = [len(operand.shape) for operand in op.inputs]
    if op.type == "Einsum":
        equation = plain(op.attrs["equation"], ranks)
    else:
        names = ("transpose_a", "transpose_b") if op.type == "MatMul" else ("adj_x", "adj_y")
        equation = matrices(*ranks, *(op.attrs[name] for name in names))
    op.type, op.attrs = "Einsum", {"equation": equation}


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

"""What an op asks of the numbers that it is fed in the proof (see `proof.probes`).

A demand is a `Demand`, or a function that gives one, or None for the usual: of the node, which of
its inputs is fed, and the node's constants as `number(role)`, each one number or one a channel.
"""

from typing import NamedTuple

import numpy as np

WIDTH = 2.0  # how far a probe reaches beyond 0 on both sides, unless a reader asks for more


class Demand(NamedTuple):
    """What one reader asks of a probe.

    `bends` are where it changes its course, each a number or an array (C,), in order; `width` is
    how far beyond the outer bends the probe shall reach, as one of these. `domain` tells whether
    numbers must be positive, or apart from 0; `cuts` whether the op is linear but for its bends.
    """

    bends: tuple = ()
    width: object = WIDTH
    domain: str = "any"
    cuts: bool = False


USUAL = Demand()


def centred(**signs):
    """The demand of an op that a constant takes through 0."""

    def demand(node, at, number):
        for role, sign in signs.items():
            if (centre := number(role)) is not None:
                return Demand((sign * centre,))
        return None

    return demand


def bounded(node, at, number):
    """A maximum or minimum of a constant."""
    for role in ("x", "y"):
        if (bound := number(role)) is not None:
            return Demand((bound,), WIDTH * np.maximum(1, np.abs(bound)), cuts=True)
    return Demand((0.0,), cuts=True)


def stepped(node, at, number):
    """What jumps at a number is fed both sides of it."""
    bend = node.attrs["threshold"]
    return Demand((bend,), WIDTH * max(1, abs(bend)), cuts=True)


def normal(node, at, number):
    """As the numbers lie that a BatchNorm was trained on."""
    deviation = np.sqrt(np.maximum(number("variance"), 0) + node.attrs["epsilon"])
    return Demand((number("mean"),), WIDTH * deviation)


def divided(node, at, number):
    """A denominator is not near 0."""
    below = at == 1 or number("x") is not None
    return Demand(domain="apart") if below else None


def raised(node, at, number):
    exponent = number("y")
    whole = exponent is not None and exponent >= 0 and exponent == np.round(exponent)
    return None if whole else Demand(domain="positive")


def local(node, at, number):
    """So large that what is added to the bias is about as much."""
    total = node.attrs["alpha"] * (2 * node.attrs["depth_radius"] + 1)
    return Demand(width=2 * float(np.sqrt(abs(node.attrs["bias"] / total)))) if total else None

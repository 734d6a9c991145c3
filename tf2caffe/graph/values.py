"""What the value of an op's setting in graph.json must be."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import numpy as np

WHOLE = 2**31 - 1  # the largest whole number that a setting may be
REACH = 2**16  # the longest window: zeros between a kernel's rows may have to be written
FLOAT = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Kind:
    """What the value of a setting must be, in words, and whether a value is that."""

    words: str
    holds: Callable

    def __str__(self):
        return self.words


def _is_whole(value, least=-WHOLE):
    return type(value) is int and least <= value <= WHOLE


def _is_number(value):
    return type(value) in (int, float) and isfinite(value) and abs(value) <= FLOAT


def whole(least, words):
    return Kind(words, lambda value: _is_whole(value, least))


def wholes(least, words, *counts):
    """A list of whole numbers, as many as one of `counts` says (any number, if none does)."""

    def holds(value):
        fits = isinstance(value, list) and (not counts or len(value) in counts)
        return fits and all(_is_whole(item, least) for item in value)

    return Kind(words, holds)


def one_of(*texts):
    return Kind(f"one of {', '.join(texts)}", lambda value: value in texts)


def _is_axis_or_axes(value):
    return all(map(_is_whole, value)) if isinstance(value, list) else _is_whole(value)


def _is_pairs(value):
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(_is_whole(size, 0) for size in pair)
        for pair in value
    )


FLAG = Kind("true or false", lambda value: isinstance(value, bool))
NUMBER = Kind("a finite number", _is_number)
NOT_NEGATIVE = Kind("a number from 0 on", lambda value: _is_number(value) and value >= 0)
POSITIVE = Kind("a number above 0", lambda value: _is_number(value) and value > 0)
AXIS, AXES = whole(-WHOLE, "an axis"), Kind("an axis or a list of axes", _is_axis_or_axes)
EQUATION = Kind(
    "an equation such as abc,acd->abd",
    lambda value: isinstance(value, str) and re.fullmatch(r"[A-Za-z]+,[A-Za-z]+->[A-Za-z]+", value),
)
INTEGERS = wholes(-WHOLE, "a list of whole numbers")
FOUR, PADS = wholes(1, "four numbers from 1 on", 4), wholes(0, "eight numbers from 0 on", 0, 8)
CROPS = wholes(-REACH, "eight whole numbers", 0, 8)  # less than 0: a dilated kernel's may crop
PAIRS = Kind("a list of pairs from 0 on", _is_pairs)
FORMAT = one_of("NHWC", "NCHW", "NCHW_VECT_C")
RADIUS = Kind("a number from 0 on", lambda value: _is_whole(value, 0) and value < WHOLE // 2)

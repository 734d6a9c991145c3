"""Faults planted into the files of a network: single numbers of a caffemodel or a prototxt."""

import re

import numpy as np

from tests.harness import TOLERANCE
from tf2caffe.caffe import schema
from tf2caffe.failure import Failure
from tf2caffe.proof import parity


def numbers(caffemodel):
    """[(layer, which of its blobs, how many numbers that has)] of a caffemodel."""
    net = schema.NetParameter.FromString(caffemodel.read_bytes())
    return [
        (layer.name, at, len(blob.data) // 4)
        for layer in net.layer
        for at, blob in enumerate(layer.blobs)
    ]


def change_number(caffemodel, layer, blob, at, change):
    """Put `change(the array, at)` into the place of one number of a caffemodel."""
    net = schema.NetParameter.FromString(caffemodel.read_bytes())
    (found,) = (each for each in net.layer if each.name == layer)
    array = np.frombuffer(found.blobs[blob].data, "<f4").copy()
    array[at] = change(array, at)
    found.blobs[blob].data = array.tobytes()
    caffemodel.write_bytes(net.SerializeToString())


def a_deviation_more(array, at):
    """So much more as the numbers around it differ by; twice as much where they are all alike."""
    deviation, size = array.std(), np.abs(array).max()
    return array[at] + (deviation if deviation > 1e-3 * size else size or 1)


# A setting with a number. An input's first axis is free: whoever runs the network sets it.
SETTING = re.compile(r"^( +)(\w+): (-?\d[\d.e+-]*)$", re.MULTILINE)


def settings(prototxt):
    """The places of all numbers in a prototxt but the inputs' batch."""
    text = prototxt.read_text()
    return [match.span(3) for match in SETTING.finditer(text) if not is_batch(text, match)]


def is_batch(text, match):
    before = text[: match.start()].rsplit("layer {", 1)[-1]
    return 'type: "Input"' in before and "dim" not in before


def change_setting(prototxt, place, change):
    """Put `change(number)` into the place of a number, given as its span, of a prototxt."""
    text = prototxt.read_text()
    number = text[slice(*place)]
    whole = re.fullmatch(r"-?\d+", number)
    changed = change(int(number) if whole else float(number))
    prototxt.write_text(f"{text[: place[0]]}{changed}{text[place[1] :]}")


def verdict(rows):
    """What step 6 has against the files: `rows` proves them; None if it finds them equal."""
    try:
        return parity.first_stray(rows(), TOLERANCE)[1]
    except Failure as failure:
        return str(failure)

"""Every refusal that the code can raise of a network, found in the source, and why Caffe cannot."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "tf2caffe"


def texts():
    """{text of a refusal, with ... for what is filled in: file} of the mapping's and layouts'."""
    found = {}
    for folder, error in PLACES:
        for path in sorted((PACKAGE / folder).glob("*.py")):
            if folder == "graph" and path.name not in LAYOUTS:
                continue
            for text in _raised(ast.parse(path.read_text(encoding="utf-8")), error):
                found[text] = f"{folder}/{path.name}"
    return {text: file for text, file in found.items() if text not in DAMAGED}


def _raised(tree, error):
    for part in ast.walk(tree):
        called = isinstance(part, ast.Call) and getattr(part.func, "id", "") == error
        if called and part.args:
            yield text_of(part.args[0])


def text_of(argument):
    """A text of the source, with ... for what is filled in."""
    if isinstance(argument, ast.Constant):
        return argument.value
    parts = getattr(argument, "values", [])
    return "".join(part.value if isinstance(part, ast.Constant) else "..." for part in parts)


LAYOUTS = ("carry.py", "layout.py", "layout_rules.py")  # others check graph.json

# Folder -> the error that refuses an op there.
PLACES = (("caffe", "Refused"), ("graph", "ValueError"))

GUARD = (
    "Not raised of a model: the front end makes another op of it, or the layouts another order. "
    "It guards against a graph.json that was written by hand."
)

# Text of a refusal -> (why plain Caffe cannot, the case of tests/test_refusals.py that meets it).
WHY = {
    "... ... reaches across batch or channels; give 1 for both": (
        "The windows of Caffe's layers move along height and width. (tf2caffe does not move "
        "channels there for it yet.)", "pooled channels",
    ),
    "ArgMax inside a network has no portable equal; end the network before it": (
        "BVLC Caffe has an ArgMax; OpenCV, OpenVINO and the chips read its settings differently. "
        "At the end of a network it is left to the caller.", "argmax read",
    ),
    "Caffe cannot pad ... around windows ... at strides ...": (
        "Caffe's Pooling pads both sides alike, by less than the window, and a Convolution pads "
        "with zeros, which are larger than negative numbers.", "far padding",
    ),
    "Caffe has powers of a constant only; of x > 0, build exp(y * log(x))": (
        "A Power layer has one exponent for all numbers.", "two powers",
    ),
    "a Power layer has one exponent; split the channels, or use exp and log": (
        "A Power layer has one exponent for all channels.", "exponents",
    ),
    "its base is not above 0, so it has no logarithm; take its size and sign": (
        "Caffe's Exp takes a base above 0; of another, only whole exponents have a power.", "base",
    ),
    "bias ...: Caffe's consumers take 1, to which only more than 0 can be scaled": (
        "Some consumers read the k of Caffe's LRN as 1.", "local norm",
    ),
    "it reduces the batch axis; leave axis 0 out": (
        "Caffe's files have a batch of 1. The caller sets another, and each image is computed "
        "alone.", "batch statistics",
    ),
    "..., ...; ...": (
        "A kernel that moves numbers would have more weights than the bound of `caffe/cost.py`. "
        "`--allow-cost` lifts it.", None,
    ),
    "Caffe would make ... of it, TensorFlow makes ...": (
        "A fault of tf2caffe, found before anything is written. Please report it.", None,
    ),
    **dict.fromkeys((
        "... cannot be reshaped to ...",
        "data_format is not NHWC; build the model with channels_last",
        "it joins along the batch axis; join along another",
        "it mixes the batch with other axes; keep axis 0 as it is",
        "it reads ..., which is left to the caller",
        "it runs backwards through rows or columns; turn the image round before",
        "it takes apart what was joined of flattened tensors; join after it",
        "its axis is that of the batch; leave axis 0 out",
        "its input is transposed (transpose_a), which tf2caffe does not convert yet",
        "one of what it adds is a constant; add it with Add",
        "only images and sequences can be padded; join or reshape instead",
        "only vectors, sequences and images can be cut; reshape before it",
        "padding ... is not known",
        "paddings ... reach across batch or channels; pad height and width only",
        "tf2caffe does not broadcast ... to ...; reshape it first",
        "tf2caffe does not compute it with a constant; build it of other ops",
        "tf2caffe does not convert it; end the network before it",
        "the new axes cut across the old ones; keep channels whole",
    ), (GUARD, None)),
}  # fmt: skip

# What is damaged in graph.json, not refused of a network.
DAMAGED = (
    "a layout is joined of what are no vectors",
    "the axes of a layout are not each there once",
)

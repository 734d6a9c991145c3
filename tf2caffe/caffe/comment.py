"""The comment at the head of a prototxt: by what it was made, of what, for what, and its input.

It holds no date, so that the same model gives the same bytes.
"""

import tf2caffe
from tf2caffe.graph.layout import described


def header(graph, table, form, made=None):
    """The comment's lines, an empty one after them.

    `made` says how the model is used: `source`, the state of the model that this is true of,
    `model`, its file's name, and `prepared`, which says for so many channels what is done to images
    first.
    """
    made = made if made and made.get("source") == graph.source else {}
    state = graph.source.partition("+")[0]
    model = f"{made.get('model') or graph.name}{f', SHA-256 {state}' if state else ''}"
    lines = [
        f"made by tf2caffe {tf2caffe.__version__}",
        f"model: {model}",
        f"target: {table.target}, {form} form",
        *(f"input {input_of(entry)}" for entry in table.inputs),
    ]
    if made.get("prepared") and len(table.inputs) == 1:
        lines.append(f"preprocessing: {made['prepared'](table.inputs[0].layout.caffe_shape[0])}")
    return "".join(f"# {plain(line)}\n" for line in lines) + "\n"


def input_of(entry):
    """An input's blob, shape and order."""
    shape = "x".join(map(str, (1, *entry.layout.caffe_shape)))
    return f"{entry.blob}: {shape}, {described(entry.layout)}, float32"


def plain(text):
    """On one line, of printable letters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)

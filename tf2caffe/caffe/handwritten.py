"""A network written by hand: the saved weights loaded into it by layer name."""

from collections import defaultdict

import numpy as np

from tf2caffe.caffe import blobs, outputs, schema
from tf2caffe.caffe.naming import blob_name, layer_of
from tf2caffe.caffe.net import ROLES, Net
from tf2caffe.caffe.shapes import WEIGHTS
from tf2caffe.failure import Failure
from tf2caffe.graph.layout import described


def load(path, graph):
    """The network of the prototxt `path` with the graph's weights, and its table of blobs.

    Raises `Failure` with all that is missing, surplus or misshapen.
    """
    parsed = schema.parse(_text(path), path)
    if not parsed.layer:
        raise Failure(f"{path} has no `layer` blocks (the old `layers` are not read)")
    net, saved, problems = Net(parsed.name or graph.name), _by_layer(graph), []
    for message in [*schema.old_inputs(parsed), *_used(parsed, path)]:
        arrays = saved.pop(message.name, {})
        try:
            net.append(message, _blobs(message, arrays, net, problems))
        except Failure as failure:
            raise Failure(f"{path}: {failure}") from None
        except (ArithmeticError, IndexError, MemoryError, ValueError):
            found = [net.shapes[bottom] for bottom in message.bottom]
            told = f"layer {message.name} ({message.type}): its settings do not fit"
            raise Failure(f"{path}: {told} its bottoms {found}") from None
    problems += [f"surplus: {name}-{role}" for name in saved for role in saved[name]]
    if problems:
        raise Failure(f"{path}: {'; '.join(problems)}")
    return net, _table(path, net, graph)


def text(path, net):
    """What is left as the network's prototxt: its own, or one without what is for training only.

    Caffe itself passes over layers whose rules say so, OpenCV does not.
    """
    own = _text(path)
    parsed = schema.parse(own, path)
    return own if all(map(schema.is_used, parsed.layer)) else net.prototxt()


def _used(parsed, path):
    """The layers that Caffe makes where the network is used."""
    layers = [layer for layer in parsed.layer if schema.is_used(layer)]
    for layer in layers:
        if layer.HasField("phase") and schema.ENUMS["Phase"][1][layer.phase] == "TRAIN":
            told = f"layer {layer.name}: `phase: TRAIN` lets it compute as in training"
            raise Failure(f"{path}: {told}; take it out, or write include {{ phase: TRAIN }}")
    return layers


def _text(path):
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Failure(f"{path} does not exist") from None
    except UnicodeDecodeError:
        raise Failure(f"{path} is not a Caffe prototxt: not UTF-8 text") from None


def _by_layer(graph):
    """{layer: {what Caffe calls the weight: array}} of the saved weights."""
    saved = defaultdict(dict)
    for node in graph.nodes:
        for role, weight in node.weights.items():
            saved[graph.caffe_name(layer_of(node, role))][blob_name(role)] = weight.array
    return saved


def _blobs(message, arrays, net, problems):
    """A layer's blobs out of the arrays saved for it; what does not fit is added to `problems`."""
    if message.type not in WEIGHTS:
        problems += [f"surplus: {message.name}-{role} ({message.type})" for role in arrays]
        return []
    if not net.shapes.keys() >= set(message.bottom):
        return []  # `append` says so
    bottoms = [net.shapes[name] for name in message.bottom]
    expected = WEIGHTS[message.type](message, bottoms)
    roles = ROLES.get(message.type, ())[: len(expected)]
    blobs = [
        _blob(f"{message.name}-{role}", arrays.get(role), shape, problems)
        for role, shape in zip(roles, expected, strict=False)
    ]
    problems += [f"surplus: {message.name}-{role}" for role in arrays if role not in roles]
    # Caffe divides mean and variance by BatchNorm's third blob
    return blobs + [np.ones(shape, np.float32) for shape in expected[len(roles) :]]


def _blob(name, array, shape, problems):
    """The array, if it is of this shape; else zeros, and what is wrong is added to `problems`."""
    if array is None:
        problems.append(f"missing: {name} {shape}")
    elif array.shape != shape:
        problems.append(f"misshapen: {name} {array.shape}, not {shape}")
    else:
        return array
    return np.zeros(shape, np.float32)


def _table(path, net, graph):
    """The tops of the layers that are called as we should have called them.

    Of layers that write the same blob, one in place after the other, the last one's is compared.
    """
    layouts = graph.layouts
    tops = {layer.name: layer.tops[0] for layer in net.layers if layer.tops}
    writers = {top: layer.name for layer in net.layers for top in layer.tops}
    entries, inputs = [], []
    for node in graph.nodes:
        layer = graph.caffe_name(node.layer)
        if layer in tops and writers[tops[layer]] == layer:
            entries.append(blobs.Blob(node.name, tops[layer], layouts[node.name]))
    for name in graph.inputs:
        blob = tops.get(graph.caffe_name(name), graph.caffe_name(name))
        if blob not in net.shapes:
            raise Failure(f"{path} has no input called {blob}")
        inputs.append(blobs.Blob(name, blob, layouts[name]))
    if not entries:
        known = ", ".join(dict.fromkeys(graph.caffe_name(node.layer) for node in graph.nodes))
        raise Failure(f"{path}: no layer is called as one of {known}: nothing could be compared")
    found, copies = _outputs(graph, net, tops, [*inputs, *entries], layouts)
    entries += copies
    rest = graph.classes, graph.source, blobs.ops_of(graph), found
    return blobs.Table(inputs, entries, blobs.answers(graph, entries), *rest)


def _outputs(graph, net, tops, entries, layouts):
    """Where the model's outputs are, and the blobs that hold nothing else.

    One is the top of the layer LAYER/output, where there is such, else of LAYER. Each lies as it
    does in Caffe; one of which there is no blob is called "".
    """
    known = {entry.name: entry.blob for entry in entries}
    layers = {node.name: node.layer for node in graph.nodes}
    tensors, ends = outputs.ends(graph)
    found, copies = [], []
    for end in ends:
        tensor = end.op if end.op in known else tensors[end.place]
        copy = tops.get(f"{graph.caffe_name(layers.get(tensor, tensor))}/output")
        blob = copy or known.get(tensor, "")
        if copy:
            copies.append(blobs.Blob(tensor, copy, layouts[tensor]))
        shape, axis = list(net.shapes.get(blob, ())), None if tensor == end.op else end.axis
        order = described(layouts[tensor]) if blob else "none"
        found.append(outputs.Output(end.name, end.op, blob, shape, order, axis))
    return found, copies

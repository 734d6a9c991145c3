"""A network taken apart: each layer is run alone, on what it is fed.

Every blob that is given is cut in two, one that its layer makes and one that is fed to its readers.
"""

from collections import Counter
from pathlib import Path

from tf2caffe.caffe import schema
from tf2caffe.paths import temporary_beside
from tf2caffe.proof.reach import Reach, first_bottoms
from tf2caffe.proof.runtimes import Network, declared_inputs


def run(runtime, net, caffemodel, path, arrays, wanted=()):
    """Run each layer of a parsed prototxt alone: (the blobs made, by name, and the `Reach`).

    `arrays` are the blobs to be fed, {name: array}, `wanted` others that are asked for besides. The
    cut network is written beside `path`.
    """
    copies, layers = cut(net, arrays)
    fed = {copy: arrays[blob] for blob, copy in copies.items()}
    made = {top for layer in layers for top in layer.top} - fed.keys()
    fed |= {name: arrays[name] for name, _ in declared_inputs(net)}
    wanted = {*wanted, *arrays, *first_bottoms(layers)} & made - fed.keys()
    with temporary_beside(Path(path).with_suffix(".apart.prototxt")) as apart:
        apart.write_text(schema.prototxt(net.name, layers), encoding="utf-8")
        network = Network(apart, schema.NetParameter(name=net.name, layer=layers))
        found = runtime.run(network, caffemodel, fed, sorted(wanted))
    return fed | found, Reach.of(layers, fed | found)


def cut(net, arrays):
    """({blob: the name of what is fed in its place}, the layers of the network that is cut)."""
    inputs = {name for name, _ in declared_inputs(net)}  # fed in any case
    last = {top: at for at, layer in enumerate(net.layer) for top in layer.top}
    layers, copies = [copied(layer) for layer in net.layer], {}
    for at, layer in enumerate(layers):
        for which, bottom in enumerate(layer.bottom):
            if bottom in arrays and bottom not in inputs and last[bottom] < at:
                copies[bottom] = layer.bottom[which] = f"{bottom}@tf"
    fed = [
        schema.LayerParameter(
            name=copy,
            type="Input",
            top=[copy],
            input_param={"shape": [{"dim": [1, *arrays[blob].shape[1:]]}]},
        )
        for blob, copy in copies.items()
    ]
    return copies, [*schema.old_inputs(net), *fed, *layers]


def separated(net):
    """The network with nothing in place: layers that write the same blob get one of their own.

    It is called as the layer, since OpenCV calls a convolution as its blob.
    """
    writers = Counter(top for layer in net.layer for top in layer.top)
    apart, names = schema.NetParameter(), {}
    apart.CopyFrom(net)
    for layer in apart.layer:
        layer.bottom[:] = [names.get(blob, blob) for blob in layer.bottom]
        for at, top in enumerate(layer.top):
            if writers[top] > 1:
                own = layer.name if len(layer.top) == 1 else f"{layer.name}@{at}"
                names[top] = layer.top[at] = own
    return apart


def copied(layer):
    message = schema.LayerParameter()
    message.CopyFrom(layer)
    return message

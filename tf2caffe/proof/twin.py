"""ReLU6, a layer of some chips that BVLC Caffe does not have, as layers that it has.

    ReLU6(x) = ReLU(-max(-x, -6)): exact, whatever the size of x

So real Caffe can run the deploy form of such a chip; all other layers are as they are.
"""

from tf2caffe.caffe import schema


def has_relu6(net):
    return any(layer.type == "ReLU6" for layer in net.layer)


def of(net):
    """(the network without ReLU6, {blob: what it is called there, where that is another name}).

    A ReLU6 in place gets a blob of its own, since the layers that stand for it read x twice.
    """
    twin, names, taken = schema.NetParameter(), {}, _names(net)
    twin.CopyFrom(net)
    del twin.layer[:]
    for layer in net.layer:
        made = twin.layer.add()
        made.CopyFrom(layer)
        made.bottom[:] = [names.get(blob, blob) for blob in layer.bottom]
        for at, top in enumerate(layer.top):
            if top in layer.bottom:  # in place: it stays so
                made.top[at] = names.get(top, top)
        if layer.type == "ReLU6":
            del twin.layer[-1]
            if layer.top[0] in layer.bottom:
                made.top[0] = names[layer.top[0]] = _free(f"{layer.name}/own", taken)
            twin.layer.extend(_expanded(made, taken))
    return twin, names


def _names(net):
    return {name for layer in net.layer for name in (layer.name, *layer.top)}


def _free(name, taken):
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _expanded(layer, taken):
    """The layers for one ReLU6; the last one has its name."""
    minus, floor, most, least = (
        _free(f"{layer.name}/{part}", taken) for part in ("minus", "floor", "most", "least")
    )
    (bottom,), tops = layer.bottom, list(layer.top)
    yield _layer("Power", [bottom], minus, power_param={"scale": -1})
    yield _layer("Power", [minus], floor, power_param={"scale": 0, "shift": -6})
    yield _layer("Eltwise", [minus, floor], most, eltwise_param={"operation": MAX})
    yield _layer("Power", [most], least, power_param={"scale": -1})
    yield schema.LayerParameter(name=layer.name, type="ReLU", bottom=[least], top=tops)


def _layer(kind, bottoms, name, **params):
    return schema.LayerParameter(name=name, type=kind, bottom=bottoms, top=[name], **params)


MAX = schema.ENUMS["EltwiseOp"][1].index("MAX")

"""What step 5 prints of a network: its layers, what no blob is compared with, what it takes."""

from tf2caffe.caffe import folding


def print_layers(net):
    """A line a layer: type, name, the shapes of its weights, the shape of its output."""
    rows = [("type", "layer", "weights", "output")]
    for layer in net.layers:
        weights = ", ".join(shown(blob.shape) for blob in layer.blobs)
        rows.append((layer.type, layer.name, weights, " ".join(map(shown, layer.shapes))))
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    for kind, name, weights, output in rows:
        print(f"{kind:<{widths[0]}}  {name:<{widths[1]}}  {weights:<{widths[2]}}  {output}")
    print()


def print_uncompared(network, table):
    """The ops that step 6 will not find in a network written by hand."""
    compared = {entry.name for entry in table.layers}
    absent = [node.name for node in network.nodes if node.name not in compared]
    if absent:
        print(f"no layer to compare with: {', '.join(absent)}\n")


def shown(shape):
    return "x".join(map(str, shape)) or "1"


def costs(forms):
    """What the network takes in each form: the head of a table, and its rows, all texts."""
    counts = {
        "layers": lambda net, files: len(net.layers),
        "parameters": lambda net, files: sum(blob.size for lay in net.layers for blob in lay.blobs),
        "multiply-adds": lambda net, files: folding.multiply_adds(net),
        "bytes of caffemodel": lambda net, files: files.caffemodel.stat().st_size,
    }
    rows = [("", "inspectable", "deploy")[: len(forms) + 1]]
    for name, count in counts.items():
        rows.append((name, *(f"{count(net, files):,}" for files, net, _, _ in forms)))
    return rows


def print_costs(forms):
    """What the network takes in each form."""
    print()
    for name, before, after in costs(forms):
        print(f"{name:<19}  {before:>15}  {after:>15}")

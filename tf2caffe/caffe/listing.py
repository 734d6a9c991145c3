"""What step 5 prints of a network: its layers, and what no blob is compared with."""


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

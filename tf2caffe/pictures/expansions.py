"""Which Caffe layers one op of TensorFlow's became, for a diagram with one box for them all."""

from dataclasses import dataclass, field


@dataclass
class Expansion:
    """Caffe layers in order, and the expansions that they read, by number.

    `op` is TensorFlow's type of what they compute, where it is known.
    """

    layers: list
    op: str = ""
    reads: list = field(default_factory=list)

    @property
    def name(self):
        return self.layers[-1].name


def expansions(layers, table=None):
    """The layers by the op that they belong to: the first whose blob needs them.

    `table` (blobs.Table) says which blob holds which op's output. Without it, and where no op
    needs a layer, the layer stands alone.
    """
    sources, written = wiring(layers)
    groups, home = [], {}
    for last, op in [*results(table, written), *((index, "") for index in range(len(layers)))]:
        members = needed(last, sources, home)
        home |= dict.fromkeys(members, len(groups))
        groups += [(members, op)] if members else []
    return [
        Expansion([layers[index] for index in members], op, read(members, sources, home))
        for members, op in groups
    ]


def wiring(layers):
    """The layers that each layer reads, by index; and {blob: the last layer to write it}."""
    sources, latest = [], {}
    for index, layer in enumerate(layers):
        sources.append([latest[blob] for blob in layer.bottoms if blob in latest])
        latest |= dict.fromkeys(layer.tops, index)
    return sources, latest


def results(table, written):
    """(layer, type of op) for each op that a blob holds the output of, in order."""
    ops = {op.name: op.op for op in table.ops} if table else {}
    entries = table.layers if table else []
    return [(written[e.blob], ops.get(e.name, "")) for e in entries if e.blob in written]


def needed(last, sources, home):
    """The layer `last` and what it needs of layers without a home, inputs left out; in order."""
    found, waiting = set(), [last]
    while waiting:
        index = waiting.pop()
        if index not in home and index not in found:
            found.add(index)
            waiting += [source for source in sources[index] if sources[source]]
    return sorted(found)


def read(members, sources, home):
    """The expansions that these layers read, without their own."""
    found = {home[source] for member in members for source in sources[member]}
    return sorted(found - {home[members[0]]})

"""A network in its deploy form, proven in a runtime."""

from tests.harness import TOLERANCE, Converted
from tf2caffe.caffe import blobs, folding, forms, targets
from tf2caffe.paths import Handoff
from tf2caffe.proof import parity


class Deployed:
    """A network, converted or to be, in its deploy form, beside the inspectable one."""

    def __init__(self, model, folder, images=2, target="portable"):
        ready = isinstance(model, Converted)
        self.converted = model if ready else Converted(model, folder, images, target=target)
        self.table = blobs.load(self.converted.handoff.blobs)
        self.outputs = folding.outputs_of(self.converted.graph, self.table)
        self.handoff = Handoff(folder, "net", deploy=True)
        self.net = folding.deploy(self.converted.net, self.outputs, targets.TARGETS[target])
        self.table = folding.surviving(self.table, self.converted.net, self.net)
        forms.write_all([(self.handoff, self.net, self.net.prototxt(), self.table)])

    def rows(self, runtime):
        """Each layer on both sides; and what strays besides."""
        proof = self.proof(runtime)
        stray, _ = parity.first_stray(proof.before + proof.within, TOLERANCE)
        return proof.rows + [stray] * bool(stray)

    def proof(self, runtime):
        files = self.handoff.prototxt, self.handoff.caffemodel
        table, converted = blobs.load(self.handoff.blobs), self.converted
        beside = converted.handoff
        reference = beside.prototxt, beside.caffemodel, blobs.load(beside.blobs)
        return parity.prove(runtime, *files, table, converted.kept, reference)

    def layer(self, kind):
        """The one layer of this type."""
        (found,) = (layer for layer in self.net.layers if layer.type == kind)
        return found

    def types(self):
        return " ".join(SHORT.get(layer.type, layer.type) for layer in self.net.layers[1:])


SHORT = {"Convolution": "Conv", "Deconvolution": "Deconv", "InnerProduct": "Dense"}


def strays(rows):
    return [row.name for row in rows if not max(row.error, row.own, row.probed or 0) <= TOLERANCE]


def kinds(net):
    return [layer.type for layer in net.layers[1:]]

"""The model a user names on the command line of steps 3 and 4: found, loaded, traced and read."""

import zlib
from pathlib import Path

import models
from tf2caffe import images, quiet
from tf2caffe.checkpoint import load_checkpoint
from tf2caffe.handoff import Handoff

FILES = (".keras", ".h5")


class Source:
    """A traced model: its `trace`, its `graph`, and `tensors`, the trace's tensor of each node."""

    def __init__(self, handoff, network):
        quiet.tensorflow()
        from tf2caffe import reader, trace

        self.handoff = handoff
        self.trace = trace.keras_trace(load_checkpoint(handoff))
        names = getattr(network, "CAFFE_NAMES", None)
        classes = getattr(network, "CLASSES", ())
        self.graph, self.tensors = reader.read(self.trace, handoff.name, names, classes)
        self.graph.source = f"{zlib.crc32(handoff.checkpoint.read_bytes()):08x}"

    def images(self):
        """The inputs as {name: (N, H, W, C)}, and the images' names."""
        ((name, shape),) = self.graph.inputs.items()
        names, pixels = images.test_images(self.handoff, shape[1:])
        return {name: pixels}, names


def open(args):
    """The model that `args` (model, name, dir) name."""
    path = Path(args.model)
    if path.suffix not in FILES:
        network = models.module(args.model)
        return Source(Handoff(args.dir, args.name or args.model), network)
    handoff = Handoff(args.dir, args.name or path.stem)
    handoff.checkpoint = path
    return Source(handoff, models.module(handoff.name) if handoff.name in models.names() else None)

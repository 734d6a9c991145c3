"""Each layer run alone on the probes (see `probes`), in Caffe, beside what is right.

What is right tells TensorFlow, op by op; of the deploy form, whose layers may stand for several
ops, the inspectable form.
"""

import numpy as np

from tf2caffe.failure import Failure
from tf2caffe.proof import apart
from tf2caffe.proof.errors import by_channel
from tf2caffe.proof.probes import FEW, REST, SHAPING, largest


def makers(table):
    """The entry of each blob that tells what its layer computes, {blob: entry}.

    Others tell under which other axes TensorFlow has the same numbers.
    """
    found = {}
    for entry in [*table.inputs, *table.layers]:
        found.setdefault(entry.blob, entry)
    return found


def as_blobs(table, tensors):
    """TensorFlow's tensors as Caffe's blobs, {entry: array}.

    Raises `Failure` where one is missing or misshapen.
    """
    found = {}
    for entry in [*table.inputs, *table.layers]:
        tensor = tensors.get(entry.name)
        if tensor is None or tensor.shape[1:] != entry.layout.tf_shape:
            shape = None if tensor is None else tensor.shape
            raise Failure(
                f"{entry.name} of shape {entry.layout.tf_shape} is expected among TensorFlow's "
                f"activations, {shape} is there; run steps 3 to 5 again, on the same model"
            )
        found[entry] = entry.layout.to_caffe(tensor)
    return found


def _probes_of(table, probes, alike):
    """The probe of each blob, {name: array}; of as many images each if `alike`."""
    entries = makers(table)
    shapes = {entry.name: (1, *entry.layout.tf_shape) for entry in entries.values()}
    try:
        found = {name: probes.fed(name, shape) for name, shape in shapes.items()}
    except KeyError as missing:
        told = f"{missing} has no probes among TensorFlow's activations"
        raise Failure(f"{told}; run steps 3 to 5 again, on the same model") from None
    if alike:
        images = np.arange(probes.images)
        found = {name: array[images % len(array)] for name, array in found.items()}
    return {blob: entry.layout.to_caffe(found[entry.name]) for blob, entry in entries.items()}


def alone(runtime, files, table, probes, expected=None, wanted=()):
    """Each layer alone, on TensorFlow's own input to it, {blob: array}, and then on the probes.

    `files` are the parsed prototxt, the caffemodel and the prototxt. Returns all blobs by name,
    and those `wanted` besides, {blob: (its error on the probes, in which channel)} and the `Reach`.
    """
    right, start = _right(table, probes), 0
    complete = len(right) + len(table.inputs) == len(makers(table))
    fed = _probes_of(table, probes, alike=bool(wanted) or not complete)
    if expected:
        start = len(next(iter(expected.values())))
        fed = {blob: np.concatenate([expected[blob], probe]) for blob, probe in fed.items()}
    found, reach = apart.run(runtime, *files, fed, wanted)
    errors = {}
    for entry, (array, floor) in right.items():
        made = entry.layout.to_tf(found[entry.blob][start : start + len(array)])
        errors[entry.blob] = by_channel(array, made, floor)
    return found, errors, reach


def _right(table, probes):
    """What TensorFlow makes of the probes, {entry: (array, by what its errors are measured)}.

    It is known of an op if all that the op reads is cut; in a network written by hand some of it
    may have no blob of its own. Another blob of the same tensor, an output's, holds what its layer
    is fed: that tensor's probe.
    """
    entries, ops = makers(table), {op.name: op for op in table.ops}
    cut, right = {entry.name for entry in entries.values()}, {}

    def sources(op):
        for name in op.reads:
            shaped = name not in cut and name in ops and ops[name].op in SHAPING
            yield from sources(ops[name]) if shaped else [name]

    made = {entry.name for entry in table.inputs}
    for entry in [entry for entry in entries.values() if entry not in table.inputs]:
        if entry.name in made:
            right[entry] = probes.fed(entry.name, (1, *entry.layout.tf_shape)), 0
        elif entry.name in probes.outputs and cut.issuperset(sources(ops[entry.name])):
            right[entry] = probes.outputs[entry.name], probes.floors[entry.name]
        made.add(entry.name)
    return right


def beside(runtime, files, theirs, table, probes, aliases):
    """What the layers of the deploy form make of the probes, beside those of the inspectable form.

    Both are cut behind each layer that is left in the deploy form, where it makes what it made; a
    layer within an op is fed what the inspectable form makes there of the op's probe. `files` and
    `theirs` are (the parsed prototxt, caffemodel, prototxt) of the two, `table` is the inspectable
    form's, `aliases` are the deploy form's. Returns ({blob: (error, channel)}, the `Reach`, the
    same errors of the inspectable form, beside TensorFlow).
    """
    net, caffemodel, path = files
    ours = apart.separated(net)
    pairs = list(_pairs(theirs[0], ours, aliases))
    inner, before, _ = alone(runtime, theirs, table, probes, wanted=[pair[0] for pair in pairs])
    arrays = inner | _probes_of(table, probes, alike=True)
    inputs = {entry.blob: arrays[entry.blob] for entry in table.inputs}
    right, _ = apart.run(runtime, *theirs, {one: arrays[one] for one, _ in pairs} | inputs)
    fed = {other: arrays[one] for one, other in pairs} | inputs
    made, reach = apart.run(runtime, ours, caffemodel, path, fed)
    entries, names, errors = makers(table), _names(ours, net), {}
    for one, other in pairs:
        sides = _defined(right[one], made[other])
        error = by_channel(*sides, _floor(entries.get(one), sides[0], probes))
        errors[names[other]] = max(errors.get(names[other], (0.0, 0)), error)
    return errors, reach, before


def _pairs(theirs, ours, aliases):
    """(a blob of the inspectable form, that of the deploy form) for each layer left there."""
    left = {layer.name: layer for layer in ours.layer if layer.type != "Input"}
    left = {aliases.get(name, name): layer for name, layer in left.items()}
    for layer in theirs.layer:
        if layer.name in left:
            yield from zip(layer.top, left[layer.name].top, strict=True)


def _names(ours, net):
    """What the deploy form calls the blobs of the network that was `separated`."""
    return {
        mine: top
        for layer, before in zip(ours.layer, net.layer, strict=True)
        for mine, top in zip(layer.top, before.top, strict=True)
    }


def _defined(*sides):
    """Both sides, channels last, without what neither can compute.

    A probe before two ops may not suit the second.
    """
    right, made = (np.moveaxis(side, 1, -1) if side.ndim > 1 else side for side in sides)
    both = np.isfinite(right) | np.isfinite(made)
    return np.where(both, right, 0), np.where(both, made, 0)


def _floor(entry, right, probes):
    """By what the errors of a channel are measured at least, of an op or within one, (1, C or 1).

    A layer within an op has no floor of its own; where it has few places, a part of the largest.
    """
    shape = right.shape[1:-1]
    if entry is not None and entry.layout.is_usual() and entry.name in probes.floors:
        return probes.floors[entry.name].max(0, keepdims=True)
    return largest(right).max() / REST if np.prod(shape) < FEW else 0.0

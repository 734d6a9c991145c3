"""Each layer run alone on the probes (see `probes`), in Caffe, beside what is right.

What is right tells TensorFlow, op by op; of the deploy form, whose layers may stand for several
ops, the inspectable form.
"""

from dataclasses import replace

import numpy as np

from tf2caffe import apart
from tf2caffe.errors import by_channel
from tf2caffe.probes import SHAPING
from tf2caffe.stage import Failure


def alone(runtime, files, table, probes, expected=None):
    """Each layer alone, on TensorFlow's own input to it, {entry: blob}, and then on the probes.

    `files` are the parsed prototxt, the caffemodel and the prototxt. Returns all blobs by name,
    {blob: (its error on the probes, in which channel)} and the `Reach`.
    """
    right, start = _right(table, probes), 0
    complete = len(right) + len(table.inputs) == len(apart.makers(table))
    fed = _probes_of(table, probes, alike=not complete)
    if expected:
        start = len(next(iter(expected.values())))
        fed = {entry: np.concatenate([expected[entry], probe]) for entry, probe in fed.items()}
    found, reach = apart.run(runtime, *files, table, fed)
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
    entries, ops = apart.makers(table), {op.name: op for op in table.ops}
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


def _probes_of(table, probes, alike):
    """The probe of each entry as a blob, {entry: array}; of as many images each if `alike`."""
    entries = [*table.inputs, *table.layers]
    shapes = {entry.name: (1, *entry.layout.tf_shape) for entry in entries}
    try:
        found = {name: probes.fed(name, shape) for name, shape in shapes.items()}
    except KeyError as missing:
        told = f"{missing} has no probes among TensorFlow's activations"
        raise Failure(f"{told}; run steps 3 to 5 again, on the same model") from None
    if alike:
        images = np.arange(probes.images)
        found = {name: array[images % len(array)] for name, array in found.items()}
    return as_blobs(table, found)


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


def beside(runtime, files, theirs, table, probes):
    """What the layers of the deploy form make of the probes, beside those of the inspectable form.

    Both are cut at the same places: behind each layer that is left in the deploy form, where it
    makes what it made. `files` and `theirs` are (the parsed prototxt, caffemodel, prototxt) of the
    two, `table` is the inspectable form's. ({blob: (error, channel)}, the `Reach`.)
    """
    net, caffemodel, path = files
    probed = _probes_of(table, probes, alike=True)
    ours = apart.separated(net)
    pairs = list(_pairs(theirs[0], ours, table))
    right, _ = apart.run(runtime, *theirs, *_cut_behind(pairs, 0, table, probed))
    cut, fed = _cut_behind(pairs, 1, table, probed)
    made, reach = apart.run(runtime, ours, caffemodel, path, cut, fed)
    makers, errors = apart.makers(table), {}
    for (entry, *blobs), blob in zip(pairs, _blobs_of(pairs, ours, net), strict=True):
        if makers[entry.blob] == entry:
            arrays = right[blobs[0]], made[blobs[1]]
            sides = _defined(*(entry.layout.to_tf(array) for array in arrays))
            floor = probes.floors.get(entry.name, np.zeros((1, 1))).max(0, keepdims=True)
            errors[blob] = max(errors.get(blob, (0.0, 0)), by_channel(*sides, floor))
    return errors, reach


def _cut_behind(pairs, side, table, probed):
    """The table of one form that has the pairs' blobs, and what they are fed, {entry: array}."""
    places = {replace(entry, blob=blobs[side]): probed[entry] for entry, *blobs in pairs}
    inputs = {entry: probed[entry] for entry in table.inputs}
    return replace(table, layers=list(places)), places | inputs


def _pairs(theirs, ours, table):
    """(entry, its blob in the inspectable form, in the deploy form) for each layer left there."""
    writers = {top: (layer.name, at) for layer in theirs.layer for at, top in enumerate(layer.top)}
    left = {layer.name: layer for layer in ours.layer}
    for entry in table.layers:
        name, at = writers[entry.blob]
        if name in left:
            yield entry, entry.blob, left[name].top[at]


def _blobs_of(pairs, ours, net):
    """What the deploy form calls the blobs that are `separated` for the pairs."""
    names = {
        mine: top
        for layer, before in zip(ours.layer, net.layer, strict=True)
        for mine, top in zip(layer.top, before.top, strict=True)
    }
    return [names[our_blob] for *_, our_blob in pairs]


def _defined(right, made):
    """Both without what neither can compute: a probe before two ops may not suit the second."""
    both = np.isfinite(right) | np.isfinite(made)
    return np.where(both, right, 0), np.where(both, made, 0)

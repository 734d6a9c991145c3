"""The model that a user names, or has in memory: found, loaded, traced and read."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tf2caffe.failure import Failure, refuse_idle
from tf2caffe.files import blocks, checksum
from tf2caffe.frontend import tf_import
from tf2caffe.frontend.keras_file import load_checkpoint
from tf2caffe.nearby import absent, refuse_other_kinds
from tf2caffe.paths import Handoff


class Source:
    """A traced model: its `trace`, its `graph`, and `tensors`, the trace's tensor of each node.

    `model` is the name of the file it was read from; None of a model in memory.
    """

    def __init__(self, handoff, trace, graph, tensors):
        self.handoff, self.trace, self.graph, self.tensors = handoff, trace, graph, tensors
        self.model = None


def is_path(model):
    return isinstance(model, str | os.PathLike)


def handoff_of(model, name=None, folder=".", network=None):
    """The folders of a model; it is called `name`, else as its file or as the model itself."""
    if is_path(model):
        path = Path(model)
        stem = path.absolute().parent.name if path.name == ".meta" else path.stem
        return Handoff(folder, name or (str(model) if network else stem.removesuffix(".tar")))
    return Handoff(folder, name or getattr(model, "name", "net"))


def check_options(
    model, network=None, custom=None, signature=None, weights=None, switches=None,
    dequantise=False, **others,
):  # fmt: skip
    """Raise `Failure` where an option is given that this kind of model has no use for."""
    if not is_path(model):
        idle = {"custom": custom, "signature": signature, "weights": weights, "set": switches}
        refuse_idle("the model is in memory", **idle, dequantise=dequantise)
        return
    path = Path(model)
    if network:
        refuse_idle(f"{model} is a network of models/", custom=custom)
    if network or path.suffix != ".tflite":
        refuse_idle(f"only a .tflite is quantised, and {model} is none", dequantise=dequantise)
    if network or not (path.is_dir() or path.suffix == ".tflite"):
        needed = f"only a SavedModel folder and a .tflite have signatures, and {model} is neither"
        refuse_idle(needed, signature=signature)
    if network or path.suffix in (".keras", ".h5", ".hdf5", ".json"):
        refuse_idle("a model of Keras is read as it is used", set=switches)
    if network or path.suffix != ".json":
        needed = f"only a .json holds no weights, and {model} is none"
        refuse_idle(needed, weights=weights)
    if not network and not path.exists():
        raise Failure(absent(path))
    if not network:
        refuse_other_kinds(path)


def open_model(
    model, *, name=None, folder=".", network=None, shape=None, custom=None, preprocessing=None,
    **wanted,
):  # fmt: skip
    """The `Source` of a model: a path, a Keras model, a `Trace`, or a registered network.

    `network` is the registered network's module; its checkpoint is read, and its CAFFE_NAMES and
    CLASSES name what they name. A `preprocessing` that is folded becomes a part of the model.
    `wanted` are `signature`, `inputs`, `outputs` and `dequantise`. Raises `Failure` where the model
    cannot be loaded, traced or read.
    """
    check_options(model, network, custom, **wanted)
    handoff = handoff_of(model, name, folder, network)
    if not is_path(model):
        return _in_memory(model, handoff, shape, wanted, preprocessing)
    if network:
        source = _registered(model, handoff, network, shape, wanted, preprocessing)
        source.model = handoff.checkpoint.name
    else:
        options = dict(wanted, custom=custom, shape=shape)
        source = _of_file(Path(model), handoff, options, preprocessing)
        source.model = Path(model).resolve().name
    return source


def _in_memory(model, handoff, shape, wanted, preprocessing=None):
    tf_import.tensorflow()
    from tf2caffe.frontend import trace

    ready = isinstance(model, trace.Trace)
    if not ready and not hasattr(model, "weights"):
        raise TypeError(f"a path or a Keras model, not {type(model).__name__}")
    weights = [] if ready else model.weights
    return read(
        handoff,
        lambda: wanted_part(model if ready else trace.keras_trace(model, shape), wanted),
        lambda: checksum(weight.numpy().tobytes() for weight in weights),
        preprocessing=preprocessing,
    )


def _registered(model, handoff, network, shape, wanted, preprocessing=None):
    """The checkpoint is looked at before TensorFlow is imported, which takes seconds."""
    handoff.checkpoint = Handoff(handoff.root, model).checkpoint
    trained = load_checkpoint(handoff)
    from tf2caffe.frontend import trace

    return read(
        handoff,
        lambda: wanted_part(trace.keras_trace(trained, shape), wanted),
        lambda: fingerprint(handoff.checkpoint),
        getattr(network, "CAFFE_NAMES", None),
        getattr(network, "CLASSES", ()),
        preprocessing,
    )


def _of_file(path, handoff, options, preprocessing=None):
    tf_import.tensorflow()
    from tf2caffe.frontend import load

    others = [options["weights"]] if options.get("weights") else []
    return read(
        handoff,
        lambda: load.load(path, **options),
        lambda: fingerprint(path, *others),
        preprocessing=preprocessing,
    )


def wanted_part(traced, wanted):
    """The part of a trace that is between the inputs and outputs that are wanted."""
    from tf2caffe.frontend import part

    return part.between(traced, wanted.get("inputs"), wanted.get("outputs"))


def read(handoff, traced, state, names=None, classes=(), preprocessing=None):
    """The `Source` of what `traced()` gives; `state()`, a checksum, is computed beside it.

    Behind a `preprocessing` that is folded, the state is another one.
    """
    from tf2caffe.frontend import preprocess, reader

    with ThreadPoolExecutor(1) as beside:
        found = beside.submit(state)
        trace, folded = traced(), preprocessing is not None and preprocessing.folded
        trace = preprocess.folded(trace, preprocessing) if folded else trace
        graph, tensors = reader.read(trace, handoff.name, names, classes)
        graph.source = found.result()
        if folded:
            graph.source += f"+{checksum([repr(preprocessing).encode()])[:8]}"
    return Source(handoff, trace, graph, tensors)


def fingerprint(path, *others):
    """What tells one state of a model's files from another: their checksum."""
    files = [path, *others]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    elif path.suffix in (".meta", ".json"):
        files = sorted(path.parent.glob(f"{path.stem}.*"))
        files += map(Path, others)
    return checksum(block for file in files for block in blocks(Path(file)))


def run(source, inputs):
    """Every layer's output, image by image (the trace has batch 1), as {name: (N, ...)}.

    `inputs` are {input: (N, ...)}.
    """
    names = [node.name for node in source.graph.nodes]
    function = source.trace.function([source.tensors[name] for name in names])
    count = len(next(iter(inputs.values())))
    results = [
        function({name: array[at : at + 1] for name, array in inputs.items()})
        for at in tqdm(range(count), "images", disable=None, leave=False)
    ]
    return {
        node.name: np.concatenate([result[at].reshape(node.shape or 1) for result in results])
        for at, node in enumerate(source.graph.nodes)
    }

"""The model a user names on the command line of steps 3 and 4: found, loaded, traced and read."""

import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import models
from tf2caffe import cli, files
from tf2caffe.failure import Failure
from tf2caffe.frontend import images, tf_import
from tf2caffe.frontend.keras_file import load_checkpoint
from tf2caffe.paths import Handoff

SEED = 1


class Source:
    """A traced model: its `trace`, its `graph`, and `tensors`, the trace's tensor of each node."""

    def __init__(self, handoff, trace, graph, tensors):
        self.handoff, self.trace, self.graph, self.tensors = handoff, trace, graph, tensors


def is_known(args):
    """Whether `args.model` is a network of models/, not a path."""
    path = Path(args.model)
    return not path.exists() and not path.suffix


def handoff_of(args):
    """The folders of the model that `args` name."""
    return Handoff(args.dir, args.name or (args.model if is_known(args) else Path(args.model).stem))


def check_options(args):
    """Raise `Failure` where an option is given that this kind of model has no use for."""
    path, known = Path(args.model), is_known(args)
    if known:
        cli.refuse_idle(args, f"{args.model} is a network of models/", "custom")
    if known or path.suffix not in (".pb", ".meta"):
        needed = f"only the ops of a .pb or .meta are named, and {args.model} is neither"
        cli.refuse_idle(args, needed, "inputs", "outputs")
    if known or not path.is_dir():
        needed = f"only a SavedModel folder has signatures, and {args.model} is none"
        cli.refuse_idle(args, needed, "signature")


def check_input(args):
    """Raise `Failure` where an option of step 3 does not fit what the network is run on."""
    if args.input and args.images:
        raise Failure("--input and --images contradict each other: give one of them")
    if args.input:
        needed = "--input holds what the model takes; prepare it before"
        cli.refuse_idle(args, needed, "bgr", "mean", "scale")
    elif not args.images and images.test_folder(handoff_of(args)) is None:
        needed = "there are no images; give them with --images"
        cli.refuse_idle(args, needed, "bgr", "mean", "scale", "image")
    if args.images:
        images.image_files(args.images)


def open(args):
    """The model that `args` (see `cli.add_model`) name: a network of models/, or a path."""
    path, known = Path(args.model), is_known(args)
    network = models.module(args.model) if known else None
    check_options(args)
    handoff = handoff_of(args)
    if known:  # looked at before TensorFlow is imported, which takes seconds
        path = handoff.checkpoint = Handoff(args.dir, args.model).checkpoint
        trained = load_checkpoint(handoff)
    tf_import.tensorflow()
    from tf2caffe.frontend import load, trace

    def traced():
        return trace.keras_trace(trained, args.shape) if known else load.load(path, args)

    naming = getattr(network, "CAFFE_NAMES", None), getattr(network, "CLASSES", ())
    source = read(handoff, traced, path, *naming)
    source.graph.print_unused()
    return source


def read(handoff, traced, path, names=None, classes=()):
    """The `Source` of what `traced()` gives; the model's files at `path` are summed beside it."""
    from tf2caffe.frontend import reader

    with ThreadPoolExecutor(1) as beside:
        checksum = beside.submit(fingerprint, path)
        trace = traced()
        graph, tensors = reader.read(trace, handoff.name, names, classes)
        graph.source = checksum.result()
    return Source(handoff, trace, graph, tensors)


def fingerprint(path):
    """What tells one state of a model's files from another: their checksum."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    elif path.suffix == ".meta":
        files = sorted(path.parent.glob(f"{path.stem}.*"))
    checksum = 0
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(1 << 22):
                checksum = zlib.crc32(block, checksum)
    return f"{checksum:08x}"


def inputs(source, args):
    """What the network is run on: ({input: (N, ...) float32}, the images' names).

    `--input`, else `--images`, else the network's test images, else random numbers.
    """
    shapes = source.graph.inputs
    if args.input:
        return arrays(args.input, shapes)
    folder = args.images or images.test_folder(source.handoff)
    if folder is not None:
        return pictures(folder, shapes, args)
    print(f"input: random (standard normal, seed {SEED}); --images or --input take your own\n")
    random = np.random.default_rng(SEED)
    made = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return made, ["random"]


def pictures(source, shapes, args):
    """Images, then as Caffe does it: blue first if asked for, minus the mean, times the scale."""
    if len(shapes) != 1 or len(next(iter(shapes.values()))) != 4:
        raise Failure(f"the network takes {shapes}, not one image; give it with --input")
    ((name, shape),) = shapes.items()
    if shape[3] not in (1, 3):
        raise Failure(f"input {name} has {shape[3]} channels, an image 1 or 3; use --input")
    mean, scale = args.mean or [0.0], args.scale or 1.0
    if len(mean) not in (1, shape[3]):
        raise Failure(f"--mean has {len(mean)} numbers, the input {shape[3]} channels")
    if args.bgr and shape[3] == 1:
        raise Failure(f"--bgr does nothing here: input {name} has one channel")
    names, pixels = images.load_images(source, shape[1:])
    pixels = pixels[..., ::-1] if args.bgr else pixels
    pixels = (pixels - np.float32(mean)) * np.float32(scale)
    return {name: np.ascontiguousarray(pixels, np.float32)}, names


def arrays(path, shapes):
    """The inputs as the model takes them, from a .npy, or a .npz with an array for each."""
    if not path.exists():
        raise Failure(f"--input {path} does not exist")
    if path.suffix != ".npz" and len(shapes) > 1:
        raise Failure(f"--input {path}: the network has {len(shapes)} inputs; give a .npz")
    try:
        if path.suffix == ".npz":
            found = files.arrays(path)
        else:
            found = dict.fromkeys(shapes, files.mapped(path))
    except files.Damaged as error:
        raise Failure(f"--input {path}: not a .npy or .npz file ({error})") from None
    if found.keys() != shapes.keys():
        raise Failure(f"--input {path} has {sorted(found)}; the inputs are {sorted(shapes)}")
    return checked(path, found, shapes), [f"{path.stem}{at}" for at in range(count(found))]


def checked(path, found, shapes):
    for name, array in found.items():
        fits = array.ndim and array.shape[1:] == shapes[name][1:] and len(array) == count(found)
        if not fits or not len(array) or array.dtype.kind not in "fiu":
            form = ", ".join(["N", *map(str, shapes[name][1:])])
            raise Failure(f"--input {path}: {name} is {array.dtype} {array.shape}, not ({form})")
        if not np.isfinite(array).all():
            raise Failure(f"--input {path}: {name} holds NaN or infinity")
    return {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}


def count(found):
    """How many images there are."""
    first = next(iter(found.values()))
    return len(first) if first.ndim else 0

"""What a network is run on for the proof: arrays, images, or random numbers."""

import os
from pathlib import Path

import numpy as np

from tf2caffe import files
from tf2caffe.failure import Failure, refuse_idle
from tf2caffe.frontend import images as files_of_images
from tf2caffe.graph.preprocessing import Preprocessing
from tf2caffe.nearby import absent

SEED, PLAIN = 1, Preprocessing()


def check(handoff, *, data=None, images=None, preprocessing=PLAIN, image=None):
    """Raise `Failure` where an option of step 3 does not fit what the network is run on."""
    if data is not None and images:
        raise Failure("--input and --images contradict each other: give one of them")
    given = {key: getattr(preprocessing, key) for key in ("bgr", "mean", "std", "scale")}
    if preprocessing.folded and not preprocessing.given:
        raise Failure("--fold-preprocessing needs one of --bgr, --mean, --std and --scale")
    if data is not None and not preprocessing.folded:
        refuse_idle("--input holds what the model takes; prepare it before", **given)
    elif data is None and not images and files_of_images.test_folder(handoff) is None:
        needed = "there are no images; give them with --images"
        refuse_idle(needed, image=image, **({} if preprocessing.folded else given))
    if images:
        found = files_of_images.image_files(images)
        position(image, [file.name for file in found])
        files_of_images.refuse_damaged(found)
    if isinstance(data, str | os.PathLike):
        refuse_damaged(Path(data))


def refuse_damaged(path):
    """Raise `Failure` where --input names what holds no array."""
    if not path.exists():
        raise Failure(f"--input {absent(path)}")
    if path.is_dir() or path.suffix.lower() in files_of_images.KINDS:
        raise Failure(f"--input {path}: not a .npy or .npz file; --images takes images")
    try:
        wrong = files.damage(path) if path.suffix == ".npz" else files.mapped(path) is None
    except files.Damaged as error:
        wrong = error
    if wrong:
        raise Failure(f"--input {path}: not a .npy or .npz file ({wrong})")


def load(handoff, shapes, first=False, *, data=None, images=None, preprocessing=PLAIN):
    """What the network is run on: ({input: (N, ...) float32}, the images' names).

    `shapes` are the inputs' by name, batch first; `first` tells that images have channels first.
    `data`, else `images`, else the network's test images, else random numbers. `data` is the path
    of a .npy or .npz, an array, or {input: array}. Raises `Failure` where it does not fit the
    network.
    """
    if isinstance(data, str | os.PathLike):
        return arrays(Path(data), shapes)
    if data is not None:
        return given(data, shapes)
    folder = images or files_of_images.test_folder(handoff)
    if folder is not None:
        return pictures(folder, shapes, preprocessing, first)
    random = np.random.default_rng(SEED)
    if preprocessing.folded:
        print(f"input: random (0 to 255, seed {SEED}); --images or --input take your own\n")
        made = {name: random.uniform(0, 255, shape) for name, shape in shapes.items()}
    else:
        print(f"input: random (standard normal, seed {SEED}); --images or --input take your own\n")
        made = {name: random.normal(size=shape) for name, shape in shapes.items()}
    return {name: array.astype(np.float32) for name, array in made.items()}, ["random"]


def facts(handoff, names, *, data=None, images=None, preprocessing=PLAIN):
    """What is known of what `load` gave besides, as `Activations.made` has it."""
    folder = images or files_of_images.test_folder(handoff)
    prepared = {"preprocessing": vars(preprocessing)}
    if data is not None or folder is None:
        return prepared if preprocessing.folded else {}
    return prepared | {"expected": files_of_images.expected(folder, names)}


def position(image, names):
    """The index of the image called `image`, with or without its suffix; by default img3's, or 0.

    Raises `Failure` where there is none.
    """
    stems = [Path(name).stem for name in names]
    if image is None:
        return stems.index("img3") if "img3" in stems else 0
    for known in (names, stems):
        if image in known:
            return known.index(image)
    raise Failure(f"--image {image}: not one of {', '.join(stems)}")


def pictures(source, shapes, preprocessing, first=False):
    """Images, prepared unless the network does that itself.

    With `first` the network takes their channels first.
    """
    if len(shapes) != 1 or len(next(iter(shapes.values()))) != 4:
        raise Failure(f"the network takes {shapes}, not one image; give it with --input")
    ((name, shape),) = shapes.items()
    shape = (shape[0], *shape[2:], shape[1]) if first else shape
    preprocessing.check(name, shape[3])
    names, pixels = files_of_images.load_images(source, shape[1:])
    if preprocessing.given:
        where = " by the network" if preprocessing.folded else ""
        print(f"preprocessing{where}: {preprocessing.formula(shape[3])}")
    pixels = pixels if preprocessing.folded else preprocessing.apply(pixels)
    pixels = pixels.transpose(0, 3, 1, 2) if first else pixels
    return {name: np.ascontiguousarray(pixels, np.float32)}, names


def arrays(path, shapes):
    """The inputs as the model takes them, from a .npy, or a .npz with an array for each."""
    refuse_damaged(path)
    if path.suffix != ".npz" and len(shapes) > 1:
        raise Failure(f"--input {path}: the network has {len(shapes)} inputs; give a .npz")
    try:
        if path.suffix == ".npz":
            found = files.arrays(path)
        else:
            found = dict.fromkeys(shapes, files.mapped(path))
    except files.Damaged as error:
        raise Failure(f"--input {path}: not a .npy or .npz file ({error})") from None
    found = checked(path, found, shapes)
    return found, [f"{path.stem}{at}" for at in range(count(found))]


def given(data, shapes):
    """The inputs out of an array, or of {input: array}."""
    found = data if isinstance(data, dict) else dict.fromkeys(shapes, data)
    found = {name: np.asarray(array) for name, array in found.items()}
    found = checked("data", found, shapes)
    return found, [f"data{at}" for at in range(count(found))]


def checked(path, found, shapes):
    """The arrays as float32. Raises `Failure` where they are not what the inputs take."""
    if found.keys() != shapes.keys():
        raise Failure(f"--input {path} has {sorted(found)}; the inputs are {sorted(shapes)}")
    for name, array in found.items():
        fits = array.ndim and array.shape[1:] == shapes[name][1:] and len(array) == count(found)
        if not fits or not len(array) or array.dtype.kind not in "fiu":
            form = ", ".join(["N", *map(str, shapes[name][1:])])
            told = f"--input {path}: {name} is {array.dtype} {array.shape}, not ({form})"
            raise Failure(told + _hint(array.shape, shapes[name][1:]))
        if not np.isfinite(array).all():
            raise Failure(f"--input {path}: {name} holds NaN or infinity")
    return {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}


def _hint(given, wanted):
    """What to do about an array of this shape, if that is plain."""
    if given == wanted:
        return "; add the axis of the images: array[None]"
    if len(given) == 4 and (*given[2:], given[1]) == wanted:
        return "; put the channels last: array.transpose(0, 2, 3, 1)"
    return ""


def count(found):
    """How many images there are."""
    first = next(iter(found.values()))
    return len(first) if first.ndim else 0

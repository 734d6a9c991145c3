"""What a user may have meant by a path at which there is nothing, or not what it should be."""

import contextlib
import difflib
from pathlib import Path

from tf2caffe.failure import Failure


def absent(path, advice=""):
    """What is told of a path at which there is nothing; a name like it is suggested."""
    meant = suggestion(path)
    told = f"{path} does not exist" + (f" (did you mean {meant}?)" if meant else "")
    return f"{told}; {advice}" if advice else told


def suggestion(path):
    """The path with another name in the place of the first that is not there; None if none is."""
    path = Path(path)
    while path.parent != path and not path.parent.exists():
        path = path.parent
    with contextlib.suppress(OSError):
        names = sorted(one.name for one in path.parent.iterdir() if one.name[0] != ".")
        names.sort(key=lambda name: (*MODELS, Path(name).suffix).index(Path(name).suffix))
        found = [name for name in names if name == path.stem or name.startswith(f"{path.name}.")]
        found = found or difflib.get_close_matches(path.name, names, 1, 0.8)
        return path.with_name(found[0]) if found else None
    return None


def refuse_other_kinds(path):
    """Raise `Failure` where what is at `path` cannot be a model, whatever kind is looked for."""
    if path.is_dir():
        return
    name = path.name.lower()
    for ending, what in KINDS.items():
        if name.endswith(ending):
            raise Failure(f"{path} {what}")
    with path.open("rb") as file:
        begin = file.read(64).lstrip().lower()
    for first, what in BEGINNINGS.items():
        if begin.startswith(first) if first else not begin:
            raise Failure(f"{path} {what}")


MODELS = (".keras", ".h5", ".hdf5", ".json", ".pb", ".pbtxt", ".meta", ".tflite")
WEIGHTS_ALONE = (
    "holds weights alone, not the network; load them in the program that builds the model, and "
    "save that as .keras"
)
# The end of a file's name -> what the file is.
KINDS = {
    ".weights.h5": WEIGHTS_ALONE,
    ".onnx": "is a model in ONNX; tf2caffe converts TensorFlow's and Keras's",
    ".pt": "is a model of PyTorch; tf2caffe converts TensorFlow's and Keras's",
    ".pth": "is a model of PyTorch; tf2caffe converts TensorFlow's and Keras's",
    ".caffemodel": "is a network of Caffe already; give a model of TensorFlow or Keras",
    ".prototxt": "is a network of Caffe already; give a model of TensorFlow or Keras",
}  # fmt: skip
# How a file begins -> what it is.
BEGINNINGS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file; git lfs pull gets it",
    b"<!doctype": "is a web page; download the file itself",
    b"<html": "is a web page; download the file itself",
    b"": "is empty; save the model again",
}

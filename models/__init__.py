"""The networks that `train.py` knows: one file each, all that is true of it alone."""

import importlib
import pkgutil
from pathlib import Path

from tf2caffe.failure import Failure
from tf2caffe.nearby import MODELS, suggestion


def names():
    """The registered names: those of the files in this folder."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__))


def module(name):
    """The module of the network `name`."""
    if name not in names():
        raise Failure(f"unknown model {name!r}; the known ones: {', '.join(names())}")
    return importlib.import_module(f"models.{name}")


def _file_of(name):
    """The file that may have been meant."""
    found = suggestion(name)
    return f": {found}" if found and found.suffix in MODELS else ""


def named(model):
    """The module of a registered network; None where `model` is a path. Raises `Failure`."""
    path = Path(model)
    if path.exists() or path.suffix:
        return None
    if model in names():
        return module(model)
    known = f"unknown model {model!r}; the known ones: {', '.join(names())}"
    raise Failure(f"{known}; a model of your own is named by its file{_file_of(model)}")

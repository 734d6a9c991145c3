"""The networks that `train.py` knows: one file each, all that is true of it alone."""

import importlib
import pkgutil
from pathlib import Path

from tf2caffe.failure import Failure


def names():
    """The registered names: those of the files in this folder."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__))


def module(name):
    """The module of the network `name`."""
    if name not in names():
        raise Failure(f"unknown model {name!r}; the known ones: {', '.join(names())}")
    return importlib.import_module(f"models.{name}")


def named(model):
    """The module of a registered network; None where `model` is a path. Raises `Failure`."""
    path = Path(model)
    return None if path.exists() or path.suffix else module(model)

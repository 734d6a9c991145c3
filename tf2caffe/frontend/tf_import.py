"""TensorFlow imported late, without its notes; settings of the process, undone after use."""

import contextlib
import gc
import logging
import os
import re
import sys
import tempfile

DEPTH = 10_000  # calls
# logged before TensorFlow heeds TF_CPP_MIN_LOG_LEVEL: notes, and "no GPU" told as an error
NOISE = re.compile(r"I\d{4} |WARNING: All log messages before absl|E\d{4} .*\bcuInit\b")


def tensorflow():
    """The module `tensorflow`; its errors still reach standard error."""
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    with stderr_without(NOISE), _log_level("2"):
        import tensorflow

        tensorflow.config.list_physical_devices()  # looks for a GPU now, not in mid-output
    return tensorflow


def versions():
    """The versions of TensorFlow, and of Keras if it was imported, {name: version}."""
    names = ("tensorflow", "keras")
    return {name: sys.modules[name].__version__ for name in names if name in sys.modules}


@contextlib.contextmanager
def _log_level(level, name="TF_CPP_MIN_LOG_LEVEL"):
    """Set from which level on TensorFlow logs, which it looks up once, unless the user has."""
    ours = name not in os.environ
    os.environ.setdefault(name, level)
    try:
        yield
    finally:
        if ours:
            del os.environ[name]


@contextlib.contextmanager
def log():
    """Hold back TensorFlow's warnings in Python, such as that Keras compiles layer after layer."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def uncollected():
    """Put off the search for garbage: tracing makes hardly any, and it goes through the model."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def deep():
    """Let calls nest deeply: Keras walks a chain of layers by calling itself for each."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, DEPTH))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@contextlib.contextmanager
def stderr_without(pattern):
    """Hold back what is written to file descriptor 2; lines unlike `pattern` come out after all."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            sys.stderr.writelines(line for line in held if not pattern.match(line))


@contextlib.contextmanager
def unfused():
    """Functions that are called run without TensorFlow's remapper.

    It fuses Conv2D and BiasAdd, and without oneDNN TensorFlow has no such kernel with groups.
    """
    import tensorflow as tf

    before = tf.config.optimizer.get_experimental_options().get("remapping")  # None: as it likes
    tf.config.optimizer.set_experimental_options({"remapping": False})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"remapping": before})

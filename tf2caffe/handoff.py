"""The files by which the stages meet: every path is written down here, once."""

import contextlib
import os
import shutil
from pathlib import Path


class Handoff:
    """The hand-off files of the network NAME under the root folder DIR; those of either form."""

    def __init__(self, root, name, deploy=False):
        root, form = Path(root), f"{name}.deploy" if deploy else name
        self.root, self.name = root, name
        self.data = root / "data"
        self.checkpoint = root / "checkpoints" / f"{name}.keras"
        self.logs = root / "logs" / name
        self.test_images = root / "imgs" / "test" / name
        self.imgs = root / "imgs" / name
        self.diagram = self.imgs / ("caffe-net-deploy.png" if deploy else "caffe-net.png")
        self.tf_imgs = self.imgs / "tf"
        self.caffe_imgs = self.imgs / "caffe"
        self.activations = root / "activations" / f"{name}.npz"
        self.weights = root / "tf_weights" / name
        self.graph = self.weights / "graph.json"
        self.prototxt = root / "nets" / f"{form}.prototxt"
        self.caffemodel = root / "nets" / f"{form}.caffemodel"
        self.blobs = root / "nets" / f"{form}.blobs.json"
        self.parity = root / "nets" / f"{form}.parity.json"


@contextlib.contextmanager
def replacing(path):
    """Yield a temporary path beside `path`; what is written there replaces `path` in one step.

    The temporary keeps the suffix (matplotlib, Keras and numpy choose the format by it). After an
    error it is removed, and `path` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with naming(path, temporary):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path):
    """Like `replacing`, for a folder: yields an empty folder that takes the place of `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    former = path.with_name(f".{path.name}.{os.getpid()}.former")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with naming(path, temporary):
            temporary.mkdir()
            yield temporary
            if path.exists():
                os.replace(path, former)
            os.replace(temporary, path)
    finally:
        if former.exists() and not path.exists():  # stopped between the two
            os.replace(former, path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


@contextlib.contextmanager
def naming(path, temporary):
    """Let system errors name `path`; on writing they name nothing, otherwise `temporary`."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).startswith(str(temporary)):
            error.filename = str(path)
        raise

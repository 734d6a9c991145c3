"""The files by which the stages meet: every path is written down here, once."""

import contextlib
import ctypes
import errno
import os
import platform
import re
import shutil
import sys
from pathlib import Path

from tf2caffe.failure import Failure


class Handoff:
    """The hand-off files of the network NAME under the root folder DIR; those of either form."""

    def __init__(self, root, name, deploy=False):
        _check(name)
        root, form = Path(root), f"{name}.deploy" if deploy else name
        self.root, self.name = root, name
        self.data = root / "data"
        self.checkpoint = root / "checkpoints" / f"{name}.keras"
        self.logs = root / "logs" / name
        self.test_images = root / "imgs" / "test" / name
        self.imgs = root / "imgs" / name
        self.diagram = self.imgs / ("caffe-net-deploy.png" if deploy else "caffe-net.png")
        self.diagram_svg = self.diagram.with_suffix(".svg")
        self.compare = self.imgs / ("compare-deploy.png" if deploy else "compare.png")
        self.tf_imgs = self.imgs / "tf"
        self.caffe_imgs = self.imgs / "caffe"
        self.activations = root / "activations" / f"{name}.npz"
        self.weights = root / "tf_weights" / name
        self.graph = self.weights / "graph.json"
        self.prototxt = root / "nets" / f"{form}.prototxt"
        self.caffemodel = root / "nets" / f"{form}.caffemodel"
        self.blobs = root / "nets" / f"{form}.blobs.json"
        self.parity = root / "nets" / f"{form}.parity.json"
        self.report = root / "report.html"


def _check(name):
    """A network's name becomes files' names, each in its folder and none like a temporary's."""
    if not name or name[0] == "." or {"/", os.sep} & {*name} or not name.isprintable():
        raise Failure(f"{name!r} cannot be in the names of files; name the network with --name")
    if name.endswith(".deploy"):
        raise Failure(f"{name}: build_caffe.py --deploy writes files of this name; change --name")


@contextlib.contextmanager
def replacing(path):
    """Yield a temporary path beside `path`; what is written there replaces `path` in one step.

    The temporary keeps the suffix (matplotlib, Keras and numpy choose the format by it). After an
    error it is removed, and `path` is as it was.
    """
    path = Path(path)
    with temporary_beside(path) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextlib.contextmanager
def replacing_folder(path):
    """Like `replacing`, for a folder: yields an empty folder that takes the place of `path`."""
    path = Path(path)
    with temporary_beside(path) as temporary:
        remove(temporary)
        temporary.mkdir()
        yield temporary
        take_place(temporary, path)


@contextlib.contextmanager
def temporary_beside(path):
    """Yield a temporary path beside `path`, removed in the end; what dead processes left goes too.

    It bears the machine's name, since several may share the folder, and the process's number.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = f".{path.stem}.{platform.node()}"
    former = re.compile(rf"{re.escape(ours)}\.(\d{{1,9}}){re.escape(path.suffix)}")
    for file in path.parent.iterdir():
        found = former.fullmatch(file.name)
        if found and not is_alive(int(found[1])):
            remove(file)
    temporary = path.with_name(f"{ours}.{os.getpid()}{path.suffix}")
    try:
        with naming(path, temporary):
            yield temporary
    finally:
        remove(temporary)


def is_alive(process):
    if sys.platform == "win32":
        return True  # not known: there os.kill(process, 0) would send it Ctrl-C
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def remove(path):
    """Remove a file or a folder, if it is there and can be."""
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()


def take_place(temporary, path):
    """Put a folder in the place of `path`; another that is there becomes `temporary`, in one step.

    Two steps where the system knows no other way.
    """
    try:
        os.rename(temporary, path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not exchange(temporary, path):
            former = path.with_name(f"{temporary.name}.former")
            os.rename(path, former)
            try:
                os.rename(temporary, path)
            finally:
                os.rename(former, temporary if path.exists() else path)


def exchange(first, second):
    """Let two files or folders change places at once; False where that cannot be done."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename and not rename(here, os.fsencode(first), here, os.fsencode(second), swap)


@contextlib.contextmanager
def naming(path, temporary):
    """Let system errors name `path`; on writing they name nothing, otherwise `temporary`."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).startswith(str(temporary)):
            error.filename = str(path)
        raise

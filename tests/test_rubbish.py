"""Files that are cut short, have wrong bits, or were made to do harm: every reader says so.

One line (or a list of problems) and exit status 1, no traceback, no hang, no more memory than the
right file takes, no code of the file's run, every other file as it was. `make rubbish N=1000`
spoils each kind of file a thousand times; the tests take the first few of the same faults.
"""

import io
import os
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.pipeline import contents, run_warm

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("RUBBISH", 6))  # of each kind of file
SECONDS, MEMORY = 60, 3 << 30  # of one run; bytes beyond what is imported

DIGITS = """
import sys
from pathlib import Path
from models import mnistcls
from tf2caffe import cli
cli.run(lambda: mnistcls.read_digits(Path(sys.argv[1])))
"""


class Reader(NamedTuple):
    """A file, and the command that reads it; both with paths below a box."""

    file: str
    script: str
    arguments: tuple
    text: bool = False


NET = ("tiny", "--dir", ".")
PROVE = (*NET, "--runtime", "opencv")
LABELS = ("--labels", "labels.txt")
READERS = {
    "keras": Reader("tiny.keras", "save_weights.py", ("tiny.keras", "--dir", ".")),
    "h5": Reader("tiny.h5", "save_weights.py", ("tiny.h5", "--dir", ".")),
    "saved_model.pb": Reader(
        "saved/saved_model.pb", "save_weights.py", ("saved", "--name", *NET),
    ),
    "saved_model index": Reader(
        "saved/variables/variables.index", "save_weights.py", ("saved", "--name", *NET),
    ),
    "saved_model data": Reader(
        "saved/variables/variables.data-00000-of-00001", "save_weights.py",
        ("saved", "--name", *NET),
    ),
    "pb": Reader("frozen.pb", "save_weights.py", ("frozen.pb", "--name", *NET)),
    "meta": Reader("old.meta", "save_weights.py", ("old.meta", "--name", *NET)),
    "meta index": Reader("old.index", "save_weights.py", ("old.meta", "--name", *NET)),
    "meta data": Reader(
        "old.data-00000-of-00001", "save_weights.py", ("old.meta", "--name", *NET),
    ),
    "tflite": Reader("tiny.tflite", "tf_predict.py", ("tiny.tflite", "--dir", ".")),
    "pb computed": Reader("frozen.pb", "tf_predict.py", ("frozen.pb", "--name", *NET)),
    "graph.json": Reader("tf_weights/tiny/graph.json", "build_caffe.py", NET, True),
    "npy": Reader("tf_weights/tiny/dense-kernel.npy", "build_caffe.py", NET),
    "prototxt by hand": Reader(
        "own.prototxt", "build_caffe.py", (*NET, "--prototxt", "own.prototxt"), True,
    ),
    "prototxt": Reader("nets/tiny.prototxt", "caffe_predict.py", PROVE, True),
    "caffemodel": Reader("nets/tiny.caffemodel", "caffe_predict.py", PROVE),
    "blobs.json": Reader("nets/tiny.blobs.json", "caffe_predict.py", PROVE, True),
    "activations": Reader("activations/tiny.npz", "caffe_predict.py", PROVE),
    "labels": Reader("labels.txt", "caffe_predict.py", (*PROVE, *LABELS), True),
    "input npy": Reader(
        "input.npy", "tf_predict.py", ("tiny.keras", "--dir", ".", "--input", "input.npy"),
    ),
    "input npz": Reader(
        "input.npz", "tf_predict.py", ("tiny.keras", "--dir", ".", "--input", "input.npz"),
    ),
    **{
        f"image {kind}": Reader(
            f"image.{kind}", "tf_predict.py",
            ("tiny.keras", "--dir", ".", "--images", f"image.{kind}"),
        )
        for kind in ("png", "jpg", "bmp")
    },
    "digits": Reader("digits.npz", "digits.py", ("digits.npz",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """A folder in which each of the files is as it should be."""
    folder = tmp_path_factory.mktemp("right")
    models(folder)
    random = np.random.default_rng(1)
    pixels = random.integers(0, 255, (6, 6), np.uint8)
    for kind in ("png", "jpg", "bmp"):
        Image.fromarray(pixels).save(folder / f"image.{kind}")
    batch = random.normal(size=(2, 6, 6, 1)).astype(np.float32)
    np.save(folder / "input.npy", batch)
    np.savez_compressed(folder / "input.npz", data=batch)
    x = random.integers(0, 255, (20, 28, 28), np.uint8)
    np.savez_compressed(folder / "digits.npz", x=x, y=np.arange(20) % 10)
    (folder / "labels.txt").write_text("one\ntwo\nthree\n")
    (folder / "digits.py").write_text(DIGITS)
    for script in ("tf_predict.py", "save_weights.py"):
        assert command(folder, script, "tiny.keras", "--dir", ".").status == 0
    assert command(folder, "build_caffe.py", *NET).status == 0
    shutil.copy(folder / "nets/tiny.prototxt", folder / "own.prototxt")
    assert command(folder, "caffe_predict.py", *PROVE, *LABELS).status == 0
    return folder


def models(folder):
    """The same small network in every format."""
    import keras
    import tensorflow as tf
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((6, 6, 1), name="data"),
            layers.Conv2D(2, 3, padding="same", use_bias=False, name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(name="relu"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flatten"),
            layers.Dense(3, activation="softmax", name="dense"),
        ],
        name="tiny",
    )
    model.save(folder / "tiny.keras")
    model.save(folder / "tiny.h5")
    model.export(folder / "saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (folder / "tiny.tflite").write_bytes(converter.convert())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, (1, 6, 6, 1), "data")
        kernel = tf.compat.v1.get_variable("conv/kernel", (3, 3, 1, 2))
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"), "relu")
        matrix = tf.compat.v1.get_variable("dense/kernel", (72, 3))
        tf.nn.softmax(tf.matmul(tf.reshape(x, (1, 72)), matrix), name="probs")
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(folder / "old"))
        frozen = tf.compat.v1.graph_util.convert_variables_to_constants(
            session, session.graph_def, ["probs"]
        )
        (folder / "frozen.pb").write_bytes(frozen.SerializeToString())


def command(box, script, *arguments):
    """Run a script with the box as its current folder; one of the box's own is run from there."""
    path = box / script
    return run_warm(
        path if path.exists() else script, *arguments, cwd=box, seconds=SECONDS, memory=MEMORY
    )


@pytest.mark.parametrize("kind", READERS)
def test_spoilt_files(kind, right, tmp_path):
    reader, faults, refusals = READERS[kind], [], 0
    for number in range(COUNT):
        random = np.random.default_rng([zlib.crc32(kind.encode()), number])
        box = shutil.copytree(right, tmp_path / str(number))
        file = box / reader.file
        file.write_bytes(spoilt(file, random, reader.text))
        fault, refused = misdeed(box, reader)
        refusals += refused
        if fault:
            faults.append(f"{kind} {number}: {fault}")
            continue
        shutil.rmtree(box)
    assert not faults, "\n".join([f"{len(faults)} of {COUNT}", *faults[:20]])
    print(f"{kind}: {refusals} of {COUNT} refused")


def misdeed(box, reader):
    """What the script did that it must not, or None; and whether it refused the file."""
    before = contents(box)
    ended = command(box, reader.script, *reader.arguments)
    after = contents(box)
    changed = {path for path in before | after if before.get(path) != after.get(path)}
    if ended.status == 0:
        strange = [path for path in changed if not path.startswith(HAND_OFF)]
        return (f"left {strange}" if strange else None), False
    if ended.err.startswith("NOT EQUAL: ") and ended.err.count("\n") == 1:
        return None, True
    if changed:
        return f"{ended.err}\nand left {sorted(changed)}", True
    return unclear(ended, reader.script), True


def unclear(ended, script):
    """What is wrong with how a script told a mistake; None if nothing is."""
    first, *more = ended.err.splitlines() or [""]
    listed = first.endswith(":") and all(line.startswith("  ") for line in more)
    if ended.status != 1 or not first.startswith(f"{script}: ") or more and not listed:
        return f"status {ended.status}\n{ended.err[-2000:]}"
    if len(ended.err) > 4000 or not ended.err.replace("\n", "").isprintable():
        return f"no line for people: {ended.err[:1000]!r}"
    return None


HAND_OFF = ("activations/", "imgs/tiny", "nets/", "tf_weights/")


def spoilt(file, random, text):
    """The content of a file with a fault in it: anywhere, or in a member of a zip archive."""
    content = file.read_bytes()
    if zipfile.is_zipfile(file) and random.random() < 0.7:
        return rezipped(content, random)
    faults = [*FAULTS, *TEXT_FAULTS] if text else FAULTS
    for _ in range(random.integers(1, 4)):
        content = faults[random.integers(len(faults))](content, random)
    return content


def rezipped(content, random):
    """A zip archive, whole by its checksums, one of whose members is spoilt."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    chosen = list(members)[random.integers(len(members))]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for info, member in members.items():
            if info is chosen:
                faults = [*FAULTS, *TEXT_FAULTS] if info.filename.endswith("json") else FAULTS
                member = faults[random.integers(len(faults))](member, random)
            archive.writestr(info.filename, member, info.compress_type)
    return made.getvalue()


def place(content, random, length=0):
    return int(random.integers(max(1, len(content) - length)))


def cut(content, random):
    return content[: place(content, random)]


def bits(content, random):
    changed = bytearray(content)
    for _ in range(random.integers(1, 9)):
        if changed:
            changed[place(content, random)] ^= 1 << int(random.integers(8))
    return bytes(changed)


def noise(content, random):
    length = int(random.integers(1, 32))
    at = place(content, random, length)
    return content[:at] + random.bytes(length) + content[at + length :]


def extremes(content, random):
    """A number that a size may be: none, all bits, the largest with a sign."""
    length = int(random.choice([1, 2, 4, 8]))
    at = place(content, random, length)
    number = [b"\0" * length, b"\xff" * length, b"\xff" * (length - 1) + b"\x7f"]
    return content[:at] + number[random.integers(3)] + content[at + length :]


def gone(content, random):
    length = int(random.integers(1, 64))
    at = place(content, random, length)
    return content[:at] + content[at + length :]


def again(content, random):
    first, last = sorted((place(content, random), place(content, random)))
    return content[:last] + content[first : first + 256] + content[last:]


FAULTS = (cut, bits, noise, extremes, gone, again)


def word(content, random):
    """One word or number is another one."""
    import re

    words = list(re.finditer(rb"[\w.-]+", content))
    if not words:
        return content
    found = words[random.integers(len(words))]
    return content[: found.start()] + WORDS[random.integers(len(WORDS))] + content[found.end() :]


WORDS = (b"0", b"-1", b"1e999", b"NaN", b"null", b"true", b"1.5", b"99999999999999999999",
         b"2147483647", b"100000", b"../../x", b"/x", b"a/b", b"\\u0000", b"\\n", b"\xff",
         b"", b"x" * 5000, b"[]", b"{}", b'"')  # fmt: skip
TEXT_FAULTS = (word, word, word)


def npy(header):
    """A .npy that has this header, and next to nothing behind it."""
    text = str(header).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)


HUGE = npy({"descr": "<f4", "fortran_order": False, "shape": (25_000_000_000,)})


class Planted:
    """Unpickled, it leaves a file behind."""

    def __reduce__(self):
        return (Path.touch, (Path("planted"),))


def pickled():
    array, file = np.array([Planted()], object), io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def zipped(**members):
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def claiming(content, size):
    """A zip archive, all of whose members claim to be of another size."""
    changed = bytearray(content)
    for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = changed.find(signature)
        while at >= 0:
            changed[at + offset : at + offset + 4] = size.to_bytes(4, "little")
            at = changed.find(signature, at + 4)
    return bytes(changed)


def written(file, content):
    return lambda box: (box / file).write_bytes(content)


def changed(file, old, new):
    def spoil(box):
        text = (box / file).read_text()
        assert old in text
        (box / file).write_text(text.replace(old, new))

    return spoil


def with_member(file, name, content):
    """A zip archive in which one member is another, or one more."""

    def spoil(box):
        with zipfile.ZipFile(box / file) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        (box / file).write_bytes(zipped(**(members | {name: content})))

    return spoil


def keras_config(old, new):
    def spoil(box):
        with zipfile.ZipFile(box / "tiny.keras") as archive:
            config = archive.read("config.json").decode()
        assert old in config
        with_member("tiny.keras", "config.json", config.replace(old, new, 1))(box)

    return spoil


def h5_dataset(path):
    """Among the weights, one of 100 GB, of which nothing is stored."""
    import h5py

    def spoil(box):
        with h5py.File(box / path, "r+") as file:
            found = []
            file.visit(lambda name: found.append(name) if is_kernel(file[name]) else None)
            del file[found[0]]
            file.create_dataset(found[0], (25_000_000_000,), np.float32, chunks=(1 << 20,))

    def is_kernel(item):
        return isinstance(item, h5py.Dataset) and len(item.shape) == 4

    return spoil


def in_keras(spoil):
    """What spoils `weights.h5` does so to the weights within a .keras."""

    def spoil_member(box):
        with zipfile.ZipFile(box / "tiny.keras") as archive:
            (box / "weights.h5").write_bytes(archive.read("model.weights.h5"))
        spoil(box)
        content = (box / "weights.h5").read_bytes()
        (box / "weights.h5").unlink()
        with_member("tiny.keras", "model.weights.h5", content)(box)

    return spoil_member


def with_lambda(suffix):
    """A model with a layer that is code."""

    def spoil(box):
        import keras

        code = "(lambda x: [x, __import__('pathlib').Path('planted').touch()][0])"
        model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Lambda(eval(code))])
        model.save(box / f"tiny{suffix}")
        (box / "planted").unlink(missing_ok=True)

    return spoil


def png(width, height):
    """An image that says that it is of this size."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "png")
    content = bytearray(file.getvalue())
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def bmp(width, height):
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "bmp")
    content = bytearray(file.getvalue())
    content[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return bytes(content)


def graph_of(make):
    """A frozen graph: data, and what `make` computes of it."""

    def spoil(box):
        import tensorflow as tf

        with tf.Graph().as_default() as graph:
            data = tf.compat.v1.placeholder(tf.float32, (1, 6, 6, 1), "data")
            tf.identity(make(tf, data), "probs")
        (box / "frozen.pb").write_bytes(graph.as_graph_def().SerializeToString())

    return spoil


def splat(box):
    """A constant of 100 GB, written as one number."""
    import tensorflow as tf

    graph_of(lambda tf, data: data + tf.constant(1.0, shape=(6, 1)))(box)
    graph = tf.compat.v1.GraphDef.FromString((box / "frozen.pb").read_bytes())
    (node,) = (node for node in graph.node if node.op == "Const")
    node.attr["value"].tensor.tensor_shape.dim[0].size = 25_000_000_000
    node.attr["value"].tensor.tensor_content = b""
    node.attr["value"].tensor.float_val[:] = [1.0]
    (box / "frozen.pb").write_bytes(graph.SerializeToString())


def saved_with(make):
    """A SavedModel that does something when it is loaded."""

    def spoil(box):
        import tensorflow as tf

        class Table(tf.lookup.KeyValueTensorInitializer):
            def initialize(self, table):
                make(tf)
                return super().initialize(table)

        shutil.rmtree(box / "saved")
        module = tf.Module()
        module.table = tf.lookup.StaticHashTable(Table(["a"], [1.0]), 0.0)
        signature = tf.TensorSpec((1, 6, 6, 1), name="data")
        call = tf.function(lambda data: {"out": tf.nn.relu(data)}, [signature])
        tf.saved_model.save(module, str(box / "saved"), call.get_concrete_function())
        (box / "planted").unlink(missing_ok=True)

    return spoil


KERAS, H5, INPUT, IMAGE = (
    READERS[kind] for kind in ("keras", "h5", "input npz", "image png")
)  # fmt: skip
GRAPH, NPY, FROZEN, SAVED = (
    READERS[kind] for kind in ("graph.json", "npy", "pb", "saved_model.pb")
)
ACTIVATIONS, BY_HAND, PROTOTXT = (
    READERS[kind] for kind in ("activations", "prototxt by hand", "prototxt")
)
KERNEL = '"file": "conv-kernel.npy"'
# what is planted, the reader that must find it, and what it says
HOSTILE = {
    "weight of 100 GB": (written(NPY.file, HUGE), NPY, "dense-kernel.npy is not a whole .npy"),
    "weight that is code": (written(NPY.file, pickled()), NPY, "dense-kernel.npy is not a whole"),
    "input of 100 GB": (written("input.npy", HUGE), READERS["input npy"], "not a .npy"),
    "input that is code": (written("input.npy", pickled()), READERS["input npy"], "not a .npy"),
    "member of 100 GB": (written(INPUT.file, zipped(**{"data.npy": HUGE})), INPUT, "not a .npy"),
    "member that is code": (
        written(INPUT.file, zipped(**{"data.npy": pickled()})), INPUT, "allow_pickle=False",
    ),
    "member that is no array": (
        written(INPUT.file, zipped(data=b"text")), INPUT, "'data' in it is no array",
    ),
    "archive that claims 4 GB": (
        written(INPUT.file, claiming(zipped(**{"data.npy": HUGE}), 2**32 - 2)), INPUT,
        "claims to hold 4,294,967,294 bytes",
    ),
    "activations of 100 GB": (
        written(ACTIVATIONS.file, zipped(**{"@images.npy": HUGE})), ACTIVATIONS, "tf_predict.py",
    ),
    "activations that are code": (
        written(ACTIVATIONS.file, zipped(**{"@images.npy": pickled()})), ACTIVATIONS, "pickle",
    ),
    "activations beside the folder": (
        with_member(ACTIVATIONS.file, "../../planted.npy", npy({})), ACTIVATIONS, "tf_predict.py",
    ),
    "digits of 100 GB": (
        written("digits.npz", zipped(**{"x.npy": HUGE, "y.npy": HUGE})), READERS["digits"], "MNIST",
    ),
    ".keras that claims 4 GB": (
        lambda box: (box / "tiny.keras").write_bytes(
            claiming((box / "tiny.keras").read_bytes(), 2**32 - 2)
        ),
        KERAS, "claims to hold",
    ),
    ".keras weights of 100 GB": (
        in_keras(h5_dataset("weights.h5")), KERAS, "declares 93.13 GB",
    ),
    ".h5 weights of 100 GB": (h5_dataset("tiny.h5"), H5, "declares 93.13 GB"),
    ".keras with a Lambda": (with_lambda(".keras"), KERAS, "a Lambda holds code"),
    ".h5 with a Lambda": (with_lambda(".h5"), H5, "a Lambda holds code"),
    ".keras that names a function": (
        keras_config('"module": "keras.layers", "class_name": "ReLU"',
                     '"module": "os", "class_name": "system"'), KERAS, "not a model that Keras",
    ),
    ".keras that names a module": (
        keras_config('"module": "keras.layers", "class_name": "ReLU"',
                     '"module": "antigravity", "class_name": "x"'), KERAS, "not a model that Keras",
    ),
    ".keras of a layer of 100 GB": (
        keras_config('"units": 3', '"units": 99999999999'), KERAS, "not a model that Keras",
    ),
    "image of 60000x60000": (written(IMAGE.file, png(60_000, 60_000)), IMAGE, "decompression bomb"),
    "image of 12000x12000": (written(IMAGE.file, png(12_000, 12_000)), IMAGE, "decompression bomb"),
    "bmp of 60000x60000": (
        written("image.bmp", bmp(60_000, 60_000)), READERS["image bmp"], "decompression bomb",
    ),
    "weights file elsewhere": (
        changed(GRAPH.file, KERNEL, '"file": "../../../etc/passwd"'), GRAPH, "not a plain file name"
    ),
    "weights file with a path": (
        changed(GRAPH.file, KERNEL, '"file": "/etc/passwd"'), GRAPH, "not a plain file name",
    ),
    "weights file ..": (
        changed(GRAPH.file, KERNEL, '"file": ".."'), GRAPH, "not a plain file name",
    ),
    "weights file with NUL": (
        changed(GRAPH.file, KERNEL, '"file": "\\u0000"'), GRAPH, "not a plain file name",
    ),
    "weights file without end": (
        changed(GRAPH.file, KERNEL, f'"file": "{"x" * 5000}"'), GRAPH, "not a plain file name",
    ),
    "weights file that is a number": (
        changed(GRAPH.file, KERNEL, '"file": 3'), GRAPH, "graph.json is damaged",
    ),
    "layer with a line break": (
        changed(GRAPH.file, '"layer": "conv"', '"layer": "a\\n}"'), GRAPH, "cannot be printed",
    ),
    "tensor of 100 GB": (
        changed(GRAPH.file, '"shape": [1, 6, 6, 2]', '"shape": [1, 99999, 99999, 9]'), GRAPH,
        "graph.json is damaged",
    ),
    "window of 100 GB": (
        changed(GRAPH.file, '"ksize": [1, 2, 2, 1]', '"ksize": [1, 160000, 160000, 1]'), GRAPH, "",
    ),
    "constant of 100 GB": (splat, FROZEN, "claims to hold"),
    "filled with 100 GB": (
        graph_of(lambda tf, data: data[0, 0, 0, 0] + tf.fill((1, 25_000_000_000), 1.0)),
        FROZEN, "makes 25,000,000,000 numbers",
    ),
    "computed from 100 GB": (
        graph_of(lambda tf, data: data * tf.reduce_sum(tf.fill((50_000, 500_000), 1.0))),
        FROZEN, "makes 25,000,000,000 numbers",
    ),
    "graph that reads a file": (
        graph_of(lambda tf, data: data * tf.strings.to_number(tf.io.read_file("digits.py"))),
        FROZEN, "ReadFile",
    ),
    "SavedModel that writes a file": (
        saved_with(lambda tf: tf.io.write_file("planted", "")), SAVED, "WriteFile",
    ),
    "SavedModel that runs Python": (
        saved_with(lambda tf: tf.py_function(Path("planted").touch, [], [])), SAVED, "EagerPyFunc",
    ),
    "blob of 100 GB": (
        changed(PROTOTXT.file, "pad: 1", "pad: 160000"), PROTOTXT, "nets/tiny.prototxt",
    ),
    "blob of 100 GB by hand": (
        changed(BY_HAND.file, "pad: 1", "pad: 160000"), BY_HAND, "layer conv",
    ),
    "weights of 100 GB by hand": (
        changed(BY_HAND.file, "num_output: 2", "num_output: 4000000000"), BY_HAND, "conv",
    ),
    "prototxt too deep": (written(BY_HAND.file, b"layer { a { " * 100_000), BY_HAND, "prototxt"),
    "prototxt too deep, step 6": (
        written(PROTOTXT.file, b"layer { a { " * 100_000), PROTOTXT, "prototxt",
    ),
    "table too deep": (
        written("nets/tiny.blobs.json", b"[" * 100_000), READERS["blobs.json"], "is damaged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name, right, tmp_path, monkeypatch):
    spoil, reader, told = HOSTILE[name]
    box = shutil.copytree(right, tmp_path / "box")
    monkeypatch.chdir(box)
    spoil(box)
    fault, refused = misdeed(box, reader)
    assert refused and not fault, fault
    assert told in command(box, reader.script, *reader.arguments).err


@pytest.mark.parametrize("kind", READERS)
def test_right_files(kind, right, tmp_path):
    """What the spoilt ones are spoilt of is taken."""
    box = shutil.copytree(right, tmp_path / "box")
    assert misdeed(box, READERS[kind]) == (None, False)


def test_a_layer_larger_than_its_weights(right, tmp_path):
    """Of 6 GB, which there may be: none of it is taken."""
    box = shutil.copytree(right, tmp_path / "box")
    keras_config('"units": 3', '"units": 80000000')(box)
    ended = run_warm(KERAS.script, *KERAS.arguments, cwd=box, seconds=SECONDS)
    assert unclear(ended, KERAS.script) is None
    assert "its layers are larger than the weights in it" in ended.err


LABELLED = "$\\frac{1$", "a" * 3000, "\x1b[31mred", "漢字", ""


def test_labels_that_mean_something_elsewhere(right, tmp_path):
    box = shutil.copytree(right, tmp_path / "box")
    for first in LABELLED:
        (box / "labels.txt").write_text(f"{first}\n$x$\n\\sum\n")
        assert misdeed(box, READERS["labels"]) == (None, False), first


NAMES = ("../x", "..", ".", "a/b", "/x", "a\nb", "a\x1b", ".x", "x.deploy")


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_elsewhere(name, right, tmp_path):
    box = shutil.copytree(right, tmp_path / "box")
    for script, *before in (
        ("tf_predict.py", "tiny.keras", "--name"), ("save_weights.py", "tiny.keras", "--name"),
        ("build_caffe.py",), ("caffe_predict.py",),
    ):  # fmt: skip
        reader = Reader("", script, (*before, name, "--dir", "."))
        fault, refused = misdeed(box, reader)
        assert refused and not fault, fault


def test_names_that_are_files_names(right, tmp_path):
    """However they are written, and as long as a file system takes."""
    for name in ("日本", "a b", "a$b", "-", "x" * 180, "%s", "a'b\"c", "a\\b"):
        box = shutil.copytree(right, tmp_path / "box")
        for script, *arguments in (
            ("tf_predict.py", "tiny.keras", f"--name={name}"),
            ("save_weights.py", "tiny.keras", f"--name={name}"),
            ("build_caffe.py", "--deploy", "--", name),
            ("caffe_predict.py", "--runtime=opencv", "--", name),
        ):
            ended = command(box, script, *arguments)
            assert (ended.status, ended.err) == (0, ""), (name, ended.err)
        assert (box / "nets" / f"{name}.parity.json").exists()
        shutil.rmtree(box)


def test_images_called_anything(right, tmp_path):
    """What is no image is passed over; a pipe that nobody writes to would be waited for."""
    box = shutil.copytree(right, tmp_path / "box")
    photos = box / "photos"
    photos.mkdir()
    for name in (b"\xff.png", b"a\nb.png", b"$\\x$.png", b"img2.png"):
        shutil.copy(box / "image.png", os.path.join(os.fsencode(photos), name))
    (photos / "folder.png").mkdir()
    os.mkfifo(photos / "pipe.png")
    os.symlink("nowhere", photos / "link.png")
    given = ("tiny.keras", "--dir", ".", "--images", "photos")
    ended = command(box, "tf_predict.py", *given)
    assert (ended.status, ended.err) == (0, "")
    assert "(4 images, " in ended.out
    ended = command(box, "caffe_predict.py", *PROVE)
    assert (ended.status, ended.err) == (0, "")

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

from models import mnistcls
from tests.pipeline import contents, run_warm

COUNT = int(os.environ.get("RUBBISH", 6))  # of each kind of file
SECONDS, MEMORY = 60, 3 << 30  # of one run; bytes beyond what is imported

DIGITS = """
import sys
from pathlib import Path
from models import mnistcls
from tf2caffe import stage
stage.run(lambda: mnistcls.read_digits(Path(sys.argv[1])))
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

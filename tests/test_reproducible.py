"""The same model gives the same bytes: in another process, another folder, by sets in disorder."""

import shutil

import keras
import pytest
from keras import layers

from tests.harness import randomise
from tests.pipeline import contents, end, start

STEPS = (
    ("save_weights.py", "MODEL", "--name", "net"),
    ("build_caffe.py", "net", "--deploy"),
)
LEFT = ("tf_weights", "nets", "imgs")


def branches():
    """Many layers that could be in any order: branches, two inputs, two outputs, shared weights."""
    inputs = [keras.Input((9, 7, 3), name=name) for name in ("left", "right")]
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    parts = [shared(x) for x in inputs]
    for at in range(4):
        x = layers.Conv2D(4, 1 + at, 1, padding="same", name=f"branch{at}")(parts[at % 2])
        x = layers.BatchNormalization(name=f"norm{at}")(x)
        parts.append(layers.ReLU(max_value=6, name=f"relu{at}")(x))
    joined = layers.Concatenate(name="joined")(parts)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(joined)
    joined = layers.Multiply()([joined, layers.Conv2D(24, 1, activation="swish")(gate)])
    flat = layers.Flatten()(layers.MaxPooling2D(3, 2, padding="same")(joined))
    outputs = [layers.Dense(units, name=name)(flat) for name, units in (("one", 3), ("two", 5))]
    return randomise(keras.Model(inputs, outputs, name="net"))


def left_by(model, folder, seed):
    """What the steps leave in a new folder, Python's sets being walked in another order."""
    for script, *arguments in STEPS:
        arguments = [model if word == "MODEL" else word for word in arguments]
        ended = end(start(script, *arguments, "--dir", folder, cwd=folder, PYTHONHASHSEED=seed))
        assert (ended.status, ended.err) == (0, ""), ended
    return {part: contents(folder / part) for part in LEFT}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [".keras", ".h5", "/"])
def test_same_model_same_bytes(kind, tmp_path):
    model, file = branches(), tmp_path / f"net{kind}".rstrip("/")
    model.export(file, verbose=False) if kind == "/" else model.save(file)
    found = []
    for seed in ("0", "1", "12345"):
        folder = tmp_path / f"in {seed}"
        folder.mkdir()
        found.append(left_by(file, folder, seed))
    assert len(found[0]["tf_weights"]) > 20 and len(found[0]["nets"]) == 6
    assert found[1] == found[0] and found[2] == found[0]


def test_the_six_steps_again(finished, tmp_path):
    """From the same checkpoint, elsewhere: the same files of steps 2 to 6, pictures too."""
    again = tmp_path / "again"
    shutil.copytree(finished.folder / "checkpoints", again / "checkpoints")
    for script in list(finished.said)[1:]:
        assert end(start(script, "--dir", again, PYTHONHASHSEED="7")).status == 0
    before, after = contents(finished.folder), contents(again)
    before = {path: before[path] for path in before if made_again(path)}
    assert after == before


def made_again(path):
    """What step 1 leaves is made by chance."""
    return not path.startswith("logs") and not path.endswith("tb-loss.png")

"""Both runtimes on small networks; what they, and the machine, do to bad ones."""

import argparse
import os
import re
import signal
import sys
import threading
import time

import numpy as np
import pytest

from tf2caffe.caffe import schema
from tf2caffe.failure import Failure
from tf2caffe.proof import runtimes

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 %s } } }\n'
IMAGE = DATA % "dim: 2 dim: 9 dim: 7"
CONV = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 } }
"""
PLAIN = (
    IMAGE
    + CONV
    + """
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm"
  batch_norm_param { eps: 0.001 use_global_stats: true } }
layer { name: "bn" type: "Scale" bottom: "norm" top: "bn" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "bn" top: "relu" }
layer { name: "pool" type: "Pooling" bottom: "relu" top: "pool"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "power" type: "Power" bottom: "pool" top: "power"
  power_param { scale: -0.5 shift: 0.25 } }
layer { name: "flatten" type: "Flatten" bottom: "power" top: "flatten" }
layer { name: "dense" type: "InnerProduct" bottom: "flatten" top: "dense"
  inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "dense" top: "prob" }
layer { name: "again" type: "Reshape" bottom: "pool" top: "again"
  reshape_param { shape { dim: 0 dim: -1 } } }
layer { name: "mean" type: "Pooling" bottom: "bn" top: "mean"
  pooling_param { pool: AVE global_pooling: true } }
"""
)
SHAPES = {
    "conv": [(4, 2, 3, 3), (4,)],
    "norm": [(4,), (4,), (1,)],
    "bn": [(4,), (4,)],
    "dense": [(5, 24), (5,)],
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes net.prototxt and net.caffemodel (random weights) into the current directory."""
    monkeypatch.chdir(tmp_path)
    return write_network


def write_network(prototxt, shapes=SHAPES):
    rng = np.random.default_rng(1)
    net = schema.NetParameter()
    for name, blobs in shapes.items():
        layer = net.layer.add(name=name)
        for shape in blobs:
            data = rng.uniform(0.5, 1.5, shape) if len(shape) == 1 else rng.normal(size=shape)
            blob = layer.blobs.add(data=np.asarray(data, np.float32).tobytes())
            blob.shape.dim.extend(shape)
    with open("net.prototxt", "w") as file:
        file.write(prototxt)
    with open("net.caffemodel", "wb") as file:
        file.write(net.SerializeToString())
    return "net.prototxt", "net.caffemodel"


def images(*shape):
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


def refusal(runtime, files, inputs=None):
    """The one line that `runtime` says of a network that it cannot run."""
    with pytest.raises(Failure) as raised:
        runtime.run(*files, inputs or {"data": images(1, 2, 9, 7)})
    line = str(raised.value)
    assert "\n" not in line
    assert "/" not in line  # the file is named as the user named it
    return line


def agree(blobs, others):
    assert list(blobs) == list(others)
    for name, blob in blobs.items():
        assert blob.shape == others[name].shape
        assert np.abs(blob - others[name]).max() <= 1e-5 * np.abs(blob).max(), name


@pytest.mark.parametrize("batch", [1, 10])
def test_runtimes_agree_on_every_blob(write, pycaffe, opencv, batch):
    files, inputs = write(PLAIN), {"data": images(batch, 2, 9, 7)}
    blobs = pycaffe.run(*files, inputs)
    assert list(blobs) == [
        "data", "conv", "norm", "bn", "relu", "pool", "power", "flatten", "dense", "prob",
        "again", "mean",
    ]  # fmt: skip
    assert blobs["prob"].shape == (batch, 5)
    agree(blobs, opencv.run(*files, inputs))


def test_opencv_does_not_round_convolutions(write, pycaffe, opencv):
    """Winograd's algorithm, which it prefers, strays by 9e-6."""
    text = (
        DATA % "dim: 64 dim: 28 dim: 28"
        + """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 64 kernel_size: 3 pad: 1 } }
"""
    )
    files, inputs = write(text, {"conv": [(64, 64, 3, 3), (64,)]}), {"data": images(2, 64, 28, 28)}
    expected = pycaffe.run(*files, inputs)["conv"]
    strayed = np.abs(opencv.run(*files, inputs)["conv"] - expected).max()
    assert strayed <= 2e-6 * np.abs(expected).max()


def test_images_do_not_mix(write, runtime):
    files, data = write(PLAIN), images(3, 2, 9, 7)
    together = runtime.run(*files, {"data": data})
    agree(runtime.run(*files, {"data": data[1:2]}), {k: v[1:2] for k, v in together.items()})


def test_only_the_blobs_asked_for(write, runtime):
    files, inputs = write(PLAIN), {"data": images(2, 2, 9, 7)}
    blobs = runtime.run(*files, inputs)
    some = runtime.run(*files, inputs, ["relu", "conv"])
    assert list(some) == ["relu", "conv"]
    agree(some, {name: blobs[name] for name in some})
    agree(runtime.run(*files, inputs, ["data"]), inputs)
    with pytest.raises(Failure, match="net.prototxt: no layer writes a blob 'foo'"):
        runtime.run(*files, inputs, ["foo"])


def test_layers_in_place_and_names_of_tops(write, runtime):
    text = (
        IMAGE
        + """
layer { name: "a/twice" type: "Power" bottom: "data" top: "file" power_param { scale: 2 } }
layer { name: "minus" type: "Power" bottom: "file" top: "file" power_param { shift: -1 } }
layer { name: "relu" type: "ReLU" bottom: "file" top: "file" }
"""
    )
    data = images(2, 2, 9, 7)
    blobs = runtime.run(*write(text, {}), {"data": data})
    agree(blobs, {"data": data, "file": np.maximum(2 * data - 1, 0)})


def test_an_input_changed_in_place(write, runtime):
    text = (
        IMAGE
        + """
layer { name: "minus" type: "Power" bottom: "data" top: "data" power_param { shift: -1 } }
"""
    )
    data = images(2, 2, 9, 7)
    agree(runtime.run(*write(text, {}), {"data": data}), {"data": data - 1})


def test_several_inputs_and_tops(write, runtime):
    text = """input: "data" input_shape { dim: 1 dim: 4 dim: 3 dim: 3 }
layer { name: "other" type: "Input" top: "b" top: "c"
  input_param { shape { dim: 1 dim: 4 dim: 3 dim: 3 } shape { dim: 1 dim: 4 dim: 3 dim: 3 } } }
layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "b" bottom: "c" top: "sum" }
layer { name: "slice" type: "Slice" bottom: "sum" top: "first" top: "rest"
  slice_param { axis: 1 slice_point: 1 } }
"""
    inputs = {"data": images(2, 4, 3, 3), "c": images(2, 4, 3, 3), "b": images(2, 4, 3, 3) + 1}
    total = sum(inputs.values())
    blobs = runtime.run(*write(text, {}), inputs)
    agree(blobs, {"data": inputs["data"], "b": inputs["b"], "c": inputs["c"], "sum": total,
                  "first": total[:, :1], "rest": total[:, 1:]})  # fmt: skip


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 4, 5), (2, 3, 4, 5)])
def test_inputs_of_any_rank(write, runtime, shape):
    text = (
        DATA % " ".join(f"dim: {size}" for size in shape)
        + """
layer { name: "twice" type: "Power" bottom: "data" top: "twice" power_param { scale: 2 } }
"""
    )
    data = images(2, *shape)
    agree(runtime.run(*write(text, {}), {"data": data}), {"data": data, "twice": 2 * data})


def test_unknown_layer_type(write, runtime):
    line = refusal(runtime, write(IMAGE + CONV.replace("Convolution", "Foo")))
    assert line in (
        "Caffe fails on net.prototxt: layer 'conv': Unknown layer type: Foo",
        'OpenCV fails on net.prototxt: Can\'t create layer "conv" of type "Foo"'
        " (getLayerInstance of net_impl.hpp)",
    )


def test_unknown_bottom(write, runtime):
    line = refusal(runtime, write(IMAGE + CONV.replace('bottom: "data"', 'bottom: "foo"')))
    assert line in (
        "Caffe fails on net.prototxt: Unknown bottom blob 'foo' (layer 'conv', bottom index 0)",
        'OpenCV fails on net.prototxt: Can\'t find output blob "foo"'
        " (addInput of caffe_importer.cpp)",
    )


def test_syntax(write, runtime):
    line = refusal(runtime, write(IMAGE + CONV[:-5]))
    assert line.startswith("net.prototxt is not a Caffe prototxt: 3:")


def test_unknown_field(write, pycaffe):
    line = refusal(pycaffe, write(IMAGE + CONV.replace("num_output", "num_outputs")))
    assert line == (
        'Caffe fails on net.prototxt: line 3: Message type "caffe.ConvolutionParameter" has no'
        ' field named "num_outputs"'
    )


def test_a_crash_of_opencv(write, opencv):
    """It divides by the `num_output` that is not there, and the process dies of it."""
    line = refusal(opencv, write(PLAIN.replace("num_output: 5", "num_outputs: 5")))
    assert line == "OpenCV fails on net.prototxt: the process died (Floating point exception)"
    assert opencv.run(*write(PLAIN), {"data": images(1, 2, 9, 7)})


def test_layer_that_cannot_be(write, runtime):
    line = refusal(runtime, write(IMAGE + CONV.replace("kernel_size: 3", "kernel_size: 33")))
    assert re.fullmatch(
        r"Caffe fails on net.prototxt: layer 'conv': shape\[i\] >= 0 \(-\d+ vs. 0\)"
        r"|OpenCV fails on net.prototxt: s >= 0 \(setSize of matrix.cpp\)",
        line,
    )


def test_weights_of_another_shape(write, runtime):
    line = refusal(runtime, write(PLAIN, {**SHAPES, "conv": [(4, 2, 5, 5), (4,)]}))
    assert line.startswith(
        (
            "Caffe fails on net.prototxt: Cannot copy param 0 weights from layer 'conv'; shape"
            " mismatch. Source param shape is 4 2 5 5 (200); target param shape is 4 2 3 3 (72)",
            "OpenCV fails on net.prototxt: weightShape[i + 2] == kernel_size[i] (finalize of",
        )
    )


@pytest.mark.parametrize("keep", [1, 100, -1])
def test_truncated_weights(write, runtime, keep):
    files = write(PLAIN)
    with open("net.caffemodel", "rb") as file:
        data = file.read()[:keep]
    with open("net.caffemodel", "wb") as file:
        file.write(data)
    title = "Caffe" if runtime.name == "pycaffe" else "OpenCV"
    assert refusal(runtime, files) == (
        f"{title} fails on net.caffemodel: damaged, or not a network's file"
    )


@pytest.mark.parametrize("missing", [0, 1])
def test_missing_file(write, runtime, missing):
    files = write(PLAIN)
    os.remove(files[missing])
    assert refusal(runtime, files) == f"{files[missing]}: no such file; build_caffe.py makes it"


def test_wrong_inputs(write, runtime):
    files, good = write(PLAIN), images(1, 2, 9, 7)
    for shape in ((1, 3, 9, 7), (2, 9, 7), (0, 2, 9, 7)):
        assert refusal(runtime, files, {"data": images(*shape)}) == (
            f"net.prototxt: input 'data' takes (N, 2, 9, 7), not {shape}"
        )
    assert refusal(runtime, files, {"foo": good}) == (
        "net.prototxt takes the inputs data; given: foo"
    )


def test_layers_without_a_name_of_their_own(write, runtime):
    assert "2 layer(s) named 'conv'" in refusal(runtime, write(IMAGE + CONV + CONV))
    assert "no layer { }" in refusal(runtime, write('layers { name: "old" type: RELU }'))
    with open("net.prototxt", "wb") as file:
        file.write(b"\xff\xfe")
    assert "not UTF-8" in refusal(runtime, ("net.prototxt", "net.caffemodel"))


def test_a_child_that_is_killed(write, runtime):
    files, inputs = write(PLAIN), {"data": images(1, 2, 9, 7)}
    blobs = runtime.run(*files, inputs)
    os.kill(runtime.process.pid, signal.SIGKILL)  # between two runs: nobody notices
    runtime.process.wait()
    agree(runtime.run(*files, inputs), blobs)

    os.kill(runtime.process.pid, signal.SIGSTOP)  # so that it is killed within a run
    timer = threading.Timer(0.3, os.kill, (runtime.process.pid, signal.SIGKILL))
    timer.start()
    assert "the process died (Killed)" in refusal(runtime, files)
    agree(runtime.run(*files, inputs), blobs)


def test_a_child_that_hangs(write, runtime, monkeypatch):
    files = write(PLAIN)
    runtime.run(*files, {"data": images(1, 2, 9, 7)})
    child = runtime.process.pid
    monkeypatch.setattr(runtime, "timeout", 0.5)
    os.kill(child, signal.SIGSTOP)
    started = time.monotonic()
    assert "took more than 0.5 s (--caffe-timeout)" in refusal(runtime, files)
    assert time.monotonic() - started < 5
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_interrupted_run_leaves_no_answer_behind(write, runtime):
    files, inputs = write(PLAIN), {"data": images(2, 2, 9, 7)}
    runtime.run(*files, inputs)
    os.kill(runtime.process.pid, signal.SIGSTOP)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        runtime.run(*files, inputs)
    assert runtime.run(*files, inputs, ["prob"])["prob"].shape == (2, 5)


def test_python_without_caffe(tmp_path):
    with pytest.raises(Failure) as raised:
        runtimes.choose("auto", sys.executable)
    assert str(raised.value) == (
        f"{sys.executable}: has no caffe (No module named 'caffe'); make pycaffe sets one up"
    )


@pytest.mark.parametrize("program", ["/bin/true", "/bin/cat", "/bin/sleep"])
def test_python_that_is_none(program):
    with pytest.raises(Failure, match=rf"^{program}: has no caffe \(.+\); make pycaffe"):
        runtimes.Pycaffe(program)


def test_python_that_cannot_be_run(tmp_path):
    with pytest.raises(Failure, match="none: No such file or directory"):
        runtimes.Pycaffe(tmp_path / "none")
    with pytest.raises(Failure, match="Permission denied"):
        runtimes.Pycaffe(tmp_path)


class TestChoice:
    @pytest.fixture(autouse=True)
    def engines(self, monkeypatch, tmp_path):
        """Nothing is started; no pycaffe in the environment or the project."""
        monkeypatch.delenv("CAFFE_PYTHON", raising=False)
        monkeypatch.setattr(runtimes, "PROJECT_PYTHON", tmp_path / "python")
        monkeypatch.setattr(runtimes.Runtime, "_start", lambda self: "not started")

    @staticmethod
    def chosen(*given, **named):
        runtime = runtimes.choose(*given, **named)
        return runtime.name, runtime.python, runtime.timeout

    def test_order(self, monkeypatch):
        ours = sys.executable
        assert self.chosen() == ("opencv", ours, 600)
        runtimes.PROJECT_PYTHON.touch()
        assert self.chosen(timeout=5) == ("pycaffe", str(runtimes.PROJECT_PYTHON), 5)
        monkeypatch.setenv("CAFFE_PYTHON", "env")
        assert self.chosen() == ("pycaffe", "env", 600)
        assert self.chosen("pycaffe", "named") == ("pycaffe", "named", 600)
        assert self.chosen("opencv") == ("opencv", ours, 600)

    def test_layers_that_bvlc_lacks(self, monkeypatch, tmp_path):
        monkeypatch.setenv("CAFFE_PYTHON", "env")
        bvlc, foreign = tmp_path / "bvlc", tmp_path / "foreign"
        bvlc.write_text('layer { name: "x" type: "ReLU" }')
        foreign.write_text('layer { name: "x" type: "Mish" }')
        assert self.chosen(prototxt=bvlc)[0] == "pycaffe"
        assert self.chosen(prototxt=foreign)[0] == "opencv"
        assert self.chosen("pycaffe", prototxt=foreign)[0] == "pycaffe"
        assert self.chosen("auto", "named", prototxt=foreign)[:2] == ("pycaffe", "named")

    def test_none_to_choose(self):
        with pytest.raises(Failure, match="no pycaffe found: make pycaffe sets one up, or"):
            runtimes.choose("pycaffe")
        with pytest.raises(Failure, match="contradict"):
            runtimes.choose("opencv", "python3")


def test_arguments(capsys):
    parser = argparse.ArgumentParser()
    runtimes.add_arguments(parser)
    assert vars(parser.parse_args([])) == {
        "runtime": "auto", "caffe_python": None, "caffe_timeout": 600,
    }  # fmt: skip
    assert parser.parse_args(["--caffe-timeout", "2.5"]).caffe_timeout == 2.5
    for wrong in ("0", "-1", "nan", "inf", "soon"):
        with pytest.raises(SystemExit):
            parser.parse_args([f"--caffe-timeout={wrong}"])
        assert f"invalid seconds value: '{wrong}'" in capsys.readouterr().err

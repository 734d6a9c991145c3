"""The six scripts in order: what they print and leave, and that step 6 finds what is wrong."""

import json
import re
import resource
import shutil

import numpy as np
import pytest
from PIL import Image

from models import mnistcls
from tests.pipeline import PROJECT, SCRIPTS, complaint, contents, run, run_all, run_warm
from tf2caffe.caffe import handwritten, schema
from tf2caffe.graph import graph
from tf2caffe.graph.carry import carry

LEFT = {
    "train.py": ["checkpoints/mnistcls.keras", "logs/mnistcls", "imgs/mnistcls/tb-loss.png"],
    "estimator_predict.py": ["imgs/mnistcls/tf/res10.png"],
    "tf_predict.py": [
        "imgs/mnistcls/tf/convs.png", "imgs/mnistcls/tf/denses.png", "activations/mnistcls.npz",
    ],
    "save_weights.py": ["tf_weights/mnistcls", "tf_weights/mnistcls/graph.json"],
    "build_caffe.py": [
        "nets/mnistcls.prototxt", "nets/mnistcls.caffemodel", "imgs/mnistcls/caffe-net.png",
        "imgs/mnistcls/caffe-net.svg",
    ],
    "caffe_predict.py": [
        "imgs/mnistcls/caffe/convs.png", "imgs/mnistcls/caffe/denses.png",
        "imgs/mnistcls/caffe/res10.png", "imgs/mnistcls/compare.png", "nets/mnistcls.parity.json",
    ],
}  # fmt: skip
WEIGHTS = {
    "conv01-kernel": (16, 1, 3, 3),
    "bn01-gamma": (16,),
    "bn01-beta": (16,),
    "moving01-mean": (16,),
    "moving01-var": (16,),
    "conv02-kernel": (32, 16, 3, 3),
    "bn02-gamma": (32,),
    "bn02-beta": (32,),
    "moving02-mean": (32,),
    "moving02-var": (32,),
    "dense01-kernel": (512, 1568),
    "dense01-bias": (512,),
    "dense02-kernel": (10, 512),
    "dense02-bias": (10,),
}
LAYERS = [
    "input/bias", "conv01", "moving01", "bn01", "relu01", "pool01", "conv02", "moving02", "bn02",
    "relu02", "pool02", "flatten", "dense01", "relu03", "dense02", "prob",
]  # fmt: skip
COMPARED = [name for name in LAYERS if not name.startswith("moving")]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_says_which_step_it_is(script):
    number = SCRIPTS.index(script) + 1
    ended = run(script, "--help")
    assert ended.status == 0 and f"Step {number} of 6: " in ended.out and ended.err == ""
    text = (PROJECT / script).read_text(encoding="utf-8")
    assert text.startswith(f'"""Step {number} of 6: ')


@pytest.mark.parametrize("argument", ["--help", "--no-such-option"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_nothing_slow_is_imported_before_the_arguments_are_read(script, argument):
    """Standard error has a line for each import, its module after the last bar."""
    ended = run(script, argument, PYTHONPROFILEIMPORTTIME="1")
    modules = {line.rpartition("|")[2].strip() for line in ended.err.splitlines()}
    assert ended.status == (0 if argument == "--help" else 1) and "tf2caffe.cli" in modules
    assert not modules & {"h5py", "keras", "matplotlib", "tensorflow"}


def test_steps_leave_what_they_say_and_nothing_where_they_were_started(finished):
    for script, ended in finished.said.items():
        assert (ended.status, ended.err) == (0, "")
        assert "wrote: " in ended.out
        for path in LEFT[script]:
            assert (finished.folder / path).exists(), path
            if path.endswith(".png"):
                with Image.open(finished.folder / path) as image:
                    image.load()
    assert contents(finished.cwd) == {}
    hidden = list(finished.folder.rglob(".*"))
    assert hidden == []


def test_training_needs_no_network(finished):
    said = finished.said["train.py"].out
    if not (PROJECT / "data" / "mnist.npz").exists():
        assert said.startswith("data: the shipped sample, 5,000 digits (no download: ")
    assert re.search(r"^test accuracy: 0\.\d{4}$", said, re.MULTILINE)


def test_step_2_prints_a_row_for_each_image(finished):
    rows = re.findall(
        r"^(img\d)\.png +(\d) +\d+\.\d\d%$", finished.said["estimator_predict.py"].out, re.MULTILINE
    )
    assert [name for name, _ in rows] == [f"img{digit}" for digit in range(10)]
    assert all(label in mnistcls.CLASSES for _, label in rows)


def test_step_3_lists_ops_then_statistics(finished):
    ops, _, layers = finished.said["tf_predict.py"].out.partition("\nimg3.png, layer by layer:\n")
    ops = ops.split()
    wanted = "conv1/kernel conv1/Conv2D bn1/gamma relu1 pool1/MaxPool dense1/kernel dense2/bias"
    found = [op for op in ops if op in wanted.split() or op.partition("/")[0] in wanted.split()]
    assert [op.removesuffix("/Relu") for op in found] == wanted.split()
    assert not any("Const" in op or "ReadVariable" in op for op in ops)
    lines = [line for line in layers.splitlines() if "mean=" in line]
    form = r"(\S+?)(\.+): mean=(\S+),\s+var=(\S+)"
    rows = [re.fullmatch(form, line).groups() for line in lines]
    assert {len(name) + len(dots) for name, dots, _, _ in rows} == {30}
    assert lines[0] == "input/Add.....................: mean=-82.80, var=7827.32"
    assert [name.partition("/")[0] for name, *_ in rows] == [
        "input", "conv1", "bn1", "relu1", "pool1", "conv2", "bn2", "relu2", "pool2", "flatten",
        "dense1", "dense1", "dense2", "probs",
    ]  # fmt: skip
    with np.load(finished.folder / "activations/mnistcls.npz") as kept:
        for name, _, mean, variance in rows:
            image = kept[name][3].astype(np.float64)  # img3 is the default
            assert float(mean) == pytest.approx(image.mean(), rel=5e-3, abs=6e-3)
            assert float(variance) == pytest.approx(image.var(), rel=5e-3, abs=6e-3)


def test_step_4_leaves_the_reference_s_files(finished):
    said = finished.said["save_weights.py"].out
    form = r"^(\S+):0 +-> (\S+) +(\(.*?\)) -> (\(.*\))$"
    rows = {file: (name, tf, caffe) for name, file, tf, caffe in re.findall(form, said, re.M)}
    assert {file: row[2] for file, row in rows.items()} == {
        file: str(shape) for file, shape in WEIGHTS.items()
    }
    assert rows["conv01-kernel"][:2] == ("conv1/kernel", "(3, 3, 1, 16)")
    assert rows["moving02-var"][:2] == ("bn2/moving_variance", "(32,)")
    assert rows["dense01-kernel"][:2] == ("dense1/kernel", "(1568, 512)")
    folder = finished.folder / "tf_weights/mnistcls"
    arrays = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    assert {name: array.shape for name, array in arrays.items()} == WEIGHTS
    assert {array.dtype for array in arrays.values()} == {np.dtype("<f4")}
    assert len(list(folder.iterdir())) == len(WEIGHTS) + 1
    lines = (folder / "graph.json").read_text().splitlines()
    assert sum('"op": ' in line for line in lines) == len(json.loads("\n".join(lines))["nodes"])


def test_step_5_builds_the_layers_that_the_issue_names(finished):
    said = finished.said["build_caffe.py"].out
    names = [line.split()[1] for line in said.splitlines()[1:18]]
    assert names == ["data", *LAYERS]
    assert re.search(r"^Convolution +conv02 +32x16x3x3 +1x32x14x14$", said, re.M)
    assert re.search(r"^InnerProduct +dense01 +512x1568, 512 +1x512$", said, re.M)
    text = (finished.folder / "nets/mnistcls.prototxt").read_text()
    net = schema.parse(text, "prototxt")
    assert [layer.name for layer in net.layer] == [layer.top[0] for layer in net.layer] == names
    assert text.count("\nlayer {\n") == len(names)


def test_step_6_finds_every_layer_equal(runtime, work):
    (work / "nets/mnistcls.parity.json").unlink()
    ended = run("caffe_predict.py", "--dir", work, "--runtime", runtime.name)
    assert (ended.status, ended.err) == (0, ""), ended
    assert ended.out.splitlines()[-1].startswith("EQUAL: all 14 layers within 1e-05 of their scale")
    assert ended.out.endswith(", 10 equal answers\n")
    record = json.loads((work / "nets/mnistcls.parity.json").read_text())
    assert record["verdict"] == "equal" and runtime.name in record["runtime"]
    assert [layer["caffe"] for layer in record["layers"]] == COMPARED
    assert all(layer["error"] <= 1e-5 for layer in record["layers"])
    assert any(layer["error"] > 0 for layer in record["layers"])  # two computations, not one


def test_step_6_can_be_too_strict(work):
    ended = run_warm(
        "caffe_predict.py", "--dir", work, "--tolerance", "1e-12", "--runtime", "opencv"
    )
    assert ended.status == 1 and "differs" in ended.err and "1e-12 is allowed" in ended.err
    assert json.loads((work / "nets/mnistcls.parity.json").read_text())["verdict"] != "equal"


BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "models", "tf_keras"):
            raise ImportError(f"{name} is not to be imported here")

sys.meta_path.insert(0, Blocker())
"""


def test_steps_5_and_6_know_neither_tensorflow_nor_models(work, runtime, tmp_path):
    (tmp_path / "blocker").mkdir()
    (tmp_path / "blocker/sitecustomize.py").write_text(BLOCKER)
    without = {"PYTHONPATH": str(tmp_path / "blocker")}
    assert "models is not to be imported here" in run("tf_predict.py", **without).err
    shutil.rmtree(work / "nets")
    assert run("build_caffe.py", "--dir", work, **without).status == 0
    ended = run("caffe_predict.py", "--dir", work, "--runtime", runtime.name, **without)
    assert ended.status == 0 and "EQUAL: all 14 layers" in ended.out


def test_step_6_is_fast(work):
    """Under 3 s with OpenCV; of processor time, since this machine may have other work to do."""

    def seconds():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def one_run():
        start = seconds()
        assert run("caffe_predict.py", "--dir", work, "--runtime", "opencv").status == 0
        return seconds() - start

    assert any(one_run() < 3 for _ in range(3))


def changed_array(name, change):
    """Change one of step 4's arrays."""

    def plant(folder):
        path = folder / f"tf_weights/mnistcls/{name}.npy"
        np.save(path, change(np.load(path)).astype(np.float32))

    return plant


def changed_text(path, pattern, replacement):
    """Change one place of a text file."""

    def plant(folder):
        text, count = re.subn(pattern, replacement, (folder / path).read_text(), count=1)
        assert count, f"there is no {pattern}"
        (folder / path).write_text(text)

    return plant


def changed_blob(layer, position, change):
    """Change one of the caffemodel's arrays."""

    def plant(folder):
        path = folder / "nets/mnistcls.caffemodel"
        net = schema.NetParameter.FromString(path.read_bytes())
        (blob,) = (found.blobs[position] for found in net.layer if found.name == layer)
        array = np.frombuffer(blob.data, np.float32)
        blob.data = change(array).astype(np.float32).tobytes()
        path.write_bytes(net.SerializeToString())

    return plant


def hwc_rows(kernel):
    """Caffe's dense kernel with its columns in TensorFlow's order."""
    return kernel.reshape(-1, 32, 7, 7).transpose(0, 2, 3, 1).reshape(kernel.shape)


def with_nan(array):
    return np.where(np.arange(array.size) == 7, np.nan, array)


GRAPH, PROTOTXT = "tf_weights/mnistcls/graph.json", "nets/mnistcls.prototxt"
# fault -> the op that step 6 must name, what plants it in step 4's files, what in step 5's
FAULTS = {
    # with less, since what bn1 reads varies by 1000, bn1 would be right to 1e-5
    "epsilon of bn1": (
        "bn1/FusedBatchNorm",
        changed_text(GRAPH, r'(bn1/FusedBatchNorm.*"epsilon": )[^},]+', r"\g<1>0.1"),
        None,
    ),
    "epsilon of bn2, Caffe's default": (
        "bn2/FusedBatchNorm",
        changed_text(GRAPH, r'(bn2/FusedBatchNorm.*"epsilon": )[^},]+', r"\g<1>1e-05"),
        None,
    ),
    "dense rows in HWC order": (
        "dense1/MatMul",
        changed_array("dense01-kernel", hwc_rows),
        None,
    ),
    "bias forgotten": ("dense2/MatMul", changed_array("dense02-bias", np.zeros_like), None),
    "kernel flipped": (
        "conv2/Conv2D",
        changed_array("conv02-kernel", lambda kernel: kernel[:, :, ::-1, ::-1]),
        None,
    ),
    "third blob 0": ("bn1/FusedBatchNorm", None, changed_blob("moving01", 2, np.zeros_like)),
    "NaN": ("conv2/Conv2D", None, changed_blob("conv02", 0, with_nan)),
    "pad forgotten": ("conv1/Conv2D", None, changed_text(PROTOTXT, r" pad: 1", "")),
}


@pytest.fixture(scope="module", params=FAULTS)
def planted(request, finished, tmp_path_factory):
    """A folder with a fault in it, ready for step 6, and the op at fault."""
    op, in_weights, in_nets = FAULTS[request.param]
    folder = shutil.copytree(finished.folder, tmp_path_factory.mktemp("planted") / "work")
    if in_weights:
        in_weights(folder)
        assert run_warm("build_caffe.py", "--dir", folder).status == 0
    if in_nets:
        in_nets(folder)
    return folder, op


def test_planted_fault(planted, runtime):
    folder, op = planted
    ended = run_warm("caffe_predict.py", "--dir", folder, "--runtime", runtime.name)
    assert ended.status == 1 and ended.err.count("\n") == 1, ended
    assert op in ended.err and "EQUAL: all" not in ended.out
    if op == "conv1/Conv2D":
        assert "Caffe's blob conv01 is (10, 16, 26, 26), not (10, 16, 28, 28)" in ended.err
    else:
        assert ended.err.startswith(f"NOT EQUAL: {op} (Caffe: ")
        record = json.loads((folder / "nets/mnistcls.parity.json").read_text())
        assert record["verdict"] == "not equal" and op in record["reason"]
        assert [one["tensorflow"] for one in record["layers"] if not one["pass"]][0] == op
        assert runtime.name in record["runtime"]


def test_steps_3_and_4_on_two_states_of_the_network(finished, tmp_path):
    """A network that was trained again between two steps is not compared with its former self."""
    folder = tmp_path / "work"
    shutil.copytree(finished.folder, folder)
    digits = mnistcls.read_digits(mnistcls.SAMPLE)
    few = {name: array[:300] for name, array in digits._asdict().items() if name != "origin"}
    np.savez(tmp_path / "few.npz", **few)
    again = ("--epochs", 1, "--seed", 2, "--data", tmp_path / "few.npz")
    assert run("train.py", "--dir", folder, *again).status == 0
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    steps = run_all(("tf_predict.py", "--dir", folder), ("save_weights.py", "--dir", other))
    assert [ended.status for ended in steps] == [0, 0]
    assert run_warm("build_caffe.py", "--dir", other).status == 0
    for stale in (folder, other):
        before = contents(stale)
        line = complaint(
            run_warm("caffe_predict.py", "--dir", stale, "--runtime", "opencv"), "caffe_predict.py"
        )
        assert f"{stale}/activations/mnistcls.npz" in line and "tf_predict.py (step 3)" in line
        assert contents(stale) == before
    shutil.copy(folder / "activations/mnistcls.npz", other / "activations/mnistcls.npz")
    ended = run_warm("caffe_predict.py", "--dir", other, "--runtime", "opencv")
    assert ended.status == 0 and "EQUAL: all 14 layers" in ended.out


def by_hand(prototxt):
    """The network as somebody else would have written it down."""
    header = "# by hand\ninput: 'data'  # grey\ninput_dim: 1 input_dim: 1\n"
    header += "input_dim: 28 input_dim: 28\n"
    text, count = re.subn(r'layer \{\n  name: "data".*?\n\}\n', header, prototxt, flags=re.DOTALL)
    assert count == 1
    for number in "12":  # in place; blob and layer have different names
        text = text.replace(f'top: "relu0{number}"', f'top: "norm{number}"')
        text = text.replace(f'bottom: "relu0{number}"', f'bottom: "norm{number}"')
        text = text.replace(f'"bn0{number}"', f'"norm{number}"')
        text = text.replace(f'name: "norm{number}"', f'name: "bn0{number}"')
    text = re.sub(r'  name: "conv02"\n(.*?)(  convolution_param.*?\n)', r"\2\1  name: 'conv02'\n",
                  text, flags=re.DOTALL)  # fmt: skip
    return text.replace("layer {", "\tlayer{ # layer").replace(
        "pad: 1 kernel_size: 3",
        """
        kernel_h: 3 kernel_w: 3
        pad: 1
    """,
    )


@pytest.mark.parametrize("header", [True, False])
def test_a_network_written_by_hand(work, runtime, tmp_path, header):
    own = tmp_path / "own.prototxt"
    text = (work / PROTOTXT).read_text()
    own.write_text(by_hand(text) if header else text.replace('top: "data"', 'top: "data" # in'))
    built = run_warm("build_caffe.py", "--dir", work, "--prototxt", own)
    assert (built.status, built.err) == (0, ""), built
    assert (work / PROTOTXT).read_text() == own.read_text()
    ended = run_warm("caffe_predict.py", "--dir", work, "--runtime", runtime.name)
    assert (ended.status, ended.err) == (0, ""), ended
    record = json.loads((work / "nets/mnistcls.parity.json").read_text())
    blobs = {layer["tensorflow"]: layer["caffe"] for layer in record["layers"]}
    if header:  # bn1's output is overwritten by the ReLU
        assert "no layer to compare with: bn1/FusedBatchNorm, bn2/FusedBatchNorm" in built.out
        assert "EQUAL: all 12 layers" in ended.out
        assert blobs["relu1/Relu"] == "norm1" and "bn1/FusedBatchNorm" not in blobs
    else:
        assert "EQUAL: all 14 layers" in ended.out


def test_fault_in_a_network_written_by_hand(work, runtime, tmp_path):
    own = tmp_path / "own.prototxt"
    own.write_text(by_hand((work / PROTOTXT).read_text()).replace("eps: 0.001", "eps: 0.01"))
    assert run_warm("build_caffe.py", "--dir", work, "--prototxt", own).status == 0
    ended = run_warm("caffe_predict.py", "--dir", work, "--runtime", runtime.name)
    assert ended.status == 1 and ended.err.startswith("NOT EQUAL: relu1/Relu (Caffe: norm1) is")


def test_a_network_written_by_hand_without_the_answers(work, tmp_path):
    own = tmp_path / "own.prototxt"
    own.write_text((work / PROTOTXT).read_text().rpartition("layer {")[0])
    assert run_warm("build_caffe.py", "--dir", work, "--prototxt", own).status == 0
    ended = run_warm("caffe_predict.py", "--dir", work, "--runtime", "opencv")
    assert ended.status == 1 and "answers" not in ended.out  # no answers were compared
    told = f"NOT EQUAL: the outputs of {work / PROTOTXT} are not the model's: no output is "
    assert ended.err.startswith(told), ended.err


def test_layers_in_scopes_written_by_hand(tmp_path):
    """Files cannot be called as such layers are."""
    kernel = np.ones((2, 3), np.float32)
    weights = {"kernel": graph.Weight("block.dense-kernel.npy", kernel.shape, array=kernel)}
    node = graph.Node("block/dense/MatMul", "block/dense", "MatMul", ["data"], (1, 2), {}, weights)
    network = graph.Graph("net", {"data": (1, 3)}, [node], {"y": node.name})
    carry(network)
    own = tmp_path / "own.prototxt"
    own.write_text("""input: "data" input_shape { dim: 1 dim: 3 }
layer { name: "block/dense" type: "InnerProduct" bottom: "data" top: "dense"
  inner_product_param { num_output: 2 bias_term: false } }
""")
    net, table = handwritten.load(own, network)
    assert net.layers[-1].blobs[0] is kernel
    assert [(entry.name, entry.blob) for entry in table.layers] == [(node.name, "dense")]

"""Step 1 on several replicas: two machines, here two processes that speak by the loopback."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import mnistcls
from tf2caffe.failure import Failure
from tf2caffe.frontend import tf_import
from tf2caffe.frontend.keras_file import load_checkpoint
from tf2caffe.paths import Handoff
from tf2caffe.training import replicas
from tf2caffe.training.augmentation import Limits
from tf2caffe.training.trainer import Training

PROJECT = Path(__file__).resolve().parents[1]
EPOCHS = 4


def free_ports(count):
    """So many that nothing listens on, now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def start(folder, *options, **config):
    """`train.py` on the sample, in `folder`, with this as TF_CONFIG."""
    words = ["train.py", "--dir", folder, "--data", mnistcls.SAMPLE, *options]
    return subprocess.Popen(
        [sys.executable, PROJECT / words[0], *map(str, words[1:])],
        env=os.environ | ({"TF_CONFIG": json.dumps(config)} if config else {}),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def start_two(folder, *options):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    tasks = [{"type": "worker", "index": index} for index in range(2)]
    return [start(folder / str(t["index"]), *options, cluster=cluster, task=t) for t in tasks]


def said(child):
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    return out.splitlines()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder, and what two machines said that trained together, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("two")
    return folder, [said(child) for child in start_two(folder, "--epochs", EPOCHS)]


@pytest.mark.slow
def test_two_machines_learn_what_one_does(two, tmp_path):
    _, (chief, _) = two
    one = said(start(tmp_path, "--epochs", EPOCHS))
    told = [line.split()[0] for line in chief]
    assert [told.pop(1), *told] == ["waiting", *(line.split()[0] for line in one)]
    losses, accuracies = zip(*(figures(lines) for lines in (chief, one)), strict=True)
    assert losses[0] == pytest.approx(losses[1], rel=0.15)
    assert min(accuracies) > 0.95 and abs(accuracies[0] - accuracies[1]) < 0.02


def figures(lines):
    """The last epoch's training loss, and the accuracy at the end."""
    (last,) = (line.split() for line in lines if line.startswith(f"epoch {EPOCHS}/"))
    (accuracy,) = (line.split()[-1] for line in lines if line.startswith("test accuracy: "))
    return float(last[last.index("loss") + 1]), float(accuracy)


@pytest.mark.slow
def test_only_the_first_machine_leaves_files(two):
    folder, (_, second) = two
    assert load_checkpoint(Handoff(folder / "0", "mnistcls")).name == "mnistcls"
    assert (folder / "0/imgs/mnistcls/tb-loss.png").exists()
    assert not (folder / "1").exists()
    assert [line.split()[0] for line in second] == ["data:", "waiting"]


@pytest.mark.slow
def test_machine_that_goes_is_told_in_one_line(tmp_path):
    first, second = start_two(tmp_path, "--epochs", 500)
    try:
        while not first.stdout.readline().startswith("epoch   1/500"):
            assert first.poll() is None, first.stderr.read()
        second.terminate()
        _, err = first.communicate(timeout=120)
    finally:
        first.kill()
        second.kill()
        second.communicate()
    assert second.returncode == -signal.SIGTERM
    assert first.returncode == 1 and "Traceback" not in err
    assert "train.py: a machine of TF_CONFIG is gone" in err.splitlines()[-1]
    assert load_checkpoint(Handoff(tmp_path / "0", "mnistcls")).name == "mnistcls"


MIRRORED = """
import sys, numpy as np
from tf2caffe.training.trainer import Training
from models import mnistcls
from tf2caffe.frontend import tf_import
tf = tf_import.tensorflow()
(processor,) = tf.config.list_physical_devices("CPU")
halves = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(processor, halves)
digits = mnistcls.read_digits(mnistcls.SAMPLE)
recipe = mnistcls.recipe(4000, best=False)._replace(epochs=4)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
training = Training(mnistcls, digits, recipe, 1, strategy)
for epoch in range(4):
    losses, _ = training.epoch("")
for weight in training.model.weights:
    copies = strategy.experimental_local_results(weight.value)
    assert len(copies) == 2
    np.testing.assert_array_equal(*copies, err_msg=weight.path)
training.save(sys.argv[1])
print("shares of", training.share)
print(training.test()[1])
"""


@pytest.mark.slow
def test_two_devices_of_one_machine(tmp_path):
    """What two GPUs would do, on halves of a CPU: one step, the same weights on both."""
    words = [sys.executable, "-c", MIRRORED, tmp_path / "mirrored.keras"]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    *_, shares, accuracy = done.stdout.splitlines()
    assert shares == "shares of 64" and float(accuracy) > 0.95
    assert (tmp_path / "mirrored.keras").exists()


def test_each_machine_sees_its_own_part():
    tf = tf_import.tensorflow()
    count, machines, epochs = 512, 2, 2
    digits = mnistcls.read_digits(mnistcls.SAMPLE)
    numbered = np.zeros((count, 28, 28), np.uint8)
    numbered[:, 0, :2] = np.stack(np.divmod(np.arange(count), 256), axis=1)
    digits = digits._replace(x_train=numbered, y_train=np.arange(count))
    recipe = mnistcls.recipe(count, best=False)
    recipe = recipe._replace(epochs=epochs, batch=64, limits=Limits(*[0] * 6))
    training = Training(mnistcls, digits, recipe, 1, replicas.strategy())
    seen = []
    for machine in range(machines):
        context = tf.distribute.InputContext(machines, machine, machines)
        batches = training.batches(context).take(epochs * training.steps // machines)
        seen.append([labels.numpy() for _, labels in batches])
    seen = np.reshape(seen, (machines, epochs, -1))
    for epoch in range(epochs):
        assert sorted(seen[:, epoch].ravel()) == list(range(count))
    assert not np.array_equal(seen[:, 0], seen[:, 1])


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ("{", "TF_CONFIG: not as TensorFlow takes it: Expecting property name"),
        ("[1]", "TF_CONFIG: not as TensorFlow takes it: 'list' object has no attribute 'get'"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}}', "TF_CONFIG: the task {} is none of"),
        (
            '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "ps", "index": 0}}',
            "TF_CONFIG: the task {'type': 'ps', 'index': 0} is none of",
        ),
    ],
)
def test_wrong_configuration(monkeypatch, config, line):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(Failure, match=line):
        replicas.chief()


@pytest.mark.slow
def test_address_that_is_none_is_told_in_one_line(tmp_path):
    cluster = {"worker": ["nowhere", "elsewhere"]}
    child = start(tmp_path, cluster=cluster, task={"type": "worker", "index": 0})
    _, err = child.communicate(timeout=300)
    assert child.returncode == 1 and "Traceback" not in err
    assert err.splitlines()[-1].startswith("train.py: TF_CONFIG: Could not parse port")


@pytest.mark.parametrize(
    ("cluster", "task", "writes"),
    [
        ({"worker": ["a:1", "b:2"]}, ("worker", 0), True),
        ({"worker": ["a:1", "b:2"]}, ("worker", 1), False),
        ({"chief": ["c:1"], "worker": ["a:1"]}, ("worker", 0), False),
        ({"chief": ["c:1"], "worker": ["a:1"]}, ("chief", 0), True),
        ({}, (None, None), True),
    ],
)
def test_who_writes(monkeypatch, cluster, task, writes):
    config = {"cluster": cluster, "task": dict(zip(("type", "index"), task, strict=True))}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert replicas.chief() == writes

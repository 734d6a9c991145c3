"""The deploy form against the inspectable form and against TensorFlow, for one image.

    python -m benchmarks.deploy [NAME ...]

In real Caffe, in OpenCV with its own fusion, and in TensorFlow, compiled, each with as many threads
as it takes by default; batch 1, weights at random, 224x224 (mnistcls: 28x28). Engines and forms
take turns. Run it on a machine that does nothing else.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import table
from benchmarks.conversion import ours
from tf2caffe.paths import Handoff
from tf2caffe.proof import runtimes

HERE = Path(__file__).resolve().parent
NAMES = ("mnistcls", "MobileNetV2", "ResNet50", "VGG16")
ROUNDS, ROUND, MILLISECONDS = 7, 0.5, 1e3  # how many; seconds of one engine's turn; in a second
DEPLOY, INSPECTABLE, TENSORFLOW = "deploy", "the inspectable form", "TensorFlow, compiled"


class Timer:
    """A runtime whose worker times."""

    def seconds(self, request, inputs):
        """Of each pass, in order."""
        return self._ask(request, inputs)["seconds"].tolist()


class Caffe(Timer, runtimes.Pycaffe):
    """Real Caffe."""

    worker, label = str(HERE / "pycaffe_timer.py"), "real Caffe"


class OpenCV(Timer, runtimes.OpenCV):
    """OpenCV."""

    worker, label = str(HERE / "opencv_timer.py"), "OpenCV"


class TensorFlow(Timer, runtimes.Runtime):
    """TensorFlow."""

    name, title, worker = "tensorflow", "TensorFlow", str(HERE / "tensorflow_timer.py")
    needs, advice = "tensorflow", "pip install -r requirements.txt brings it"


def main():
    figures = []
    for name in sys.argv[1:] or NAMES:
        with tempfile.TemporaryDirectory(prefix=".bench-", dir=HERE.parent) as folder:
            convert(name, folder)
            figures += compare(name, Handoff(folder, name), Handoff(folder, name, deploy=True))
    table.record(__spec__.name, figures)


def convert(name, folder):
    """Both forms of the network, by the scripts."""
    model = Path(folder) / f"{name}.keras"
    ours("model", name, model)
    for script in (["save_weights.py", model], ["build_caffe.py", name, "--deploy"]):
        command = [sys.executable, HERE.parent / script[0], *script[1:], "--dir", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def compare(name, inspectable, deploy):
    """The figures of one network: both forms in both engines, and TensorFlow, in turns."""
    model = inspectable.root / f"{name}.keras"
    (blob, shape), *_ = runtimes.Network(deploy.prototxt).inputs.items()
    image = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    with Caffe() as caffe, OpenCV() as opencv, TensorFlow(sys.executable) as tensorflow:
        turns = {
            (engine.label, form): Turn(engine, asked_of(files), {blob: image})
            for engine in (caffe, opencv)
            for form, files in ((INSPECTABLE, inspectable), (DEPLOY, deploy))
        }
        pixels = {"image": image.transpose(0, 2, 3, 1)}
        turns[(TENSORFLOW,)] = Turn(tensorflow, {"model": str(model)}, pixels)
        for _ in range(ROUNDS):
            for turn in turns.values():
                turn.take()
    return [figure(name, key, rival, turns) for key, rival in COMPARED]


def figure(name, key, rival, turns):
    what = f"{name} in {key[0]}, the deploy form"
    wanted = WANTED.get((name, key[0], rival[-1]), "")
    return table.Figure(what, "ms", turns[key].took, rival[-1], turns[rival].took, wanted)


def asked_of(files):
    return {"prototxt": str(files.prototxt), "caffemodel": str(files.caffemodel)}


class Turn:
    """One network in one engine; `took` has the milliseconds of an image for each round."""

    def __init__(self, engine, request, inputs):
        self.engine, self.request, self.inputs, self.took = engine, request, inputs, []
        self.seconds(1)  # loads, compiles, allocates
        self.runs = max(1, round(ROUND / median(self.seconds(3))))

    def seconds(self, runs):
        return self.engine.seconds({**self.request, "runs": runs}, self.inputs)

    def take(self):
        """The quickest pass of a round: what else the machine does can only slow one down."""
        self.took.append(MILLISECONDS * min(self.seconds(self.runs)))


# Whose turn is compared with whose, and what the ratio shall be.
COMPARED = [
    ((engine.label, DEPLOY), rival)
    for engine in (Caffe, OpenCV)
    for rival in ((engine.label, INSPECTABLE), (TENSORFLOW,))
]
WANTED = {("ResNet50", Caffe.label, INSPECTABLE): "at least 1.3"}

if __name__ == "__main__":
    main()

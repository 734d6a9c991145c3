"""How soon the scripts answer, against what was promised.

python -m benchmarks.startup
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import table
from benchmarks.conversion import ours

PROJECT = Path(__file__).resolve().parents[1]
SCRIPTS = (
    "train.py", "estimator_predict.py", "tf_predict.py",
    "save_weights.py", "build_caffe.py", "caffe_predict.py",
)  # fmt: skip
RUNS, HELP, STEP = 7, 0.3, 3.0  # how often; promised seconds


def main():
    figures = [
        figure(f"{script} --help", HELP, [seconds(script, "--help") for _ in range(RUNS)])
        for script in SCRIPTS
    ]
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=PROJECT) as folder:
        prepare(Path(folder))
        for script in SCRIPTS[4:]:
            runs = [seconds(script, "--dir", folder) for _ in range(RUNS)]
            figures.append(figure(f"{script} for mnistcls", STEP, runs))
    table.record(__spec__.name, figures)


def figure(what, promise, runs):
    return table.Figure(what, "s", runs, "the promise", [promise] * len(runs), "at least 1")


def prepare(folder):
    """Steps 1 (untrained), 3 and 4."""
    (folder / "checkpoints").mkdir()
    ours("model", "mnistcls", folder / "checkpoints" / "mnistcls.keras")
    for script in SCRIPTS[2:4]:
        seconds(script, "--dir", folder)


def seconds(script, *arguments):
    """From the start of a script to its end."""
    start = time.perf_counter()
    command = [sys.executable, PROJECT / script, *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

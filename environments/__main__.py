"""The six steps, a MobileNetV2 and the op tests in the Python that runs this.

    .environments/oldest/bin/python -m environments

Prints a line for each, its last words. The exit status is 0 only if all of them succeed.
"""

import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
NAMED = ("tensorflow", "keras", "numpy", "protobuf", "opencv-python-headless")
SAMPLE = PROJECT / "data" / "mnist-sample.npz"
MAKE = "import keras; keras.applications.MobileNetV2(weights=None).save({!r})"


def main():
    versions = ", ".join(f"{name} {version(name)}" for name in NAMED)
    print(f"Python {sys.version.split()[0]}, {versions}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        failed = [title for title, command in commands(folder).items() if not ran(title, command)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def commands(folder):
    """What is run, {title: arguments of Python}."""
    steps = ("estimator_predict", "tf_predict", "save_weights", "build_caffe", "caffe_predict")
    mobilenet = f"{folder}/mobilenet.keras"
    return {
        "train": ["train.py", "--dir", folder, "--epochs", "1", "--data", str(SAMPLE)],
        **{step: [f"{step}.py", "--dir", folder] for step in steps},
        "a MobileNetV2": ["-c", MAKE.format(mobilenet)],
        "tf2caffe --deploy": ["-m", "tf2caffe", mobilenet, "--deploy", "--out", folder],
        "op tests": ["-m", "pytest", "-q", "-W", "ignore", "-k", "opencv", "tests/test_ops.py"],
    }


def ran(title, arguments):
    """Whether a command succeeds; its last line is printed, or all that it said if it does not."""
    ended = subprocess.run(
        [sys.executable, *arguments], capture_output=True, encoding="utf-8", cwd=PROJECT
    )
    last = (ended.stdout.strip().splitlines() or ["done"])[-1]
    print(f"{title}: {last if not ended.returncode else ended.stdout + ended.stderr}", flush=True)
    return not ended.returncode


if __name__ == "__main__":
    main()

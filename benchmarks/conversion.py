"""Steps 4 and 5 against a plain write of the bytes that they leave, and against tf2onnx.

python -m benchmarks.conversion
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from benchmarks import table

HERE = Path(__file__).parent
RIVAL = HERE.parent / ".rivals" / "tf2onnx" / "bin" / "python"
RUNS, MB, BLOCK = 5, 1e6, 1 << 22
TF2ONNX = "tf2onnx 1.17"


def main():
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=HERE.parent) as folder:
        folder = Path(folder)
        for name in ("VGG16", "ResNet50"):
            ours("model", name, folder / f"{name}.keras")
        figures = [*against_disk(folder), *against_tf2onnx(folder)]
    table.record(__spec__.name, figures)


def against_disk(folder):
    """VGG16: seconds of both steps together, memory of each."""
    took = defaultdict(list)
    for _ in range(RUNS):
        four, five = both_steps("VGG16", folder)
        took["ours"].append(four["seconds"] + five["seconds"])
        took["step 4"].append(four["bytes"] / MB)
        took["step 5"].append(five["bytes"] / MB)
        took["write"].append(plain_write(folder / "plain", bytes_left("VGG16", folder)))
    rival = f"a plain write of the same {bytes_left('VGG16', folder) / MB:,.0f} MB, with fsync"
    yield table.Figure(
        "VGG16, steps 4 and 5", "s", took["ours"], rival, took["write"], "at least 0.25"
    )
    bound = [(2 * largest_weight("VGG16", folder) + 200 * MB) / MB] * RUNS
    for step in ("step 4", "step 5"):
        what = f"VGG16, {step}: memory beyond the loaded model"
        rival = "twice the largest weight and 200 MB"
        yield table.Figure(what, "MB", took[step], rival, bound, "at least 1")


def against_tf2onnx(folder):
    """ResNet50: seconds of both steps together, memory of the hungrier one."""
    took = defaultdict(list)
    for _ in range(RUNS):
        steps = both_steps("ResNet50", folder)
        took["seconds"].append(sum(step["seconds"] for step in steps))
        took["bytes"].append(max(step["bytes"] for step in steps) / MB)
        os.sync()
        files = folder / "ResNet50.keras", folder / "ResNet50.onnx"
        rival = asked(RIVAL, HERE / "tf2onnx_worker.py", *files)
        took["its seconds"].append(rival["seconds"])
        took["its bytes"].append(rival["bytes"] / MB)
    yield table.Figure(
        "ResNet50, steps 4 and 5", "s", took["seconds"], TF2ONNX, took["its seconds"], "at least 20"
    )
    what = "ResNet50: memory beyond the loaded model"
    yield table.Figure(what, "MB", took["bytes"], TF2ONNX, took["its bytes"], "at least 10")


def both_steps(name, folder):
    """What step 4 and step 5 took; nothing is there before, nothing waits to be written to disk."""
    for left in ("nets", "tf_weights"):
        shutil.rmtree(folder / left, ignore_errors=True)
    os.sync()
    four = ours("step4", folder / f"{name}.keras", folder)
    os.sync()
    return four, ours("step5", name, folder)


def ours(*task):
    return asked(sys.executable, "-m", "benchmarks.converter", *task)


def asked(*command):
    """The last line that a process prints, as JSON."""
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    ended = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, env=quiet, cwd=HERE.parent
    )
    if ended.returncode:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return json.loads(ended.stdout.splitlines()[-1])


def plain_write(path, size):
    """Seconds to write so many bytes to a new file, and to have them on the disk."""
    os.sync()
    block = os.urandom(BLOCK)
    start = time.perf_counter()
    with path.open("wb") as file:
        for at in range(0, size, BLOCK):
            file.write(block[: size - at])
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    path.unlink()
    return seconds


def bytes_left(name, folder):
    """What the two steps leave: weights, prototxt, caffemodel, diagram."""
    files = [*folder.glob(f"nets/{name}.*"), *folder.glob(f"*/{name}/*")]
    return sum(file.stat().st_size for file in files)


def largest_weight(name, folder):
    return max(file.stat().st_size for file in folder.glob(f"tf_weights/{name}/*.npy"))


if __name__ == "__main__":
    main()

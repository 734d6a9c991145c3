"""The one table of all benchmarks, RESULTS.md: what was measured, on which machine, by what."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tf2caffe.paths import replacing

RESULTS = Path(__file__).with_name("RESULTS.md")
PACKAGES = ("tensorflow", "keras", "numpy", "protobuf", "opencv-python-headless")


class Figure(NamedTuple):
    """One line: `ours` and `theirs` hold a number for each run, both in `unit`, taken in turns.

    `wanted` is what the ratio shall be (`at least 20`). Without a rival, `theirs` is empty.
    """

    what: str
    unit: str
    ours: list
    rival: str = ""
    theirs: list = ()
    wanted: str = ""

    def ratios(self):
        """The rival's over ours, run by run: more is better."""
        pairs = zip(self.theirs, self.ours, strict=True) if self.theirs else ()
        return sorted(theirs / ours for theirs, ours in pairs)

    def cells(self):
        ratios = self.ratios()
        return [
            self.what,
            measured(self.ours, self.unit),
            self.rival,
            measured(self.theirs, self.unit),
            f"**{digits(median(ratios))}**" if ratios else "",
            f"{digits(ratios[0])} to {digits(ratios[-1])} ({len(ratios)})" if ratios else "",
            self.wanted,
        ]


def measured(runs, unit):
    return f"{digits(median(runs), 4)} {unit}".strip() if runs else ""


def digits(value, count=3):
    """So many of them, or more where there are more before the point."""
    whole = abs(value) >= 10 ** (count - 1)
    return f"{value:,.0f}" if whole else f"{value:#.{count}g}"


def record(benchmark, figures):
    """Print the figures of the module `benchmark` and put them into RESULTS.md, for its others.

    What was measured on another machine, or with other versions, is left out of the table.
    """
    command = f"`python -m {benchmark}`"
    made = [row([*figure.cells(), command]) for figure in figures]
    print("\n".join([row(HEAD), *made]))
    top = "\n".join([TITLE, machine(), "", versions(), "", row(HEAD), RULE]) + "\n"
    former = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    kept = former.removeprefix(top).splitlines() if former.startswith(top) else []
    rows = sorted([*made, *(line for line in kept if command not in line)], key=command_of)
    with replacing(RESULTS) as temporary:
        temporary.write_text(top + "\n".join(rows) + "\n", encoding="utf-8")


def row(cells):
    return f"| {' | '.join(cells)} |"


def command_of(line):
    return line.split(" | ")[-1]


def machine():
    """Cores, memory and processor."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"Machine: {os.cpu_count()} cores, {memory:.0f} GiB of memory, {processor()}."


def processor():
    """The processor's name, as Linux tells it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions():
    """What was run, ours and the rivals that share our Python."""
    packages = [f"{name} {version(name)}" for name in PACKAGES]
    return f"Versions: Python {sys.version.split()[0]}, {', '.join(packages)}."


HEAD = ["measured", "ours", "rival", "rival's", "ratio", "spread (runs)", "wanted", "command"]
RULE = "|---|---:|---|---:|---:|---:|---|---|"
TITLE = """\
# Results of the benchmarks

Written by `make bench`. Each ratio is the rival's figure over ours, so more is better: the median
of several runs, in which both were measured in turns, and its spread.
"""

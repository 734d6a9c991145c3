"""A chunk of random networks in this process: a record of each, a line of JSON on standard output.

Before a network is tried, its script is told, in case TensorFlow ends the process.
"""

import json
import warnings

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.specs import FEW, label, script, specs
from tests.fuzz.trial import tried


class Bug(Exception):
    """What hypothesis shrinks."""


class Chunk:
    """Draws until `left` networks were tried; the first bug of each kind is shrunk."""

    def __init__(self, left):
        self.left, self.known, self.seen = left, set(), set()
        self.shrinking = self.smallest = None

    def draw(self, seed):
        """A run of hypothesis, to the first new bug."""
        self.shrinking = self.smallest = None
        calm = settings(
            max_examples=FEW, database=None, deadline=None, report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
            print_blob=False, verbosity=hypothesis.Verbosity.quiet,
        )  # fmt: skip
        try:
            hypothesis.seed(seed)(calm(given(specs())(self.try_one)))()
        except Bug:
            tell(record(*self.smallest))
            self.left -= 1

    def try_one(self, spec):
        text = script(spec)
        if self.shrinking or (self.left > 0 and text not in self.seen):
            self.seen.add(text)
            tell({"trying": text})
            outcome = tried(spec)
            if self.is_shrunk(spec, outcome):
                self.smallest = spec, outcome
                raise Bug

    def is_shrunk(self, spec, outcome):
        """Whether it is the bug that is being shrunk, or a new one; any other is told."""
        signature = outcome.signature()
        if self.shrinking:
            return signature == self.shrinking
        if outcome.kind == "bug" and signature not in self.known:
            self.known.add(signature)
            self.shrinking = signature
            return True
        self.left -= 1
        tell(record(spec, outcome, known=True))
        return False


def tell(line):
    print(json.dumps(line), flush=True)


def record(spec, outcome, known=False):
    """`pairs` are of the steps' labels, of which the second reads the first."""
    made = ["input"] * len(spec.inputs)
    pairs = set()
    for step, outputs in zip(spec.steps, outcome.outputs, strict=True):
        pairs |= {(made[at], label(step, spec)) for at in step.reads}
        made += [label(step, spec)] * outputs
    return {
        "kind": outcome.kind, "reasons": outcome.reasons, "signature": outcome.signature()[1],
        "form": spec.form, "target": spec.target, "pairs": sorted(pairs),
        "script": "" if known else script(spec),
    }  # fmt: skip


def run(networks, seed):
    warnings.simplefilter("ignore")
    chunk = Chunk(networks)
    while chunk.left > 0:
        chunk.draw(seed)
        seed += 1

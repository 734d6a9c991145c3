"""A random network as plain data, as what TensorFlow computes, and how it is drawn."""

from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf
from hypothesis import assume
from hypothesis import strategies as st

from tests.fuzz import more_steps
from tests.fuzz import steps as usual_steps
from tests.fuzz.steps import Weights
from tf2caffe.caffe.targets import TARGETS

STEPS = usual_steps.STEPS | more_steps.STEPS
IMAGES, NOISE = 2, 1e-4
LARGEST = 4096  # numbers in one tensor
RANGE = 1e-6, 1e8  # what the largest number of a tensor may be
CONDITION = 20  # how many times larger a small error may become


@dataclass(frozen=True)
class Step:
    """`reads` are numbers of values: the inputs' first, then what each step gives in turn.

    With the op `again`, another step is applied once more, with its weights.
    """

    op: str
    reads: tuple
    args: dict = field(default_factory=dict)
    scale: float = 1.0


@dataclass(frozen=True)
class Spec:
    """`inputs` are (shape without batch, what kind of numbers), `form` is how it is handed over.

    `target` is the chip whose compiler the network is built for.
    """

    inputs: tuple
    steps: tuple
    seed: int = 0
    form: str = "constants"
    target: str = "portable"


class Unfit(Exception):
    """A step that TensorFlow refuses, or whose numbers no one could compare."""


class Network:
    """A spec at work: every value for IMAGES images, and for the same with noise on each value.

    `values` are those arrays, (2 * IMAGES, ...); `reads` tells which of them steps read.
    """

    def __init__(self, spec):
        self.spec, self.weights, self.reads, self.made = spec, [], set(), []
        random = np.random.default_rng(spec.seed)
        self.inputs = [
            INPUTS[kind](random, (IMAGES, *shape)).astype(np.float32) for shape, kind in spec.inputs
        ]
        twice = [np.concatenate([x, x]) for x in self.inputs]
        self.values = [self.noisy(x, at) for at, x in enumerate(twice)]
        self.steps = []
        for step in spec.steps:
            self.add(step)

    def noisy(self, array, number, beside=0.0):
        """The second half disturbed by NOISE: relative to each number, and to what lies `beside`.

        What is computed is rounded relative to the largest number, not to each; inputs are exact.
        """
        array, random = np.array(array), np.random.default_rng([self.spec.seed, number])
        if array.dtype == np.float32 and array.size:
            scale = np.abs(array[IMAGES:]) + beside * np.abs(array).max()
            array[IMAGES:] += random.uniform(-NOISE, NOISE, scale.shape) * scale
        return array

    def add(self, step):
        """Raises `Unfit`, and is as before then."""
        weights = Weights([self.spec.seed, len(self.steps)], step.scale, HOLD[self.spec.form])
        made = self.computed(step, weights)
        for value in made:
            check(value)
        self.reads |= set(step.reads)
        self.values += made
        self.made.append(len(made))
        self.weights.append(weights)
        self.steps.append(step)

    def computed(self, step, weights):
        """What the step gives, disturbed; `Unfit` if TensorFlow refuses it."""
        try:
            reads = [tf.constant(self.values[at]) for at in step.reads]
            made = tf.nest.flatten(self.call(step, weights, reads))
        except (ValueError, TypeError, IndexError, tf.errors.OpError, NotImplementedError) as error:
            raise Unfit(str(error)) from None
        known = len(self.values)
        return [self.noisy(value, known + at, beside=0.5) for at, value in enumerate(made)]

    def call(self, step, weights, reads):
        if step.op == "again":
            first = self.steps[step.args["step"]]
            return STEPS[first.op].build(self.weights[step.args["step"]].again(), *reads,
                                         **first.args)  # fmt: skip
        return STEPS[step.op].build(weights.again(), *reads, **step.args)

    def __call__(self, *inputs):
        """The outputs, of tensors of any batch."""
        values = list(inputs)
        for step, weights in zip(self.steps, self.weights, strict=True):
            reads = [values[at] for at in step.reads]
            values += tf.nest.flatten(self.call(step, weights, reads))
        return [values[at] for at in self.outputs()]

    def outputs(self):
        """What no step reads; in one of three networks, any value beside: an input, say."""
        made = range(len(self.spec.inputs), len(self.values))
        found = [at for at in made if at not in self.reads]
        random = np.random.default_rng([self.spec.seed, len(self.values)])
        if random.random() < 1 / 3:
            found.insert(random.integers(len(found) + 1), int(random.integers(len(self.values))))
        return found

    def expected(self):
        """What TensorFlow gives for the outputs when it is simply called."""
        return [self.values[at][:IMAGES] for at in self.outputs()]

    def drawn(self):
        """The spec of what was added."""
        return replace(self.spec, steps=tuple(self.steps))


def check(value):
    """Raise `Unfit` unless the numbers can be compared."""
    if value.size > LARGEST * len(value) or not value.size:
        raise Unfit("too large, or empty")
    if value.dtype != np.float32:
        return
    if value.ndim < 2:
        raise Unfit("no axis but the batch")
    if not np.isfinite(value).all():
        raise Unfit("not finite")
    plain, noisy = value[:IMAGES].astype(np.float64), value[IMAGES:].astype(np.float64)
    scale = np.abs(plain).max()
    if scale and not RANGE[0] < scale < RANGE[1]:
        raise Unfit("out of range")
    if np.abs(noisy - plain).max() > CONDITION * NOISE * scale:
        raise Unfit("ill-conditioned")


@st.composite
def specs(draw, forms=None, most=12):
    """Valid networks of up to `most` steps."""
    inputs = draw(st.lists(st.tuples(SHAPES, st.sampled_from(sorted(INPUTS))), min_size=1,
                           max_size=3))  # fmt: skip
    form = draw(st.sampled_from(forms or FORMS))
    target = draw(st.one_of(st.just("portable"), st.sampled_from(FITTING)))
    network = Network(Spec(tuple(inputs), (), draw(st.integers(0, 255)), form, target))
    few, many = st.integers(1, most // 2), st.integers(most // 2, most)
    for _ in range(draw(st.one_of(few, many, many))):
        step = draw(steps(network))
        if step:
            with suppress(Unfit):
                network.add(step)
    assume(network.steps)
    return network.drawn()


@st.composite
def steps(draw, network):
    """A step that the network may take next; None if there is none."""
    values = list(enumerate(network.values))
    shapes = {at: value.shape for at, value in values if value.dtype == np.float32}
    at = draw(st.one_of(st.just([*shapes][-1]), st.sampled_from([*shapes][::-1])))
    arguments = {name: kind.arguments(shapes[at]) for name, kind in taking(shapes[at])}
    names = [name for name, strategies in arguments.items() if strategies is not None]
    names += 3 * [name for name in names if STEPS[name].ranks == (4,)]  # else they are rare
    name = draw(st.sampled_from([*names, "again"]))
    if name == "again":
        return draw(repetitions(network, at))
    reads = draw(operands(STEPS[name], shapes, at))
    return Step(name, tuple(reads), draw(st.fixed_dictionaries(arguments[name])), draw(SCALES))


def taking(shape):
    return [(name, kind) for name, kind in STEPS.items() if len(shape) in kind.ranks]


@st.composite
def operands(draw, kind, shapes, at):
    """What a step reads: the value `at`, and its partners, in any order."""
    if not kind.partner:
        return [at]
    fitting = [one for one in reversed(shapes) if kind.partner(shapes[at], shapes[one])]
    count = draw(st.integers(kind.least, kind.most)) - 1
    return draw(st.permutations([at, *(draw(st.sampled_from(fitting)) for _ in range(count))]))


def repetitions(network, at):
    """A step that was applied to such a shape before, applied again to the value `at`."""
    shape = network.values[at].shape
    same = [
        Step("again", (at,), {"step": number})
        for number, step in enumerate(network.steps)
        if len(step.reads) == 1 and step.op != "again"
        if network.values[step.reads[0]].shape == shape
    ]
    return st.sampled_from(same or [None])


def label(step, spec):
    """What the tally calls a step."""
    if step.op == "again":
        return label(spec.steps[step.args["step"]], spec)
    named = step.args.get("name") or step.args.get("op") or step.args.get("layer", (None,))[0]
    return f"{step.op}:{named}" if named else step.op


def script(spec):
    """A short script that tries this one network."""
    lines = [f"    {step!r}," for step in spec.steps]
    rest = ", ".join(map(repr, (spec.seed, spec.form, spec.target)))
    return "\n".join(
        ["from tests.fuzz.specs import Spec, Step", "from tests.fuzz.trial import told", "",
         f"print(told(Spec({spec.inputs!r}, (", *lines, f"), {rest})))"]
    )  # fmt: skip


SIZES = st.one_of(st.integers(1, 5), st.integers(1, 9))
CHANNELS = st.integers(1, 6)
SHAPES = st.one_of(
    st.tuples(SIZES, SIZES, CHANNELS), st.tuples(SIZES, SIZES, CHANNELS),
    st.tuples(SIZES, CHANNELS), st.tuples(st.integers(1, 9)),
)  # fmt: skip
SCALES = st.one_of(st.just(1.0), st.sampled_from([1.0, 1e-3, 0.1, 10.0, 1e3]))

INPUTS = {
    "normal": lambda random, shape: random.normal(size=shape),
    "positive": lambda random, shape: random.uniform(0.1, 1, shape),
    "pixels": lambda random, shape: random.integers(0, 256, shape),
    "small": lambda random, shape: 1e-3 * random.normal(size=shape),
}

# How a network is handed over -> what its weights are.
HOLD = {
    "constants": np.asarray,
    "captured": tf.constant,
    "variables": tf.Variable,
    "keras": tf.Variable,
    "saved": tf.Variable,
    "frozen": tf.Variable,
    "checkpoint": np.asarray,
}
# A run of hypothesis draws so few networks: of more, it makes new ones out of old ones.
FEW = 12

# What is built for the others has a layer that BVLC Caffe and OpenCV do not run alike.
FITTING = sorted(name for name, target in TARGETS.items() if not target.takes("ReLU6"))

# In one of twenty each, since these take longer: a SavedModel, a frozen graph, a TF1 checkpoint.
FORMS = ["constants"] * 7 + ["captured"] * 2 + ["variables"] * 4 + ["keras"] * 4
FORMS += ["saved", "frozen", "checkpoint"]

"""What runs a Caffe network: real BVLC pycaffe, or OpenCV's importer; each in a child process.

pycaffe needs a Python of its own and aborts the process on a bad network; OpenCV may crash on one.
Here either becomes a one-line `Failure`.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np

from tf2caffe.caffe import schema, targets
from tf2caffe.failure import Failure
from tf2caffe.paths import temporary_beside
from tf2caffe.proof import twin
from tf2caffe.proof.workers.protocol import receive, send

HERE = Path(__file__).resolve().parent / "workers"
PROJECT_PYTHON = Path(__file__).resolve().parents[2] / ".pycaffe" / "python"  # make pycaffe
TIMEOUT = 600  # seconds
PIPE = 1 << 20  # bytes that wait in a pipe; Linux's default of 64 KB makes both sides wait often


def add_arguments(parser):
    """The options that `choose` takes."""
    parser.add_argument(
        "--runtime", choices=("auto", *RUNTIMES), default="auto",
        help="what runs the Caffe network (default: auto = pycaffe if there is one, else opencv)",
    )  # fmt: skip
    parser.add_argument(
        "--caffe-python", metavar="PATH",
        help="a Python that has caffe (default: $CAFFE_PYTHON, else what `make pycaffe` made)",
    )  # fmt: skip
    parser.add_argument(
        "--caffe-timeout", type=seconds, default=TIMEOUT, metavar="SECONDS",
        help=f"time limit of one run of the network (default: {TIMEOUT})",
    )  # fmt: skip


def seconds(text):
    """A time limit given as text; argparse tells the user of the `ValueError`."""
    limit = float(text)
    if not 0 < limit <= threading.TIMEOUT_MAX:
        raise ValueError
    return limit


def choose(runtime="auto", caffe_python=None, timeout=TIMEOUT, prototxt=None):
    """The runtime that the user asked for, started; `auto` is one that has what `prototxt` has."""
    if runtime == "auto":
        runtime = Pycaffe.name if caffe_python else first_able(prototxt)
    return RUNTIMES[runtime](caffe_python, timeout)


def first_able(prototxt):
    """The name of the first runtime that is installed and has each layer type of `prototxt`."""
    types = {layer.type for layer in Network.of(prototxt).net.layer} if prototxt else set()
    able = (name for name, kind in RUNTIMES.items() if kind.python_with_it() and kind.has(types))
    return next(able)


def refuse_python(caffe_python):
    """Raise `Failure` where a Python with Caffe is named, and OpenCV shall run the network."""
    if caffe_python:
        raise Failure("--caffe-python and --runtime opencv contradict each other")


class Refused(Exception):
    """What the child, or its death, has against a request."""


class Runtime:
    """A child process that runs network after network; started again after it died.

    `name` is its name on the command line, `title` its name in messages. `worker` is the script
    that the child runs, `needs` what that script must find in its Python, `advice` how to get it.
    """

    layers = None  # the layer types that it has; None: all that we write

    @classmethod
    def has(cls, types):
        """Whether it has all of these layer types."""
        return cls.layers is None or types <= cls.layers

    def __init__(self, python, timeout=TIMEOUT):
        self.python, self.timeout = str(python), timeout
        self.process = None
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (nameless: nothing stays behind)
        self.version = self._start()

    def __str__(self):
        return f"{self.name} {self.version}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def run(self, prototxt, caffemodel, inputs, blobs=None):
        """The network's blobs by name, float32: all of them, or those named in `blobs`.

        `prototxt` is a path or a `Network`; `inputs` has an NCHW array for each input blob, whose
        first axis, the batch, is free.
        """
        if not Path(caffemodel).is_file():
            raise Failure(f"{caffemodel}: no such file; build_caffe.py makes it")
        network = Network.of(prototxt)
        inputs, blobs = network.checked(inputs), network.chosen(blobs)
        request = {
            "prototxt": os.path.abspath(network.path),
            "caffemodel": os.path.abspath(caffemodel),
            "outputs": {blob: network.writers[blob] for blob in blobs if blob in network.writers},
        }
        try:
            arrays = self._ask(request, inputs)
        except Refused as refusal:
            raise Failure(self._told(refusal, network.path, caffemodel)) from None
        return {blob: arrays[blob] if blob in arrays else inputs[blob] for blob in blobs}

    def note(self, network):
        """What there is to say of how a `Network` was run; None if it was run as it is."""

    def close(self):
        """End the child; the next `run` starts another."""
        if self.process:
            self._kill()
            self.process.communicate()
            self.process = None

    def _start(self):
        """Start the child; the version that it tells."""
        try:
            self.process = subprocess.Popen(
                [self.python, str(HERE / self.worker)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.log,
                env={**os.environ, "GLOG_minloglevel": "0", "OPENCV_LOG_LEVEL": "ERROR"},
                start_new_session=True,  # Ctrl-C is ours; what a wrapper starts can be killed
                pipesize=PIPE,
            )
            return self._exchange()[0]["version"]
        except OSError as error:
            raise Failure(f"{self.python}: {error.strerror}") from None
        except Refused as refusal:
            reason = re.sub(r"^(ModuleNotFound|Import)Error: ", "", str(refusal))
            raise Failure(f"{self.python}: has no {self.needs} ({reason}); {self.advice}") from None

    def _ask(self, request, inputs):
        """The arrays that the child answers."""
        if self.process is None or self.process.poll() is not None:
            self.close()
            self._start()
        answer, arrays = self._exchange(request, inputs)
        if "error" in answer:
            raise Refused(cause(self._logged(), answer["error"]))
        return arrays

    def _exchange(self, *request):
        """Send the request, if there is one, and receive; in time, or the child is killed."""
        self.log.seek(0)
        self.log.truncate()
        expired = threading.Event()
        timer = threading.Timer(self.timeout, lambda: (expired.set(), self._kill()))
        timer.start()
        answer = None
        try:
            if request:
                send(self.process.stdin, *request)
            answer = receive(self.process.stdout)
        except (EOFError, BrokenPipeError, ValueError):
            raise Refused(cause(self._logged(), self._ending(expired.is_set()))) from None
        finally:
            timer.cancel()
            if answer is None:  # Ctrl-C too: what is left in the pipes would be the next answer
                self.close()
        return answer

    def _ending(self, expired):
        """How the child ended, in words."""
        if expired:
            return f"took more than {self.timeout:g} s (--caffe-timeout)"
        try:
            status = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return "its answer is not our worker's"
        if status < 0:
            return f"the process died ({signal.strsignal(-status)})"
        lines = self._logged().splitlines()
        return lines[-1] if lines else f"exit status {status}"

    def _logged(self):
        """What the child wrote to standard error since the request."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def _kill(self):
        """Kill the child and what it started."""
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:  # Windows
                self.process.kill()

    def _told(self, refusal, prototxt, caffemodel):
        """The refusal in one line that begins with the file at fault, as the user named it."""
        text, culprit = " ".join(str(refusal).split()), prototxt
        if os.path.abspath(caffemodel) in text:
            culprit = caffemodel
        text = text.replace(f": {os.path.abspath(culprit)}", "")
        return f"{self.title} fails on {culprit}: {text}"


class Pycaffe(Runtime):
    """Real BVLC Caffe, in any Python that has it (default: $CAFFE_PYTHON, or `make pycaffe`'s)."""

    name, title, worker = "pycaffe", "Caffe", "pycaffe_worker.py"
    needs, advice = "caffe", "make pycaffe sets one up"
    layers = frozenset({*targets.CAFFE, "ReLU6"})  # the last as others: see `twin`

    def __init__(self, python=None, timeout=TIMEOUT):
        python = python or self.python_with_it()
        if not python:
            raise Failure(
                f"no pycaffe found: {self.advice}, or --caffe-python names a Python with it"
            )
        super().__init__(python, timeout)

    def run(self, prototxt, caffemodel, inputs, blobs=None):
        """See `Runtime.run`. A ReLU6 is run as layers that Caffe has, which `twin` writes."""
        network = Network.of(prototxt)
        if not twin.has_relu6(network.net):
            return super().run(network, caffemodel, inputs, blobs)
        net, names = twin.of(network.net)
        wanted = network.chosen(blobs)
        with temporary_beside(Path(network.path).with_suffix(".twin.prototxt")) as path:
            path.write_text(schema.prototxt(net.name, net.layer), encoding="utf-8")
            lowered = Network(path, net)
            found = super().run(
                lowered, caffemodel, inputs, [names.get(one, one) for one in wanted]
            )
        return {one: found[names.get(one, one)] for one in wanted}

    def note(self, network):
        """What there is to say of how a network was run; None if it was run as it is."""
        if twin.has_relu6(network.net):
            return "ReLU6, which BVLC Caffe does not have, was run as Power, Eltwise MAX and ReLU"
        return None

    @staticmethod
    def python_with_it():
        """The Python that should have Caffe; None where there is none."""
        project = PROJECT_PYTHON if PROJECT_PYTHON.exists() else None
        return os.environ.get("CAFFE_PYTHON") or project


class OpenCV(Runtime):
    """The Caffe importer of OpenCV 4, fusion off."""

    name, title, worker = "opencv", "OpenCV", "opencv_worker.py"
    needs, advice = "OpenCV 4", "pip install -r requirements.txt brings it"

    def __init__(self, caffe_python=None, timeout=TIMEOUT):
        refuse_python(caffe_python)
        super().__init__(self.python_with_it(), timeout)

    @staticmethod
    def python_with_it():
        """Ours."""
        return sys.executable


class Network:
    """A prototxt, parsed once: `net`, the inputs with their shapes, and who writes other blobs."""

    @classmethod
    def of(cls, prototxt):
        """The `Network` of a path; one that was read already is returned as it is."""
        return prototxt if isinstance(prototxt, cls) else cls(prototxt)

    def __init__(self, path, net=None):
        self.path = path
        self.net = net = schema.load(path) if net is None else net
        self._check_names([layer.name for layer in net.layer])
        self.inputs = dict(declared_inputs(net))
        self.writers = {}  # blob -> (layer, which of its tops); in place, the last one counts
        for layer in net.layer:
            if layer.type != "Input":
                self.writers.update((top, (layer.name, n)) for n, top in enumerate(layer.top))

    def _check_names(self, names):
        """Layers are asked for by name, so each needs one of its own."""
        if not names:
            raise Failure(f"{self.path} has no layer {{ }} blocks, so nothing that could run")
        for name, count in Counter(names).items():
            if not name or count > 1:
                raise Failure(f"{self.path}: {count} layer(s) named {name!r}; each needs its own")

    def checked(self, inputs):
        """The inputs as float32 arrays; `Failure` where names or shapes are not the network's."""
        if set(inputs) != set(self.inputs):
            wanted, given = ", ".join(self.inputs), ", ".join(inputs) or "none"
            raise Failure(f"{self.path} takes the inputs {wanted}; given: {given}")
        arrays = {name: np.asarray(array, np.float32) for name, array in inputs.items()}
        for name, array in arrays.items():
            shape = self.inputs[name]
            if array.ndim != len(shape) or array.shape[1:] != shape[1:] or not array.size:
                form = ", ".join(["N", *map(str, shape[1:])])
                raise Failure(f"{self.path}: input {name!r} takes ({form}), not {array.shape}")
        return arrays

    def chosen(self, blobs):
        """The names of the blobs asked for; all of them for None."""
        known = list(dict.fromkeys([*self.inputs, *self.writers]))
        unknown = sorted(set(blobs or ()) - set(known))
        if unknown:
            raise Failure(f"{self.path}: no layer writes a blob {unknown[0]!r}")
        return known if blobs is None else list(blobs)


def declared_inputs(net):
    """Each input blob's name and shape, from Input layers or from the older top-level fields."""
    for layer in [*schema.old_inputs(net), *net.layer]:
        if layer.type == "Input":
            shapes = [tuple(shape.dim) for shape in layer.input_param.shape]
            if len(shapes) == 1:
                shapes *= len(layer.top)  # one shape serves all tops
            yield from zip(layer.top, shapes, strict=False)


# How Caffe, OpenCV and protobuf log what is wrong, and with which layer they are busy.
SYNTAX = re.compile(r"libprotobuf ERROR .*\] Error parsing text-format \S+ (\d+):\d+: (.+)")
FATAL = re.compile(r"^(?:F\d{4} .*?\] |  what\(\):  )(.+)$", re.MULTILINE)
LAYER = re.compile(
    r"initialization done()|(?:Creating|Running) layer (.+)|OPENCV/DNN: \[.*?\]:\((.*?)\):"
)
PLAINER = [  # what users can do without
    (r"^.*(Unknown layer type: \S+) .*", r"\1"),
    (r"^.*Failed to parse NetParameter file(: \S+).*", r"damaged, or not a network's file\1"),
    (r" To learn this layer's parameters from scratch.*", ""),
    (r"^Check failed: .* \((\S+ vs\. \S+)\) (.+?)\.?$", r"\2 (\1)"),
    (r"^Check failed: |\.? *$", ""),
]


def cause(log, otherwise):
    """Why a run failed, from what the child logged; `otherwise` if it logged no reason."""
    syntax = SYNTAX.search(log)
    if syntax:
        return f"line {syntax[1]}: {syntax[2].rstrip('.')}"
    text = (FATAL.findall(log) or [otherwise])[-1]
    for pattern, plainer in PLAINER:
        text = re.sub(pattern, plainer, text)
    layer = "".join((LAYER.findall(log) or [[]])[-1])
    return f"layer {layer!r}: {text}" if layer and f"'{layer}'" not in text else text


# In the order in which `--runtime auto` tries them.
RUNTIMES = {kind.name: kind for kind in (Pycaffe, OpenCV)}

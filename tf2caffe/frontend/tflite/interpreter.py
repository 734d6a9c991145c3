"""TFLite's own interpreter, which a trace of a `.tflite` file is compared with.

It runs TFLite's own kernels, without delegates, which would replace them, and keeps every tensor:
so each op is compared too, alone, on what the interpreter fed it.
"""

import contextlib
import warnings
from itertools import islice

import numpy as np
import tensorflow as tf

from tf2caffe.failure import Failure, first_line
from tf2caffe.frontend.original import TOLERANCE, DoesNotRun, Original, cast, difference, images
from tf2caffe.frontend.tflite.file import name
from tf2caffe.frontend.tflite.part import plain_name
from tf2caffe.proof.parity import allowed

IMAGES = 8  # on which each op is compared alone


class Interpreted(Original):
    """The `Original` of a `.tflite`: `content` (bytes) is run between the part's ends.

    `writer` (see `write`) knows TensorFlow's tensor of each of the file's. Where `content` is not
    the file's own, `whole` may be a `Part` of the file as it is: its distance is measured.
    """

    def __init__(self, writer, content, specs, whole=None):
        super().__init__(self._start, specs)
        self.writer, self.part, self.content, self.whole = writer, writer.part, content, whole
        self.apart = writer.trace()

    @contextlib.contextmanager
    def _start(self):
        interpreter = self._interpreter()
        yield lambda image: self._run(interpreter, image, self.part.outputs, self.part.same)

    def _interpreter(self):
        return started(self.content, self.part.inputs, self.specs)

    def _run(self, interpreter, image, wanted, same=()):
        """The `wanted` tensors, {key: index}, of one image."""
        same = dict(same)
        try:
            for key, at in self.part.inputs.items():
                interpreter.set_tensor(at, np.ascontiguousarray(image[key]))
            interpreter.invoke()
            return {key: interpreter.get_tensor(same.get(at, at)) for key, at in wanted.items()}
        except (RuntimeError, ValueError) as error:
            raise DoesNotRun(first_line(error)) from None

    def allowed(self, output):
        """The bound of an output's error: TFLite's kernels round otherwise than TensorFlow's."""
        return allowed(self.writer.depths.get(self.part.outputs[output], 0), TOLERANCE)

    def remarks(self, inputs, expected):
        """What is to be said beside that the outputs are the same: of each op, and of the file."""
        worst = self._alone(inputs)
        said = f"; each of its {len(self.writer.written)} ops alone within {worst:.1e}"
        if self.whole is None:
            return said
        return f"{said}; {self._distance(inputs, expected)}"

    def _alone(self, inputs):
        """The largest error of an op on what the interpreter feeds it, relative to what it gives.

        Raises `Failure` that names the first op that differs.
        """
        floats = {}
        for at, tensor in self.writer.tensors.items():
            known = at in self.writer.values or tensor.name in floats.values()
            if not known and tensor.dtype == tf.float32:
                floats[at] = tensor.name
        function = self._op_by_op(floats)
        interpreter, errors = self._interpreter(), dict.fromkeys(floats, 0.0)
        for image in islice(images(inputs), IMAGES):
            fed = {key: cast(array, self.specs[key].dtype) for key, array in image.items()}
            known = self._run(interpreter, fed, {at: at for at in floats}, self.part.same)
            for at, (array, scale) in function(known).items():
                errors[at] = max(errors[at], difference(array, known[at], scale))
        for at, error in errors.items():
            if not error <= TOLERANCE:
                raise Failure(self._unequal(at, error))
        return max(errors.values(), default=0.0)

    def _op_by_op(self, floats):
        """A function of the interpreter's tensors to what each op makes of them.

        It gives {index: (array, the scale of its errors)}: a fused ReLU6 may leave less of a sum
        than what was rounded.
        """
        trace = self.apart.cut({str(at): tensor for at, tensor in floats.items()})
        ends = self.part.inputs.values()
        made = [at for outputs in self.writer.written for at in outputs
                if at in floats and at not in ends]  # fmt: skip
        sums = [at for at in made if at in self.writer.before]
        function = trace.function(
            [floats[at] for at in made] + [self.writer.before[at].name for at in sums]
        )

        def call(known):
            given = {str(at): np.asarray(array, np.float32) for at, array in known.items()}
            found = function(given)
            before = dict(zip(sums, found[len(made) :], strict=True))
            scales = {at: np.abs(array).max(initial=0) for at, array in before.items()}
            return {at: (array, scales.get(at, 0)) for at, array in zip(made, found, strict=False)}

        return call

    def _unequal(self, at, error):
        op = self.part.producers[at]
        return (
            f"{self.part.shown(op)}: tensor {plain_name(name(self.part.tensors[at]))} is off by "
            f"{error:.1e} of its scale from what TFLite's interpreter makes of the same input, "
            f"{TOLERANCE:g} is allowed; tf2caffe read this op wrongly: please report it"
        )

    def _distance(self, inputs, expected):
        """By how much the file as it is differs, since it rounds activations to 8 bits."""
        try:
            found = self._of_file(inputs)
        except DoesNotRun as reason:
            return f"the file as it is does not run here ({reason})"
        worst = max(difference(found[key], expected[key]) for key in expected)
        return (
            f"the file itself, run by TFLite's interpreter, rounds activations to whole numbers: "
            f"its outputs differ by up to {worst:.1%} of their largest value"
        )

    def _of_file(self, inputs):
        """The outputs of the file as it is, as floats."""
        interpreter = started(self.part.file.content, self.part.inputs, self.specs)
        results = []
        for image in images(inputs):
            fed = {key: self.whole.stored(at, image[key]) for key, at in self.part.inputs.items()}
            found = self._run(interpreter, fed, self.part.outputs)
            results.append({key: self.whole.meant(self.part.outputs[key], array)
                            for key, array in found.items()})  # fmt: skip
        return {key: np.stack([result[key] for result in results]) for key in results[0]}


def started(content, inputs, specs):
    """An interpreter of a `.tflite` (bytes) whose inputs, {name: index}, have the specs' shapes."""
    try:
        interpreter = made(content)
        for key, at in inputs.items():
            interpreter.resize_tensor_input(at, list(specs[key].shape))
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise DoesNotRun(first_line(error)) from None
    return interpreter


def made(content):
    """An interpreter that has TFLite's own kernels, and keeps every tensor."""
    kernels = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it will move to another package
        return tf.lite.Interpreter(
            model_content=content,
            experimental_op_resolver_type=kernels,
            experimental_preserve_all_tensors=True,
        )


def refuse_invalid(file):
    """Raise `Failure` where TFLite itself does not take the file for one of its own."""
    try:
        made(file.content)
    except ValueError as error:
        if "latbuffer" in str(error):
            raise file.damaged("TFLite's interpreter says that it is not valid") from None
    except RuntimeError:  # an op that this interpreter does not run
        return

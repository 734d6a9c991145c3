"""Deliberate faults, each of which the tests must find: `make mutants`.

Each is planted, alone, in a copy of the project; then the tests that could find it are run there
until one fails. A fault that none finds survives, and so does one whose text is not in its file
exactly once: the table, at the foot, is wrong then. Survivors make the exit status 1.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[1]
LINKED = (".venv", ".pycaffe")
LEFT_OUT = shutil.ignore_patterns(
    ".git", "__pycache__", ".*_cache", ".consumers", *LINKED,
    "activations", "checkpoints", "logs", "nets", "tf_weights",
)  # fmt: skip


class Mutant(NamedTuple):
    """A fault: the file (in tf2caffe/), the right text, the wrong one; `-k` of what finds it."""

    fault: str
    file: str
    right: str
    wrong: str
    found_by: str
    tests: str = "test_ops"

    def places(self):
        """How often the right text is in the file."""
        return (PROJECT / "tf2caffe" / self.file).read_text(encoding="utf-8").count(self.right)

    def is_killed(self):
        """Whether a test fails in a copy of the project that has the fault."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "project"
            shutil.copytree(PROJECT, copy, ignore=LEFT_OUT)
            for name in LINKED:
                if (PROJECT / name).exists():
                    (copy / name).symlink_to((PROJECT / name).resolve())
            path = copy / "tf2caffe" / self.file
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(self.right, self.wrong), encoding="utf-8")
            return self.fails(copy)

    def fails(self, copy):
        tests = [f"tests/{name}.py" for name in self.tests.split()]
        command = [sys.executable, "-m", "pytest", *tests, "-x", "-q", "-k", self.found_by]
        ended = subprocess.run(command, cwd=copy, capture_output=True, text=True)
        if ended.returncode not in (0, 1):  # no test at all, or none that could be run
            raise RuntimeError(f"{self.fault}: {ended.stdout}{ended.stderr}")
        return ended.returncode == 1


def main(chosen):
    """A line for each mutant (of those whose fault has one of the given texts in it)."""
    mutants = [one for one in MUTANTS if any(text in one.fault for text in chosen or [""])]
    survivors = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, told in zip(mutants, pool.map(fate, mutants), strict=True):
            print(f"{mutant.file:<16} {mutant.fault:<60} {told}", flush=True)
            if not told.startswith("killed"):
                survivors.append(mutant.fault)
    print(f"\n{len(mutants) - len(survivors)} of {len(mutants)} killed")
    sys.exit(f"not killed: {', '.join(survivors)}" if survivors else 0)


def fate(mutant):
    """What became of a mutant, in words."""
    if mutant.places() != 1:
        return f"ERROR: its text is {mutant.places()} times in {mutant.file}"
    start = time.monotonic()
    told = "killed" if mutant.is_killed() else "SURVIVED"
    return f"{told} ({time.monotonic() - start:.0f} s)"


MAP, BUILD, LAYOUT = "caffe/mapping.py", "caffe/builder.py", "graph/layout.py"
DEPLOY, FIT, ARRANGE = "caffe/folding.py", "caffe/lowering.py", "graph/arrangements.py"
RECOGNISE, EXTRACT = "frontend/recognise.py", "frontend/extract.py"
MUTANTS = [
    Mutant(
        "BatchNorm: epsilon dropped", MAP,
        'batch_norm_param={"eps": float(node.attrs["epsilon"]), "use_global_stats": True},',
        'batch_norm_param={"use_global_stats": True},', "batch_norm",
    ),
    Mutant(
        "BatchNorm: third blob 0", MAP, "unscaled = np.ones(1, np.float32)",
        "unscaled = np.zeros(1, np.float32)", "batch_norm",
    ),
    Mutant(
        "BatchNorm: mean and variance swapped", MAP,
        'mean, variance = node.array("mean"), node.array("variance")',
        'variance, mean = node.array("mean"), node.array("variance")', "batch_norm",
    ),
    Mutant(
        "BatchNorm: gamma forgotten", MAP,
        'gamma = node.array("gamma") if "gamma" in node.weights else np.ones_like(mean)',
        "gamma = np.ones_like(mean)", "batch_norm",
    ),
    Mutant(
        "SAME: the odd zero before", MAP, "pads.append((total // 2, total - total // 2))",
        "pads.append((total - total // 2, total // 2))", "conv_same",
    ),
    Mutant(
        "SAME: pad off by one", MAP, "(k - 1) * d + 1 - length, 0)", "(k - 1) * d - length, 0)",
        "conv_same",
    ),
    Mutant(
        "SAME: floor for ceil", MAP, "max((-(-length // s) - 1) * s", "max((length // s - 1) * s",
        "conv_same",
    ),
    Mutant(
        "kernel embedded on the wrong side", BUILD,
        "uneven = [(max(after - before, 0), max(before - after, 0)) for before, after in pads]",
        "uneven = [(max(before - after, 0), max(after - before, 0)) for before, after in pads]",
        "conv_same",
    ),
    Mutant(
        "dilation forgotten", BUILD, '**sized("dilation", dilation, 1, many=True),', "", "conv_dilated",
    ),
    Mutant(
        "stride: height for width", MAP, "return [tuple(node.attrs[name][1:3]) for name in names]",
        "return [tuple(node.attrs[name][2:0:-1]) for name in names]", "conv_valid_stride",
    ),
    Mutant(
        "convolution: bias forgotten", MAP,
        'return node.array("bias") if "bias" in node.weights else None', "return None", "conv_valid",
    ),
    Mutant(
        "transposed convolution: zeros on the wrong side", MAP,
        "zeros = [(p - b, p + end) for", "zeros = [(p + end, p - b) for", "transposed",
    ),
    Mutant(
        "max pool: Caffe's extra window kept", MAP,
        "excess.append(unread if unread > 0 and before == after == 0 else 0)",
        "excess.append(0)", "max_pool",
    ),
    Mutant(
        "average pool: padding counted", MAP,
        "ones = net.affine(f\"{node.layer}/ones\", bottom, 0.0, 1.0)\n    ones_kernel",
        "ones = net.affine(f\"{node.layer}/ones\", bottom, 0.0, 1.1)\n    ones_kernel",
        "average_pool",
    ),
    Mutant(
        "mean: the wrong axis", MAP,
        "caffe_axes |= {axis: axis + 4 - len(shape) for axis in range(1, len(shape))}",
        "caffe_axes |= {axis: 6 - axis - len(shape) + 2 for axis in range(1, len(shape))}",
        "mean_height or mean_width",
    ),
    Mutant(
        "sum: one too few", MAP,
        "count = prod(net.shapes[blob][axis] for axis in axes)",
        "count = prod(net.shapes[blob][axis] for axis in axes) - 1", "sum_image or sum_channels",
    ),
    Mutant(
        "concat: the wrong axis", MAP,
        "caffe_axis = 1 if axis == rank - 1 else axis + max(4 - rank, 0) + 1", "caffe_axis = 1",
        "concatenate_height or concatenate_width",
    ),
    Mutant(
        "pad: number not added again", MAP,
        'border = net.affine(f"{node.layer}/border", ones, -number, number)',
        'border = net.affine(f"{node.layer}/border", ones, 0.0, 0.0)', "pad",
    ),
    Mutant(
        "softmax: always over the channels", MAP,
        "axis = axes.index(set(layout.tf[-1])) + 1", "axis = 1", "softmax or permute",
        "test_ops test_formats",
    ),
    Mutant(
        "LRN: alpha not times the size", MAP, '"alpha": node.attrs["alpha"] * size / k',
        '"alpha": node.attrs["alpha"] / k', "lrn",
    ),
    Mutant(
        "LRN: k left to Caffe", MAP, "return blob if k == 1 else net.affine(node.layer, blob, k**-beta)",
        "return blob if k == 1 else net.affine(node.layer, blob, 1.0)", "lrn",
    ),
    Mutant(
        "leaky ReLU: negative slope dropped", MAP, 'param = {"negative_slope": node.attrs["alpha"]}',
        "param = {}", "leaky_relu",
    ),
    Mutant("relu6: bound 5.99", FIT, "minus, 0.0, -6.0)", "minus, 0.0, -5.99)", "relu6"),
    Mutant(
        "elu: alpha forgotten", MAP, "part = 0.5 / (scale * alpha)", "part = 0.5 / scale", "selu",
    ),
    Mutant(
        "erf: a coefficient's last digits", MAP, "4.87917671", "4.87938", "erf",
    ),
    Mutant(
        "erfc: the sign", MAP, 'affine(f"{name}/minus", x, -STEEP)',
        'affine(f"{name}/minus", x, STEEP)', "gelu_erf",
    ),
    Mutant(
        "subtraction: operands swapped", MAP,
        "return net.affine(name, blob, -1.0, c) if first else net.affine(name, blob, beta=-np.float32(c))",
        "return net.affine(name, blob, beta=-np.float32(c))", "add or vector or hard or subtract",
    ),
    Mutant(
        "division: not inverted", MAP, "return net.affine(name, blob, 1 / np.float64(c))",
        "return net.affine(name, blob, np.float64(c))", "normalization or average or divide or hard",
    ),
    Mutant(
        "nearest: half a pixel off", MAP, "return (at + half) * scale\n", "return at * scale\n",
        "nearest or resize or upsampl",
    ),
    Mutant(
        "bilinear: corners", MAP, "return (at + half) * scale - half", "return (at + half) * scale",
        "bilinear or resize or upsampl",
    ),
    Mutant(
        "tent: even factors like odd ones", MAP, "length = 2 * factor - factor % 2",
        "length = 2 * factor - 1", "bilinear or resize or upsampl",
    ),
    Mutant(
        "slice: one too far", MAP, "first, last = [-b for b, _, _, _ in axes],",
        "first, last = [-b - 1 for b, _, _, _ in axes],", "slice or crop or split",
    ),
    Mutant(
        "depth to space: channels in Caffe's order", MAP,
        "kernel = np.eye(block * block * out, dtype=np.float32).reshape(-1, block, block, out)\n"
        "    kernel = kernel.transpose(0, 3, 1, 2)",
        "kernel = np.eye(block * block * out, dtype=np.float32).reshape(-1, out, block, block)",
        "depth_to_space",
    ),
    Mutant(
        "convolution: height and width of the kernel swapped", ARRANGE,
        "return array.transpose(3, 2, 0, 1)  # HWIO -> OIHW",
        "return array.transpose(3, 2, 1, 0)  # HWIO -> OIHW", "conv_same",
    ),
    Mutant(
        "depthwise: multiplier before channel", ARRANGE,
        "return array.transpose(2, 3, 0, 1).reshape(c * m, 1, h, w)",
        "return array.transpose(3, 2, 0, 1).reshape(c * m, 1, h, w)", "depthwise",
    ),
    Mutant(
        "transposed convolution: kernel not turned round", ARRANGE,
        "return array.transpose(3, 2, 0, 1)  # HWOI -> IOHW",
        "return array[::-1, ::-1].transpose(3, 2, 0, 1)  # HWOI -> IOHW", "transposed",
    ),
    Mutant(
        "dense: rows in TensorFlow's order", ARRANGE,
        "return Reordered(kernel, places(inputs[0]))  # HWC -> CHW",
        "return kernel", "dense",
    ),
    Mutant(
        "dense: outputs in TensorFlow's order", ARRANGE,
        "kernel = kernel if output.is_usual() else kernel[places(output)]", "pass",
        "dense_image",
    ),
    Mutant(
        "dense: not transposed", ARRANGE,
        'kernel = array if node.attrs["transpose_b"] else array.T', "kernel = array.T",
        "dense_transposed",
    ),
    Mutant(
        "vector joined in the wrong order", LAYOUT,
        "index = [start + places(part) for start, part in zip(starts, parts, strict=False)]",
        "index = [start + np.sort(places(part)) for start, part in zip(starts, parts, strict=False)]",
        "concatenate_flattened",
    ),
    Mutant(
        "outputs: as they lie in Caffe", LAYOUT,
        "return layout.nchw() if len(layout.tf) == 3 else layout.as_tensorflow()", "return layout",
        "flatten or shuffle", "test_outputs",
    ),
    Mutant(
        "outputs: one that a layer reads is none", MAP,
        "if read[blob] > 1 or blob in inputs:", "if False:", "pyramid", "test_outputs",
    ),
    Mutant(
        "outputs: a stray one passes", "caffe/outputs.py",
        "strange = [blob for blob in found if blob not in names]", "strange = []", "stray",
        "test_outputs",
    ),
    Mutant(
        "orders: the wrong block to the front", "caffe/orders.py",
        "swapped = parts[0] + parts[2] + parts[1] + parts[3]",
        "swapped = parts[0] + parts[1] + parts[2] + parts[3]", "permuted", "test_outputs",
    ),
    Mutant(
        "reader: epsilon of another place", RECOGNISE,
        "return (variance, plain(float(value))), gamma", "return (variance, 1e-3), gamma",
        "batch_norm",
    ),
    Mutant(
        "reader: dilated pad off by one", RECOGNISE, "pads.append([first, ", "pads.append([first + 1, ",
        "dilated",
    ),
    Mutant(
        "reader: a second bias in the place of the first", RECOGNISE,
        'alone = readers[id(source)] == 1 and "bias" not in source.constants',
        "alone = readers[id(source)] == 1", "conv_two_biases",
    ),
    Mutant(
        "reader: 1 / x taken for x / 1", EXTRACT,
        'if raw.type not in ("RealDiv", "Sub") and isinstance(first, Constant):',
        "if isinstance(first, Constant):", "one_over or nothing_minus",
    ),
    Mutant(
        "reader: a slice's beginning not masked", "frontend/settings.py",
        'first = None if attrs["begin_mask"] >> at & 1 else attrs["begin"][at]',
        'first = attrs["begin"][at]', "channels_reversed",
    ),
    Mutant(
        "deploy: gamma not in the bias", DEPLOY, "beta = gamma * bias + beta",
        "beta = bias + beta", "composition", "test_deploy",
    ),
    Mutant(
        "deploy: shift folded past padding", DEPLOY,
        "return convolution_settings(layer.message)[2] == (0, 0)", "return True",
        "mnistcls or composition", "test_deploy",
    ),
    Mutant(
        "deploy: groups in the wrong order", DEPLOY,
        "return np.repeat(numbers.reshape(group, -1), rows // group, axis=0)[:, :, None, None]",
        "return np.tile(numbers.reshape(group, -1), (rows // group, 1))[:, :, None, None]",
        "composition or every_op", "test_deploy",
    ),
    Mutant(
        "deploy: epsilon outside of the root", DEPLOY,
        "gamma = 1 / np.sqrt(variance * factor + param.eps)",
        "gamma = 1 / (np.sqrt(variance * factor) + param.eps)", "composition", "test_deploy",
    ),
    Mutant(
        "deploy: an output written over", DEPLOY,
        "if first and first.type not in SHARING and layer.tops[0] not in outputs:",
        "if first and first.type not in SHARING:", "composition or network or place", "test_deploy",
    ),
    Mutant(
        "deploy: pads of both sides swapped", DEPLOY,
        "return [(p - at, p - (k - 1 - at)) for", "return [(p - (k - 1 - at), p - at) for",
        "composition or every_op", "test_deploy",
    ),
    Mutant(
        "deploy: a large mean is folded", DEPLOY, "DIGITS = 16  #", "DIGITS = 1e9  #", "exact",
        "test_folds",
    ),
    Mutant(
        "deploy: a large mean goes through a kernel", DEPLOY, "KERNEL_DIGITS = 64", "KERNEL_DIGITS = 1e9",
        "exact", "test_folds",
    ),
    Mutant(
        "deploy: a copy taken for a sum", DEPLOY, "if not apart or terms.max() > 1:", "if True:",
        "copy or repeat", "test_folds",
    ),
    Mutant(
        "reader: random numbers frozen at one draw", EXTRACT,
        "return _is_stateful(raw.type) or is_random(raw.type)", "return _is_stateful(raw.type)",
        "drawn or keras", "test_random",
    ),
    Mutant(
        "reader: another choice taken for Keras's guard", RECOGNISE,
        '_reads(zero, "Equal", [x], operand1=0)', "True", "guard", "test_rewrites",
    ),
    Mutant(
        "training graph: any scale before a mask is dropped", "frontend/training_graph.py",
        "if np.all(np.abs(made - 1) < 1e-5):", "if True:", "dropout", "test_dropout",
    ),
    Mutant(
        "training graph: a step of an optimiser taken for an average", "frontend/training_graph.py",
        'if reader.op.startswith("Assign") and _reads_itself(reader, nodes):',
        'if reader.op.startswith("Assign"):', "averages", "test_moving_averages",
    ),
    Mutant(
        "proof: the model itself is not looked at", "frontend/original.py",
        "error = _difference(traced, expected)\n", "error = 0.0\n", "planted", "test_original",
    ),
    Mutant(
        "proof: NaN passes", "proof/errors.py",
        'if not (np.isfinite(tf).all() and np.isfinite(caffe).all()):\n        return float("inf")\n',
        "if not (np.isfinite(tf).all() and np.isfinite(caffe).all()):\n        return 0.0\n",
        "planted", "test_pipeline",
    ),
    Mutant(
        "proof: layers alone are not looked at", "proof/parity.py", "if not row.own <= tolerance:",
        "if False:", "strays", "test_parity",
    ),
    Mutant(
        "proof: sums are measured by all of their terms", "proof/errors.py", "CANCELLED = 1 / 16",
        "CANCELLED = 1", "measured", "test_parity",
    ),
    Mutant(
        "proof: layers alone are measured by what they inherit", "proof/errors.py",
        "return sizes | alone, whole", "return whole, whole", "measured", "test_parity",
    ),
    Mutant(
        "depthwise: padded by less than its dilation (OpenCV)", "caffe/builder.py",
        "0 < pad < d or (", "(", "depthwise", "test_regressions",
    ),
    Mutant(
        "depthwise: padded on a row of pixels (OpenCV)", "caffe/builder.py",
        "or (pad > 0 and n == d == 1)", "", "depthwise", "test_regressions",
    ),
    Mutant(
        "proof: layers on the probes are not looked at", "proof/parity.py",
        "if row.probed is not None and not row.probed <= tolerance:", "if False:",
        "bound or users_input", "test_probes",
    ),
    Mutant(
        "proof: channels are measured by the largest", "proof/errors.py",
        "scale = np.maximum(largest_by_channel(tf), floor)",
        "scale = np.maximum(largest_by_channel(tf).max(), floor)", "users_input", "test_probes",
    ),
    Mutant(
        "proof: a wrong form to hold the deploy form against", "proof/parity.py",
        "first_stray([*self.before, *self.rows, *self.within]", "first_stray([*self.rows, *self.within]",
        "inspectable_form", "test_probes",
    ),
    Mutant(
        "proof: the deploy form on the user's input alone", "proof/on_probes.py",
        "errors[names[other]] = max(errors.get(names[other], (0.0, 0)), error)", "pass",
        "deploy_form", "test_probes",
    ),
    Mutant(
        "probes: nothing between two bends", "proof/probes.py",
        "return _as_regions([below, *middle, above])", "return _as_regions([below, above])",
        "side", "test_probes",
    ),
    Mutant(
        "probes: nothing above the last bend", "proof/probes.py",
        "return _as_regions([below, *middle, above])", "return _as_regions([below, *middle])",
        "side or bound", "test_probes",
    ),
    Mutant(
        "probes: a ReLU6 is taken for a ReLU", "graph/ops.py",
        '"Relu6": unary(Demand((0.0, 6.0), 6.0, cuts=True))', '"Relu6": unary(CUT)',
        "side or bound", "test_probes",
    ),
    Mutant(
        "probes: a norm is fed around 0", "graph/demands.py",
        'return Demand((number("mean"),), WIDTH * deviation)', "return Demand()", "norm",
        "test_probes",
    ),
    Mutant(
        "reach: what is 0 counts as reached", "proof/reach.py",
        "alive = np.pad((bottom != 0).any(0)", "alive = np.pad((bottom == bottom).any(0)",
        "not_reached", "test_probes",
    ),
    Mutant(
        "outputs: what is read too has no end of its own", "caffe/outputs.py", "} - read", "}",
        "test_model", "test_outputs",
    ),
]  # fmt: skip

if __name__ == "__main__":
    main(sys.argv[1:])

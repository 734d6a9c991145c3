"""Deliberate faults, each of which the tests must find: `make mutants`.

Each is planted, alone, in a copy of the project; then the tests that could find it run there until
one fails. A fault that no test finds survives, and so does one that has no place in the code or
more than one: the table, at the foot, is wrong then. Survivors make the exit status 1.

The table names a function and an expression in it, and no file: a fault stays valid where code
moves to another module or is formatted anew. After a rename, change the name in the table.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[1]
LINKED = (".venv", ".pycaffe")
LEFT_OUT = shutil.ignore_patterns(
    ".git", "__pycache__", ".*_cache", ".consumers", *LINKED,
    "activations", "checkpoints", "logs", "nets", "tf_weights",
)  # fmt: skip


class Place(NamedTuple):
    """A node of a module's syntax tree: where a fault is planted."""

    path: Path
    node: ast.AST

    def planted(self, wrong):
        """The module's source with `wrong` in the node's place."""
        source = self.path.read_bytes()  # the tree counts bytes
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        first = starts[self.node.lineno - 1] + self.node.col_offset
        end = starts[self.node.end_lineno - 1] + self.node.end_col_offset
        text = f"({wrong})" if isinstance(self.node, ast.expr) else wrong
        return (source[:first] + text.encode() + source[end:]).decode()


class Mutant(NamedTuple):
    """A fault: where it is, what is right there and what is wrong, `-k` of the tests that find it.

    `inside` is a function, a method (with its class or without) or a module's constant, anywhere
    in tf2caffe/. `right` and `wrong` are both expressions or both statements of one line.
    """

    fault: str
    inside: str
    right: str
    wrong: str
    found_by: str
    tests: str = "test_ops"

    def places(self):
        """Each Place in the code at which the right expression or statement stands."""
        wanted, found = parsed(self.right), {}
        shape = ast.dump(wanted)
        for path, definition in definitions(self.inside):
            for node in ast.walk(definition):
                if type(node) is type(wanted) and ast.dump(node) == shape:
                    found[path, node.lineno, node.col_offset] = Place(path, node)
        return list(found.values())

    def is_killed(self):
        """Whether a test fails in a copy of the project that has the fault."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "project"
            shutil.copytree(PROJECT, copy, ignore=LEFT_OUT)
            for name in LINKED:
                if (PROJECT / name).exists():
                    (copy / name).symlink_to((PROJECT / name).resolve())
            (place,) = self.places()
            path = copy / place.path.relative_to(PROJECT)
            path.write_text(place.planted(self.wrong), encoding="utf-8")
            return self.fails(copy)

    def fails(self, copy):
        """Whether one of its tests fails in that copy."""
        tests = [f"tests/{name}.py" for name in self.tests.split()]
        command = [sys.executable, "-m", "pytest", *tests, "-x", "-q", "-k", self.found_by]
        ended = subprocess.run(command, cwd=copy, capture_output=True, text=True)
        if ended.returncode not in (0, 1):  # no test at all, or none that could be run
            raise RuntimeError(f"{self.fault}: {ended.stdout}{ended.stderr}")
        return ended.returncode == 1


def parsed(text):
    """The node of an expression, or else of one statement."""
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        (statement,) = ast.parse(text).body
        return statement


def definitions(name):
    """(path, node) of each definition in tf2caffe/ whose qualified name is or ends in `name`."""
    ends = f".{name}"
    return [(path, node) for path, full, node in _definitions() if f".{full}".endswith(ends)]


@cache
def _definitions():
    """(path, qualified name, node) of each function, class and constant in tf2caffe/."""
    found = []
    for path in sorted((PROJECT / "tf2caffe").rglob("*.py")):
        tree = ast.parse(path.read_bytes())
        found += [(path, name, node) for name, node in _named(tree, "")]
    return found


def _named(parent, prefix):
    """(qualified name, node) of what is defined in a node, at any depth."""
    for node in ast.iter_child_nodes(parent):
        inner = prefix
        for name in _names(node, at_top=isinstance(parent, ast.Module)):
            yield f"{prefix}{name}", node
            inner = f"{prefix}{name}."
        yield from _named(node, inner)


def _names(node, at_top):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if at_top and isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def main(chosen):
    """A line for each mutant (of those whose fault has one of the given texts in it)."""
    mutants = [one for one in MUTANTS if any(text in one.fault for text in chosen or [""])]
    survivors = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, words in zip(mutants, pool.map(fate, mutants), strict=True):
            print(f"{mutant.inside:<24} {mutant.fault:<60} {words}", flush=True)
            if not words.startswith("killed"):
                survivors.append(mutant.fault)
    print(f"\n{len(mutants) - len(survivors)} of {len(mutants)} killed")
    sys.exit(f"not killed: {', '.join(survivors)}" if survivors else 0)


def fate(mutant):
    """What became of a mutant, in words."""
    count = len(mutant.places())
    if count != 1:
        return f"ERROR: `{mutant.right}` stands {count} times in {mutant.inside}"
    start = time.monotonic()
    words = "killed" if mutant.is_killed() else "SURVIVED"
    return f"{words} ({time.monotonic() - start:.0f} s)"


MUTANTS = [
    Mutant(
        "BatchNorm: epsilon dropped",
        "batch_norm", '{"eps": float(node.attrs["epsilon"]), "use_global_stats": True}', '{"use_global_stats": True}',
        "batch_norm",
    ),
    Mutant(
        "BatchNorm: third blob 0",
        "batch_norm", "np.ones(1, np.float32)", "np.zeros(1, np.float32)",
        "batch_norm",
    ),
    Mutant(
        "BatchNorm: mean and variance swapped",
        "batch_norm", 'node.array("mean"), node.array("variance")', 'node.array("variance"), node.array("mean")',
        "batch_norm",
    ),
    Mutant(
        "BatchNorm: gamma forgotten",
        "batch_norm", 'node.array("gamma") if "gamma" in node.weights else np.ones_like(mean)', "np.ones_like(mean)",
        "batch_norm",
    ),
    Mutant(
        "SAME: the odd zero before",
        "same_padding", "(total // 2, total - total // 2)", "(total - total // 2, total // 2)",
        "conv_same",
    ),
    Mutant(
        "SAME: pad off by one",
        "same_padding", "(k - 1) * d", "(k - 1) * d - 1",
        "conv_same",
    ),
    Mutant(
        "SAME: floor for ceil",
        "same_padding", "-(-length // s)", "length // s",
        "conv_same",
    ),
    Mutant(
        "kernel embedded on the wrong side",
        "embedded", "(max(after - before, 0), max(before - after, 0))", "(max(before - after, 0), max(after - before, 0))",
        "conv_same",
    ),
    Mutant(
        "dilation forgotten",
        "Builder._slide", 'sized("dilation", dilation, 1, many=True)', "{}",
        "conv_dilated",
    ),
    Mutant(
        "stride: height for width",
        "_spatial", "node.attrs[name][1:3]", "node.attrs[name][2:0:-1]",
        "conv_valid_stride",
    ),
    Mutant(
        "convolution: bias forgotten",
        "_bias", 'node.array("bias") if "bias" in node.weights else None', "None",
        "conv_valid",
    ),
    Mutant(
        "transposed convolution: zeros on the wrong side",
        "transposed_convolution", "(p - b, p + end)", "(p + end, p - b)",
        "transposed",
    ),
    Mutant(
        "average pool: Caffe's extra window kept",
        "_excess", "unread if unread > 0 and before == after == 0 else 0", "0",
        "average_pool",
    ),
    Mutant(
        "average pool: padding counted",
        "average_pool", 'net.affine(f"{node.layer}/ones", bottom, 0.0, 1.0)', 'net.affine(f"{node.layer}/ones", bottom, 0.0, 1.1)',
        "average_pool",
    ),
    Mutant(
        "mean: the wrong axis",
        "reduction", "axis + 4 - len(shape)", "6 - axis - len(shape) + 2",
        "mean_height or mean_width",
    ),
    Mutant(
        "sum: one too few",
        "_sum", "prod(net.shapes[blob][axis] for axis in axes)", "prod(net.shapes[blob][axis] for axis in axes) - 1",
        "sum_image or sum_channels",
    ),
    Mutant(
        "concat: the wrong axis",
        "_caffe_axis", "1 if axis == rank - 1 else axis + max(4 - rank, 0) + 1", "1",
        "concatenate_height or concatenate_width",
    ),
    Mutant(
        "pad: number not added again",
        "pad", 'net.affine(f"{node.layer}/border", ones, -number, number)', 'net.affine(f"{node.layer}/border", ones, 0.0, 0.0)',
        "pad",
    ),
    Mutant(
        "softmax: always over the channels",
        "softmax", "axes.index(set(layout.tf[-1])) + 1", "1",
        "softmax or permute", "test_ops test_formats",
    ),
    Mutant(
        "LRN: alpha not times the size",
        "local_response_norm", 'node.attrs["alpha"] * size / k', 'node.attrs["alpha"] / k',
        "lrn",
    ),
    Mutant(
        "LRN: k left to Caffe",
        "local_response_norm", "k**-beta", "1.0",
        "lrn",
    ),
    Mutant(
        "leaky ReLU: negative slope dropped",
        "leaky_relu", '{"negative_slope": node.attrs["alpha"]}', "{}",
        "leaky_relu",
    ),
    Mutant(
        "relu6: bound 5.99",
        "least_of_six", "-6.0", "-5.99",
        "relu6",
    ),
    Mutant(
        "elu: alpha forgotten",
        "tanh_of_half", "0.5 / layer.message.elu_param.alpha", "0.5",
        "selu",
    ),
    Mutant(
        "erf: a coefficient's last digits",
        "ERF", "4.87917671", "4.87938",
        "erf",
    ),
    Mutant(
        "erfc: the sign",
        "erfc", 'net.affine(f"{name}/minus", x, -STEEP)', 'net.affine(f"{name}/minus", x, STEEP)',
        "gelu_erf",
    ),
    Mutant(
        "subtraction: operands swapped",
        "_subtract_number", "net.affine(name, blob, -1.0, c) if first else net.affine(name, blob, beta=-np.float32(c))", "net.affine(name, blob, beta=-np.float32(c))",
        "add or vector or hard or subtract",
    ),
    Mutant(
        "division: not inverted",
        "_divide_number", "1 / np.float64(c)", "np.float64(c)",
        "normalization or average or divide or hard",
    ),
    Mutant(
        "nearest: half a pixel off",
        "_sources", "return (at + half) * scale", "return at * scale",
        "nearest or resize or upsampl",
    ),
    Mutant(
        "bilinear: corners",
        "_sources", "(at + half) * scale - half", "(at + half) * scale",
        "bilinear or resize or upsampl",
    ),
    Mutant(
        "tent: even factors like odd ones",
        "_tent", "2 * factor - factor % 2", "2 * factor - 1",
        "bilinear or resize or upsampl",
    ),
    Mutant(
        "slice: one too far",
        "_picked_of_image", "[-b for b, _, _, _ in axes]", "[-b - 1 for b, _, _, _ in axes]",
        "slice or crop or split",
    ),
    Mutant(
        "depth to space: channels in Caffe's order",
        "depth_to_space", "kernel = kernel.transpose(0, 3, 1, 2)", "kernel = kernel.reshape(-1, out, block, block)",
        "depth_to_space",
    ),
    Mutant(
        "convolution: height and width of the kernel swapped",
        "convolution_kernel", "array.transpose(3, 2, 0, 1)", "array.transpose(3, 2, 1, 0)",
        "conv_same",
    ),
    Mutant(
        "depthwise: multiplier before channel",
        "depthwise_kernel", "array.transpose(2, 3, 0, 1)", "array.transpose(3, 2, 0, 1)",
        "depthwise",
    ),
    Mutant(
        "transposed convolution: kernel not turned round",
        "transposed_kernel", "array.transpose(3, 2, 0, 1)", "array[::-1, ::-1].transpose(3, 2, 0, 1)",
        "transposed",
    ),
    Mutant(
        "dense: rows in TensorFlow's order",
        "dense_kernel", "Reordered(kernel, places(inputs[0]))", "kernel",
        "dense",
    ),
    Mutant(
        "dense: outputs in TensorFlow's order",
        "dense_kernel", "kernel if output.is_usual() else kernel[places(output)]", "kernel",
        "dense_image",
    ),
    Mutant(
        "dense: not transposed",
        "dense_kernel", 'array if node.attrs["transpose_b"] else array.T', "array.T",
        "dense_transposed",
    ),
    Mutant(
        "vector joined in the wrong order",
        "joined", "start + places(part)", "start + np.sort(places(part))",
        "concatenate_flattened",
    ),
    Mutant(
        "outputs: as they lie in Caffe",
        "final", "layout.nchw() if len(layout.tf) == 3 else layout.as_tensorflow()", "layout",
        "flatten or shuffle", "test_outputs",
    ),
    Mutant(
        "outputs: one that a layer reads is none",
        "_shared", "read[blob] > 1 or blob not in first", "False",
        "pyramid", "test_outputs",
    ),
    Mutant(
        "outputs: a stray one passes",
        "difference", "[blob for blob in found if blob not in names]", "[]",
        "stray", "test_outputs",
    ),
    Mutant(
        "orders: the wrong block to the front",
        "_swap", "parts[0] + parts[2] + parts[1] + parts[3]", "parts[0] + parts[1] + parts[2] + parts[3]",
        "permuted", "test_outputs",
    ),
    Mutant(
        "reader: epsilon of another place",
        "_root_of_variance", "plain(float(value))", "1e-3",
        "batch_norm",
    ),
    Mutant(
        "reader: dilated pad off by one",
        "_dilated_pads", "[first, op.shape[axis] + reach - outer.inputs[0].shape[axis] - first]", "[first + 1, op.shape[axis] + reach - outer.inputs[0].shape[axis] - first]",
        "dilated",
    ),
    Mutant(
        "reader: a second bias in the place of the first",
        "_bias", 'readers[id(source)] == 1 and "bias" not in source.constants', "readers[id(source)] == 1",
        "conv_two_biases",
    ),
    Mutant(
        "reader: 1 / x taken for x / 1",
        "_unchanged", 'raw.type not in ("RealDiv", "Sub") and isinstance(first, Constant)', "isinstance(first, Constant)",
        "one_over or nothing_minus",
    ),
    Mutant(
        "reader: a slice's beginning not masked",
        "_sliced", 'None if attrs["begin_mask"] >> at & 1 else attrs["begin"][at]', 'attrs["begin"][at]',
        "channels_reversed",
    ),
    Mutant(
        "deploy: gamma not in the bias",
        "linear_and_affine", "gamma * bias + beta", "bias + beta",
        "composition", "test_deploy",
    ),
    Mutant(
        "deploy: shift folded past padding",
        "meets_no_padding", "convolution_settings(layer.message)[2] == (0, 0)", "True",
        "mnistcls or composition", "test_deploy",
    ),
    Mutant(
        "deploy: groups in the wrong order",
        "_in_groups", "np.repeat(numbers.reshape(group, -1), rows // group, axis=0)", "np.tile(numbers.reshape(group, -1), (rows // group, 1))",
        "composition or every_op", "test_deploy",
    ),
    Mutant(
        "deploy: epsilon outside of the root",
        "_batch_norm", "np.sqrt(variance * factor + param.eps)", "np.sqrt(variance * factor) + param.eps",
        "composition", "test_deploy",
    ),
    Mutant(
        "deploy: an output written over",
        "in_place", "first and first.type not in SHARING and layer.tops[0] not in outputs", "first and first.type not in SHARING",
        "composition or network or place", "test_deploy",
    ),
    Mutant(
        "deploy: pads of both sides swapped",
        "delta_pads", "(p - at, p - (k - 1 - at))", "(p - (k - 1 - at), p - at)",
        "composition or every_op", "test_deploy",
    ),
    Mutant(
        "deploy: a large mean is folded",
        "DIGITS", "DIGITS = 16", "DIGITS = 1e9",
        "exact", "test_folds",
    ),
    Mutant(
        "deploy: a large mean goes through a kernel",
        "KERNEL_DIGITS", "KERNEL_DIGITS = 64", "KERNEL_DIGITS = 1e9",
        "exact", "test_folds",
    ),
    Mutant(
        "deploy: a copy taken for a sum",
        "kernel_factor", "not apart or terms.max() > 1", "True",
        "copy or repeat", "test_folds",
    ),
    Mutant(
        "reader: random numbers frozen at one draw",
        "_is_fed", "_is_stateful(raw.type) or is_random(raw.type)", "_is_stateful(raw.type)",
        "drawn or keras", "test_random",
    ),
    Mutant(
        "reader: another choice taken for Keras's guard",
        "_without_guard", '_reads(zero, "Equal", [x], operand1=0)', "True",
        "guard", "test_rewrites",
    ),
    Mutant(
        "training graph: any scale before a mask is dropped",
        "_before_scale", "np.all(np.abs(made - 1) < 1e-5)", "True",
        "dropout", "test_dropout",
    ),
    Mutant(
        "training graph: a step of an optimiser taken for an average",
        "_moving_average", 'reader.op.startswith("Assign") and _reads_itself(reader, nodes)', 'reader.op.startswith("Assign")',
        "averages", "test_moving_averages",
    ),
    Mutant(
        "proof: the model itself is not looked at",
        "_error", "difference(traced, expected)", "0.0",
        "planted", "test_original",
    ),
    Mutant(
        "proof: NaN passes",
        "relative_error",
        'if not (np.isfinite(tf).all() and np.isfinite(caffe).all()): return float("inf")',
        "if not (np.isfinite(tf).all() and np.isfinite(caffe).all()): return 0.0",
        "finite", "test_parity",
    ),
    Mutant(
        "proof: layers alone are not looked at",
        "fault", "not row.own <= tolerance", "False",
        "differs", "test_parity",
    ),
    Mutant(
        "proof: sums are measured by all of their terms",
        "CANCELLED", "CANCELLED = 1 / 16", "CANCELLED = 1",
        "measured", "test_parity",
    ),
    Mutant(
        "proof: layers alone are measured by what they inherit",
        "scales", "(sizes | alone, whole)", "(whole, whole)",
        "measured", "test_parity",
    ),
    Mutant(
        "depthwise: padded by less than its dilation (OpenCV)",
        "mistaken", "0 < pad < d or (pad > 0 and n == d == 1)", "pad > 0 and n == d == 1",
        "depthwise", "test_regressions",
    ),
    Mutant(
        "depthwise: padded on a row of pixels (OpenCV)",
        "mistaken", "0 < pad < d or (pad > 0 and n == d == 1)", "0 < pad < d",
        "depthwise", "test_regressions",
    ),
    Mutant(
        "proof: layers on the probes are not looked at",
        "fault", "row.probed is not None and not row.probed <= tolerance", "False",
        "bound or users_input", "test_probes",
    ),
    Mutant(
        "proof: channels are measured by the largest",
        "by_channel", "largest_by_channel(tf)", "largest_by_channel(tf).max()",
        "users_input", "test_probes",
    ),
    Mutant(
        "proof: a wrong form to hold the deploy form against",
        "Proof.first_stray", "[*self.before, *self.rows, *self.within]", "[*self.rows, *self.within]",
        "inspectable_form", "test_probes",
    ),
    Mutant(
        "proof: the deploy form on the user's input alone",
        "beside", "errors[names[other]] = max(errors.get(names[other], (0.0, 0)), error)", "pass",
        "deploy_form", "test_probes",
    ),
    Mutant(
        "probes: nothing between two bends",
        "_between", "[below, *middle, above]", "[below, above]",
        "side", "test_probes",
    ),
    Mutant(
        "probes: nothing above the last bend",
        "_between", "[below, *middle, above]", "[below, *middle]",
        "side or bound", "test_probes",
    ),
    Mutant(
        "probes: a ReLU6 is taken for a ReLU",
        "OPS", "Demand((0.0, 6.0), 6.0, cuts=True)", "Demand((0.0,), 2.0, cuts=True)",
        "side or bound", "test_probes",
    ),
    Mutant(
        "probes: a norm is fed around 0",
        "normal", 'Demand((number("mean"),), WIDTH * deviation)', "Demand()",
        "norm", "test_probes",
    ),
    Mutant(
        "reach: what is 0 counts as reached",
        "_convolution", "bottom != 0", "bottom == bottom",
        "not_reached", "test_probes",
    ),
    Mutant(
        "outputs: what is read too has no end of its own",
        "last", "{name for name in tensors if tensors.count(name) == 1} - read", "{name for name in tensors if tensors.count(name) == 1}",
        "test_model", "test_outputs",
    ),
]  # fmt: skip

if __name__ == "__main__":
    main(sys.argv[1:])

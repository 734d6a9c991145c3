"""One record an op: complete, of TensorFlow's op as it is, and with a function in the mapping."""

import ast
from pathlib import Path

import pytest
from tensorflow.python.framework import op_def_registry

from tf2caffe.caffe import mapping
from tf2caffe.frontend import settings, unsupported
from tf2caffe.graph import arrangements, layout_rules, ops, shapes
from tf2caffe.graph.demands import Demand
from tf2caffe.graph.values import Kind

GRAPH = Path(ops.__file__).parent


def test_a_record_and_a_function_for_each_op():
    assert ops.OPS.keys() == mapping.OPS.keys()
    assert not ops.OPS.keys() & (ops.FORMS.keys() | settings.PASSING.keys())
    assert set(ops.FORMS.values()) <= ops.OPS.keys()


@pytest.mark.parametrize("op", ops.OPS)
def test_a_record_is_complete(op):
    record = ops.OPS[op]
    assert record.kind in ops.KINDS
    assert record.shape.__module__ == shapes.__name__
    assert record.layout.__module__ == layout_rules.__name__
    assert all(isinstance(kind, Kind) for kind in record.attrs.values())
    rules = record.weights.values()
    assert all(rule.__module__ == arrangements.__name__ for rule in rules)
    assert isinstance(record.probe, Demand) or callable(record.probe)
    least, most = record.inputs
    assert 1 <= least <= (most or least)


@pytest.mark.parametrize("op", ops.OPS)
def test_what_is_read_of_an_op_has_a_place(op):
    """A setting that is read is in graph.json, or the front end has resolved it."""
    record = ops.OPS[op]
    known = {ops.plain_name(name) for name in record.attrs}
    given = {name.rstrip("!") for name in record.operands if name.endswith("!")}
    assert (given | {*record.attributes}) - {*record.settled} <= known
    assert {*record.added} <= known
    weights = {ops.ROLES.get(name, name) for name in record.operands} & {
        ops.ROLES.get(name, name) for name in ops.WEIGHTS
    }
    assert weights <= {ops.plain_name(name) for name in record.weights}


def test_nothing_is_read_of_an_op_that_tensorflow_has_not():
    """The front end makes those, of others."""
    own = [op for op in settings.KNOWN if op_def_registry.get(op) is None]
    assert own and not any(settings.KNOWN[op].attributes for op in own)
    assert not any(name.endswith("!") for op in own for name in settings.KNOWN[op].operands)


@pytest.mark.parametrize(
    "op", [op for op in (*ops.OPS, *ops.FORMS) if op_def_registry.get(op) is not None]
)
def test_an_op_has_as_many_operands_in_tensorflow(op):
    arguments = op_def_registry.get(op).input_arg
    names = settings.KNOWN[op].operands
    optional = 1 if op == "Pad" else 0  # PadV2 has the number to pad with
    assert len(names) - optional <= len(arguments) <= len(names)
    lists = [bool(argument.number_attr) for argument in arguments]
    assert lists == ["*" in name for name in names][: len(lists)]


def test_no_hint_for_an_op_that_is_taken():
    """Of some ops a part is left: lookups with batch_dims, crops that fill, volumes in groups."""
    taken = ops.OPS.keys() | ops.FORMS.keys() | settings.PASSING.keys()
    some = {"AvgPool3D", "Conv3D", "CropAndResize", "GatherV2", "MaxPool3D"}
    assert unsupported.WHY.keys() & taken == some


def test_the_graph_knows_no_tensorflow():
    for path in GRAPH.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", ())]
            names.append(getattr(node, "module", None) or "")
            assert not any(
                name.split(".")[0] in ("tensorflow", "keras") or ".frontend" in name
                for name in names
                if isinstance(node, (ast.Import, ast.ImportFrom))
            ), path

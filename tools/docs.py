"""Write the pages of docs/ that the code knows: python -m tools.docs."""

import ast
import inspect
import textwrap
from pathlib import Path

from tf2caffe.caffe import mapping, products
from tf2caffe.graph import ops
from tools import refusals as refusals_of

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main():
    for name, page in PAGES.items():
        DOCS.mkdir(exist_ok=True)
        (DOCS / name).write_text(page(), encoding="utf-8")
        print(f"wrote: {DOCS / name}")


def operations():
    """docs/ops.md: what is taken of each op, and why others are refused."""
    from tf2caffe.frontend import tf_import

    tf_import.tensorflow()
    from tf2caffe.frontend import settings, unsupported

    lines = [OPS_HEAD, *map(_op, ops.OPS), FORMS_HEAD]
    lines += [f"| {name} | {op} |" for name, op in sorted(ops.FORMS.items())]
    lines += [f"| {name} | {_made(name, op)} |" for name, op in sorted(settings.PASSING.items())]
    lines += [HINTS_HEAD, *(_row(name, why) for name, why in sorted(unsupported.WHY.items()))]
    lines += [REFUSALS_HEAD, *(_row(text, why) for text, (why, _) in refusals_of.WHY.items())]
    return "\n".join(lines) + "\n"


def _op(name):
    """An op's row."""
    record = ops.OPS[name]
    operands = [one.replace("*", " ...") for one in record.operands if not one.endswith("!")]
    settings = [
        f"{key}: {kind}"
        for key, kind in ((ops.plain_name(key), kind) for key, kind in record.attrs.items())
        if key not in ops.EITHER
    ]
    return _row(name, ", ".join(operands), "<br>".join(settings), "<br>".join(refusals(name)))


def _row(*cells):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _made(name, op):
    """What the front end makes of an op, as the function says that does it."""
    from tf2caffe.frontend import expand, linear, recognise, spectra

    found = [op.settle] if op.settle else []
    found += [
        made
        for made in (*recognise.OF_IMAGES, *recognise.RECOGNISERS)
        if name in (made.__doc__ or "")
    ]
    found += [linear.settle_all] if name in linear.AXES else []
    found += [spectra.settle_all] if name in {**spectra.COMPLEX, **spectra.REAL} else []
    found += [expand.EXPANDED[name]] if name in expand.EXPANDED else []
    return found[0].__doc__.splitlines()[0]


def refusals(op):
    """Why the mapping refuses a node of this op: the texts of its `Refused`, in order.

    Those of the functions that it calls are among them.
    """
    texts, waiting, seen = {}, list(filter(_is_named, [mapping.OPS[op]])), set()
    while waiting:
        function = waiting.pop(0)
        if function not in seen:
            seen.add(function)
            found, called = _refused_by(function, op)
            texts |= dict.fromkeys(found)
            waiting += called
    return list(texts)


def _refused_by(function, op):
    """(the texts of a function's `Refused` that concern an op, the mapping's functions it calls)"""
    parts = list(_concerning(ast.parse(textwrap.dedent(inspect.getsource(function))), op))
    calls = [part for part in parts if isinstance(part, ast.Call)]
    names = [call.func.id for call in calls if isinstance(call.func, ast.Name)]
    found = [vars(mapping).get(name) or vars(products).get(name) for name in names]
    called = [call.func for call in calls if isinstance(call.func, ast.Attribute)]
    found += [_method(function) for function in called]
    found += [_table(part.value).get(op) for part in parts if isinstance(part, ast.Subscript)]
    own = [one for one in found if _is_named(one)]
    raised = [call for call in calls if getattr(call.func, "id", "") == "Refused"]
    return [refusals_of.text_of(call.args[0]) for call in raised], own


def _method(called):
    """The function of `products.name(...)`; None of another call."""
    is_product = getattr(called.value, "id", "") == "products"
    return vars(products).get(called.attr) if is_product else None


def _is_named(function):
    """Whether it is a function of the mapping's, not a lambda, which refuses nothing."""
    named = inspect.isfunction(function) and function.__name__ != "<lambda>"
    return named and function.__module__ in (mapping.__name__, products.__name__)


def _concerning(tree, op):
    """The parts of a tree, without what is done only for ops that a table does not have."""
    yield tree
    skipped = isinstance(tree, ast.If) and any(
        isinstance(part, ast.Compare)
        and isinstance(part.ops[0], ast.NotIn)
        and op in _table(part.comparators[0])
        for part in ast.walk(tree.test)
    )
    for part in [] if skipped else ast.iter_child_nodes(tree):
        yield from _concerning(part, op)


def _table(name):
    """The mapping's table of this name."""
    found = vars(mapping).get(getattr(name, "id", ""))
    return found if isinstance(found, dict) else {}


OPS_HEAD = """\
# Ops

`python -m tools.docs` writes this page from `tf2caffe/graph/ops.py`,
`tf2caffe/caffe/mapping.py` and `tf2caffe/frontend/`.

These are the ops that tf2caffe converts, by TensorFlow's names. An operand that is a constant
becomes a weight or a setting. Every setting is honoured, or refused with one of the reasons in the
last column, where ... stands for what was found.

| op | reads | settings | refused |
|---|---|---|---|"""

FORMS_HEAD = """
The front end makes these into one of the ops above:

| op | becomes |
|---|---|"""

HINTS_HEAD = """
Any other op is refused. Of these, the message says more than that:

| op | why, and what to do |
|---|---|"""

REFUSALS_HEAD = """
Every reason for which the mapping or the layouts refuse an op, and why plain Caffe cannot:

| refused | why |
|---|---|"""

# Page -> the function that gives its text.
PAGES = {
    "ops.md": operations,
}


if __name__ == "__main__":
    main()

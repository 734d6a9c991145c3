"""The page docs/targets.md, out of `targets.TARGETS`, `targets.SOURCES` and `lowering.REWRITES`.

python -m tools.docs_targets > docs/targets.md
"""

from tf2caffe.caffe import lowering, targets

HEAD = """\
# Targets

`build_caffe.py NAME --target TARGET` builds a network for the compiler of one chip. A target is a
table of rules: which layer types the compiler takes, and with which settings. tf2caffe maps each
TensorFlow op to Caffe's own layers, replaces the layers that the target does not take (see
[What is replaced](#what-is-replaced)), and names in one message every layer that is left over.

This page is generated from `tf2caffe/caffe/targets.py` and `tf2caffe/caffe/lowering.py` by
`python -m tools.docs_targets`. To add a target, see [add-a-target.md](add-a-target.md).
"""
REPLACED = """
## What is replaced

The functions are in `tf2caffe/caffe/lowering.py`. Where several are named, the first one that
applies is used; what it writes may be replaced in its turn.

| layer | what the target does not take | what stands for it | function |
|---|---|---|---|
"""
SOURCES = """
## Sources

| source | where it is |
|---|---|
"""


def page():
    """The text of the page."""
    parts = [HEAD, *(_target(name, target) for name, target in targets.TARGETS.items())]
    parts += [REPLACED, *map(_row, _replacements())]
    parts += [SOURCES, *(_row(source) for source in targets.SOURCES.items())]
    return "".join(parts)


def _target(name, target):
    rows = [_row(_rule(rule)) for rule in target.rules]
    head = "| layers | what | allowed | source |\n|---|---|---|---|\n"
    return f"\n## {name}\n\n{target.title}; {target.tried}.\n\n{head}{''.join(rows)}"


def _rule(rule):
    layers = "all" if rule.layers == "*" else rule.layers.replace(" ", ", ")
    return layers, rule.quantity, targets.allowed(rule), rule.source


def _replacements():
    for (kind, quantity), functions in lowering.REWRITES.items():
        for function in functions:
            first = function.__doc__.partition("\n\n")[0]
            yield kind, quantity, " ".join(first.split()), f"`{function.__name__}`"


def _row(cells):
    texts = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(texts)} |\n"


if __name__ == "__main__":
    print(page(), end="")

"""Every refusal that the code can raise of a network, found in the source, and why Caffe cannot."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "tf2caffe"


def texts():
    """{text of a refusal, with ... for what is filled in: file} of the mapping's and layouts'."""
    found = {}
    for folder, error in PLACES:
        for path in sorted((PACKAGE / folder).glob("*.py")):
            for text in _raised(ast.parse(path.read_text(encoding="utf-8")), error):
                found[text] = f"{folder}/{path.name}"
    return found


def _raised(tree, error):
    for part in ast.walk(tree):
        called = isinstance(part, ast.Call) and getattr(part.func, "id", "") == error
        if called and part.args:
            yield text_of(part.args[0])


def text_of(argument):
    """A text of the source, with ... for what is filled in."""
    if isinstance(argument, ast.Constant):
        return argument.value
    parts = getattr(argument, "values", [])
    return "".join(part.value if isinstance(part, ast.Constant) else "..." for part in parts)


# Folder -> the error that refuses an op there.
PLACES = (("caffe", "Refused"),)

"""The README tells the truth about what is supported and where things are."""

import re
from pathlib import Path

from tf2caffe.caffe import mapping

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_supported_op_is_in_the_readme():
    words = set(re.findall(r"\w+", README))
    absent = [op for op in mapping.OPS if re.sub(r"V\d+$", "", op) not in words and op not in words]
    assert not absent


def test_every_picture_of_the_readme_is_there():
    pictures = re.findall(r"imgs/[\w/.-]+\.png", README)
    assert len(pictures) > 8
    assert [name for name in pictures if not (ROOT / name).exists()] == []


def test_every_file_named_in_the_tree_is_there():
    tree = README.partition("## What is where")[2]
    names = re.findall(r"[\w*]+\.py\b", tree)
    missing = [name for name in names if not [*ROOT.glob(name), *ROOT.glob(f"tf2caffe/**/{name}")]]
    assert names and not missing

"""The README and docs/ name only files, options and make targets that exist."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
SCRIPTS = ("train.py", "estimator_predict.py", "tf_predict.py", "save_weights.py",
           "build_caffe.py", "caffe_predict.py")  # fmt: skip

BLOCK = re.compile(r"^```.*?\n(.*?)^```", re.M | re.S)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
COMMAND = re.compile(r"(?:\S*python3? )?(-m tf2caffe|tf2caffe|\w+\.py)\b(.*)")


def text(page):
    return page.read_text(encoding="utf-8")


def prose(page):
    """The text without its blocks of code."""
    return BLOCK.sub("", text(page))


def code(page):
    """What stands as code: each command of a block, each span of the prose."""
    lines = [line for block in BLOCK.findall(text(page)) for line in block.splitlines()]
    commands = [line.removeprefix("$ ").partition(" #")[0] for line in lines if line[:2] == "$ "]
    return commands + SPAN.findall(prose(page))


def links(page):
    """Where the page's links and pictures lead, files and headings of our own only."""
    found = [link or image for link, image in LINK.findall(prose(page))]
    return [link for link in found if not link.startswith(("http://", "https://"))]


@cache
def headings(page):
    """The anchors of a page, as GitHub derives them from its headings."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


@cache
def options(program):
    """The options that a script, or `-m MODULE`, prints with --help."""
    command = [sys.executable, *program.split(), "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(OPTION.findall(shown))


def unknown_options(span):
    """The options in a piece of code that our program does not have.

    One that names no program (`--deploy`) has to be an option of one of the six scripts.
    """
    command = COMMAND.fullmatch(span)
    if command and OPTION.search(command[2]):
        program = command[1] if command[1].endswith(".py") else "-m tf2caffe"
        return set(OPTION.findall(command[2])) - options(program)
    if span.startswith("-"):
        return set(OPTION.findall(span)) - set().union(*map(options, SCRIPTS))
    return set()


def tree():
    """The paths in the README's tree: the words before the description of each line."""
    lines = text(README).partition("## Layout")[2].split("```")[1].strip("\n").splitlines()
    found, room = [], ""
    for line in lines:
        names = [name for name in re.split(r" {2,}", line.strip())[0].split() if is_path(name)]
        found += [room + name if line.startswith("  ") else name for name in names]
        room = names[0] if names and not line.startswith(" ") else room
        found += [f"{found[-1]}{name}" for name in re.findall(r"\((\w+\.py)\)", line)]
    return found


def is_path(name):
    return name.endswith(("/", ".py", ".md"))


def is_left_by_a_step(name):
    return f"/{name}" in text(ROOT / ".gitignore").splitlines()


def test_the_readme_is_short():
    assert len(text(README).splitlines()) <= 180


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page):
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)
    assert broken == []


def test_the_walk_shows_its_pictures():
    pictures = [link for link in links(ROOT / "docs" / "walk.md") if link.endswith(".png")]
    assert len(pictures) > 8


def test_every_path_in_the_tree_exists():
    names = tree()
    assert "tf2caffe/graph/layout.py" in names
    missing = [name for name in names if not ((ROOT / name).exists() or is_left_by_a_step(name))]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_option_exists(page):
    unknown = {span: unknown_options(span) for span in code(page)}
    assert {span: missing for span, missing in unknown.items() if missing} == {}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_make_target_exists(page):
    targets = set(re.findall(r"^([\w./-]+)(?: [\w./-]+)*:", text(ROOT / "Makefile"), re.M))
    named = {name for span in code(page) for name in re.findall(r"^make ([a-z.][\w./-]*)", span)}
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_file_of_ours_exists(page):
    """Each path into one of our folders, in prose or in a command."""
    rooms = "tf2caffe|models|tests|tools|consumers|benchmarks|docs"
    named = {
        name
        for span in code(page)
        for name in re.findall(rf"\b(?<!\w/)(?:{rooms})/[\w./]+\.\w+", span)
    }
    assert {name for name in named if not (ROOT / name).exists()} == set()

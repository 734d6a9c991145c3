"""report.html in a browser: it opens without an error, sorts, shows a layer; and what it says."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import tf2caffe
from tests.harness import randomise
from tests.pipeline import PROJECT
from tf2caffe.report import markup, page, tiles

# What a person would do, written into the page: errors are kept, then the results are left in it.
WATCH = """<script>
window.problems = [];
window.addEventListener("error", (event) => window.problems.push(event.message));
console.error = (...parts) => window.problems.push(parts.join(" "));
</script>"""
USE = """<script>
const result = { problems: window.problems };
const table = document.querySelector("table.layers");
const column = (at) => [...table.tBodies[0].rows].map((row) => row.cells[at].dataset.value);
const click = (at) => table.tHead.rows[0].cells[at].querySelector("button").click();
result.first = document.querySelector("#chosen b").textContent;
click(4); result.up = column(4);
click(4); result.down = column(4);
click(1); result.names = column(1);
const row = [...table.tBodies[0].rows].find((one) => one.cells[2].textContent === "conv1");
row.click();
result.chosen = document.querySelector("#chosen b").textContent;
result.pictures = [...document.querySelectorAll("#chosen img")].map((one) => one.src.slice(0, 15));
const svg = document.querySelector(".zoom svg");
result.before = svg.getAttribute("viewBox");
document.querySelector(".zoom button").click();
result.closer = svg.getAttribute("viewBox");
svg.dispatchEvent(new WheelEvent("wheel", { deltaY: -1, clientX: 9, clientY: 9 }));
result.wheel = svg.getAttribute("viewBox");
document.querySelectorAll(".zoom button")[2].click();
result.whole = svg.getAttribute("viewBox");
document.body.append(Object.assign(document.createElement("pre"),
  { id: "result", textContent: JSON.stringify(result) }));
</script>"""


def model():
    data = keras.Input((12, 10, 3), name="data")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv1")(data)
    x = layers.ReLU(6, name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Dense(5, activation="softmax", name="dense")(layers.Flatten(name="flat")(x))
    return randomise(keras.Model(data, x, name="small"))


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """A folder with a model, photos and labels."""
    folder = tmp_path_factory.mktemp("report")
    model().save(folder / "small.keras")
    (folder / "photos").mkdir()
    random = np.random.default_rng(1)
    for at in range(3):
        pixels = random.integers(0, 256, (12, 10, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"photos/p{at}.png")
    (folder / "photos/expected.txt").write_text("p0.png </script>\n")
    (folder / "labels.txt").write_text("cat\ndog\n</script>\nbird & co\nfish\n")
    return folder


def command(folder, *options):
    """The command on the model of `folder`; it has ended."""
    line = [sys.executable, "-m", "tf2caffe", "small.keras", "--runtime", "opencv", *options]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "SOURCE_DATE_EPOCH": "0"}
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def report(box):
    """The page of a network that is equal, in both forms."""
    ended = command(
        box, "--deploy", "--images", "photos", "--scale", "0.01", "--labels", "labels.txt"
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    assert "wrote: report.html" in ended.stdout
    return (box / "report.html").read_text(encoding="utf-8")


def browsed(text, folder):
    """The page after the script of USE, as (its DOM, what that script found)."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        needed = os.environ.get("REQUIRE_PYCAFFE")  # set where all tests must run
        (pytest.fail if needed else pytest.skip)("there is no chromium")
    text = text.replace("<head>", f"<head>{WATCH}", 1).replace("</body>", f"{USE}</body>")
    (folder / "used.html").write_text(text, encoding="utf-8")
    options = "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"
    ended = subprocess.run(
        [browser, *options, f"--user-data-dir={folder}/profile", (folder / "used.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r'<pre id="result">(.*?)</pre>', ended.stdout, re.S)
    assert found, ended.stderr
    return ended.stdout, json.loads(re.sub("&lt;", "<", re.sub("&gt;", ">", found[1])))


def test_in_a_browser(report, tmp_path):
    _, found = browsed(report, tmp_path)
    assert found["problems"] == []
    assert found["first"] == "conv1/Conv2D → conv1"
    assert found["chosen"] == found["first"]
    assert found["pictures"] == ["data:image/png;"] * 3
    errors = list(map(float, found["up"]))
    assert errors == sorted(errors) and found["down"] == found["up"][::-1]
    assert len(errors) > 4 and found["names"] == sorted(found["names"], key=str.lower)
    assert len({found[key] for key in ("before", "closer", "wheel")}) == 3
    assert found["whole"] == found["before"]


class Outline(HTMLParser):
    """Every address that a page names, and all of its text."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data)


def test_it_names_no_other_file(report):
    assert all(one.startswith("data:") for one in Outline(report).addresses)
    assert {*re.findall(r"https?://[^\"' ]+", report)} == {"http://www.w3.org/2000/svg"}
    assert len(report) < 300_000


def test_what_it_says(report, box):
    said = " ".join(Outline(report).texts)
    records = [
        json.loads((box / f"nets/small{form}.parity.json").read_text()) for form in ("", ".deploy")
    ]
    for record in records:
        for file in record["files"]:
            assert file["sha256"] in said and f"{file['bytes']:,}" in said
        assert all(layer["tensorflow"] in said for layer in record["layers"])
    assert records[0]["model"]["sha256"] in said and "1970-01-01 00:00 UTC" in said
    assert "tf2caffe small.keras --runtime opencv --deploy" in said
    for text in (
        "EQUAL",
        "1×12×10×3",
        "1×3×12×10",
        "NCHW",
        "p2.png",
        "portable",
        "multiply-adds",
        "Inspectable form: ",
        "Deploy form: ",
        "expected",
        "the probes reached all",
    ):
        assert text in said, text
    assert report.count("<svg") == 2 and report.count('class="first bad"') == 0


def test_the_first_bad_layer_is_marked(box, tmp_path):
    ended = command(box, "--tolerance", "1e-12", "--out", str(tmp_path))
    assert ended.returncode == 1
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count('class="first bad"') == 1 and "NOT EQUAL" in text
    _, found = browsed(text, tmp_path)
    assert found["problems"] == [] and found["first"] in ended.stdout.replace(" (Caffe: ", " → ")


def test_a_refused_model_has_a_page(tmp_path):
    data = keras.Input((8, 8, 3), name="data")
    x = layers.Lambda(lambda x: x + keras.random.normal((1, 8, 8, 3)), output_shape=(8, 8, 3))(data)
    keras.Model(data, x, name="small").export(tmp_path / "small", verbose=False)
    line = [sys.executable, "-m", "tf2caffe", "small", "--out", "out"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    ended = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1 and "random" in ended.stderr.lower()
    text = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "REFUSED" in text and "random" in text.lower() and "tf2caffe small --out out" in text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]


def test_the_same_run_gives_the_same_page(report, box):
    command(box, "--deploy", "--images", "photos", "--scale", "0.01", "--labels", "labels.txt")
    assert (box / "report.html").read_text(encoding="utf-8") == report


@pytest.mark.parametrize("text", ["<b>", "a & b", '"quoted"', "</script>", "ä∞"])
def test_text_is_escaped(text):
    made = markup.tag("td", text, markup.tag("b", text), title=text)
    assert (
        Outline(made).texts == [text, text]
        and "<td" in made
        and text in (made if text in "ä∞" else text)
    )


ODD = {
    "image": (7, 9, 3), "one pixel": (1, 1, 5), "vector": (11,), "one": (1,), "many": (1000,),
    "large": (130, 70, 8), "wide": (2, 300, 2), "five axes": (2, 3, 4, 5), "matrix": (6, 7),
}  # fmt: skip


@pytest.mark.parametrize("fault", [None, 1e-3, np.nan, np.inf])
@pytest.mark.parametrize("shape", ODD.values(), ids=ODD)
def test_pictures_of_any_layer(shape, fault):
    """What is beyond the bound is red, however small the picture."""
    tf = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    caffe = tf.copy()
    caffe.flat[0] += fault or 0
    row = page.layers.comparison(
        tf2caffe.proof.parity.Row("a", "b", tf[None], caffe[None], 0, 0, 1), 0, 1e-5
    )
    shades = tiles.figures.error_shades(row.relative(), row.bound)
    channels = np.moveaxis(tiles.figures.as_channels(shades), -1, 0)
    drawn = tiles.indexed(tiles.worst(channels[0], 8))
    assert max(drawn.shape) <= max(8, 1) and (drawn.max() == tiles.BROKEN) == (fault is not None)
    made = tiles.of_row(row, 28)
    assert all(made[key].startswith("data:image/png") for key in ("tf", "caffe", "difference"))


def test_a_large_network_has_smaller_pictures(monkeypatch):
    random = np.random.default_rng(1)
    array = random.normal(size=(64, 64, 6)).astype(np.float32)
    row = tiles.figures.Compared("a", "b", array, array, 0.0)
    sizes = []
    for budget in (10**9, 90_000, 20_000):
        monkeypatch.setattr(tiles, "BUDGET", budget)
        found = tiles.of_rows([row] * 4)
        sizes.append(sum(len(one[key]) for one in found for key in ("tf", "caffe", "difference")))
        assert sizes[-1] <= budget
    assert sizes == sorted(sizes, reverse=True)
    monkeypatch.setattr(tiles, "BUDGET", 10)
    assert tiles.of_rows([row] * 4) == [None] * 4

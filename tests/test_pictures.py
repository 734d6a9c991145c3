"""The pictures and the diagram: what is on the disk, equal scales, odd inputs, a sound layout."""

import random
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread

from tf2caffe.caffe.builder import Builder
from tf2caffe.pictures import diagram, figures

LONG = "sep/depthwise_very_long_layer_name_block_12_project_BN"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def drawn(path):
    return (imread(path)[..., :3] * 255).round().astype(np.uint8)


def contains(pixels, color):
    return (pixels == figures.rgb(color)).all(-1).any()


def test_pages_hold_sixteen_rows_and_stale_ones_go(tmp_path, rng):
    path, layers = tmp_path / "convs.png", {f"conv{i}": rng.random((4, 4, 3)) for i in range(33)}
    other = tmp_path / "convs-extra-2.png"
    other.touch()
    pages = figures.draw_channels(path, layers)
    assert [page.name for page in pages] == ["convs.png", "convs-2.png", "convs-3.png"]
    assert sorted(tmp_path.iterdir()) == sorted([other, *pages])
    assert figures.draw_channels(path, {"conv": layers["conv0"]}) == [path]
    assert sorted(tmp_path.iterdir()) == sorted([other, path])


@pytest.mark.parametrize(
    ("draw", "limits_of", "shape"),
    [
        (figures.draw_channels, figures.channel_limits, (7, 7, 12)),
        (figures.draw_bars, figures.bar_limits, (1568,)),
    ],
)
def test_limits_are_honoured(tmp_path, rng, draw, limits_of, shape):
    layers = {LONG: rng.normal(size=shape)}
    limits = limits_of(layers)
    doubled = {LONG: tuple(2 * limit for limit in limits[LONG])}
    own, same, other = (tmp_path / f"{name}.png" for name in ("own", "same", "other"))
    draw(own, layers)
    draw(same, layers, limits)
    draw(other, layers, doubled)
    assert own.read_bytes() == same.read_bytes() != other.read_bytes()


def test_channels_have_scales_of_their_own(rng):
    array = rng.normal(size=(5, 6, 12)) * np.arange(12)
    low, high = figures.channel_limits({"a": array})["a"]
    assert np.array_equal(low, array.min((0, 1))[:10])
    assert np.array_equal(high, array.max((0, 1))[:10])


ODD = {
    "one channel": np.eye(3)[:, :, None],
    "constant": np.full((4, 4, 2), 7.0),
    "all NaN": np.full((4, 4, 2), np.nan),
    "infinite": np.array([[[1, np.inf], [-np.inf, np.nan]]]),
    "one row": np.arange(2000).reshape(1, 1000, 2),
    "1x1": np.arange(64).reshape(1, 1, 64),
    "matrix": np.arange(12.0).reshape(3, 4),
    "five axes": np.arange(48).reshape(2, 2, 2, 2, 3),
    "vector": np.arange(5, dtype=np.float16),
    "integers $_": np.arange(75, dtype=np.uint8).reshape(5, 5, 3),
    LONG * 8: np.zeros((2, 2, 1)),
}


@pytest.mark.parametrize("layers", [{}, ODD])
def test_odd_layers_are_drawn(tmp_path, layers):
    vectors = {name: array.ravel() for name, array in layers.items()} | {"none": np.zeros(0)}
    rows = [(name, name, array, array, np.nan) for name, array in layers.items()]
    assert drawn(figures.draw_channels(tmp_path / "convs.png", layers)[0]).size
    assert drawn(figures.draw_bars(tmp_path / "denses.png", vectors if layers else {})[0]).size
    assert drawn(figures.draw_comparison(tmp_path / "compare.png", rows)[0]).size


@pytest.mark.parametrize("draw", [figures.draw_channels, figures.draw_bars])
def test_what_is_not_finite_is_red(tmp_path, draw):
    array = np.ones((4, 4, 2)) if draw is figures.draw_channels else np.ones(32)
    draw(tmp_path / "sound.png", {"a": array})
    array.flat[5] = np.nan
    draw(tmp_path / "broken.png", {"a": array})
    assert not contains(drawn(tmp_path / "sound.png"), figures.RED)
    assert contains(drawn(tmp_path / "broken.png"), figures.RED)


def test_bars_rise_from_zero():
    pixels = figures.bars(np.array([1.0, -1.0]), -1, 1, 100, 200, figures.BLUE)
    blue = (pixels == figures.rgb(figures.BLUE)).all(-1)
    assert blue[10, 50] and not blue[90, 50]
    assert blue[90, 150] and not blue[10, 150]
    spike = np.zeros(100_000)
    spike[77_777] = 1
    assert contains(figures.bars(spike, 0, 1, 100, 200, figures.BLUE), figures.BLUE)


def test_resizing_repeats_and_averages(rng):
    image = rng.random((4, 4, 2))
    assert np.array_equal(figures.resized(image, 8), image.repeat(2, 0).repeat(2, 1))
    assert np.allclose(figures.resized(image, 2), image.reshape(2, 2, 2, 2, 2).mean((1, 3)))


def test_comparison_shows_a_difference(tmp_path, rng):
    array = rng.random((6, 6, 3))
    row = ("conv1/Conv2D", "conv01", array, array, 0.0)
    strayed = ("conv1/Conv2D", "conv01", array, array + 1e-6 * rng.random(array.shape), 0.0)
    misshapen = ("conv1/Conv2D", "conv01", array, array[:3], np.inf)
    same, other, wrong = (tmp_path / f"{name}.png" for name in ("same", "other", "wrong"))
    figures.draw_comparison(same, [row])
    figures.draw_comparison(other, [strayed])
    figures.draw_comparison(wrong, [misshapen])
    assert not np.array_equal(drawn(same), drawn(other))
    assert contains(drawn(wrong), figures.RED)


@pytest.mark.parametrize("count", [0, 1, 10, 21])
def test_answers_stand_five_in_a_row(tmp_path, rng, count):
    images = [rng.normal(size=(9, 7, 1 if i % 2 else 3)) * 10.0**i for i in range(count)]
    captions = [f"{i}  99.8%\n{LONG}" for i in range(count)]
    right = [(True, False, None)[i % 3] for i in range(count)]
    path = figures.draw_answers(tmp_path / "res.png", images, captions, right)
    height = drawn(path).shape[0]
    one_row = drawn(figures.draw_answers(path, images[:1], captions[:1])).shape[0]
    rows = {0: 1, 1: 1, 10: 2, 21: 4}[count]
    assert height > (rows - 1) * figures.ANSWER_TILE
    assert height <= rows * one_row


def test_images_of_any_range_are_drawn_black_to_white():
    for image in ([[0, 255]], [[-1.0, 1.0]], [[0.0, 1e-3]]):
        pixels = figures.photograph(np.array(image)[:, :, None])
        assert (pixels.min(), pixels.max()) == (0, 255)
    assert figures.photograph(np.full((2, 2, 3), np.nan)).max() == 0


@pytest.mark.parametrize("losses", [[], [2.0], [2.0, np.nan, 0.001], [1.0, 0.0]])
def test_losses(tmp_path, losses):
    steps = range(len(losses))
    assert drawn(figures.draw_losses(tmp_path / "loss.png", steps, losses, [], [])).size


def test_smoothing_is_unbiased():
    assert np.allclose(figures.smoothed([3.0] * 200), 3)


def test_long_text_is_shortened_in_the_middle():
    short = figures.shortened(LONG, 200)
    assert figures.text_width(short) <= 200 < figures.text_width(LONG)
    assert short.startswith("sep/") and "…" in short and short.endswith("_BN")
    assert figures.shortened("7  99.8%", 200) == "7  99.8%"


def layer(name, bottoms, tops=None, kind="Convolution", shape=(1, 16, 28, 28), details=()):
    tops = [name] if tops is None else tops
    return SimpleNamespace(
        name=name, type=kind, bottoms=bottoms, tops=tops, shape=shape, details=list(details)
    )


def chain(count):
    layers = [layer("data", [], kind="Input")]
    for index in range(1, count):
        details = ["kernel 16×1×3×3", "3×3, pad 1"][: index % 3]
        layers.append(layer(f"layer{index}", [layers[-1].name], details=details))
    return layers


def residual(blocks):
    layers = [layer("data", [], kind="Input")]
    for block in range(blocks):
        start = layers[-1].tops[0]
        layers.append(layer(f"conv{block}", [start]))
        layers.append(layer(f"bn{block}", [f"conv{block}"], [f"conv{block}"], "BatchNorm"))
        layers.append(layer(f"add{block}", [start, f"conv{block}"], kind="Eltwise"))
    return layers


def random_network(count):
    rng, layers = random.Random(1), []
    for index in range(count):
        before = layers[max(0, index - 20) :]
        bottoms = [rng.choice(one.tops) for one in rng.sample(before, min(len(before), index % 4))]
        tops = [f"blob{index}", f"more{index}"] if index % 9 == 0 else [f"blob{index}"]
        tops = bottoms[:1] if bottoms and index % 10 == 1 else tops
        layers.append(layer(LONG[: rng.randrange(60)], bottoms, tops, details=[LONG] * (index % 3)))
    return layers


NETWORKS = {
    "chain": chain(17),
    "long chain": chain(400),
    "residual": residual(60),
    "random": random_network(300),
    "unknown blob": [layer("a", ["nowhere"], shape=None), layer("silence", ["a"], [])],
    "single": [layer("a", [])],
    "empty": [],
}


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS.keys())
def test_layout_is_sound(layers):
    sheets = diagram.layout(layers)
    for sheet in sheets:
        boxes = [node for node in sheet.nodes if node.kind != "bend"]
        for one, other in combinations(boxes, 2):
            assert not intersect(one.rectangle, other.rectangle)
        for left, top, right, bottom in (box.rectangle for box in boxes):
            assert 0 <= left < right <= sheet.width and 0 <= top < bottom <= sheet.height
        for (x, start), (_, turn), (_, end), _ in diagram.arrows(sheet.nodes):
            assert start < turn <= end
            assert not any(intersect((x, start + 1, x, turn), box.rectangle) for box in boxes)
    drawn_boxes = [node for sheet in sheets for node in sheet.nodes if node.kind == "box"]
    assert len(drawn_boxes) == len(layers)


def intersect(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS.keys())
def test_labels_stay_within_their_boxes(layers):
    for node in (node for sheet in diagram.layout(layers) for node in sheet.nodes):
        if node.kind == "box":
            lines = zip(node.lines, diagram.styles(node.lines), strict=True)
            widths = [figures.text_width(text, *style) for text, style in lines]
            assert max(widths) < node.width
        if node.shape:
            assert 2 * figures.text_width(node.shape, figures.SMALL) < node.width


def test_a_chain_stands_in_one_straight_line():
    (sheet,) = diagram.layout(chain(17))
    assert len({node.x for node in sheet.nodes}) == 1


def test_an_arrow_passes_beside_the_boxes_it_skips():
    (sheet,) = diagram.layout(residual(1))
    names = {node.lines[1]: node for node in sheet.nodes if node.kind == "box"}
    (bend,) = {node for node in names["add0"].above if node.kind == "bend"}
    assert bend.x not in (names["conv0"].x, names["bn0"].x)
    assert names["bn0"].above == [names["conv0"]]  # in place: the last to write is the source


def test_every_wire_is_drawn_or_linked():
    layers = residual(60)
    sheets = diagram.layout(layers)
    nodes = [node for sheet in sheets for node in sheet.nodes]
    entered = sum(len(node.above) for node in nodes if node.kind == "box")
    assert entered == sum(len(layer.bottoms) for layer in layers)
    assert {node.kind for node in nodes} == {"box", "bend", "from", "to"}


@pytest.mark.parametrize("name", ["chain", "residual", "unknown blob", "empty"])
def test_network_is_drawn(tmp_path, name):
    (path,) = diagram.draw_network(tmp_path / "net.png", NETWORKS[name])
    pixels = drawn(path)
    blue = diagram.COLORS["Convolution"]
    assert contains(pixels, blue) == (name != "empty")


def test_a_diagram_waits_for_its_network(tmp_path):
    """It is saved when the network is written, and stays as it is when that fails."""
    (path,) = diagram.draw_network(tmp_path / "net.png", chain(3))
    before = path.read_bytes()

    def fails():
        assert path.read_bytes() == before
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        diagram.draw_network(path, chain(4), fails)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_diagram_keeps_its_colours(tmp_path, monkeypatch):
    """All that is plain to the bit, and every soft edge to the eye."""
    layers = chain(len(diagram.COLORS) + 1)
    for drawn_as, kind in zip(layers, [*diagram.COLORS, "Another"], strict=True):
        drawn_as.type = kind
    (path,) = diagram.draw_network(tmp_path / "net.png", layers)
    found = drawn(path).astype(int)
    monkeypatch.setattr(diagram, "colours", lambda: None)
    (path,) = diagram.draw_network(tmp_path / "net.png", layers)
    wanted = drawn(path).astype(int)
    off = np.abs(found - wanted).max(-1)
    headers = {*diagram.COLORS.values(), diagram.OTHER}
    for color in (*headers, figures.WHITE, figures.PAPER, figures.INK, figures.FAINT):
        plain = (wanted == figures.rgb(color)).all(-1)
        assert plain.any() and not off[plain].any(), color
    assert off.max() < 32 and off.mean() < 0.5


def test_a_very_long_network_takes_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(diagram, "PAGE_WIDTH", 600)
    pages = diagram.draw_network(tmp_path / "net.png", chain(120))
    assert len(pages) > 1 and all(page.exists() for page in pages)


def test_coefficients_of_an_eltwise_are_shown():
    """A difference is no sum."""
    net = Builder("net")
    net.add("Input", "data", input_param={"shape": [{"dim": (1, 2, 3, 3)}]})
    told = {}
    for operation, factors in (("SUM", ()), ("SUM", (1, 1)), ("SUM", (1, -1)), ("SUM", (0.5, 2))):
        net.eltwise("it", operation, "data", "data", factors)
        told[factors] = net.layers[-1].details
    assert told == {(): ["SUM"], (1, 1): ["SUM"], (1, -1): ["SUM 1, -1"], (0.5, 2): ["SUM 0.5, 2"]}

"""The pictures and the diagram: what is on the disk, equal scales, odd inputs, a sound layout."""

import random
import time
from itertools import combinations
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from tf2caffe.caffe.builder import Builder
from tf2caffe.pictures import diagram, figures
from tf2caffe.pictures.expansions import expansions

SVG = "{http://www.w3.org/2000/svg}"
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


def branches(modules):
    """Four ways beside each other, of one to four layers, again and again."""
    layers = [layer("data", [], kind="Input")]
    for module in range(modules):
        ends, start = [], layers[-1].name
        for way in range(4):
            ends.append(start)
            for step in range(way + 1):
                layers.append(layer(f"conv{module}/{way}/{step}", [ends[-1]]))
                ends[-1] = layers[-1].name
        layers.append(layer(f"concat{module}", ends, kind="Concat"))
    return layers


def random_network(count):
    rng, layers = random.Random(1), []
    for index in range(count):
        before = layers[max(0, index - 20) :]
        bottoms = [rng.choice(one.tops) for one in rng.sample(before, min(len(before), index % 4))]
        tops = [f"blob{index}", f"more{index}"] if index % 9 == 0 else [f"blob{index}"]
        tops = bottoms[:1] if bottoms and index % 10 == 1 else tops
        name = f"{LONG[: rng.randrange(60)]}{index}"
        layers.append(layer(name, bottoms, tops, details=[LONG] * (index % 3)))
    return layers


NETWORKS = {
    "chain": chain(17),
    "long chain": chain(400),
    "residual": residual(60),
    "branches": branches(20),
    "random": random_network(300),
    "two parts": chain(9) + [layer("other", [], kind="Input"), layer("end", ["other"])],
    "unknown blob": [layer("a", ["nowhere"], shape=None), layer("silence", ["a"], [])],
    "single": [layer("a", [])],
    "three singles": [layer("a", []), layer("b", []), layer("c", [])],
    "empty": [],
}


def rectangles(placed, width):
    """(left, top, right, bottom) of each box."""
    return [
        (node.x - width / 2, node.y, node.x + width / 2, node.y + node.height)
        for node in placed.nodes
        if node.box is not None
    ]


def intersect(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS.keys())
def test_boxes_stand_apart_on_the_sheet(layers):
    boxes, placed, width = diagram.lay_out(layers)
    places = rectangles(placed, width)
    assert len(places) == len(boxes) == len(layers)
    for one, other in combinations(places, 2):
        assert not intersect(one, other)
    for left, top, right, bottom in places:
        assert 0 <= left < right <= placed.width and 0 <= top < bottom <= placed.height


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS.keys())
def test_wires_pass_beside_the_boxes(layers):
    """Where they go straight: through a row, and from one column to the next."""
    boxes, placed, width = diagram.lay_out(layers)
    places = rectangles(placed, width)
    straight = [
        (node.x, node.y + node.height + 1, node.x, node.foot)
        for node in placed.nodes
        if node.below or node.box is None
    ]
    for (upper, lower), (foot, gutter, top) in placed.lanes.items():
        assert lower.column == upper.column + 1 and upper.foot <= foot and top < lower.y
        straight.append((upper.x, foot, gutter, foot + 1))
        straight.append((gutter, top, gutter + 1, foot))
        straight.append((min(gutter, lower.x), top, max(gutter, lower.x), top + 1))
    for line in straight:
        assert not any(intersect(line, place) for place in places)
        assert 0 <= line[0] <= line[2] <= placed.width and 0 <= line[1] <= line[3] <= placed.height


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS.keys())
def test_wires_join_what_feeds_what(layers):
    """Followed from box to box, as from layer to layer, where the last to write is the source."""
    _, placed, _ = diagram.lay_out(layers)
    latest, wanted = {}, set()
    for index, one in enumerate(layers):
        wanted |= {(latest[blob], index) for blob in one.bottoms if blob in latest}
        latest |= dict.fromkeys(one.tops, index)
    assert sorted(followed(placed)) == sorted(wanted)


def followed(placed):
    """(from, to) of each wire, over all that it passes; rows are passed downwards."""
    for node in placed.nodes:
        for lower in node.below if node.box is not None else ():
            upper = node
            while lower.box is None:
                assert len(lower.below) == 1
                upper, (lower,) = lower, lower.below
            assert (upper.column, upper.y) < (lower.column, lower.y)
            yield node.box, lower.box


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS.keys())
def test_texts_stay_within_their_boxes(layers):
    boxes, _, width = diagram.lay_out(layers)
    for box in boxes:
        assert figures.text_width(box.title, figures.LARGE, True) < width
        assert figures.text_width(box.name) < width
        assert all(figures.text_width(line, figures.SMALL) < width for line in box.lines)
        assert 2 * figures.text_width(box.shape, figures.SMALL) < width


def test_a_chain_stands_in_one_straight_line():
    for layers in (chain(13), residual(4)):
        _, placed, _ = diagram.lay_out(layers)
        assert len({node.x for node in placed.nodes if node.box is not None}) == 1


def test_a_long_network_fits_a_screen():
    """In about a screen's shape, its columns filled."""
    for layers in (chain(160), residual(50)):
        _, placed, _ = diagram.lay_out(layers)
        assert 1.4 < placed.width / placed.height < 2.2
        feet = {}
        for node in placed.nodes:
            feet[node.column] = max(feet.get(node.column, 0), node.foot)
        assert min(list(feet.values())[:-1]) > 0.6 * placed.height


def test_a_thousand_layers_are_laid_out_at_once():
    start = time.process_time()
    diagram.lay_out(chain(1000))
    assert time.process_time() - start < 2


def table(*entries):
    """As `blobs.Table` has it: (TensorFlow's name, its op, Caffe's blob)."""
    return SimpleNamespace(
        layers=[SimpleNamespace(name=name, blob=blob) for name, _, blob in entries],
        ops=[SimpleNamespace(name=name, op=op) for name, op, _ in entries],
    )


RELU6 = [
    layer("data", [], kind="Input"),
    layer("conv", ["data"], details=["kernel 16×1×3×3"]),
    layer("relu/minus", ["conv"], kind="Power", details=["scale -1"]),
    layer("relu/floor", ["relu/minus"], kind="Power"),
    layer("relu/most", ["relu/minus", "relu/floor"], kind="Eltwise"),
    layer("relu", ["relu/most"], kind="ReLU"),
    layer("add", ["conv", "relu"], kind="Eltwise"),
    layer("order", ["add"], kind="Reshape"),
]


def test_an_expansion_is_one_box():
    names = table(("c", "Conv2D", "conv"), ("r", "Relu6", "relu"), ("a", "AddV2", "add"))
    boxes, placed, _ = diagram.lay_out(RELU6, names)
    assert [(box.title, box.name) for box in boxes] == [
        ("Convolution", "conv"), ("Relu6 ×4", "relu"), ("Eltwise", "add"),
        ("Input", "data"), ("Reshape", "order"),
    ]  # fmt: skip
    assert boxes[1].lines == ["2 Power · Eltwise · ReLU"] and boxes[1].several
    assert boxes[0].lines == ["kernel 16×1×3×3"] and not boxes[0].several
    assert sorted(followed(placed)) == [(0, 1), (0, 2), (1, 2), (2, 4), (3, 0)]


def test_what_two_ops_need_stands_with_the_first():
    names = table(("f", "Neg", "relu/floor"), ("m", "Maximum", "relu/most"))
    groups = expansions(RELU6, names)
    members = [[one.name for one in group.layers] for group in groups]
    assert members[:2] == [["conv", "relu/minus", "relu/floor"], ["relu/most"]]
    assert sorted(name for group in members for name in group) == sorted(n.name for n in RELU6)


def test_layers_in_place_belong_to_what_they_complete():
    layers = [layer("data", [], kind="Input"), layer("conv", ["data"])]
    layers.append(layer("relu", ["conv"], ["conv"], "ReLU"))
    boxes, _, _ = diagram.lay_out(layers, table(("r", "Relu", "conv")))
    assert [(box.title, box.name) for box in boxes] == [
        ("Convolution + ReLU", "relu"), ("Input", "data"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["chain", "residual", "unknown blob", "empty"])
def test_network_is_drawn(tmp_path, name):
    path, _ = diagram.draw_network(tmp_path / "net.png", NETWORKS[name])
    pixels = drawn(path)
    blue = diagram.COLORS["Convolution"]
    assert contains(pixels, blue) == (name != "empty")


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS.keys())
def test_svg_names_every_layer_once(tmp_path, layers):
    """In the hint of its box; the file is XML, needs no other and is the same each time."""
    _, path = diagram.draw_network(tmp_path / "net.png", layers)
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    hints = [line for hint in root.iter(f"{SVG}title") for line in hint.text.split("\n")]
    wanted = [" ".join([one.type, one.name, *one.details]) for one in layers]
    assert sorted(hints) == sorted(wanted)
    assert path.read_text(encoding="utf-8").count("http") == 1  # the namespace
    before = path.read_bytes(), path.with_suffix(".png").read_bytes()
    diagram.draw_network(tmp_path / "net.png", layers)
    assert before == (path.read_bytes(), path.with_suffix(".png").read_bytes())


def test_svg_and_png_say_the_same(tmp_path):
    layers = [layer('a<b>&"c"', [], kind="Input", shape=(1, 2)), *chain(3)]
    png, svg = diagram.draw_network(tmp_path / "net.png", layers)
    root = ElementTree.fromstring(svg.read_text(encoding="utf-8"))
    height, width = drawn(png).shape[:2]
    assert root.get("viewBox") == f"0 0 {width} {height}"
    boxes, _, _ = diagram.lay_out(layers)
    said = [text for box in boxes for text in (box.title, box.name, *box.lines, box.shape)]
    assert sorted(text.text for text in root.iter(f"{SVG}text")) == sorted(said)


def test_a_very_large_png_is_drawn_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr(diagram, "LARGEST", 600)
    png, svg = diagram.draw_network(tmp_path / "net.png", residual(60))
    assert max(drawn(png).shape) == 600
    assert float(ElementTree.fromstring(svg.read_text(encoding="utf-8")).get("width")) > 600
    assert contains(drawn(png), diagram.COLORS["Convolution"])


def test_a_diagram_waits_for_its_network(tmp_path):
    """It is saved when the network is written, and stays as it is when that fails."""
    paths = diagram.draw_network(tmp_path / "net.png", chain(3))
    before = [path.read_bytes() for path in paths]

    def fails():
        assert [path.read_bytes() for path in paths] == before
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        diagram.draw_network(paths[0], chain(4), ready=fails)
    assert [path.read_bytes() for path in paths] == before
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_every_type_has_its_colour(tmp_path):
    layers = chain(len(diagram.COLORS) + 1)
    for drawn_as, kind in zip(layers, [*diagram.COLORS, "Another"], strict=True):
        drawn_as.type = kind
    pixels = drawn(diagram.draw_network(tmp_path / "net.png", layers)[0])
    colors = {*diagram.COLORS.values(), diagram.OTHER, figures.WHITE, figures.PAPER, figures.INK}
    assert all(contains(pixels, color) for color in colors)


def test_coefficients_of_an_eltwise_are_shown():
    """A difference is no sum."""
    net = Builder("net")
    net.add("Input", "data", input_param={"shape": [{"dim": (1, 2, 3, 3)}]})
    told = {}
    for operation, factors in (("SUM", ()), ("SUM", (1, 1)), ("SUM", (1, -1)), ("SUM", (0.5, 2))):
        net.eltwise("it", operation, "data", "data", factors)
        told[factors] = net.layers[-1].details
    assert told == {(): ["SUM"], (1, 1): ["SUM"], (1, -1): ["SUM 1, -1"], (0.5, 2): ["SUM 0.5, 2"]}


@pytest.mark.parametrize("bound", [1e-5, 2e-7, 1e-9, 1e-3])
def test_colours_of_a_difference_are_tied_to_the_bound(bound):
    relative = np.array([0.0, bound / 2, bound, bound * 1.01, np.nan])
    shades = figures.error_shades(relative, bound)
    assert shades[0] == 0 and (shades[:3] <= 1).all() and shades[3] == 2 and np.isnan(shades[4])
    red = [tuple(color) for color in figures.ERRORS(shades[3:], bytes=True)[:, :3]]
    assert red == [tuple(figures.rgb(figures.RED))] * 2

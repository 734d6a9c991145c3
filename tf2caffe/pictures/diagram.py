"""The picture of a Caffe network, top to bottom: a box an expansion, the shapes on the arrows.

It is drawn twice alike: as PNG, and as SVG, in which a box tells all its layers to the pointer.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from math import ceil
from pathlib import Path as FilePath

from matplotlib.collections import PathCollection
from matplotlib.path import Path

from tf2caffe.paths import replacing
from tf2caffe.pictures import layout, svg
from tf2caffe.pictures.expansions import expansions
from tf2caffe.pictures.figures import (
    FAINT,
    INK,
    LARGE,
    LINE,
    NORMAL,
    PAPER,
    SMALL,
    WHITE,
    Page,
    shortened,
    text_width,
)

LARGEST = 4000  # pixels of a PNG, either way; a larger one is smaller than the SVG
TEXT_WIDTH, BOX_WIDTH, WIDTH_STEP = 216, 140, 10  # a box's lines at most, a box at least: pixels
PADDING, HEADER, LINE_HEIGHT, RADIUS, TIP = 10, 24, 15, 6, 8
BEHIND = 4  # how far the second sheet of an expansion shows
PORTS = 20  # between two wires that enter one box
FEW = 2  # layers of an expansion that are named one by one


@dataclass
class Box:
    """What a box says; `hint` names all of its layers."""

    title: str
    name: str
    lines: list
    shape: str
    color: str
    hint: str
    several: bool

    @property
    def height(self):
        return HEADER + 22 + len(self.lines) * LINE_HEIGHT + (4 if self.lines else 0)


@dataclass
class Tile:
    """A box where it stands: paths, a colour, and texts as `Page.text` takes them."""

    bodies: list
    header: Path
    color: str
    texts: list
    hint: str


@dataclass
class Picture:
    """All that is drawn, in pixels: paths of wires, texts beside them, tiles."""

    width: float
    height: float
    lines: list
    tips: list
    labels: list
    tiles: list


def draw_network(path, layers, table=None, ready=lambda: None):
    """Draw the network as `path`, a PNG, and as SVG beside it; return both paths.

    `ready` is called when all is drawn, before anything is saved.

    `layers` are in topological order, each with `name`, `type`, `bottoms` and `tops` (blob names),
    `shape` (its output's) and `details` (short lines of text); `table` is their `blobs.Table`.
    """
    drawn = picture(*lay_out(layers, table))
    sheet, text = page(drawn), svg.text(drawn)
    ready()
    path = FilePath(path)
    sheet.save(path)
    with replacing(path.with_suffix(".svg")) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return [path, path.with_suffix(".svg")]


def lay_out(layers, table=None):
    """The boxes, where they stand, and the width of them all."""
    groups = expansions(layers, table)
    boxes = [box(group) for group in groups]
    width = max([BOX_WIDTH, *(ceil(box_width(box)) for box in boxes)])
    width = ceil(width / WIDTH_STEP) * WIDTH_STEP
    edges = [(source, at) for at, group in enumerate(groups) for source in group.reads]
    return boxes, layout.place([box.height for box in boxes], width, edges), width


def box(group):
    """An expansion's box: Caffe's types, the layer's name, settings and weights."""
    last, types = group.layers[-1], [layer.type for layer in group.layers]
    few = len(types) <= FEW
    title = " + ".join(types) if few else f"{group.op or last.type} ×{len(types)}"
    facts = [fact for layer in group.layers if few or is_weighted(layer) for fact in layer.details]
    lines = filled(facts) if few else [*filled(counted(types)), *filled(facts)]
    weighted = [layer for layer in group.layers if is_weighted(layer)]
    return Box(
        shortened(title, TEXT_WIDTH, LARGE, True),
        shortened(group.name, TEXT_WIDTH),
        [shortened(line, TEXT_WIDTH, SMALL) for line in lines],
        "×".join(str(size) for size in last.shape or ()),
        COLORS.get((weighted or [last])[0].type, OTHER),
        "\n".join(" ".join([layer.type, layer.name, *layer.details]) for layer in group.layers),
        len(types) > 1,
    )


def is_weighted(layer):
    return COLORS.get(layer.type) == WEIGHTS


def counted(types):
    """Each type once, with how many there are of it."""
    return [f"{count} {type}" if count > 1 else type for type, count in Counter(types).items()]


def filled(facts):
    """The facts in as few lines as hold them."""
    lines = []
    for fact in facts:
        longer = f"{lines[-1]} · {fact}" if lines else fact
        if lines and text_width(longer, SMALL) <= TEXT_WIDTH:
            lines[-1] = longer
        else:
            lines.append(fact)
    return lines


def box_width(box):
    texts = [text_width(box.title, LARGE, True), text_width(box.name)]
    texts += [text_width(line, SMALL) for line in box.lines]
    return max(*texts, 2 * text_width(box.shape, SMALL)) + 2 * PADDING


def picture(boxes, placed, width):
    """All that is drawn, in the order in which it is laid on the sheet."""
    tiles = [tile(box, node, width) for box, node in zip(boxes, placed.nodes, strict=False)]
    lines, tips = wires(placed, boxes, width)
    labels = [
        (node.x + PADDING / 2, node.y + node.height + layout.STEM / 2 + 5, box.shape, SMALL, FAINT)
        for box, node in zip(boxes, placed.nodes, strict=False)
    ]
    return Picture(placed.width, placed.height, lines, tips, labels, tiles)


def tile(box, node, width):
    """A box where it stands."""
    left, right, top, bottom = node.x - width / 2, node.x + width / 2, node.y, node.y + node.height
    bodies = [rounded(left, top, right, bottom)]
    if box.several:
        behind = [edge + BEHIND for edge in (left, top, right, bottom)]
        bodies.insert(0, rounded(*behind))
    texts = [(node.x, top + 17, box.title, LARGE, WHITE, True, "center")]
    texts.append((node.x, top + HEADER + 16, box.name, NORMAL, INK, False, "center"))
    for index, line in enumerate(box.lines):
        y = top + HEADER + 32 + index * LINE_HEIGHT
        texts.append((node.x, y, line, SMALL, FAINT, False, "center"))
    header = rounded(left, top, right, top + HEADER, foot=0)
    return Tile(bodies, header, box.color, texts, box.hint)


def wires(placed, boxes, width):
    """The paths of all wires, and the tips of their arrows."""
    lines, tips = [], []
    for upper in placed.nodes:
        start = (upper.x, upper.y + upper.height)
        for lower in upper.below:
            end = (entry(upper, lower, width), lower.y)
            stop = (end[0], end[1] - (0 if lower.box is None else TIP))
            lane = placed.lanes.get((upper, lower))
            lines.append(across(start, lane, stop) if lane else down(start, upper.foot, stop))
            tips += [] if lower.box is None else [tip(*end)]
        if upper.box is None:
            lines.append(Path([(upper.x, upper.y), (upper.x, upper.foot)]))
        elif not upper.below and boxes[upper.box].shape:  # an output
            end = upper.foot + layout.CURVE / 2
            lines.append(Path([start, (upper.x, end - TIP)]))
            tips.append(tip(upper.x, end))
    return lines, tips


def entry(upper, lower, width):
    """The x at which the wire from `upper` enters `lower`: several arrive side by side."""
    if lower.box is None:
        return lower.x
    place = sorted(lower.above, key=lambda node: (node.column, node.x)).index(upper)
    between = min(PORTS, (width - 2 * PADDING) / len(lower.above))
    return lower.x + (place - (len(lower.above) - 1) / 2) * between


def down(start, foot, stop):
    """Straight down to the row's foot, then in a curve to the next row."""
    (x, _), (end, bottom) = start, stop
    turn = min(foot, bottom)
    middle = (turn + bottom) / 2
    return Path([start, (x, turn), (x, middle), (end, middle), stop], CURVED)


def across(start, lane, stop):
    """Down below the column, up beside it, down into the next column: with round corners."""
    foot, gutter, top = lane
    way = [start, (start[0], foot), (gutter, foot), (gutter, top), (stop[0], top), stop]
    points, codes = [start], [Path.MOVETO]
    for before, corner, after in zip(way, way[1:], way[2:], strict=False):
        points += [towards(corner, before), corner, towards(corner, after)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*points, stop], [*codes, Path.LINETO])


def towards(corner, other):
    """RADIUS from the corner towards the other point, halfway if that is nearer."""
    length = max(abs(other[0] - corner[0]), abs(other[1] - corner[1]), 1e-9)
    part = min(0.5, RADIUS / length)
    return tuple(at + (to - at) * part for at, to in zip(corner, other, strict=True))


def tip(x, y):
    return Path([(x - TIP / 2, y - TIP), (x + TIP / 2, y - TIP), (x, y)])


def rounded(left, top, right, bottom, radius=RADIUS, foot=RADIUS):
    """A rectangle whose upper corners have the one radius, the lower ones the other."""
    points = [(left, top + radius), (left, top), (left + radius, top)]
    points += [(right - radius, top), (right, top), (right, top + radius)]
    points += [(right, bottom - foot), (right, bottom), (right - foot, bottom)]
    points += [(left + foot, bottom), (left, bottom), (left, bottom - foot), points[0]]
    corner = [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path(points, [Path.MOVETO, *corner[1:], *corner * 3, Path.CLOSEPOLY])


def page(picture):
    """The picture as a page of pixels."""
    tiles = picture.tiles
    bodies = [body for tile in tiles for body in tile.bodies]
    shapes = [
        PathCollection(picture.lines, facecolor="none", edgecolor=LINE, linewidth=1.5),
        PathCollection(picture.tips, facecolor=FAINT, edgecolor="none"),
        PathCollection(bodies, facecolor=PAPER, edgecolor=LINE, linewidth=1),
        PathCollection(
            [tile.header for tile in tiles], facecolor=[tile.color for tile in tiles],
            edgecolor="none",
        ),
    ]  # fmt: skip
    largest = max(picture.width, picture.height)
    sheet = Page(picture.width, picture.height, shapes, min(1, LARGEST / largest))
    for text in chain(picture.labels, *(tile.texts for tile in tiles)):
        sheet.text(*text)
    return sheet


CURVED = [Path.MOVETO, Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]

WEIGHTS, NORMS, ACTIVATION, POOLING = "#2f5d9b", "#2b7a6b", "#9c3d34", "#4c7a34"
SHAPING, JOINING, ANSWER, SOURCE, OTHER = "#7d5f50", "#5f4b8b", "#a8701a", "#47525e", "#6b7785"

COLORS = {
    "Input": SOURCE,
    "Data": SOURCE,
    "DummyData": SOURCE,
    "Parameter": SOURCE,
    "Convolution": WEIGHTS,
    "Deconvolution": WEIGHTS,
    "InnerProduct": WEIGHTS,
    "Embed": WEIGHTS,
    "BatchNorm": NORMS,
    "Scale": NORMS,
    "Bias": NORMS,
    "Power": NORMS,
    "LRN": NORMS,
    "MVN": NORMS,
    "Normalize": NORMS,
    "ReLU": ACTIVATION,
    "ReLU6": ACTIVATION,
    "PReLU": ACTIVATION,
    "ELU": ACTIVATION,
    "Sigmoid": ACTIVATION,
    "TanH": ACTIVATION,
    "AbsVal": ACTIVATION,
    "BNLL": ACTIVATION,
    "Exp": ACTIVATION,
    "Log": ACTIVATION,
    "Clip": ACTIVATION,
    "Swish": ACTIVATION,
    "Threshold": ACTIVATION,
    "Pooling": POOLING,
    "SPP": POOLING,
    "Reduction": POOLING,
    "Flatten": SHAPING,
    "Reshape": SHAPING,
    "Permute": SHAPING,
    "Crop": SHAPING,
    "Slice": SHAPING,
    "Split": SHAPING,
    "Tile": SHAPING,
    "Dropout": SHAPING,
    "Eltwise": JOINING,
    "Concat": JOINING,
    "Softmax": ANSWER,
    "ArgMax": ANSWER,
}

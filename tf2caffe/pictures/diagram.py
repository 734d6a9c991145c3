"""The picture of a Caffe network, top to bottom: a box a layer, the shapes on the arrows.

The layers are ranked by their longest path from the input. A long network is cut between ranks into
columns side by side, and into pages. Within a column every rank is a row of nodes: boxes, links
that name the other end of an arrow that leaves the column, and bends, by which an arrow passes a
row. Rows are ordered by barycentres, then shifted so that what is connected stands in line.
"""

from bisect import bisect
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate, chain, pairwise
from math import ceil, inf, sqrt
from statistics import fmean, median

from matplotlib.collections import PathCollection
from matplotlib.path import Path

from tf2caffe.pictures.figures import (
    FAINT,
    INK,
    LARGE,
    LINE,
    MARGIN,
    NORMAL,
    PAPER,
    SMALL,
    WHITE,
    Page,
    palette,
    save_pages,
    shortened,
    text_width,
)

TEXT_WIDTH, BOX_WIDTH, WIDTH_STEP = 260, 150, 30  # a box's lines at most, a box at least: pixels
PADDING, HEADER, LINE_HEIGHT, LINK_HEIGHT, RADIUS = 12, 26, 17, 24, 6
STEM, CURVE, TIP = 20, 26, 8  # below a row: straight, the shape beside it; then curved; arrowhead
BETWEEN, PORTS = 28, 24  # two nodes of a row; two arrows that enter one box
COLUMN_GAP, COLUMN_HEIGHT, TALLEST_COLUMN, PAGE_WIDTH = 56, 2800, 4200, 6000
SWEEPS = 12


@dataclass
class Wire:
    """A blob as one layer leaves it; `source` (None: no layer) and `readers` are list indices."""

    blob: str
    source: int | None
    readers: list = field(default_factory=list)


@dataclass(eq=False)
class Node:
    """A `box`, a `link` (`from` or `to`) or a `bend` in a row of a column.

    `x` is its middle, `y` its top; its arrows leave straight down as far as `turn`.
    """

    rank: int
    kind: str
    lines: list = field(default_factory=list)
    color: str = FAINT
    shape: str = ""
    width: float = 0
    height: float = 0
    x: float = 0
    y: float = 0
    turn: float = 0
    above: list = field(default_factory=list, repr=False)
    below: list = field(default_factory=list, repr=False)

    @property
    def rectangle(self):
        """(left, top, right, bottom)."""
        return (self.x - self.width / 2, self.y, self.x + self.width / 2, self.y + self.height)


@dataclass
class Sheet:
    """One page laid out, in pixels: its nodes know where they stand and what they are joined to."""

    width: float
    height: float
    nodes: list


def draw_network(path, layers, ready=lambda: None):
    """Draw the network as `path` and, if it is very long, NAME-2.png, ...; return these paths.

    `ready` is called when the first page is drawn, before anything is saved.

    `layers` are in topological order, each with `name`, `type`, `bottoms` and `tops` (blob names),
    `shape` (its output's) and `details` (short lines of text).
    """
    pages = map(draw_sheet, layout(layers))
    first = next(pages)
    ready()
    return save_pages(path, chain([first], pages))


def layout(layers):
    """Place every layer: the pages' `Sheet`s."""
    wires = find_wires(layers)
    ranks = rank_layers(layers, wires)
    boxes = [box(layer, rank) for layer, rank in zip(layers, ranks, strict=True)]
    columns = []
    for rows in build_columns(layers, boxes, wires, cut_ranks(boxes, wires)):
        order(rows)
        straighten(rows)
        stack(rows)
        columns.append([node for row in rows for node in row])
    return arrange([nodes for nodes in columns if nodes])


def find_wires(layers):
    """The blobs; one that is written in place is a new blob from there on."""
    wires, latest = [], {}
    for index, layer in enumerate(layers):
        for blob in dict.fromkeys(layer.bottoms):
            if blob not in latest:
                latest[blob] = Wire(blob, None)
                wires.append(latest[blob])
            latest[blob].readers.append(index)
        for blob in layer.tops:
            latest[blob] = Wire(blob, index)
            wires.append(latest[blob])
    return wires


def rank_layers(layers, wires):
    """The longest path to each layer; a layer that reads nothing stands right above its reader."""
    sources, readers = defaultdict(list), defaultdict(list)
    for wire in wires:
        readers[wire.source] += wire.readers
        for reader in wire.readers:
            sources[reader] += [] if wire.source is None else [wire.source]
    ranks = []
    for index in range(len(layers)):
        ranks.append(1 + max((ranks[source] for source in sources[index]), default=-1))
    for index in range(len(layers)):
        if not sources[index] and readers[index]:
            ranks[index] = min(ranks[reader] for reader in readers[index]) - 1
    return ranks


def box(layer, rank):
    """A layer's box: its type, name and details, no line wider than TEXT_WIDTH."""
    shape = "×".join(str(size) for size in layer.shape or ())
    lines = [shortened(layer.type, TEXT_WIDTH, LARGE, True), shortened(layer.name, TEXT_WIDTH)]
    lines += [shortened(line, TEXT_WIDTH, SMALL) for line in layer.details]
    widest = max(text_width(line, *style) for line, style in zip(lines, styles(lines), strict=True))
    width = max(BOX_WIDTH, widest + 2 * PADDING, 2 * text_width(shape, SMALL) + 2 * PADDING)
    height = HEADER + (len(lines) - 1) * LINE_HEIGHT + PADDING
    color = COLORS.get(layer.type, OTHER)
    width = ceil(width / WIDTH_STEP) * WIDTH_STEP  # boxes of a few widths stand in neater lines
    return Node(rank, "box", lines, color, shape, width, height)


def styles(lines):
    """(size, bold) of each line of a box."""
    return [(LARGE, True), (NORMAL, False), *[(SMALL, False)] * (len(lines) - 2)]


def cut_ranks(boxes, wires):
    """The ranks at which a new column begins, where few wires cross; last, the number of ranks."""
    heights, widths = defaultdict(float), defaultdict(float)
    for node in boxes:
        heights[node.rank] = max(heights[node.rank], node.height + STEM + CURVE)
        widths[node.rank] += node.width + COLUMN_GAP
    total, crossing = sum(heights.values()), crossings(boxes, wires)
    breadth = fmean(widths.values()) if widths else 0
    target = min(TALLEST_COLUMN, max(COLUMN_HEIGHT, sqrt(1.6 * total * breadth)))
    cuts, tops = [0], [0, *accumulate(heights[rank] for rank in range(len(heights)))]
    while total - tops[cuts[-1]] > target:
        start = cuts[-1]
        shortest, longest = (bisect(tops, tops[start] + part * target) for part in (0.5, 1))
        fitting = range(max(shortest, start + 1), min(longest, len(heights)))
        cuts.append(min(fitting or [start + 1], key=lambda rank: (crossing[rank], -rank)))
    return [*cuts, len(heights)]


def crossings(boxes, wires):
    """Rank -> how many wires come from above it and go on to it or below."""
    crossing = defaultdict(int)
    for wire in wires:
        if wire.source is not None and wire.readers:
            last = max(boxes[reader].rank for reader in wire.readers)
            for rank in range(boxes[wire.source].rank + 1, last + 1):
                crossing[rank] += 1
    return crossing


def build_columns(layers, boxes, wires, cuts):
    """The rows of nodes of each column, joined; arrows from and to other columns end in links."""
    spans = list(pairwise(cuts))
    column = {rank: at for at, span in enumerate(spans) for rank in range(*span)}
    columns = [defaultdict(list) for _ in spans]
    for node in boxes:
        columns[column[node.rank]][node.rank].append(node)
    for wire in wires:
        readers = defaultdict(list)
        for index in wire.readers:
            readers[column[boxes[index].rank]].append(index)
        name, shape = wire.blob, ""
        if wire.source is not None:
            source = boxes[wire.source]
            name, shape = layers[wire.source].name, source.shape
            home = column[source.rank]
            ends = [boxes[index] for index in readers.pop(home, [])]
            away = [layers[i].name for i in wire.readers if column[boxes[i].rank] != home]
            ends += [link(columns[home], source.rank + 1, "to", away)] if away else []
            join(columns[home], source, ends)
        for at, indices in readers.items():
            ends = [boxes[index] for index in indices]
            rank = min(node.rank for node in ends) - 1
            join(columns[at], link(columns[at], rank, "from", [name], shape), ends)
    return [[rows[rank] for rank in sorted(rows)] for rows in columns]


def link(rows, rank, kind, names, shape=""):
    """The other end of an arrow that leaves the column: `to NAME`, `from NAME`."""
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    text = shortened(f"{kind} {names[0]}", BOX_WIDTH + 60, SMALL) + more
    width = 2 * PADDING + max(text_width(text, SMALL), 2 * text_width(shape, SMALL))
    node = Node(rank, kind, [text], FAINT, shape, max(BOX_WIDTH, ceil(width)), LINK_HEIGHT)
    rows[rank].append(node)
    return node


def join(rows, upper, lower):
    """Lead one trunk from `upper` down to the lowest of `lower`, a bend in each row it passes."""
    deepest = max((node.rank for node in lower), default=upper.rank)
    for rank in range(upper.rank + 1, deepest + 1):
        ends = [node for node in lower if node.rank == rank]
        if rank < deepest:
            ends.append(Node(rank, "bend"))
            rows[rank].append(ends[-1])
        for node in ends:
            upper.below.append(node)
            node.above.append(upper)
        upper = ends[-1]


def order(rows):
    """Order each row by the mean place of what its nodes are joined to, from above, from below."""
    for sweep in range(SWEEPS):
        for row in rows:
            for place, node in enumerate(row):
                node.x = place
        for row in rows if sweep % 2 == 0 else reversed(rows):
            near = {node: node.above if sweep % 2 == 0 else node.below for node in row}
            row.sort(key=lambda node: fmean([n.x for n in near[node]] or [node.x]))  # noqa: B023
            for place, node in enumerate(row):
                node.x = place


def straighten(rows):
    """Set the nodes' x: each in line with what it is joined to, from above, then from below."""
    for row in rows:
        settle(row, [0] * len(row), [1] * len(row))
    for sweep in range(SWEEPS + 1):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            pull_row(row, "above" if sweep % 2 == 0 else "below")
    straighten_bends(rows)


def pull_row(row, side):
    """Move a row towards its neighbours on one side; boxes hold out against bends and links."""
    pulls = [pulled(node, getattr(node, side)) for node in row]
    middle = fmean([place for pull in pulls for place in pull] or [0])
    weights = [1e4 if node.kind == "box" else 1 for node in row]
    settle(row, [median(pull or [middle]) for pull in pulls], weights)


def straighten_bends(rows):
    """Give the bends of one arrow one x, where what stands beside them leaves a common one."""
    beside = {}
    for row in rows:
        beside |= zip(row, zip([None, *row], [*row[1:], None], strict=False), strict=True)
    for first in beside:
        if first.kind == "bend" and first.above[0].kind != "bend":
            run = [first]
            while below := [node for node in run[-1].below if node.kind == "bend"]:
                run += below
            low = max(left.x + apart(left, n) if (left := beside[n][0]) else -inf for n in run)
            high = min(right.x - apart(n, right) if (right := beside[n][1]) else inf for n in run)
            if low <= high:
                place = min(max(median(node.x for node in run), low), high)
                for node in run:
                    node.x = place


def apart(left, right):
    """How far the middles of two neighbours are apart at least."""
    return (left.width + right.width) / 2 + BETWEEN


def pulled(node, near):
    """Where its neighbours want `node`: arrows between boxes, and long ones, straight first."""
    strength = {("box", "box"): 2, ("bend", "bend"): 4}
    near = near or node.above or node.below
    return [n.x for n in near for _ in range(strength.get((n.kind, node.kind), 1))]


def settle(row, wanted, weights):
    """Set x as near to `wanted` as the order and the gaps allow: least squares, pooled blocks."""
    offsets = [0, *accumulate(apart(left, right) for left, right in pairwise(row))]
    blocks = []
    for want, offset, weight in zip(wanted, offsets, weights, strict=False):
        mean, count = want - offset, 1
        while blocks and blocks[-1][0] >= mean:
            before, heavier, more = blocks.pop()
            mean = (before * heavier + mean * weight) / (heavier + weight)
            weight, count = heavier + weight, more + count
        blocks.append((mean, weight, count))
    places = [mean for mean, _, count in blocks for _ in range(count)]
    for node, place, offset in zip(row, places, offsets, strict=False):
        node.x = place + offset


def stack(rows):
    """Set the nodes' y; the further the arrows between two rows go aside, the further apart."""
    top = 0
    for row in rows:
        height = max(node.height for node in row)
        aside = max([0, *(abs(node.x - n.x) for node in row for n in node.below)])
        for node in row:
            node.y = top + height - node.height if node.kind == "from" else top
            node.turn = top + height + STEM
        top += height + STEM + CURVE + min(50, aside / 10)


def arrange(columns):
    """Put the columns side by side on as many pages as it takes."""
    sheets = [Sheet(MARGIN, BOX_WIDTH, [])]
    for nodes in columns:
        left = min(node.rectangle[0] for node in nodes)
        width = max(node.rectangle[2] for node in nodes) - left
        if sheets[-1].nodes and sheets[-1].width + width > PAGE_WIDTH:
            sheets.append(Sheet(MARGIN, BOX_WIDTH, []))
        add_column(sheets[-1], nodes, left, width)
    for sheet in sheets:
        sheet.width += MARGIN - (COLUMN_GAP if sheet.nodes else 0)
        sheet.height += MARGIN
    return sheets


def add_column(sheet, nodes, left, width):
    """Move a column of this `left` and `width` to the right of what stands on the sheet."""
    for node in nodes:
        node.x += sheet.width - left
        node.y += MARGIN
        node.turn += MARGIN
    sheet.nodes += nodes
    sheet.width += width + COLUMN_GAP
    sheet.height = max(sheet.height, *(node.turn for node in nodes))


def draw_sheet(sheet):
    boxes = [node for node in sheet.nodes if node.kind == "box"]
    links = [node for node in sheet.nodes if node.kind in ("from", "to")]
    shapes = [*arrow_shapes(sheet.nodes), *box_shapes(boxes), link_shapes(links)]
    page = Page(sheet.width, sheet.height, shapes, colours())
    for node in boxes:
        write_box(page, node)
    for node in links:
        page.text(node.x, node.y + 16, node.lines[0], SMALL, INK, align="center")
    for node in sheet.nodes:
        if node.shape:
            y = node.y + node.height + STEM / 2 + 4
            page.text(node.x + PADDING / 2, y, node.shape, SMALL, FAINT)
    return page


@cache
def colours():
    """The palette of a diagram: each of its colours on each that it lies on."""
    headers = {*COLORS.values(), OTHER}
    plain = [(color, paper) for color in (INK, FAINT, LINE) for paper in (WHITE, PAPER)]
    return palette([*((color, WHITE) for color in sorted(headers)), *plain])


def arrows(nodes):
    """(start, turn, end, whether it ends in a tip) of each arrow, or piece between two rows."""
    pieces = []
    for node in nodes:
        start, turn = (node.x, node.y + node.height), (node.x, node.turn)
        for lower in node.below:
            pieces.append((start, turn, (entry(node, lower), lower.y), lower.kind != "bend"))
        if node.shape and not node.below:  # an output
            pieces.append((start, turn, turn, True))
    return pieces


def entry(upper, lower):
    """The x at which the arrow from `upper` enters `lower`: several arrive side by side."""
    if lower.kind == "bend":
        return lower.x
    place = sorted(lower.above, key=lambda node: node.x).index(upper)
    between = min(PORTS, (lower.width - 2 * PADDING) / len(lower.above))
    return lower.x + (place - (len(lower.above) - 1) / 2) * between


def arrow_shapes(nodes):
    lines, tips = [], []
    for (x, top), (_, turn), (end, bottom), tipped in arrows(nodes):
        stop = bottom - TIP if tipped else bottom
        points = [(x, top), (x, min(turn, stop))]
        middle = (points[-1][1] + stop) / 2
        lines.append(Path([*points, (x, middle), (end, middle), (end, stop)], CURVED))
        if tipped:
            tips.append(Path([(end - TIP / 2, stop), (end + TIP / 2, stop), (end, bottom)]))
    yield PathCollection(lines, facecolor="none", edgecolor=LINE, linewidth=1.5)
    yield PathCollection(tips, facecolor=FAINT, edgecolor="none")


def box_shapes(boxes):
    bodies = [rounded(*node.rectangle) for node in boxes]
    yield PathCollection(bodies, facecolor=PAPER, edgecolor=LINE, linewidth=1)
    headers = [header(node) for node in boxes]
    yield PathCollection(headers, facecolor=[node.color for node in boxes], edgecolor="none")


def write_box(page, node):
    page.text(node.x, node.y + 18, node.lines[0], LARGE, WHITE, True, "center")
    for index, line in enumerate(node.lines[1:]):
        y = node.y + HEADER + 17 + index * LINE_HEIGHT
        style = (SMALL, FAINT) if index else (NORMAL, INK)
        page.text(node.x, y, line, *style, align="center")


def header(node):
    """The coloured top of a box, square at its foot."""
    left, top, right, _ = node.rectangle
    return rounded(left, top, right, top + HEADER, foot=0)


def link_shapes(links):
    half = LINK_HEIGHT / 2
    bodies = [rounded(*node.rectangle, radius=half, foot=half) for node in links]
    return PathCollection(bodies, facecolor=WHITE, edgecolor=FAINT, linestyle="dashed")


def rounded(left, top, right, bottom, radius=RADIUS, foot=RADIUS):
    """A rectangle whose upper corners have the one radius, the lower ones the other."""
    points = [(left, top + radius), (left, top), (left + radius, top)]
    points += [(right - radius, top), (right, top), (right, top + radius)]
    points += [(right, bottom - foot), (right, bottom), (right - foot, bottom)]
    points += [(left + foot, bottom), (left, bottom), (left, bottom - foot), points[0]]
    corner = [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path(points, [Path.MOVETO, *corner[1:], *corner * 3, Path.CLOSEPOLY])


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

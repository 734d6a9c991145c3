"""Where the boxes of a diagram stand: rows from the top down, cut into columns that fit a screen.

fast-sugiyama finds the ranks and the order within each. A box of the next column continues a wire
that leaves this column at its foot: the wire runs up between the two.
"""

from bisect import bisect
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import accumulate, groupby, pairwise
from statistics import median

try:
    from fast_sugiyama import from_edges
except ImportError:  # it has no wheel for Python 3.10
    from tf2caffe.pictures.sugiyama import from_edges

MARGIN, STEM, CURVE = 24, 18, 22  # below a row: the wires straight, a shape beside them; curved
ASIDE, LANE, GUTTER = 34, 8, 34  # between boxes; wires that run side by side; between columns
HEAD = 20  # above a column, where wires come in from the former one
SCREEN, TALLEST = (1920, 1080), 1600  # pixels; up to TALLEST there is one column
MOST_HALVES = 64  # of a column
LONGEST, THIRDS = 1.1, 3  # a column's height at most; a third too short is as bad as a wire cut


@dataclass(eq=False)
class Node:
    """A box by its number, or (`box` None) where a wire passes a row. `x`: middle, `y`: top."""

    box: int | None = None
    height: float = 0
    x: float = 0
    y: float = 0
    foot: float = 0  # of its row; there its wires begin to turn
    column: int = 0
    above: list = field(default_factory=list, repr=False)
    below: list = field(default_factory=list, repr=False)


@dataclass
class Placed:
    """The nodes, those of the boxes first, in their order; and the size of the whole.

    `lanes`: for the two nodes of a wire that goes on in the next column, the y below the former
    column, the x between the two, and the y above the latter at which it runs.
    """

    nodes: list
    width: float
    height: float
    lanes: dict


def place(heights, width, edges):
    """Place boxes of one `width` and these `heights`, joined by `edges` (from, to), acyclic."""
    boxes = [Node(number, height) for number, height in enumerate(heights)]
    rows = find_rows(boxes, width, sorted(set(edges)))
    columns = cut(rows, width)
    right, bottom, lanes = MARGIN, 0, {}
    for number, column in enumerate(columns):
        lanes |= find_lanes(columns[number - 1][-1], right - GUTTER / 2) if number else {}
        right = place_column(column, number, right, width) + GUTTER
        bottom = max(bottom, column[-1][0].foot + CURVE)
    passing = [node for row in rows for node in row if node.box is None]
    size = max(right - GUTTER, MARGIN) + MARGIN, bottom + MARGIN
    return Placed([*boxes, *passing], *size, lanes)


def find_rows(boxes, width, edges):
    """The rows of all parts that are joined, one part below the other; each node's x in its row."""
    joined = sorted({end for edge in edges for end in edge})
    number = {end: at for at, end in enumerate(joined)}  # dummies are numbered from there on
    edges = [(number[source], number[reader]) for source, reader in edges]
    options = {"vertex_spacing": width + ASIDE, "dummy_vertices": True, "dummy_size": LANE}
    parts = [
        find_part(positions, links, [boxes[end] for end in joined], width)
        for positions, _, _, links in from_edges(edges, **options)
    ]
    parts += [[[box]] for box in boxes if box.box not in number]
    parts.sort(key=lambda rows: min(node.box for node in rows[0] if node.box is not None))
    return [row for rows in parts for row in rows]


def find_part(positions, links, boxes, width):
    """The rows of one part: `positions` are (number, (x, y upwards)), `links` pairs of numbers."""
    nodes, rows = {}, defaultdict(list)
    for name, (x, y) in positions:
        node = nodes[name] = boxes[name] if name < len(boxes) else Node()
        node.x = x
        rows[-y].append(node)
    for upper, lower in sorted(links):
        nodes[upper].below.append(nodes[lower])
        nodes[lower].above.append(nodes[upper])
    ordered = [sorted(rows[y], key=lambda node: node.x) for y in sorted(rows)]
    for simple, run in groupby(ordered, is_simple):
        if simple:
            straighten(list(run), (width + LANE) / 2 + ASIDE / 2)
    return ordered


def is_simple(row):
    """Whether a row has one box, and at most one wire that passes it."""
    return len(row) <= 2 and sum(node.box is not None for node in row) == 1


def straighten(rows, aside):
    """Stand the boxes of rows that follow each other in line, what passes them close beside."""
    middle = median(node.x for row in rows for node in row if node.box is not None)
    for row in rows:
        left = row[0].box is None
        for node in row:
            node.x = middle if node.box is not None else middle - aside if left else middle + aside


def cut(rows, width):
    """The columns, as many as make the largest picture on a screen."""
    tops = list(accumulate(map(row_height, rows), initial=0))
    options = [cut_at(rows, tops, 2 * tops[-1] / halves) for halves in range(2, MOST_HALVES)]
    if tops[-1] <= TALLEST:
        options = [[0, len(rows)]] if rows else [[0]]
    spans = [span([row], width) for row in rows]
    best = max(options, key=lambda cuts: scale(cuts, tops, spans))
    return [rows[start:end] for start, end in pairwise(best)]


def row_height(row):
    """From the row's top to the next one's; the wires that go far aside need more room."""
    aside = max([0, *(abs(node.x - lower.x) for node in row for lower in node.below)])
    return max(node.height for node in row) + STEM + CURVE + min(50, aside / 16)


def cut_at(rows, tops, target):
    """The numbers of the rows at which columns of about this height begin; last, of all rows."""
    cuts = [0]
    while tops[-1] - tops[cuts[-1]] > target * LONGEST and cuts[-1] + 1 < len(rows):
        start = cuts[-1]
        ends = range(start + 1, bisect(tops, tops[start] + target * LONGEST)) or [start + 1]
        costs = {
            end: sum(len(node.below) for node in rows[end - 1])  # wires
            + THIRDS * abs(tops[end] - tops[start] - target) / target
            for end in ends
        }
        cuts.append(min(costs, key=costs.get))
    return [*cuts, len(rows)]


def scale(cuts, tops, spans):
    """How large columns with these `cuts` can be drawn on a screen."""
    wide, tall = 2 * MARGIN - GUTTER, 0
    for start, end in pairwise(cuts):
        lows, highs = zip(*spans[start:end], strict=True)
        wide += max(highs) - min(lows) + GUTTER
        tall = max(tall, tops[end] - tops[start])
    return min(SCREEN[0] / max(wide, 1), SCREEN[1] / (tall + 2 * MARGIN + HEAD))


def span(column, width):
    """The least and the greatest x of what stands in a column."""
    nodes = [node for row in column for node in row]
    half = {True: LANE / 2, False: width / 2}
    low = min(node.x - half[node.box is None] for node in nodes)
    return low, max(node.x + half[node.box is None] for node in nodes)


def place_column(column, number, left, width):
    """Give the nodes their places, from x `left` on; return where the column ends."""
    low, high = span(column, width)
    tops = list(accumulate(map(row_height, column), initial=MARGIN + HEAD))
    for row, top in zip(column, tops, strict=False):
        tallest = max(node.height for node in row)
        for node in row:
            node.x += left - low
            node.y, node.foot, node.column = top, top + tallest + STEM, number
    return left + high - low


def find_lanes(row, middle):
    """The lanes of the wires that go on below this last row, around x `middle`, without crossing.

    The rightmost turns first.
    """
    crossing = [(upper, lower) for upper in reversed(row) for lower in reversed(upper.below)]
    between = min(LANE, (GUTTER - LANE) / max(len(crossing), 1))
    left = middle - between * (len(crossing) - 1) / 2
    return {
        pair: (pair[0].foot + at * between, left + at * between, LANE + 2 + at * between)
        for at, pair in enumerate(crossing)
    }

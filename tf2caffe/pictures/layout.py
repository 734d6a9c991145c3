"""Where the boxes of a diagram stand: rows from the top down, cut into columns that fit a screen.

fast-sugiyama finds the ranks and the order within each. A box of the next column continues a wire
that leaves this column at its foot: the wire runs up between the two.
"""

from bisect import bisect
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import accumulate

from fast_sugiyama import from_edges

MARGIN, STEM, CURVE = 24, 18, 22  # below a row: the wires straight, a shape beside them; curved
ASIDE, LANE, GUTTER = 34, 8, 34  # between boxes; wires that run side by side; between columns
HEAD = 20  # above a column, where wires come in from the former one
SCREEN, TALLEST = (1920, 1080), 1600  # pixels; up to TALLEST there is one column
LONGEST = 1.1  # of a column's height; there it ends at the latest


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
        find_part(positions, links, [boxes[end] for end in joined])
        for positions, _, _, links in from_edges(edges, **options)
    ]
    parts += [[[box]] for box in boxes if box.box not in number]
    parts.sort(key=lambda rows: min(node.box for node in rows[0] if node.box is not None))
    return [row for rows in parts for row in rows]


def find_part(positions, links, boxes):
    """The rows of one part: `positions` are (number, (x, y upwards)), `links` pairs of numbers."""
    nodes, rows = {}, defaultdict(list)
    for name, (x, y) in positions:
        node = nodes[name] = boxes[name] if name < len(boxes) else Node()
        node.x = x
        rows[-y].append(node)
    for upper, lower in sorted(links):
        nodes[upper].below.append(nodes[lower])
        nodes[lower].above.append(nodes[upper])
    return [sorted(rows[y], key=lambda node: node.x) for y in sorted(rows)]


def cut(rows, width):
    """The columns, as many as make the largest picture on a screen."""
    if not rows:
        return []
    tall = sum(map(row_height, rows))
    options = [cut_at(rows, tall / count) for count in range(1, len(rows) + 1)[:64]]
    return options[0] if tall <= TALLEST else max(options, key=lambda cut: scale(cut, width))


def row_height(row):
    """From the row's top to the next one's; the wires that go far aside need more room."""
    aside = max([0, *(abs(node.x - lower.x) for node in row for lower in node.below)])
    return max(node.height for node in row) + STEM + CURVE + min(50, aside / 16)


def cut_at(rows, target):
    """Columns of about this height, each cut where few wires cross, and not much too early."""
    tops = list(accumulate(map(row_height, rows), initial=0))
    columns, start = [], 0
    while tops[-1] - tops[start] > target * LONGEST:
        ends = range(start + 1, bisect(tops, tops[start] + target * LONGEST))
        end = min(ends or [start + 1], key=lambda at: cost(rows[at - 1], tops[at], tops[start] + target))
        columns.append(rows[start:end])
        start = end
    return [*columns, rows[start:]]


def cost(row, bottom, wanted):
    """How bad it is to cut below this row: a wire more is as bad as a third of a column."""
    return sum(len(node.below) for node in row) + 3 * abs(wanted - bottom) / wanted


def scale(columns, width):
    """How large these columns can be drawn on a screen."""
    extents = [span(column, width) for column in columns]
    wide = sum(high - low for low, high in extents) + GUTTER * (len(columns) - 1)
    tall = max(sum(map(row_height, column)) for column in columns)
    return min(SCREEN[0] / (wide + 2 * MARGIN), SCREEN[1] / (tall + 2 * MARGIN))


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

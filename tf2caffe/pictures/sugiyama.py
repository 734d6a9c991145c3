"""Rows and orders of a graph's boxes where fast-sugiyama has no wheel, such as on Python 3.10.

The same call with the same kind of answer; more wires may cross than there.
"""

from collections import defaultdict
from itertools import count, pairwise

SWEEPS = 8  # down and up by turns


def from_edges(edges, vertex_spacing, **_):
    """[(positions, width, height, links)] of each part that is joined, as fast-sugiyama has it.

    `edges` are pairs of numbers, acyclic. `positions` are (number, (x, y upwards)), `links` the
    edges cut at each row that they pass, by dummies numbered after all boxes.
    """
    dummies = count(1 + max((end for edge in edges for end in edge), default=-1))
    return [arranged(part, dummies, vertex_spacing) for part in parts(edges)]


def parts(edges):
    """The edges of each part that is joined."""
    whole = {}
    for edge in edges:
        merged = [edge]
        for part in {id(part): part for end in edge if (part := whole.get(end))}.values():
            merged += part
        whole.update((end, merged) for pair in merged for end in pair)
    return list({id(part): part for part in whole.values()}.values())


def arranged(edges, dummies, spacing):
    """One part's positions, width, height and links."""
    rank = ranks(edges)
    links = [link for edge in edges for link in cut(edge, rank, dummies)]
    rows = defaultdict(list)
    for end in sorted(rank):
        rows[rank[end]].append(end)
    ordered = untangled([rows[at] for at in sorted(rows)], links)
    positions = [
        (end, ((at - (len(row) - 1) / 2) * spacing, -float(number)))
        for number, row in enumerate(ordered)
        for at, end in enumerate(row)
    ]
    return positions, spacing * max(map(len, ordered)), len(ordered), links


def ranks(edges):
    """Each box's row: below all that it reads."""
    above, below = defaultdict(list), defaultdict(list)
    for source, reader in edges:
        above[reader].append(source)
        below[source].append(reader)
    rank, waiting = {}, {end: len(above[end]) for edge in edges for end in edge}
    ready = sorted(end for end in waiting if not waiting[end])
    for end in ready:
        rank[end] = max((rank[source] + 1 for source in above[end]), default=0)
        for reader in below[end]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return rank


def cut(edge, rank, dummies):
    """An edge as links from row to row; the dummies' rows are added to `rank`."""
    source, reader = edge
    passed = {next(dummies): at for at in range(rank[source] + 1, rank[reader])}
    rank.update(passed)
    return list(pairwise([source, *passed, reader]))


def untangled(rows, links):
    """The rows, each ordered by where in the row beside it its links go."""
    beside = [defaultdict(list), defaultdict(list)]
    for upper, lower in links:
        beside[0][lower].append(upper)
        beside[1][upper].append(lower)
    for sweep in range(SWEEPS):
        near, order = beside[sweep % 2], rows[:: -1 if sweep % 2 else 1]
        for former, row in pairwise(order):
            place = {end: at for at, end in enumerate(former)}
            row.sort(key=lambda end: middle([place[other] for other in near[end]], place))
    return rows


def middle(places, row):
    """The mean of these places; of none, that of the row."""
    return sum(places) / len(places) if places else len(row) / 2

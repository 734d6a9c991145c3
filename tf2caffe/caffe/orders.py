"""How a blob's elements are put in another order: a short sequence of swaps of adjacent blocks.

A blob runs through blocks, the last one fastest. One layer lets two that stand next to each other
change places, (G, A, B, S) -> (G, B, A, S), S being what comes after them:

- a Deconvolution of (G A, B, S) with a kernel and stride of (A, 1) sets the channels of A below
  each other: channel a of row b becomes row b A + a of channel g;
- a Convolution of (G, A B, S) with a kernel and stride of (B, 1) makes every B-th row a channel.

Their kernels hold a 1 for each element that is taken, else zeros, so nothing is rounded.
"""

from functools import cache
from heapq import heappop, heappush
from math import prod

LAYER = 4096  # so many weights are as good as a layer less
MOST = 6  # blocks, of which the best sequence is looked for


def ways(groups, first, second):
    """(weights, layer type) of each layer that swaps two blocks, behind `groups`.

    The Deconvolution has one group: with several channels in each of many, one vendor misreads it.
    """
    return [
        (groups**2 * first**2, "Deconvolution"),
        (groups * second**2, "Convolution"),
    ]


def plan(sizes, order):
    """The swaps (G, A, B, S) that bring blocks of these sizes, one after the other, in `order`."""
    return list(_plan(*_merged(sizes, order)))


def _merged(sizes, order):
    """The blocks without those of one element; those that stay together are one."""
    order = [block for block in order if sizes[block] > 1]
    place = {block: at for at, block in enumerate(sorted(order))}
    runs = []
    for block in order:
        if runs and place[block] == place[runs[-1][-1]] + 1:
            runs[-1].append(block)
        else:
            runs.append([block])
    ranks = {run[0]: at for at, run in enumerate(sorted(runs))}
    merged = tuple(prod(sizes[block] for block in run) for run in sorted(runs))
    return merged, tuple(ranks[run[0]] for run in runs)


@cache
def _plan(sizes, order):
    """The cheapest sequence, by the number of its layers and weights (Dijkstra's way)."""
    start = tuple(range(len(sizes)))
    if len(sizes) > MOST:
        return _straight(sizes, order)
    waiting, done = [(0, start, ())], set()
    while waiting:
        cost, state, swaps = heappop(waiting)
        if state == order:
            return swaps
        if state not in done:
            done.add(state)
            for following, swap in _swaps(sizes, state):
                more = LAYER + min(ways(*swap[:3]))[0]
                heappush(waiting, (cost + more, following, (*swaps, swap)))
    raise AssertionError("no sequence of swaps")


def _swaps(sizes, state):
    """Each swap of two stretches of blocks that stand next to each other, and what it makes."""
    count = len(state)
    for start in range(count):
        for middle in range(start + 1, count):
            for stop in range(middle + 1, count + 1):
                yield _swap(sizes, state, start, middle, stop)


def _swap(sizes, state, start, middle, stop):
    parts = state[:start], state[start:middle], state[middle:stop], state[stop:]
    swapped = parts[0] + parts[2] + parts[1] + parts[3]
    return swapped, tuple(prod(sizes[block] for block in part) for part in parts)


def _straight(sizes, order):
    """One block after the other to its place."""
    state, swaps = tuple(range(len(sizes))), []
    for at, block in enumerate(order):
        found = state.index(block)
        if found != at:
            state, swap = _swap(sizes, state, at, found, found + 1)
            swaps.append(swap)
    return tuple(swaps)
